"""Who will not order again within the horizon: BG/NBD, corrected by what past snapshots taught.

The correction is learned where the horizon has already passed. Where the history is too short for the horizon
asked about, the ranking is learned on a shorter one and BG/NBD carries the level to the longer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin

from predictors.errors import FeatureMismatchError
from predictors.frames import Array, as_polars, check_target, expit, logit
from predictors.issue import BoostingModel, LogisticModel
from predictors.purchases import BetaGeoModel

# Log-odds of silence by BG/NBD over the horizon in question.
SILENCE = "silence_log_odds"


def with_silence(frame: pl.DataFrame, purchases: BetaGeoModel, horizon_days: int) -> pl.DataFrame:
    """Add what BG/NBD says about the horizon, and P(alive)."""
    silent = purchases.silent(frame, horizon_days / 7)
    return frame.with_columns(pl.Series(SILENCE, logit(silent)), pl.Series("alive", purchases.alive(frame)))


class PurchasesModel(ClassifierMixin, BaseEstimator):
    """BG/NBD's own probability of silence, as a classifier: nothing else is learned from the labels."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> PurchasesModel:
        frame = as_polars(X)
        check_target(y, frame.height)
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return (n, 2) probabilities of an order and of silence."""
        frame = as_polars(X)
        if SILENCE not in frame.columns:
            raise FeatureMismatchError(f"the frame lacks the column {SILENCE}; add it by `with_silence`")
        z = frame[SILENCE].cast(pl.Float64).fill_null(0.0).fill_nan(0.0).to_numpy()
        p = expit(z)
        return np.column_stack([1 - p, p])

    def predict(self, X: Any) -> Any:
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int64)


class ChurnModel(ClassifierMixin, BaseEstimator):
    """What a past window taught: the mean log-odds of logistic regression and gradient boosting over BG/NBD's.

    Parameters
    ----------
    seed : int
        Of the boosting.
    C : float
        Inverse penalty of the regression; strong, because the recency and frequency features say much the same.
    boosting_from : int or None
        Outcomes of each class from which boosting has a say; None: never.
    stretched : bool
        The trees' log-odds get the spread of the regression's. For a horizon beyond all windows: customers differ
        more over a longer time, BG/NBD's log-odds say by how much, and trees cannot follow beyond what they saw.
    """

    def __init__(
        self, seed: int = 0, C: float = 0.003, boosting_from: int | None = 200, stretched: bool = False
    ) -> None:
        self.seed = seed
        self.C = C
        self.boosting_from = boosting_from
        self.stretched = stretched

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ChurnModel:
        frame = as_polars(X)
        target = check_target(y, frame.height)
        self.regression_ = LogisticModel(C=self.C).fit(frame, target, sample_weight=sample_weight)
        self.boosting_: BoostingModel | None = None
        self.classes_ = np.array([0, 1])
        if self.boosting_from is None or min(target.sum(), len(target) - target.sum()) < self.boosting_from:
            return self
        # Few and small trees: the windows inside CDNOW's history liked neither 60 nor 200 of them better.
        self.boosting_ = BoostingModel(
            seed=self.seed, learning_rate=0.04, max_iter=100, max_leaf_nodes=4, min_samples_leaf=100,
            l2_regularization=20.0,
        ).fit(frame, target, sample_weight=sample_weight)  # fmt: skip
        straight, trees = (logit(model.predict_proba(frame)[:, 1]) for model in (self.regression_, self.boosting_))
        self.middle_ = float(trees.mean())
        self.stretch_ = float(straight.std() / trees.std()) if self.stretched and trees.std() > 0 else 1.0
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return (n, 2) probabilities of an order and of silence."""
        straight = self.regression_.predict_proba(X)
        if self.boosting_ is None or not len(straight):
            return straight
        trees = self.middle_ + self.stretch_ * (logit(self.boosting_.predict_proba(X)[:, 1]) - self.middle_)
        p = expit((logit(straight[:, 1]) + trees) / 2)
        return np.column_stack([1 - p, p])

    def predict(self, X: Any) -> Any:
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int64)


class ChurnBlend:
    """Fitted parts put together: BG/NBD, the models of one or more learning windows, and the level.

    Parameters
    ----------
    purchases : BetaGeoModel
        Fitted; gives each row its log-odds of silence over `horizon_days`.
    members : sequence of (model, shift)
        Each model's log-odds are shifted before the mean is taken; none: BG/NBD alone.
    level_shift : float
        Added to BG/NBD's log-odds where it stands alone.
    """

    def __init__(
        self,
        purchases: BetaGeoModel,
        horizon_days: int,
        members: Sequence[tuple[ChurnModel, float]] = (),
        level_shift: float = 0.0,
    ) -> None:
        self.purchases = purchases
        self.horizon_days = horizon_days
        self.members = tuple(members)
        self.level_shift = level_shift

    def predict_proba(self, X: Any) -> Array:
        """Return (n, 2) probabilities of an order and of silence, for rows of `customer_features`."""
        frame = with_silence(as_polars(X), self.purchases, self.horizon_days)
        if self.members:
            z = np.mean([logit(model.predict_proba(frame)[:, 1]) + shift for model, shift in self.members], axis=0)
        else:
            z = frame[SILENCE].to_numpy() + self.level_shift
        p = expit(z)
        return np.column_stack([1 - p, p])
