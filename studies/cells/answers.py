"""How well trainings answered the evaluation rows, and how much better one of them does."""

from collections.abc import Sequence

import numpy as np

from fishpal.metrics import metric
from fishpal.reporting.bootstrap import ROUNDING, paired_difference
from studies.cells.store import Line

ACCURACY = metric("accuracy")


def right(lines: Sequence[Line], seeds: int) -> np.ndarray:
    """Which evaluation rows were answered rightly, (seeds, rows), padded to whole bytes."""
    longest = max(len(line["right"]) for line in lines[:seeds])
    texts = [line["right"].ljust(longest, "0") for line in lines[:seeds]]  # of none: all wrong
    bits = [np.frombuffer(bytes.fromhex(text), dtype=np.uint8) for text in texts]
    return np.unpackbits(np.stack(bits), axis=1).astype(np.int64)


def less(lines: Sequence[Line], best: Sequence[Line], seeds: int) -> str:
    """Points of accuracy with the 95 % interval over seeds and examples."""
    if lines is best:
        return ""
    # Padding is wrong in both, so that it takes nothing but a share of the mean; undone here.
    first, second = right(lines, seeds), right(best, seeds)
    scores = sum(line["score"] for line in [*lines[:seeds], *best[:seeds]])
    rows = round((first.sum() + second.sum()) / scores)
    one = np.ones(rows, dtype=np.int64)
    found = paired_difference(ACCURACY, one, first[:, :rows], second[:, :rows], 2)
    return points(100 * found.difference, 100 * found.low, 100 * found.high)


def points(difference: float, low: float, high: float) -> str:
    """A difference with its interval, in bold where that excludes zero."""
    text = f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if low > ROUNDING or high < -ROUNDING else text


def spread(scores: np.ndarray, bold: bool = False) -> str:
    """Mean ± standard deviation, of more than one."""
    mean = f"**{scores.mean():.1f}**" if bold else f"{scores.mean():.1f}"
    return mean + (f" ± {scores.std(ddof=1):.1f}" if len(scores) > 1 else "")
