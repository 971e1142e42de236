"""The closed lists that the whole project speaks in."""

from enum import StrEnum


class ModuleKind(StrEnum):
    """A parameter-efficient module that a layer can get."""

    PREFIX = "prefix"
    """Trained keys and values in front of the layer's own (Li & Liang 2021)."""
    ADAPTER = "adapter"
    """A bottleneck after, or beside, the feed-forward block (Houlsby 2019, He 2022)."""
    LORA = "lora"
    """Low-rank updates of projections, by default query's and value's (Hu et al. 2022)."""
    BIAS = "bias"
    """Changes of the layer's own biases, BitFit (Ben Zaken et al. 2022)."""
    IA3 = "ia3"
    """Scales of keys, values and the feed-forward block's inner activations (Liu et al. 2022)."""


class Site(StrEnum):
    """A projection of a layer that LoRA can update."""

    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    OUTPUT = "output"
    """Of the attention."""
    GATE = "gate"
    """Of a gated feed-forward block whose gate is a projection of its own."""
    UP = "up"
    """The feed-forward block's first; gate included where one linear makes both."""
    DOWN = "down"
    """The feed-forward block's last."""


class Estimator(StrEnum):
    """Which Fisher information is estimated.

    Where `FisherOptions.gram` is false, a batch of C classes costs the backward passes noted, and
    up to two for the observed labels' gradients; where it is true, C - 1, which give all.
    """

    EMPIRICAL = "empirical"
    """Observed labels; one backward pass. Not the Fisher far from the optimum (Kunstner 2019)."""
    EXACT = "exact"
    """Expectation over the model's own labels; C - 1 backward passes."""
    SAMPLED = "sampled"
    """One label drawn from the model a time; one backward pass, unbiased for `exact`."""


class FisherMode(StrEnum):
    """What is attached while a candidate is measured."""

    ISOLATED = "isolated"
    """Only the candidate's own kind, at every layer: no kind's start disturbs another's."""
    JOINT = "joint"
    """All kinds at every layer at once, as the thesis does."""


class HeadInit(StrEnum):
    """Where the classification head starts, in measuring and in training alike."""

    RANDOM = "random"
    """A seeded normal with the encoder's own initialiser range; bias of the constant answer."""
    PROBE = "probe"
    """Logistic (or ridge) regression on the frozen pooled features of the fit part."""


class CriterionName(StrEnum):
    """How candidates are scored; formulas in `selection.criteria` and `selection.kernel`."""

    THESIS = "thesis"
    MEAN = "mean"
    TRACE = "trace"
    ADAM = "adam"
    SNR = "snr"
    PARAMETERS = "parameters"
    DEPTH = "depth"
    KERNEL = "kernel"


class MetricName(StrEnum):
    """How predictions are scored; formulas in `fishpal.metrics`."""

    ACCURACY = "accuracy"
    F1 = "f1"
    MACRO_F1 = "macro_f1"
    MATTHEWS = "matthews"
    PEARSON = "pearson"
    SPEARMAN = "spearman"

    @property
    def of_numbers(self) -> bool:
        """A metric of a regression; the others are of classes."""
        return self in (MetricName.PEARSON, MetricName.SPEARMAN)
