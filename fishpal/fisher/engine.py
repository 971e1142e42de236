"""The Fisher engine: every candidate's statistics in one pass a kind over a few examples."""

from dataclasses import replace
from itertools import chain, product

import torch

from fishpal.common.errors import ParamsError, caution
from fishpal.common.kinds import FisherMode, ModuleKind
from fishpal.encoders.encoder import Encoder
from fishpal.fisher.accumulate import project_head
from fishpal.fisher.full import project_full
from fishpal.fisher.measuring import Candidates, Measuring
from fishpal.fisher.sample import draw_sample
from fishpal.models.classifier import Classifier
from fishpal.models.device import pick_device
from fishpal.models.head import Head
from fishpal.models.precision import pick_precision
from fishpal.models.prefix_text import start_prefixes
from fishpal.modules.attach import build_module
from fishpal.params.module_options import SIZES, ModuleOptions
from fishpal.params.options import FisherOptions
from fishpal.records.facts import EncoderFacts, HeadFacts
from fishpal.records.fisher_table import VERSION, CandidateRow, FisherTable
from fishpal.records.grams import Grams
from fishpal.records.task import TokenisedTask

# Bytes of all kernels, (n (C − 1))² × 4 a candidate: they stand in memory here and, once more as
# float64, where the criterion reads them. 256 examples, 2 classes, 18 candidates: a 228th of it.
MOST_KERNELS = 2**30


def measure_fisher(
    encoder: Encoder,
    head: Head,
    task: TokenisedTask,
    modules: ModuleOptions,
    options: FisherOptions,
    *,
    progress: bool = True,
) -> tuple[FisherTable, Grams]:
    """Measure every candidate at its start, in eval mode (but see `dropout`).

    Under torchrun the batches are shared out over the processes (through accelerate), and
    every process returns the whole table.

    Args:
        encoder: from `load_encoder`; nothing of it changes.
        head: the head that training starts from (`start_head`).
        task: of its fit part `options.examples` are drawn (all, where it has fewer).

    Returns:
        The table, and what criteria and rates need beyond it: kernels where `options.gram` asks
        for them and they take at most `MOST_KERNELS`; else without, and without their C − 1
        backward passes a batch for C classes.

    Raises:
        AttachError: where the encoder cannot take one of the kinds, or is in use.
        DataError: where `fit` has fewer than two examples, or too little text to start from.
    """
    task.check(encoder.limits)
    device = pick_device(options.device)
    _check_options(modules, options, encoder.facts.hidden, device)
    encoder.to(device)
    model = Classifier(encoder, head.to(device))
    model.train(options.dropout).requires_grad_(False)
    sample = draw_sample(task, options)
    facts, count = encoder.facts, len(sample.examples)
    candidates = facts.layers * len(modules.candidates(options.kinds))
    options = _affordable(_resolved(options, device), count, task.facts.outputs, candidates)
    logits, features = torch.zeros(count, task.facts.outputs), torch.zeros(count, head.in_features)
    measuring = Measuring(model, sample, options, logits, features)
    groups = _groups(model, modules, options)
    start_prefixes(list(chain(*groups)), encoder, task, options.seed)
    done = measuring.groups(groups, progress)
    found = {(each.layer, str(each.module)): each for each in done}
    words = [str(module) for module in modules.candidates(options.kinds)]
    keys = list(product(range(facts.layers), words))
    rows = tuple(found[key].row(count) for key in keys)
    kernels = {key: found[key].gram().float().numpy() for key in keys} if options.gram else {}
    projections = {key: found[key].projections.numpy() for key in keys}
    of_head = project_head(features, measuring.scores(), sample.half).numpy()
    of_full = project_full(model, sample, progress).numpy() if options.full else None
    table = _table(task.facts.name, facts, head.facts, modules, options, rows, count)
    labels = sample.labels.numpy()
    return table, Grams(logits.numpy(), labels, kernels, projections, of_head, of_full)


def _table(
    task: str,
    encoder: EncoderFacts,
    head: HeadFacts,
    modules: ModuleOptions,
    options: FisherOptions,
    rows: tuple[CandidateRow, ...],
    count: int,
) -> FisherTable:
    return FisherTable(
        version=VERSION,
        task=task,
        encoder=encoder,
        head=head,
        modules=modules,
        kinds=options.kinds,
        estimator=options.estimator,
        mode=options.mode,
        examples=count,
        seed=options.seed,
        gram=options.gram,
        rows=rows,
        precision=options.precision,  # type: ignore[arg-type]  # not auto any more
    )


def _check_options(
    modules: ModuleOptions, options: FisherOptions, hidden: int, device: torch.device
) -> None:
    if options.precision == "float16" and device.type == "cpu":
        caution("fisher.precision is float16 on a CPU: small gradients vanish; bfloat16 keeps them")
    for module in modules.candidates(options.kinds):
        kind, size = module.kind, module.size or modules.size(module.kind) or 0
        if kind != ModuleKind.PREFIX and size > hidden:
            what = f"modules.{kind}.{SIZES[kind]} is {size}, above the encoder's width {hidden}"
            caution(f"{what}: it gains nothing")
    if options.mode == FisherMode.JOINT and modules.prefix.lengths is not None:
        allowed = "null where fisher.mode is joint: a layer has one prefix"
        raise ParamsError(f"modules.prefix.lengths is {modules.prefix.lengths}; allowed: {allowed}")


def _resolved(options: FisherOptions, device: torch.device) -> FisherOptions:
    """The options with the precision that `auto` is on this device."""
    if options.precision != "auto":
        return options
    return replace(options, precision=pick_precision("auto", device, "fisher.precision"))


def _affordable(
    options: FisherOptions, examples: int, outputs: int, candidates: int
) -> FisherOptions:
    """The options, without kernels where those would take too much."""
    size = examples * max(outputs - 1, 1)
    taken = 4 * size**2 * candidates
    if not options.gram or taken <= MOST_KERNELS:
        return options
    found = f"{examples} examples and {outputs} classes would take {taken / 2**30:.1f} GiB"
    caution(f"fisher.gram: kernels of {found}, above 1: left out, and criterion kernel with them")
    return replace(options, gram=False)


def _groups(model: Classifier, sizes: ModuleOptions, options: FisherOptions) -> list[Candidates]:
    """Every candidate at its start, in groups that are measured together, as the mode says."""
    shapes, layers = model.source.shapes, range(model.source.facts.layers)
    groups: dict[object, Candidates] = {}
    for layer, word in product(layers, map(str, sizes.candidates(options.kinds))):
        module = build_module(word, layer, shapes[layer], sizes, options.seed).to(model.head.weight)
        # Kinds that start as the identity disturb nobody, so they can share one pass.
        alone = options.mode == FisherMode.ISOLATED and not module.starts_as_identity
        groups.setdefault(word if alone else None, []).append(module)
    return list(groups.values())
