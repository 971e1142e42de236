"""How long a task's methods were trained and at which rates, and why."""

from fishpal.records.pilot import Arm, Pilot
from fishpal.reporting.grid import TaskResults
from fishpal.reporting.markdown import code, escape, table

FLOOR = "the constant answer of the fit part"


def recipe(results: TaskResults) -> str:
    """The number of updates and who found it, then the learning rates."""
    return "\n\n".join([_length(results.pilot, results.pilot_seconds), _rates(results)])


def _length(pilot: Pilot, seconds: float) -> str:
    found = "found by a pilot" if pilot.source == "pilot" else f"as `train.{pilot.source}` says"
    text = f"Every method is trained for {pilot.updates} updates, {found}."
    if not pilot.arms:
        return text
    arms = ", ".join(_arm(arm) for arm in pilot.arms)
    return (
        f"{text} The pilot took {seconds:.1f} s: its arms trained at a constant rate until they"
        " were dropped, or the last one's loss was flat. Their lowest selection losses:"
        f" {arms}; {FLOOR} {pilot.constant_loss:.4f}."
    )


def _arm(arm: Arm) -> str:
    diverged = ", diverged" if arm.diverged else ""
    return f"{code(arm.kind)} {arm.best:.4f} ({arm.updates} updates{diverged})"


def _rates(results: TaskResults) -> str:
    rows: dict[str, list[str]] = {}
    for method in results.methods:
        for kind, why in method.plan.reason.rates.items():
            numbers = (why.rate, why.usual, why.by_step, why.by_length, why.step, why.signal)
            rows[kind] = [escape(kind), *(f"{number:.3g}" for number in numbers)]
    if not rows:
        return "All learning rates are as params.yaml gives them."
    header = ["kind", "peak rate", "= usual", "× by η*", "× by length", "η*", "z of the gradients"]
    return table(header, list(rows.values()))
