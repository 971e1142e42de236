"""fishpal as an estimator of scikit-learn."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from fishpal.api.encoder import TextEncoder, load_encoder
from fishpal.api.steps import fit
from fishpal.api.task import Task
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

    Attributes after `fit`: `classes_`, sorted, and `model_`, the `fishpal.Model`.
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
        """Train on texts X and as many labels y; `FishpalError` as `Task` and `fishpal.fit`."""
        self.classes_, index = np.unique(np.asarray(y), return_inverse=True)
        task = Task.from_lists(
            X,
            index.tolist(),
            classes=range(len(self.classes_)),
            max_length=self.max_length,
            selection=self.selection,
            seed=self.seed,
        )
        encoder = self.encoder
        if not isinstance(encoder, TextEncoder):
            encoder = load_encoder(encoder)
        self.model_ = fit(encoder, task, self.plan, self.seed, self.options, self.head)
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
