"""What each rule of keeping a look would have got, from the logits of every look."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fishpal.models.calibration import Calibration, calibrate
from fishpal.models.predict import losses
from fishpal.training.pick import Pick

Logits = NDArray[np.float32]
Labels = list[int] | list[float]
RULES = ("loss", "lowest", "refined", "last")


@dataclass(frozen=True)
class Look:
    """Logits of the selection and the evaluation part after `update` updates."""

    update: int
    selection: Logits
    evaluation: Logits


@dataclass(frozen=True)
class Outcome:
    """The look that a rule keeps, and its score and mean loss on the evaluation part."""

    rule: str
    update: int
    score: float
    loss: float


def outcomes(
    looks: Sequence[Look],
    selection: Labels,
    evaluation: Labels,
    score: Callable[[Logits], float],
) -> list[Outcome]:
    """One a rule of `RULES`: `loss` the lowest loss as it is; calibrated, `lowest` the lowest,
    `refined` the latest within a standard error of it (`fishpal.training.pick`), `last` the last.
    """
    calibrations = [calibrate(look.selection, selection) for look in looks]
    plain = [losses(look.selection, selection) for look in looks]
    refined = [
        losses(found.apply(look.selection), selection)
        for found, look in zip(calibrations, looks, strict=True)
    ]
    pick = Pick(latest=True)
    kept = {
        "loss": int(np.argmin([each.mean() for each in plain])),
        "lowest": int(np.argmin([each.mean() for each in refined])),
        "refined": [i for i, each in enumerate(refined) if pick.keeps(each)][-1],
        "last": len(looks) - 1,
    }
    found = []
    for rule, i in kept.items():
        calibration = Calibration() if rule == "loss" else calibrations[i]
        logits = looks[i].evaluation
        loss = float(losses(calibration.apply(logits), evaluation).mean())
        found.append(Outcome(rule, looks[i].update, round(score(logits), 6), round(loss, 6)))
    return found
