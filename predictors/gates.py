"""The promotion gate: may a challenger replace the champion? Decided on later rows that neither was fitted on.

Which rows those are, its callers decide; what a promotion does to the database to the product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.frames import Array

__all__ = ["Verdict", "gate", "log_losses"]

Target = npt.NDArray[np.int64]
RESAMPLES = 200
# A challenger may be worse by this share of the champion's log loss before it counts as worse at all: two runs
# that differ only by noise must not refuse each other.
NON_INFERIORITY = 0.02


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate decided, with the paired difference in log loss (challenger minus champion) behind it."""

    passed: bool
    reason: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int = 0


def log_losses(y: Target, p: Array) -> Array:
    """Return the logarithmic loss of each row."""
    q = np.clip(p, 1e-6, 1 - 1e-6)
    losses: Array = np.where(y == 1, -np.log(q), -np.log(1 - q))
    return losses


def gate(y: Target, challenger: Array, champion: Array, *, seed: int) -> Verdict:
    """Decide whether a challenger may replace the champion, on later rows that neither was fitted on.

    It is refused where it is worse beyond noise (the whole 95 % interval of the paired difference in log loss lies
    above zero) AND by more than `NON_INFERIORITY` of the champion's loss. All else passes: a retrain on fresher data
    that is equal within noise is what a shop wants.
    """
    losses = log_losses(y, challenger) - log_losses(y, champion)
    difference = float(losses.mean())
    rng = np.random.default_rng(seed)
    means = np.array([losses[rng.integers(0, len(losses), len(losses))].mean() for _ in range(RESAMPLES)])
    low, high = (float(q) for q in np.quantile(means, (0.025, 0.975)))
    margin = NON_INFERIORITY * float(log_losses(y, champion).mean())
    passed = not (low > 0 and difference > margin)
    verdict = (
        f"worse beyond noise and beyond the margin of {margin:.4f}"
        if not passed
        else "better beyond noise"
        if high < 0
        else f"no worse than noise or the margin of {margin:.4f} allow"
    )
    reason = (
        f"log loss {difference:+.4f} [{low:+.4f}, {high:+.4f}] against the champion on {len(y)} later rows; {verdict}"
    )
    return Verdict(passed=passed, reason=reason, difference=difference, low=low, high=high, rows=len(y))
