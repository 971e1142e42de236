"""The options of the pilot's race."""

from dataclasses import dataclass, fields

from fishpal.common.checks import check
from fishpal.common.kinds import CriterionName
from fishpal.common.validate import Strict


@dataclass(frozen=True)
class RaceOptions(Strict):
    """What the pilot tries beside each kind at its rate and size.

    `rates` are multiples of a kind's rate. `criteria` race with the plan that each of them scores
    highest, of all those with one module a layer.
    """

    rates: tuple[float, ...] = (1.0,)
    criteria: tuple[CriterionName, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for each in fields(self):
            given = getattr(self, each.name)
            check(len(set(given)) == len(given), each.name, list(given), "each of them once")
        rates = 1.0 in self.rates and min(self.rates) > 0
        check(rates, "rates", list(self.rates), "numbers above 0, 1 among them")
