"""A calibrator that may only help: it tempers over-confidence about the base rate, and is kept only if it helped.

The level of trouble drifts with the season. On Olist a calibrator of the logistic stage that also shifted the level,
fitted to the months before 2018-02, left a calibration error of .091 at purchase on the months after; the slope alone
left .049. The level therefore comes from the refit on all data, only the slope about the base rate is learned here, and
how far the level runs ahead of refits in `predictors.level`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from sklearn.base import BaseEstimator

from predictors.errors import NotEnoughDataError
from predictors.frames import Array, expit, logit

# Fewer outcomes of either class than this cannot say how far probabilities are off.
MIN_EACH_CLASS = 50


class SlopeCalibrator(BaseEstimator):
    """p' = sigmoid(anchor + slope * (logit(p) - anchor) + shift), with the anchor at the log-odds of the base rate.

    Parameters
    ----------
    slope : float
        1 leaves the probabilities as they are; below 1 draws them towards the base rate.
    anchor : float
        Log-odds that stay where they are.
    shift : float
        Added to all log-odds: how far the level runs ahead of refits (`predictors.level`).
    """

    # What was stored before there was a shift has none.
    shift = 0.0

    def __init__(self, slope: float = 1.0, anchor: float = 0.0, shift: float = 0.0) -> None:
        self.slope = slope
        self.anchor = anchor
        self.shift = shift

    def fit(self, p: Array, y: Any, weights: Array | None = None) -> SlopeCalibrator:
        """Learn the slope from probabilities and outcomes, after moving them to the level of the outcomes."""
        target = np.asarray(y)
        if target.size == 0 or target.min() == target.max():
            raise NotEnoughDataError("a calibrator needs rows with and without the outcome")
        self.anchor = float(logit(np.array([np.average(p, weights=weights)]))[0])
        z = logit(p)

        def loss(slope: float) -> float:
            tempered = expit(self.anchor + slope * (z - self.anchor))
            return mean_log_loss(levelled(tempered, target, weights), target, weights)

        self.slope = float(minimize_scalar(loss, bounds=(0.3, 1.5), method="bounded").x)
        return self

    def tempered(self, p: Array) -> Array:
        """Return the probabilities with the slope alone, (n,)."""
        return expit(self.anchor + self.slope * (logit(p) - self.anchor))

    def transform(self, p: Array) -> Array:
        """Return calibrated probabilities, (n,)."""
        return expit(self.anchor + self.slope * (logit(p) - self.anchor) + self.shift)

    def shifted(self, amount: float) -> SlopeCalibrator:
        """Return the same with another shift."""
        return SlopeCalibrator(slope=self.slope, anchor=self.anchor, shift=amount)


def guarded_calibrator(p: Array, y: Any, weights: Array | None = None) -> SlopeCalibrator:
    """Fit on all of `p`, `y` (in time order), but return the identity unless the same helped forward in time.

    The first half teaches, the second judges, by Brier score and log loss. `weights` say how many each row stands for.
    """
    target = np.asarray(y)
    w = np.ones(len(target)) if weights is None else weights
    half = len(target) // 2
    parts = (target[:half], target[half:])
    if any(min(part.sum(), len(part) - part.sum()) < MIN_EACH_CLASS for part in parts):
        return SlopeCalibrator()
    tried = SlopeCalibrator().fit(p[:half], parts[0], w[:half]).transform(p[half:])
    plain = p[half:]
    tried_error, plain_error = (np.average((q - parts[1]) ** 2, weights=w[half:]) for q in (tried, plain))
    logarithmic = mean_log_loss(tried, parts[1], w[half:]) < mean_log_loss(plain, parts[1], w[half:])
    return SlopeCalibrator().fit(p, target, w) if tried_error < plain_error and logarithmic else SlopeCalibrator()


def levelled(p: Array, y: Any, weights: Array | None = None) -> Array:
    """Shift the log-odds so that the mean probability equals the share of outcomes; one class only: unchanged."""
    return expit(logit(p) + shifted_to(p, float(np.average(y, weights=weights)), weights))


def shifted_to(p: Array, mean: float, weights: Array | None = None) -> float:
    """Return the shift in log-odds that gives probabilities a mean; 0 where the mean is not between 0 and 1."""
    if not 0 < mean < 1 or not len(p):
        return 0.0
    z = logit(p)
    return float(brentq(lambda amount: float(np.average(expit(z + amount), weights=weights)) - mean, -40, 40))


def mean_log_loss(p: Array, y: Any, weights: Array | None = None) -> float:
    """Return the mean logarithmic loss, of rows that stand for as many as their weights."""
    q = np.clip(p, 1e-6, 1 - 1e-6)
    return float(-np.average(y * np.log(q) + (1 - y) * np.log(1 - q), weights=weights))
