"""The options of the report."""

from dataclasses import dataclass
from typing import Annotated

from fishpal.common.checks import Range, Seed
from fishpal.common.validate import Strict

MAX_RESAMPLES = 1_000_000  # a percentile's own error falls as 1 / √resamples: below 0.001
RESAMPLES = Range(lambda n: 0 < n <= MAX_RESAMPLES, f"an integer from 1 to {MAX_RESAMPLES}")


@dataclass(frozen=True)
class ReportOptions(Strict):
    """`resamples` and `confidence` of the bootstrap intervals."""

    resamples: Annotated[int, RESAMPLES] = 2000
    confidence: Annotated[float, Range(lambda share: 0 < share < 1, "between 0 and 1")] = 0.95
    seed: Seed = 0
