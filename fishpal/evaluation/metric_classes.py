"""The metrics as classes of the `evaluate` package, shipped with the project.

`evaluate.load("f1")` asks the hub for a script; these need neither hub nor network. The package
takes seconds to import, so that only the stage that scores predictions imports this module.
"""

import tempfile
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from fishpal import metrics
from fishpal.common.kinds import MetricName


class NumpyMetric(evaluate.Metric):  # type: ignore[misc]
    """A metric of `fishpal.metrics` under the interface of `evaluate.Metric`.

    Subclasses have a `function`, and `value_type`, the Arrow type of labels and predictions.
    `compute(predictions=..., references=..., classes=...)` returns `{name: score}`.
    """

    function: metrics.Metric
    value_type = "int64"

    def _info(self) -> Any:
        # No `format="numpy"`: it hands float64 columns over as float32.
        value = datasets.Value(self.value_type)
        return evaluate.MetricInfo(
            description=self.function.__doc__ or "",
            citation="",
            inputs_description="predictions and references of shape (n,); classes, their number",
            features=datasets.Features({"predictions": value, "references": value}),
        )

    def _compute(self, predictions: Any, references: Any, classes: int) -> dict[str, float]:
        score = type(self).function(np.asarray(references), np.asarray(predictions), classes)
        return {self.function.__name__: score}


def _class_of(name: MetricName, function: metrics.Metric) -> type[NumpyMetric]:
    value_type = "float64" if name.of_numbers else "int64"
    members = {"function": staticmethod(function), "value_type": value_type}
    return type(name, (NumpyMetric,), members)


CLASSES = {name: _class_of(name, function) for name, function in metrics.METRICS.items()}


def compute_metrics(
    names: Sequence[str], labels: Any, predictions: Any, classes: int
) -> dict[str, float]:
    """Scores by name, in the order of `names`; arguments as in `fishpal.metrics`.

    Raises:
        ParamsError: an unknown name.
        DataError: no examples, unequal lengths, a class out of range, a value that is not finite.
    """
    scores: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            metrics.metric(name)  # the error that names the known ones
            kind = CLASSES[MetricName(name)]
            # Arrow's columns would cast without a word, as 1.5 to class 1.
            if MetricName(name).of_numbers:
                metrics.check_numbers(labels, predictions)
            else:
                metrics.check_classes(labels, predictions, classes)
            # keep_in_memory spares the file, but a folder is made anyway: not under ~/.cache
            scorer = kind(keep_in_memory=True, cache_dir=folder)
            scores |= scorer.compute(predictions=predictions, references=labels, classes=classes)
    return scores
