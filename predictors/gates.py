"""The promotion gate: may a challenger replace the champion? Decided on later rows that neither was fitted on.

Which rows those are is `predictors.replay`'s business; what a promotion does to the database the product's.
`docs/adr/0008-the-gate.md` has the reasons, and how often the gate passes equal, worse and better models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.errors import FrameError
from predictors.frames import Array, expit, logit

__all__ = ["MARGIN", "MIN_EACH_CLASS", "Difference", "Verdict", "calibration_loss", "gate", "log_losses", "resampled"]

Target = npt.NDArray[np.int64]
# Two models are equal where the whole interval of their difference lies below this share of the champion's log loss,
# and holds zero.
MARGIN = 0.02
# Outcomes of each class without which later rows judge nothing.
MIN_EACH_CLASS = 10
RESAMPLES = 400
# So many numbers are resampled at a time: 16 MB.
_CHUNK = 2_000_000
# The recalibration is a convex problem in two unknowns, and Newton's method is there long before.
_NEWTON_STEPS = 30


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Challenger minus champion on the same rows, with its 95 % bootstrap interval; below zero is better."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate decided, with the paired difference in log loss (challenger minus champion) behind it."""

    passed: bool
    reason: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int = 0
    calibration: Difference | None = None


def log_losses(y: Target, p: Array) -> Array:
    """Return the logarithmic loss of each row."""
    q = np.clip(p, 1e-6, 1 - 1e-6)
    losses: Array = np.where(y == 1, -np.log(q), -np.log(1 - q))
    return losses


def calibration_loss(y: Target, p: Array) -> float:
    """Return how much mean log loss the best intercept and slope on the log-odds would take off; 0 is calibrated.

    The miscalibration part of the log loss under Cox's recalibration model (Biometrika 1958): unlike an error over
    bins it is smooth, and needs no choice of bins.
    """
    return max(float(_recalibration_gains(y, p, np.ones(len(y))).mean()), 0.0)


def gate(y: Target, challenger: Array, champion: Array, *, seed: int, weights: Array | None = None) -> Verdict:
    """Decide whether a challenger may replace the champion, on later rows that neither was fitted on.

    It passes where it is better: the whole 95 % interval of the paired difference in log loss lies below zero. Or
    where it is equal and better calibrated: that interval holds zero and ends below `MARGIN` of the champion's loss,
    and the whole interval of the paired difference in `calibration_loss` lies below zero. Else the champion stays:
    no proof of harm is no proof of use.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    challenger, champion : (n,) arrays of probabilities
    seed : int
        Of the bootstrap; the same numbers give the same verdict.
    weights : (n,) array, optional
        How many each row stands for, because others like it were contacted and judge nothing.

    Raises
    ------
    FrameError
        The arrays differ in length, or hold what is no probability.
    """
    for p in (challenger, champion):
        if p.shape != y.shape or not np.all((p >= 0) & (p <= 1)):
            raise FrameError("the gate needs one probability between 0 and 1 for each outcome")
    if min(int(y.sum()), int(len(y) - y.sum())) < MIN_EACH_CLASS:
        return Verdict(
            passed=False,
            rows=len(y),
            reason=f"too few later outcomes to judge by ({int(y.sum())} of {len(y)} rows had it); the old model stays",
        )
    w = np.ones(len(y)) if weights is None else weights / weights.mean()
    champion_losses = w * log_losses(y, champion)
    loss = resampled(w * log_losses(y, challenger) - champion_losses, seed)
    margin = MARGIN * float(champion_losses.mean())
    better, equal = loss.high < 0, loss.low <= 0 <= loss.high < margin
    calibration = (
        resampled(_recalibration_gains(y, challenger, w) - _recalibration_gains(y, champion, w), seed)
        if equal
        else None
    )
    calibrated = calibration is not None and calibration.high < 0
    if better:
        said = "better beyond noise"
    elif calibrated:
        said = f"equal within {margin:.4f}, and better calibrated ({calibration})"
    elif equal:
        said = f"equal within {margin:.4f}, but not better calibrated beyond noise ({calibration}); the old model stays"
    elif loss.low > 0:
        said = "worse beyond noise; the old model stays"
    else:
        said = f"not shown to be better, nor equal within {margin:.4f}; the old model stays"
    return Verdict(
        passed=better or calibrated,
        reason=f"log loss {loss} against the champion on {len(y)} later rows: {said}",
        difference=loss.value,
        low=loss.low,
        high=loss.high,
        rows=len(y),
        calibration=calibration,
    )


def resampled(values: Array, seed: int) -> Difference:
    """Return the mean with its 95 % bootstrap interval over rows."""
    means = np.concatenate([counts @ values / len(values) for counts in _draws(len(values), seed)])
    low, high = (float(q) for q in np.quantile(means, (0.025, 0.975)))
    return Difference(value=float(values.mean()), low=low, high=high)


def _draws(rows: int, seed: int) -> Iterator[Array]:
    """Yield how often each row was drawn in each resample, (some, n) at a time."""
    rng = np.random.default_rng(seed)
    size = max(1, _CHUNK // rows)
    for first in range(0, RESAMPLES, size):
        drawn = [rng.integers(0, rows, rows) for _ in range(min(size, RESAMPLES - first))]
        yield np.stack([np.bincount(draw, minlength=rows) for draw in drawn]).astype(np.float64)


def _recalibration_gains(y: Target, p: Array, rows: Array) -> Array:
    """Return what the best intercept and slope on the log-odds take off the log loss of each row, times its weight.

    The intercept and slope are least-loss values, so to first order their own noise does not move the mean gain:
    resampling these rows is enough, without fitting again in each resample.
    """
    z, target = logit(p), y.astype(np.float64)
    best, scale = np.array([0.0, 1.0]), 1.0
    loss = rows * _row_losses(z, target, best)
    plain = loss
    for _ in range(_NEWTON_STEPS):
        q = expit(best[0] + best[1] * z)
        weight, off = rows * q * (1 - q), rows * (q - target)
        gradient = np.array([off.sum(), off @ z])
        # A ridge keeps perfectly separated rows finite.
        curvature = np.array([[weight.sum() + 1e-6, weight @ z], [weight @ z, weight @ (z * z) + 1e-3]])
        tried = best - scale * np.linalg.solve(curvature, gradient)
        found = rows * _row_losses(z, target, tried)
        if found.sum() < loss.sum():
            best, loss, scale = tried, found, min(1.0, 4 * scale)
        else:  # a step that hurts was too long
            scale /= 8
    return plain - loss


def _row_losses(z: Array, target: Array, line: Array) -> Array:
    """Return the log loss of each row at the log-odds `line[0] + line[1] z`."""
    eta = line[0] + line[1] * z
    result: Array = np.logaddexp(0.0, eta) - target * eta
    return result
