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
from predictors.issue import LogisticModel
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
    """Logistic regression over BG/NBD's log-odds and what else is known of a customer.

    Parameters
    ----------
    C : float
        Inverse penalty; strong, because the recency and frequency features say much the same.
    """

    def __init__(self, C: float = 0.003) -> None:
        self.C = C

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ChurnModel:
        self.model_ = LogisticModel(C=self.C).fit(X, y, sample_weight=sample_weight)
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return (n, 2) probabilities of an order and of silence."""
        return self.model_.predict_proba(X)

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
