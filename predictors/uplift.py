"""Who gains from being contacted: a linear S-learner with interactions.

One logistic regression of the outcome on the features, the treatment, and their products; the gain of a row is its
probability with treatment less that without. Whether enough outcomes were observed to unlock it is decided by the
service.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from predictors.errors import FrameError, LockedError, NotEnoughDataError
from predictors.frames import Array, FrameEncoder, as_polars, check_target, expit

# Outcomes that each arm needs before a ranking by gain is more than noise.
MIN_OUTCOMES_PER_ARM = 300


class UpliftModel(BaseEstimator):
    """Expected gain in probability from treating.

    The model is logit P(y = 1 | x, t) = a + b'x + t (c + d'x), with an L2 penalty on b, c and d and the treatment
    coded -1/2 and +1/2, so that the penalty favours neither arm. Missing numbers take the median.

    Parameters
    ----------
    C : float
        Inverse penalty. The interactions are weak against the noise, hence strong shrinkage.
    """

    def __init__(self, C: float = 0.02) -> None:
        self.C = C

    def fit(self, X: Any, treatment: Any, y: Any) -> UpliftModel:
        """Fit to a randomised experiment.

        Parameters
        ----------
        X : polars.DataFrame or pandas.DataFrame, (n, k)
            Numbers and strings.
        treatment : array, (n,)
            1 where treated.
        y : array, (n,)
            1 where the outcome was observed.

        Raises
        ------
        NotEnoughDataError
            No rows, one class, or one arm only.
        """
        frame = as_polars(X)
        target = check_target(y, frame.height)
        arm = _arm(treatment, frame.height)
        self.encoder_ = FrameEncoder().fit(frame)
        plain = self.encoder_.transform(frame)
        self.skewed_ = np.array([_is_skewed(column) for column in plain.T], dtype=bool)
        matrix = self._tamed(plain)
        self.medians_ = np.array([_median(column) for column in matrix.T])
        self.scaler_ = StandardScaler().fit(self._filled(matrix))
        base = self.scaler_.transform(self._filled(matrix))
        self.model_ = LogisticRegression(C=self.C, max_iter=1000).fit(_design(base, arm - 0.5), target)
        return self

    def predict(self, X: Any) -> Array:
        """Return the expected gain in probability from treating, (n,), between -1 and 1."""
        matrix = self._tamed(self.encoder_.transform(X))
        if not len(matrix):
            return np.empty(0)
        base = self.scaler_.transform(self._filled(matrix))
        weights, intercept = self.model_.coef_[0], float(self.model_.intercept_[0])
        with_treatment, without = (
            expit(_design(base, np.full(len(base), side)) @ weights + intercept) for side in (0.5, -0.5)
        )
        return with_treatment - without

    def _tamed(self, matrix: Array) -> Array:
        """Take logarithms of amounts, whose few large values would otherwise decide the slope."""
        result: Array = np.where(self.skewed_, np.log1p(np.maximum(matrix, 0.0)), matrix)
        return result

    def _filled(self, matrix: Array) -> Array:
        return np.where(np.isnan(matrix), self.medians_, matrix)


def require_outcomes(treated: int, untreated: int) -> None:
    """Refuse while an arm has too few outcomes.

    Raises
    ------
    LockedError
        With how many are there and how many are needed.
    """
    if min(treated, untreated) < MIN_OUTCOMES_PER_ARM:
        raise LockedError(
            f"uplift is locked: outcomes of {treated} customers drawn to be contacted and of {untreated} held out are "
            f"known; it needs {MIN_OUTCOMES_PER_ARM} of each. Until then check-ins are ranked by risk"
        )


def _design(base: Array, arm: Array) -> Array:
    return np.column_stack([base, arm, base * arm[:, None]])


def _arm(treatment: Any, rows: int) -> npt.NDArray[np.float64]:
    arm = np.asarray(treatment, dtype=np.float64)
    if arm.shape != (rows,) or not np.isin(arm, (0, 1)).all():
        raise FrameError(f"the treatment must be 0 or 1 for each of the {rows} rows")
    if arm.min() == arm.max():
        raise NotEnoughDataError("only one arm was observed; the gain needs treated and untreated rows")
    return arm


def _median(column: Array) -> float:
    known = column[~np.isnan(column)]
    return float(np.median(known)) if len(known) else 0.0


def _is_skewed(column: Array) -> bool:
    """Say whether a column is an amount with a long tail: never negative, its largest value far beyond its mean."""
    known = column[~np.isnan(column)]
    return bool(len(known) and known.min() >= 0 and known.max() > 50 and known.max() > 5 * known.mean())
