"""fishpal as an estimator of scikit-learn."""

from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from fishpal.api.encoder import TextEncoder, load_encoder
from fishpal.api.labels import NO_LABEL, is_list, is_number, is_whole, single
from fishpal.api.steps import fit
from fishpal.api.task import Task
from fishpal.common.errors import DataError, brief
from fishpal.params.options import HeadOptions, TrainOptions
from fishpal.records.plan import Plan


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Texts, or pairs of texts, to classes, for `cross_val_score`, pipelines and the like.

    Parameters:
        encoder: from `load_encoder`, or what it takes. One that is loaded is shared by all folds.
        plan: what is trained; None: measured and selected on the rows of each fit.
        options, head: as `fishpal.fit` takes them.
        max_length: tokens that a text is cut to.
        selection: rows, or the share of rows, that checkpoints are picked on.
        seed: of the cut, the modules' start, dropout and the order of examples.

    Attributes after `fit`: `classes_`, sorted, and `model_`, the `fishpal.Model`, whose classes are
    these as texts (of 1.0: 1, as in a `Task`).
    """

    def __init__(  # scikit-learn wants every parameter here, by name
        self,
        encoder: TextEncoder | str | Path,
        plan: Plan | None = None,
        options: TrainOptions | None = None,
        head: HeadOptions | None = None,
        max_length: int = 128,
        selection: int | float = 0.1,
        seed: int = 0,
    ) -> None:
        self.encoder = encoder
        self.plan = plan
        self.options = options
        self.head = head
        self.max_length = max_length
        self.selection = selection
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's name
        """Train on texts X and as many labels y, texts or whole numbers.

        Raises:
            DataError: naming the row of a label that is missing, or no class.
            FishpalError: as `Task` and `fishpal.fit`.
        """
        classes, index = np.unique(_checked(y), return_inverse=True)
        if len(classes) == 1:
            allowed = "two classes or more"
            raise DataError(f"all labels are {brief(str(classes[0]))}; allowed: {allowed}")
        task = Task.from_lists(
            X,
            index.tolist(),
            classes=range(len(classes)),
            max_length=self.max_length,
            selection=self.selection,
            seed=self.seed,
        )
        encoder = self.encoder
        if not isinstance(encoder, TextEncoder):
            encoder = load_encoder(encoder)
        model = fit(encoder, task, self.plan, self.seed, self.options, self.head)
        names = tuple(str(int(c) if is_number(c) and is_whole(c) else c) for c in classes)
        if len(set(names)) == len(names):  # of a type of one's own they may not be
            model.module.task = replace(model.task, labels=names)
        self.classes_, self.model_ = classes, model  # both, or what an earlier fit left
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The labels (n), as `fit` got them."""
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities (n, C) in the order of `classes_`."""
        check_is_fitted(self)
        return self.model_.predict_proba(X)

    def __sklearn_tags__(self) -> Any:
        """Texts, not numbers: scikit-learn need not look for NaN in them."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _checked(y: Any) -> NDArray[Any]:
    """Labels as an array (n,); `DataError` names the row of one that is no class.

    NumPy alone would take NaN and 0.5 for classes, and end in an error of its own where labels are
    of several types.
    """
    if not is_list(y):
        raise DataError(f"labels is {brief(repr(y))}; allowed: a list, with one for each text")
    array = np.asarray(y) if hasattr(y, "__array__") else None
    if array is not None and array.ndim == 2 and array.shape[1] == 1:
        array = array.ravel()  # as scikit-learn takes a column
    values = list(map(single, y)) if array is None else list(array)
    for row, value in enumerate(values):
        found = f"labels: row {row + 1} is {brief(repr(value))}"
        if isinstance(value, NO_LABEL):
            raise DataError(f"{found}; allowed: one class a row")
        if pd.isna(value):
            raise DataError(f"{found}, missing; allowed: a class for each text")
        if is_number(value) and not is_whole(value):
            numbers = "for numbers, fishpal.fit on a fishpal.Task with regression=True"
            raise DataError(f"{found}; allowed: classes, texts or whole numbers ({numbers})")
        if _kind(value) != _kind(values[0]):
            first = brief(repr(values[0]))
            raise DataError(f"{found}, row 1 is {first}; allowed: texts alone, or numbers alone")
    return _exact(values) if array is None else array


def _exact(values: list[Any]) -> NDArray[Any]:
    """As an array, of Python's numbers where NumPy would round them: 2**63 and 1 as floats."""
    array = np.asarray(values)
    if array.dtype.kind != "f" or array.tolist() == values:
        return array
    return np.array(values, dtype=object)


def _kind(label: Any) -> type:
    """What labels have to have in common to be sorted; truth values count as numbers."""
    for kind in (str, Real, np.bool_):
        if isinstance(label, kind):
            return Real if kind is np.bool_ else kind
    return type(label)
