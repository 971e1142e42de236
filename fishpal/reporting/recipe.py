"""How long a task's methods were trained and at which rates, and why."""

from collections.abc import Mapping

from fishpal.records.pilot import Arm
from fishpal.reporting.grid import TaskResults
from fishpal.reporting.markdown import code, codes, escape, flat, table

FLOOR = "the constant answer of the fit part"


def recipe(results: TaskResults) -> str:
    """The number of updates and who found it, then the learning rates that were measured."""
    rates = rate_reasons(results) or "All learning rates are as params.yaml gives them."
    return f"{length_line(results)}\n\n{rates}"


def length_line(results: TaskResults) -> str:
    """How many updates, who found it, and what the pilot saw."""
    pilot = results.pilot
    found = "found by a pilot" if pilot.source == "pilot" else f"as `train.{pilot.source}` says"
    text = f"Every method is trained for {pilot.updates} updates, {found}."
    if not pilot.arms:
        return text
    arms = ", ".join(_arm(arm) for arm in pilot.arms)
    return (
        f"{text} The pilot took {results.pilot_seconds:.1f} s: its arms trained at a constant rate"
        " until they were dropped, or the last one's loss was flat. The lowest selection losses of"
        f" the averages of their weights: {arms}; {FLOOR} {pilot.constant_loss:.4f}."
    )


def _arm(arm: Arm) -> str:
    how = [f"{arm.updates} updates"]
    how += [f"{arm.factor:.3g} times its rate"] if arm.factor != 1 else []
    how += [f"{arm.share:g} of its size"] if arm.share != 1 else []
    if arm.behind is not None:
        how.append(f"at most {max(arm.behind, 0):.4f} behind the winner, one-sided at 95 %")
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
