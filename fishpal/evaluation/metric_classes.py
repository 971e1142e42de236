"""The metrics as classes of the `evaluate` package, shipped with the project.

`evaluate.load("f1")` asks the hub for a script; these need neither hub nor network. They are for
what speaks that interface: the package takes seconds to import, so that the pipeline itself calls
the functions that they wrap.
"""

from typing import Any

import datasets
import evaluate
import numpy as np

from fishpal import metrics
from fishpal.common.kinds import MetricName

MOST = 2**15  # classes, as many as a confusion matrix of 8 GiB has


class NumpyMetric(evaluate.Metric):  # type: ignore[misc]
    """A metric of `fishpal.metrics` under the interface of `evaluate.Metric`.

    Subclasses have a `function`, and `value_type`, the Arrow type of labels and predictions.
    `compute(predictions=..., references=..., classes=...)` returns `{name: score}`, and raises
    `DataError` as the function does. Without `classes`, they are as many as occur.
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

    def compute(
        self, *, predictions: Any, references: Any, classes: int | None = None, **more: Any
    ) -> dict[str, float]:
        """`{name: score}` of predictions and references (n,), all of them at once."""
        # Before Arrow's columns cast without a word, as 1.5 to class 1.
        if MetricName(self.function.__name__).of_numbers:
            metrics.check_numbers(references, predictions)
        elif classes is None:
            metrics.check_classes(references, predictions, MOST)
            classes = 1 + int(max(np.max(references), np.max(predictions)))
        else:
            metrics.check_classes(references, predictions, classes)
        given = {"predictions": predictions, "references": references, "classes": classes}
        found: dict[str, float] = super().compute(**given, **more)
        return found

    def _compute(self, predictions: Any, references: Any, classes: int | None) -> dict[str, float]:
        score = type(self).function(np.asarray(references), np.asarray(predictions), classes or 1)
        return {self.function.__name__: score}


def _class_of(name: MetricName, function: metrics.Metric) -> type[NumpyMetric]:
    value_type = "float64" if name.of_numbers else "int64"
    members = {"function": staticmethod(function), "value_type": value_type}
    return type(name, (NumpyMetric,), members)


CLASSES = {name: _class_of(name, function) for name, function in metrics.METRICS.items()}
