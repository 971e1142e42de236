"""After the pilot's race: what keeps fewer parameters than the winner, compared with it.

The best arm of each kind goes on where it is smaller; then every kind enters at shares of its size,
the largest first, the winner's kind before the others. All train as long as the winner took to its
best loss, and are compared with it example by example. A kind that is shown to be behind it at one
size is tried at no smaller one.
"""

from collections.abc import Callable, Iterator, Sequence

from fishpal.common.progress import tqdm
from fishpal.records.pilot import Arm
from fishpal.records.plan import Plan
from fishpal.training.arm import TrainedArm

Enter = Callable[[Plan, float], TrainedArm]


def compare_smaller(
    arms: Sequence[TrainedArm], enter: Enter, shares: Sequence[float], left: int, bar: tqdm
) -> Iterator[Arm]:
    """Let the smaller ones of the race's arms follow its winner, and yield records of new ones.

    Args:
        arms: of the race, which is over.
        enter: gives a fresh arm of a plan at a share of its size.
        shares: of every kind's size; without any, nothing is compared.
        left: updates that this may cost.
    """
    by_loss = sorted((arm for arm in arms if not arm.diverged), key=lambda arm: arm.best)
    winner, kinds = by_loss[0], {arm.kind: arm for arm in reversed(by_loss)}
    sizes, behind = {kind: arm.plan.modules for kind, arm in kinds.items()}, set[str]()

    def cost(arm: TrainedArm | None) -> int:
        done = 0 if arm is None else arm.run.result.curve[-1].update
        return max(0, winner.best_update - done)

    def follows(arm: TrainedArm) -> bool:
        nonlocal left
        if arm.kept >= winner.kept or cost(arm) > left:
            return False
        left -= cost(arm)
        arm.follow(winner, bar)
        behind.update([arm.kind] if arm.is_behind else [])
        return True

    if not shares:
        return
    for whole in sorted(kinds.values(), key=lambda arm: arm.best):
        follows(whole)
    for share in sorted(shares, reverse=True):
        for kind, whole in sorted(kinds.items(), key=lambda item: item[1].best):
            plan = whole.plan.shrunk(share)
            if plan.modules != sizes[kind] and kind not in behind and cost(None) <= left:
                sizes[kind], arm = plan.modules, enter(plan, share)
                arm.train_like(whole)
                if follows(arm):
                    yield arm.record(own_rate(arms, arm))


def own_rate(arms: Sequence[TrainedArm], arm: TrainedArm) -> float:
    """The rate of an arm's kind, which the first of the kind's arms has."""
    return next(each.planned_rate for each in arms if each.kind == arm.kind)
