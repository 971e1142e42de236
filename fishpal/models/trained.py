"""Trained folders: what training changed, in safetensors and JSON, and nothing else.

`plan.json`, `card.json` (`TrainedCard`), `head.safetensors`, `modules.safetensors` (tensors
`<layer>.<kind>.<name>`, prefix MLPs folded away; absent without modules) and, after full
fine-tuning, `encoder.safetensors`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fishpal.common.choices import modules_of
from fishpal.common.errors import PlanError
from fishpal.common.files import replacing
from fishpal.encoders.encoder import Encoder, fingerprint
from fishpal.encoders.pooling import features_of
from fishpal.models.classifier import Classifier
from fishpal.models.precision import casting, single_by_default
from fishpal.modules import CandidateModule
from fishpal.modules.attach import build_modules, mark_changed
from fishpal.records.facts import Pooling, Precision, TaskFacts
from fishpal.records.paths import CARD, PLAN
from fishpal.records.plan import Plan
from fishpal.records.record import JsonRecord, without_default
from fishpal.records.results import Parameters

VERSION = 1
HEAD = "head.safetensors"


@dataclass(frozen=True)
class TrainedCard(JsonRecord):
    """What a trained folder belongs to.

    `encoder_sha256` is its frozen encoder's `sha256`, `precision` that of training's passes, which
    `auto` makes depend on the machine's kind; left out of the file where it is float32.
    `compares`: whether its head compares the texts of pairs; left out where not. `train_head`:
    whether the head was trained; left out where it was.
    """

    version: int
    task: TaskFacts
    seed: int
    pooling: Pooling
    encoder_sha256: str
    best_update: int
    parameters: Parameters
    precision: Precision = "float32"
    compares: bool = False
    train_head: bool = True

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise PlanError(f"version is {self.version}; allowed: {VERSION}")

    def to_json(self) -> dict[str, Any]:
        data = without_default(super().to_json(), "precision", "float32")
        data = without_default(without_default(data, "compares", False), "train_head", True)
        return data | {"task": self.task.to_json()}

    @staticmethod
    def lies_in(folder: Path) -> bool:
        """Whether a folder looks like a trained one: `save` always writes these."""
        return all((folder / name).is_file() for name in (CARD, PLAN, HEAD))


def save(
    model: Classifier,
    plan: Plan,
    folder: str | Path,
    *,
    task: TaskFacts,
    seed: int,
    best: int,
    precision: Precision = "float32",
) -> None:
    """Write a trained folder, whole or not at all.

    `best` is the update whose weights the model has, `precision` that of its training.

    Raises:
        PlanError: where the model does not have the plan's modules, as after `merge_lora`.
    """
    _check_modules(model, plan)
    source = model.source
    if not plan.full and fingerprint(model.encoder) != source.sha256:
        allowed = "as it was loaded, or a plan of rule full"
        raise PlanError(f"the model's encoder has other weights than its own; allowed: {allowed}")
    counts = model.parameter_counts(plan.full)
    head = model.head.weight.requires_grad
    card = TrainedCard(
        VERSION, task, seed, source.pooling, source.sha256, best, counts, precision,
        model.compares, head,
    )  # fmt: skip
    with replacing(folder, TrainedCard.lies_in) as draft:
        draft.mkdir()
        plan.save(draft / PLAN)
        card.save(draft / CARD)
        _write(draft / HEAD, dict(model.head.named_parameters()))
        with casting(model.head.weight.device.type, torch.float32):  # whatever a caller casts to
            tensors = {
                f"{module.layer}.{module.kind}.{name}": tensor
                for module in model.candidates()
                for name, tensor in module.kept().items()
            }
        if tensors:
            _write(draft / "modules.safetensors", tensors)
        if plan.full:
            _write(draft / "encoder.safetensors", dict(model.encoder.named_parameters()))


def _check_modules(model: Classifier, plan: Plan) -> None:
    found = {(module.layer, module.kind) for module in model.candidates()}
    wanted = {(i, m.kind) for i, word in enumerate(plan.layers) for m in modules_of(word)}
    if found != wanted:
        raise PlanError(
            f"the model has {len(found)} modules attached; allowed: the plan's {len(wanted)}, each"
            " at its layer (a merged or detached model cannot be saved as a trained folder)"
        )


@single_by_default()
def load(encoder: Encoder, folder: str | Path) -> Classifier:
    """Restore a trained model to bit-equal logits, in eval mode, to be trained where it was.

    Args:
        encoder: the frozen encoder that it was trained in (`load_encoder`); it gets the modules
            attached, and after full fine-tuning the trained weights, so that it serves this one
            model until `.detach()`.

    Raises:
        PlanError: naming the file, where the folder is incomplete, malformed or belongs to
            another encoder or plan.
        AttachError: where the encoder is in use.
    """
    folder = Path(folder)
    card, plan = TrainedCard.load(folder / CARD), Plan.load(folder / PLAN)
    features = features_of(plan.encoder.hidden, card.compares)
    head = nn.Linear(features, card.task.outputs)
    own = encoder.facts == plan.encoder and encoder.sha256 == card.encoder_sha256
    if not own or encoder.pooling != card.pooling:
        raise PlanError(
            f"{folder}: was trained in another encoder (sha256 {card.encoder_sha256[:12]}…,"
            f" {card.pooling} pooling); allowed: that one"
        )
    model = Classifier(encoder, head, card.task)
    _restore(folder / HEAD, "head", head.load_state_dict)
    modules = build_modules(plan.layers, encoder.shapes, plan.modules, seed=0)
    if modules:
        _restore_modules(folder / "modules.safetensors", modules)
        model.attach(modules)
    if plan.full:
        mark_changed(encoder.model, "fine-tuned", model)
        _restore(folder / "encoder.safetensors", "encoder", encoder.model.load_state_dict)
        encoder.model.requires_grad_(True)
    head.requires_grad_(card.train_head)
    model.trained = card.parameters.trainable
    return model.to(next(encoder.model.parameters()).device).eval()


def _restore(path: Path, what: str, load_state: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = _read(path)
    try:
        load_state(tensors)
    except RuntimeError as error:
        raise PlanError(f"{path}: does not fit the {what} of this plan") from error


def _restore_modules(path: Path, modules: Sequence[CandidateModule]) -> None:
    tensors = _read(path)
    starts = tuple(f"{module.layer}.{module.kind}." for module in modules)
    if others := [name for name in tensors if not name.startswith(starts)]:
        raise PlanError(f"{path}: holds {others[0]}; allowed by the plan: {', '.join(starts)}")
    for module, start in zip(modules, starts, strict=True):
        part = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        wanted, found = ({n: tuple(t.shape) for n, t in d.items()} for d in (module.kept(), part))
        if wanted != found:
            raise PlanError(f"{path}: {start}* holds {found}; allowed by the plan: {wanted}")
        module.load_kept(part)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise PlanError(f"{path}: cannot be read: {error}") from error


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)
