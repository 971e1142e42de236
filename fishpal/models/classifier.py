"""A frozen encoder, the modules attached to it, and a linear head on the pooled output."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from fishpal.common.errors import AttachError, DataError, EncoderError, caution
from fishpal.encoders.encoder import Encoder
from fishpal.encoders.packing import checkpointed, packed, packs
from fishpal.encoders.pooling import compare, features_of, pool
from fishpal.modules import CandidateModule
from fishpal.modules.attach import attach, check_free, check_own, detach, mark_changed
from fishpal.records.card import FAR
from fishpal.records.facts import TaskFacts
from fishpal.records.results import Parameters

Batch = dict[str, Tensor]


class Classifier(nn.Module):
    """Texts → logits (B, C), C = 1 for a regression.

    Attributes:
        source: the encoder and its facts, as `load_encoder` gives them.
        encoder: its model.
        modules_: the attached modules, by layer (`modules` is taken by torch).
        head: linear, (C, d), or (C, 3 d) where it compares the texts of pairs.
        task: what a trained model was trained for.
        trained: parameters that its training updated, where it may have fewer by now.
    """

    def __init__(self, source: Encoder, head: nn.Linear, task: TaskFacts | None = None) -> None:
        super().__init__()
        width, wide = (features_of(source.facts.hidden, each) for each in (False, True))
        if head.in_features not in (width, wide):
            allowed = f"the encoder's width, {width}, or for pairs {wide}"
            raise EncoderError(f"head takes {head.in_features} features; allowed: {allowed}")
        check_free(source.model)
        self.source, self.encoder = source, source.model
        self.head, self.task = head, task
        self.trained: int | None = None
        self.compares = head.in_features == wide
        self.modules_ = nn.ModuleList()

    def attach(self, modules: Sequence[CandidateModule]) -> None:
        """Attach modules and take them into the model."""
        attach(self.encoder, modules)
        self.modules_.extend(modules)

    def detach(self) -> list[CandidateModule]:
        """Take all modules out; the encoder is as it was before, and free for another model."""
        modules = list(self.candidates())
        detach(modules)
        self.modules_ = nn.ModuleList()
        return modules

    def __deepcopy__(self, memo: dict[int, Any]) -> "Classifier":
        """One with copies of encoder, modules and head, as torch's copies are independent.

        `AttachError` where another model has taken the encoder since.
        """
        modules = list(self.candidates())
        check_own(self.encoder, self, modules)
        encoder = deepcopy(self.encoder, memo)
        # Copied hooks compute with the original's gates, and a prefix is no hook: attached anew.
        for hook in deepcopy([hook for module in modules for hook in module.hooks()], memo):
            hook.remove()
        memo[id(self.source)] = replace(self.source, model=encoder)
        copied = memo[id(self)] = type(self).__new__(type(self))
        vars(copied).update(deepcopy(vars(self), memo))
        if modules:
            attach(encoder, list(copied.candidates()))
        if self._changed():
            mark_changed(encoder, "those of a copied model", copied)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        if len(self.modules_):
            allowed = "pickles of a `fishpal.Model`, `fishpal.save`, or `copy.deepcopy`"
            raise AttachError(f"modules are hooks, which no pickle holds; allowed: {allowed}")
        return vars(self)

    def _changed(self) -> bool:
        """Whether the encoder's own weights are this model's: then no other may own it."""
        try:
            check_own(self.encoder, object(), list(self.candidates()))
        except AttachError:
            return True
        return False

    def candidates(self) -> Iterator[CandidateModule]:
        """The attached modules."""
        for module in self.modules_:
            assert isinstance(module, CandidateModule)
            yield module

    def features(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        second: Tensor | None = None,
        **inputs: Any,
    ) -> Tensor:
        """What the head reads: the pooled last hidden states (B, d), or (B, 3 d) of pairs that it
        compares, whose second texts start at `second` (B); `DataError` without it."""
        check_own(self.encoder, self, list(self.candidates()))
        if self.training and checkpointed(self.encoder) and any(m.gate for m in self.candidates()):
            what = "gates are open while a layer computes, and gradient checkpointing computes it"
            raise AttachError(f"{what} again; allowed: one of both")
        with packed(self.encoder, attention_mask) if self._packs() else nullcontext():
            hidden = self.source.hidden_states(input_ids, attention_mask, **inputs)
        if not self.compares:
            return pool(hidden, attention_mask, self.source.pooling)
        if second is None:
            raise DataError("the model compares the texts of pairs; allowed: pairs, with `second`")
        return compare(hidden, attention_mask, second, self.source.pooling)

    def _packs(self) -> bool:
        """A batch of prediction is of like lengths; a gate takes a mean over each text, and a
        tensor with an example axis is one text's."""
        apart = any(module.gate or module.by_example for module in self.candidates())
        return self.training and not apart and packs(self.encoder)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        second: Tensor | None = None,
    ) -> Any:
        """Logits (B, C); with `labels` (B), `task_loss` and logits, as transformers' models give
        them, and so as its `Trainer` wants them."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits = self.head(self.features(input_ids, attention_mask, second, **types))
        if labels is None:
            return logits
        _check_labels(labels, logits)
        return SequenceClassifierOutput(loss=task_loss(logits, labels), logits=logits)

    def parameter_counts(self, full: bool = False) -> Parameters:
        """Trainable, kept at inference (beyond the frozen encoder, head included), and total."""
        head = sum(parameter.numel() for parameter in self.head.parameters())
        kept = head + sum(module.kept_parameters for module in self.candidates())
        trainable = self.trained or sum(p.numel() for p in self.parameters() if p.requires_grad)
        total = self.source.facts.parameters + kept
        # A fully tuned encoder is a second copy of itself: all of it has to be kept.
        return Parameters(trainable, total if full else kept, total)


def _check_labels(labels: Tensor, logits: Tensor) -> None:
    """Raise `DataError` where torch would broadcast them, or take numbers for classes."""
    regression = logits.shape[-1] == 1
    if labels.shape != logits.shape[:1] or labels.is_floating_point() != regression:
        found = f"labels are {labels.dtype} of shape {tuple(labels.shape)}"
        kind = "floating numbers, standardised," if regression else "integers"
        raise DataError(f"{found}; allowed: {kind} of shape {tuple(logits.shape[:1])}")
    if regression and labels.abs().max() > FAR:
        what = f"a label is {labels.abs().max():.3g}, {FAR} standard deviations and more from 0"
        caution(f"{what}: the module takes them as `model.task.standardise` gives them")


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean −log p(y|x) in nats: cross-entropy, or ½ (f − y)² for a regression (unit variance)."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if labels.is_floating_point():
        return 0.5 * nn.functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
    return nn.functional.cross_entropy(logits, labels.long())
