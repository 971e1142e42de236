"""How long a task's methods were trained and at which rates, and why."""

from collections.abc import Mapping

from fishpal.records.pilot import Arm
from fishpal.reporting.grid import TaskResults
from fishpal.reporting.markdown import code, codes, escape, flat, table

FLOOR = "the constant answer of the fit part"
RATES = "Peak rates, as each method's plan gives them to training."
REASONS = (
    "Why: what each measured rate is made of. A race's winner may have trained at another one."
)


def recipe(results: TaskResults) -> str:
    """The number of updates and who found it, the learning rates, and why those measured are so."""
    found = [length_line(results), rates_table(results), RATES]
    reasons = rate_reasons(results)
    return "\n\n".join([*found, reasons, REASONS] if reasons else found)


TAKEN = " Seed 0 of the winner may be the pilot's last arm, whose seconds hold its."


def length_line(results: TaskResults) -> str:
    """How many updates, who found it, and what the pilot saw."""
    pilot = results.pilot
    found = "found by a pilot" if pilot.source == "pilot" else f"as `train.{pilot.source}` says"
    ends = {cell.curve.updates[-1] for method in results.methods for cell in method.cells}
    most = "at most " if min(ends) < pilot.updates else ""
    text = f"Every method is trained for {most}{pilot.updates} updates, {found}."
    if most:
        text += f" `train.patience` ended trainings after {min(ends)} to {max(ends)}."
    if pilot.averaged:
        text += " They are at a constant rate, and the average of their weights is what counts."
    if not pilot.arms:
        return text
    arms = ", ".join(_arm(arm) for arm in pilot.arms)
    flat = pilot.source == "pilot" and pilot.flat
    rest = "the last one until its loss was flat" if flat else "the rest to the end"
    text = (
        f"{text} The pilot took {results.pilot_seconds:.1f} s: its arms trained at a constant rate"
        f" until they were dropped, {rest}. The lowest selection losses of"
        f" the averages of their weights: {arms}; {FLOOR} {pilot.constant_loss:.4f}."
    )
    return text + (TAKEN if pilot.averaged else "")


def _arm(arm: Arm) -> str:
    how = [f"{arm.updates} updates"]
    how += [f"{arm.factor:.3g} times its rate"] if arm.factor != 1 else []
    how += ["diverged"] if arm.diverged else []
    how += ["collapsed on the way"] if any(point.collapsed for point in arm.curve) else []
    return f"{code(arm.kind)} {arm.best:.4f} ({', '.join(how)})"


def rates_table(results: TaskResults) -> str:
    """Every method's learning rates, as its plan gives them: a row a method."""
    plans = {method.name: method.plan.to_json() for method in results.methods}
    found = {n: dict(flat(p["learning_rate"] | p.get("rates", {}))) for n, p in plans.items()}
    columns = list(dict.fromkeys(key for rates in found.values() for key in rates))
    rows = [
        [code(name), *(escape(rates[key]) if key in rates else "—" for key in columns)]
        for name, rates in found.items()
    ]
    return table(["method", *map(escape, columns)], rows)


def rate_reasons(results: TaskResults) -> str:
    """What the plans' records say of each rate that was measured: a row a kind and reason.

    Nothing where none was; methods of one reason share a row.
    """
    found: dict[tuple[str, str], tuple[dict[str, str], list[str]]] = {}
    for method in results.methods:
        rates = method.plan.to_json()["reason"].get("rates") or {}
        for kind, reason in rates.items():
            facts = dict(flat(reason, "" if isinstance(reason, Mapping) else "why"))
            found.setdefault((kind, repr(facts)), (facts, []))[1].append(method.name)
    columns = list(dict.fromkeys(key for facts, _ in found.values() for key in facts))
    rows = [
        [code(kind), *(escape(facts.get(key, "—")) for key in columns), codes(methods)]
        for (kind, _), (facts, methods) in found.items()
    ]
    return table(["kind", *map(escape, columns), "methods"], rows) if rows else ""
