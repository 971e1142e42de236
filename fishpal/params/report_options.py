"""The options of the report."""

import math
from dataclasses import dataclass
from typing import Annotated

from fishpal.common.checks import Range, Seed, check
from fishpal.common.validate import Strict

MAX_RESAMPLES = 1_000_000  # a percentile's own error falls as 1 / √resamples: below 0.001
RESAMPLES = Range(lambda n: 0 < n <= MAX_RESAMPLES, f"an integer from 1 to {MAX_RESAMPLES}")


@dataclass(frozen=True)
class ReportOptions(Strict):
    """`resamples` and `confidence` of the bootstrap intervals."""

    resamples: Annotated[int, RESAMPLES] = 2000
    confidence: Annotated[float, Range(lambda share: 0 < share < 1, "between 0 and 1")] = 0.95
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        least = math.ceil(2 / (1 - self.confidence) - 1e-9)  # so that one is beyond either end
        check(
            self.resamples >= least,
            "resamples",
            self.resamples,
            f"{least} or more at this confidence",
        )
