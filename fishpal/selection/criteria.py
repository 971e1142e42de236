"""Criteria: Fisher statistics of a candidate → one score, higher is better.

Each is a plain function of a table's row. All are additive: a plan scores the sum over its
layers, an empty layer 0. `kernel` is no function of rows and lives in `selection.kernel`.
With g the per-example gradient, P the candidate's parameters and n the examples measured:
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fishpal.common.kinds import CriterionName, ModuleKind, Site
from fishpal.params.options import LearningRates
from fishpal.records.fisher_table import CandidateRow, FisherTable

THESIS_SCALE = dict.fromkeys(ModuleKind, 1.0) | {
    ModuleKind.PREFIX: 10000.0,
    ModuleKind.ADAPTER: 5.0,
}
THESIS_TENSORS = {ModuleKind.LORA: tuple(f"{site}_b" for site in Site)}


@dataclass(frozen=True)
class Context:
    """What a criterion may use beside the row: rates by kind, and by word where they differ."""

    table: FisherTable
    rates: LearningRates
    sized: Mapping[str, float]


Criterion = Callable[[CandidateRow, Context], float]


def thesis(row: CandidateRow, context: Context) -> float:
    """mean_i F_i × {prefix 10000, adapter 5, others 1}, LoRA's A left out.

    The rule of the FishPAL thesis with its hand-set scales. Not invariant to anything; kept as a
    baseline.
    """
    traces = row.tensor_traces
    names = [name for name in THESIS_TENSORS.get(row.kind, tuple(traces)) if name in traces]
    trace = sum(traces[name] for name in names)
    parameters = sum(row.tensor_parameters[name] for name in names)
    return THESIS_SCALE[row.kind] * trace / parameters


def mean(row: CandidateRow, context: Context) -> float:
    """tr F / P: mean Fisher information a parameter (the thesis without its scales).

    Not invariant to rescaling a parameter (θ → cθ divides it by c²), nor to adding parameters
    that the output ignores.
    """
    return row.mean


def trace(row: CandidateRow, context: Context) -> float:
    """tr F: expected squared gradient norm (as in TAS/Fisher pruning, Theis et al. 2018).

    Unchanged by adding parameters that the output ignores; not by rescaling.
    """
    return row.trace


def adam(row: CandidateRow, context: Context) -> float:
    """η_kind · ‖mean g‖₁: first-order decrease of the loss in one Adam step.

    Adam's first step is η · sign(g) (Kingma & Ba 2015, §2), so the decrease is η Σ_i |mean g_i|.
    Invariant to rescaling the loss's steps only through η; sees only where training starts.
    """
    rate: float = getattr(context.rates, row.kind.value)
    return context.sized.get(row.key[1], rate) * row.gradient_l1


def snr(row: CandidateRow, context: Context) -> float:
    """n ‖mean g‖² / (tr F − ‖mean g‖²): signal to noise of the mean gradient.

    About 1 where the gradient is pure noise. Invariant to rescaling all of a candidate's
    parameters. Meant for the empirical estimator, whose trace is the gradients' second moment.
    """
    noise = row.trace - row.gradient_sq_l2
    signal = context.table.examples * row.gradient_sq_l2
    return signal / noise if noise > 0 else 0.0


def parameters(row: CandidateRow, context: Context) -> float:
    """P: bigger is better. A baseline that measures nothing."""
    return float(row.parameters)


def depth(row: CandidateRow, context: Context) -> float:
    """±(layer + 1) / layers: deeper is better, but not for a prefix. A baseline as well."""
    share = (row.layer + 1) / context.table.encoder.layers
    return -share if row.kind == ModuleKind.PREFIX else share


ROW_CRITERIA: dict[CriterionName, Criterion] = {
    CriterionName(each.__name__): each
    for each in (thesis, mean, trace, adam, snr, parameters, depth)
}


def score_rows(
    name: CriterionName,
    table: FisherTable,
    rates: LearningRates,
    sized: Mapping[str, float] = MappingProxyType({}),
) -> dict[tuple[int, str], float]:
    """Every candidate's score under an additive criterion, by its key."""
    context = Context(table, rates, sized)
    return {row.key: ROW_CRITERIA[name](row, context) for row in table.rows}
