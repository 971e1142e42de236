"""The options of the pilot's race."""

from dataclasses import dataclass

from fishpal.common.checks import check
from fishpal.common.validate import Strict


@dataclass(frozen=True)
class RaceOptions(Strict):
    """What the pilot tries beside each kind at its rate and size.

    `rates` are multiples of a kind's rate. `smaller` are shares of the winner's size (rank,
    bottleneck, length), each trained as long as the winner was, for rule `race` with a margin.
    """

    rates: tuple[float, ...] = (1.0,)
    smaller: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, each in (("rates", self.rates), ("smaller", self.smaller)):
            check(len(set(each)) == len(each), name, list(each), "each number once")
        rates = 1.0 in self.rates and min(self.rates) > 0
        check(rates, "rates", list(self.rates), "numbers above 0, 1 among them")
        shares = all(0 < share < 1 for share in self.smaller)
        check(shares, "smaller", list(self.smaller), "numbers between 0 and 1")
