"""A model of any kinds as ONNX, checked in onnxruntime."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fishpal.api.model import Model
from fishpal.common.checks import check_types
from fishpal.common.errors import EncoderError, FishpalError, brief
from fishpal.encoders.classification import named_config
from fishpal.exports.transformers_folder import export_folder, own_unit
from fishpal.models.classifier import Classifier

FILE = "model.onnx"
NEAR = 1e-4  # relative to the largest logit, or absolute below 1
ELSE = "another encoder or plan (else `model.save`, `export_sentence_transformers`)"
LARGE = 400_000_000  # parameters of float32 that one file of ONNX (2 GiB) holds, with room


class _Logits(nn.Module):
    """A classifier's logits, of inputs by name."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        second: Tensor | None = None,
    ) -> Any:
        return self.model(input_ids, attention_mask, token_type_ids, second=second)


def export_onnx(model: Model, folder: str | Path, licence: str | None = None) -> None:
    """Write `model.onnx` (token ids → logits), tokenizer, config with class names, and card.

    Inputs `input_ids`, `attention_mask` and, where tokenizer and encoder have them,
    `token_type_ids`, each (batch, tokens) int64; where the head compares pairs, `second` (batch)
    int64, where the second text starts (`Example.second`); output `logits` (batch, C), a
    regression's in the label's unit. The class names also stand in the file's metadata, as JSON
    under `classes`. It is run in onnxruntime before it is written.

    Raises:
        EncoderError: where torch cannot export the model, or onnxruntime not run what it wrote.
        FishpalError: without `fishpal[export]`, where onnxruntime computes something else, or
            where the folder holds files of others (`replacing`), or the encoder.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401 - what runs it (`_run`)
        import onnxscript  # noqa: F401 - what torch exports through
    except ImportError as error:
        raise FishpalError(f"{error}; allowed: with `pip install fishpal[export]`") from error
    check_types(model=(model, Model), folder=(folder, (str, Path)))
    module = model.copy(full=True).module.cpu().eval()
    with torch.no_grad():
        weight, bias = own_unit(model)
        module.head.weight.copy_(weight)
        module.head.bias.copy_(bias)
    typed = "token_type_ids" in model.encoder.tokenizer.model_input_names
    types = model.encoder.limits.types > 1 and typed
    with export_folder(folder, model, "onnx", licence) as draft:
        named_config(model.encoder.folder, model.classes).save_pretrained(draft)
        _write(module, draft / FILE, _batch(model, types, 3, 7))
        file = onnx.load(draft / FILE, load_external_data=False)
        file.metadata_props.add(key="classes", value=json.dumps(model.classes or ["value"]))
        onnx.save(file, draft / FILE)
        # of other sizes than the exported one
        batches = [_batch(model, types, *size) for size in ((1, 4), (4, 9))]
        for found, batch in zip(_run(draft / FILE, batches), batches, strict=True):
            _check(found, module, batch)


def _write(module: Classifier, path: Path, batch: dict[str, Tensor]) -> None:
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    large = module.source.facts.parameters > LARGE
    logger = logging.getLogger("torch.onnx")  # it misses torchvision, aloud
    level, logger.level = logger.level, logging.ERROR
    try:
        program = torch.onnx.export(
            _Logits(module).eval(),
            (),
            kwargs=batch,
            input_names=list(batch),
            output_names=["logits"],
            dynamic_shapes={n: {a: axes[a] for a in range(t.dim())} for n, t in batch.items()},
            dynamo=True,
            verbose=False,
        )
        assert program is not None  # since `dynamo`
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # stack traces, with this machine's paths
        program.save(path, external_data=large)
    except Exception as error:  # torch raises a dozen types here
        what = f"the encoder cannot be exported to ONNX: {brief(error, 160)}"
        raise EncoderError(f"{what}; allowed: {ELSE}") from error
    finally:
        logger.level = level


def _run(path: Path, batches: list[dict[str, Tensor]]) -> list[Any]:
    """Each batch's logits, as onnxruntime computes them."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        named = [{name: tensor.numpy() for name, tensor in batch.items()} for batch in batches]
        return [session.run(None, inputs)[0] for inputs in named]
    except Exception as error:  # onnxruntime has a dozen types, which share no other base
        what = f"onnxruntime does not run the encoder's ONNX file: {brief(error, 160)}"
        raise EncoderError(f"{what}; allowed: {ELSE}") from error


def _batch(model: Model, types: bool, rows: int, tokens: int) -> dict[str, Tensor]:
    """Random token ids, the last row padded."""
    generator = torch.Generator().manual_seed(rows)
    limits, shape = model.encoder.limits, (rows, tokens)
    mask = torch.ones(shape, dtype=torch.int64)
    mask[-1, tokens // 2 :] = 0
    ids = torch.randint(limits.ids, shape, generator=generator)
    batch = {"input_ids": ids.where(mask == 1, model.task.pad_id), "attention_mask": mask}
    if types:
        batch["token_type_ids"] = torch.randint(limits.types, shape, generator=generator)
    if model.module.compares:
        batch["second"] = torch.randint(1, tokens // 2 + 1, (rows,), generator=generator)
    return batch


@torch.no_grad()
def _check(found: Any, module: Classifier, batch: dict[str, Tensor]) -> None:
    expected = module(**batch).numpy()
    off = float(np.abs(found - expected).max())
    if not off <= NEAR * max(1.0, float(np.abs(expected).max())):
        raise FishpalError(f"the ONNX file's logits are off by {off:.2g}; allowed: {NEAR:g}")
