"""Finding the best plan under a parameter limit: exactly where scores add, else by ascent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import prod

from fishpal.common.choices import Choice, Choices, modules_of
from fishpal.common.errors import PlanError

Scores = Mapping[tuple[int, str], float]
Total = Callable[[Choices], float]

EXHAUSTIVE = 1000  # plans that are scored one by one; 3 kinds at 6 layers make 729


@dataclass(frozen=True)
class Space:
    """The plans to choose from.

    Attributes:
        costs: parameters that a candidate (layer, word of one module) keeps.
        options: what each layer may get, lowest layer first; of equal choices the earlier one
            is taken.
        limit: parameters that a plan may keep; None: any number.
    """

    costs: Mapping[tuple[int, str], int]
    options: Sequence[Sequence[Choice]]
    limit: int | None = None

    def cost(self, plan: Choices) -> int:
        """Parameters that the plan keeps."""
        return sum(self._cost(layer, choice) for layer, choice in enumerate(plan))

    def fits(self, plan: Choices) -> bool:
        """Whether the plan is within the limit."""
        return self.limit is None or self.cost(plan) <= self.limit

    def best_sum(self, scores: Scores) -> Choices:
        """The plan of the highest total score within the limit, by dynamic programming.

        Exact: it keeps the best plan for every reachable number of parameters. Of equal plans
        the one whose choices come first in `options`, from layer 0 up, wins. `PlanError` where
        no plan is within the limit.
        """
        # parameters → (−score, ranks of the choices): comparing these tuples is the tie rule
        states: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
        for layer, allowed in enumerate(self.options):
            grown: dict[int, tuple[float, tuple[int, ...]]] = {}
            for spent, (loss, ranks) in states.items():
                for rank, choice in enumerate(allowed):
                    total = spent + self._cost(layer, choice)
                    if self.limit is not None and total > self.limit:
                        continue
                    gain = sum(scores[layer, str(module)] for module in modules_of(choice))
                    entry = (loss - gain, (*ranks, rank))
                    if total not in grown or entry < grown[total]:
                        grown[total] = entry
            # without a limit what was spent is of no account: one state, not every sum of sizes
            states = {0: min(grown.values())} if self.limit is None else grown
        if not states:
            raise self._too_small()
        _, ranks = min(states.values())
        return tuple(allowed[rank] for allowed, rank in zip(self.options, ranks, strict=True))

    def best_total(self, total: Total) -> Choices:
        """The plan of the highest total within the limit, for a total that is not a sum.

        All plans where there are at most `EXHAUSTIVE`; else coordinate ascent from each uniform
        plan that fits, over single changes and exchanges of two layers, until neither helps.
        Of equal plans the first in the order of `options` wins. `PlanError` as in `best_sum`.
        """
        if prod(len(allowed) for allowed in self.options) <= EXHAUSTIVE:
            plans = [plan for plan in product(*self.options) if self.fits(plan)]
            if not plans:
                raise self._too_small()
            return max(plans, key=total)  # the first of equals
        return max((self._climb(start, total) for start in self._starts()), key=total)

    def _climb(self, plan: Choices, total: Total) -> Choices:
        while True:
            better = (each for each in self._neighbours(plan) if self.fits(each))
            found = next((each for each in better if total(each) > total(plan)), None)
            if found is None:
                return plan
            plan = found

    def _neighbours(self, plan: Choices) -> Iterator[Choices]:
        """Every plan that differs at one layer, then every exchange of two layers' choices."""
        for layer, allowed in enumerate(self.options):
            for choice in allowed:
                if choice != plan[layer]:
                    yield (*plan[:layer], choice, *plan[layer + 1 :])
        for i, j in combinations(range(len(plan)), 2):
            if plan[i] != plan[j] and plan[i] in self.options[j] and plan[j] in self.options[i]:
                swapped = list(plan)
                swapped[i], swapped[j] = swapped[j], swapped[i]
                yield tuple(swapped)

    def _starts(self) -> list[Choices]:
        """Uniform plans that fit, as far as layers allow them; else the cheapest plan."""
        choices = dict.fromkeys(choice for allowed in self.options for choice in allowed)
        uniform = [
            tuple(choice if choice in allowed else allowed[0] for allowed in self.options)
            for choice in choices
        ]
        fitting = [plan for plan in dict.fromkeys(uniform) if self.fits(plan)]
        if not fitting and not self.fits(self._cheapest()):
            raise self._too_small()
        return fitting or [self._cheapest()]

    def _cheapest(self) -> Choices:
        return tuple(
            min(allowed, key=lambda choice, layer=layer: self._cost(layer, choice))  # type: ignore[misc]
            for layer, allowed in enumerate(self.options)
        )

    def _cost(self, layer: int, choice: Choice) -> int:
        return sum(self.costs[layer, str(module)] for module in modules_of(choice))

    def _too_small(self) -> PlanError:
        return PlanError(
            f"select.budget leaves {self.limit} parameters; allowed:"
            f" {self.cost(self._cheapest())} or more for a module at every layer, or"
            " select.allow_none: true"
        )
