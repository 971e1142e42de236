"""Trained folders: what training changed, in safetensors and JSON, and nothing else.

`plan.json`, `card.json` (`TrainedCard`), `head.safetensors`, `modules.safetensors` (tensors
`<layer>.<kind>.<name>`, prefix MLPs folded away; absent without modules) and, after full
fine-tuning, `encoder.safetensors`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fishpal.common.errors import PlanError
from fishpal.common.files import read_json, replacing, write_json
from fishpal.common.validate import decode
from fishpal.encoders.encoder import facts_of, fingerprint
from fishpal.models.classifier import Classifier
from fishpal.modules.attach import build_modules
from fishpal.records.examples import TaskFacts
from fishpal.records.plan import Plan

VERSION = 1


@dataclass(frozen=True)
class Counts:
    """Parameters updated, kept at inference beyond the frozen encoder, and in all."""

    trainable: int
    kept: int
    total: int


@dataclass(frozen=True)
class TrainedCard:
    """What a trained folder belongs to.

    Attributes:
        encoder_sha256: `fingerprint` of the frozen encoder that the modules were trained in.
    """

    version: int
    task: TaskFacts
    seed: int
    pooling: Literal["mean", "cls"]
    encoder_sha256: str
    best_update: int
    parameters: Counts


def save(
    model: Classifier,
    plan: Plan,
    folder: str | Path,
    *,
    task: TaskFacts,
    seed: int,
    encoder_sha256: str,
    best_update: int,
) -> None:
    """Write a trained folder, whole or not at all.

    Args:
        encoder_sha256: of the encoder before training, since full fine-tuning changes it.
    """
    counts = model.parameter_counts(plan.encoder, plan.full)
    card = TrainedCard(
        VERSION, task, seed, model.pooling, encoder_sha256, best_update, Counts(**counts)
    )
    with replacing(folder) as draft:
        draft.mkdir()
        plan.save(draft / "plan.json")
        write_json(draft / "card.json", asdict(card))
        _write(draft / "head.safetensors", dict(model.head.named_parameters()))
        tensors = {
            f"{module.layer}.{module.kind}.{name}": tensor
            for module in model.candidates()
            for name, tensor in module.kept().items()
        }
        if tensors:
            _write(draft / "modules.safetensors", tensors)
        if plan.full:
            _write(draft / "encoder.safetensors", dict(model.encoder.named_parameters()))


def load(encoder: nn.Module, folder: str | Path) -> Classifier:
    """Restore a trained model to bit-equal logits, in eval mode.

    Args:
        encoder: the frozen encoder that it was trained in (`load_encoder`); it gets the modules
            attached, and after full fine-tuning the trained weights.

    Raises:
        PlanError: naming the file, where the folder is incomplete, malformed or belongs to
            another encoder or plan.
    """
    folder = Path(folder)
    card, plan = load_card(folder), Plan.load(folder / "plan.json")
    if facts_of(encoder) != plan.encoder or fingerprint(encoder) != card.encoder_sha256:
        raise PlanError(
            f"{folder}: was trained in another encoder (sha256 {card.encoder_sha256[:12]}…);"
            " allowed: that one"
        )
    head = nn.Linear(plan.encoder.hidden, card.task.outputs)
    model = Classifier(encoder, head, card.pooling)
    _restore(folder / "head.safetensors", "head", head.load_state_dict)
    if plan.full:
        _restore(folder / "encoder.safetensors", "encoder", encoder.load_state_dict)
    modules = build_modules(plan.layers, plan.encoder.hidden, plan.modules, seed=0)
    if modules:
        tensors = _read(folder / "modules.safetensors")
        for module in modules:
            start = f"{module.layer}.{module.kind}."
            own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            _check_shapes(folder / "modules.safetensors", start, module.kept(), own)
            module.load_kept(own)
        model.attach(modules)
    return model.to(next(encoder.parameters()).device).eval()


def load_card(folder: str | Path) -> TrainedCard:
    """The card of a trained folder."""
    path = Path(folder) / "card.json"
    card: TrainedCard = decode(TrainedCard, read_json(path), str(path))
    if card.version != VERSION:
        raise PlanError(f"{path}: version is {card.version}; allowed: {VERSION}")
    return card


def _restore(path: Path, what: str, load_state: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = _read(path)
    try:
        load_state(tensors)
    except RuntimeError as error:
        raise PlanError(f"{path}: does not fit the {what} of this plan") from error


def _check_shapes(
    path: Path, start: str, expected: dict[str, Tensor], found: dict[str, Tensor]
) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    if wanted != shapes:
        raise PlanError(f"{path}: {start}* holds {shapes}; allowed by the plan: {wanted}")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise PlanError(f"{path}: cannot be read: {error}") from error


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)
    except SafetensorError as error:  # a full disk, for one
        raise OSError(f"{path.name}: {error}") from error
