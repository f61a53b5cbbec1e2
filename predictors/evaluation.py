"""How good probabilities were: metrics with bootstrap intervals, named baselines, and the promotion gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from predictors.frames import Array

Target = npt.NDArray[np.int64]
RESAMPLES = 200
# A challenger may be worse by this share of the champion's log loss before it counts as worse at all: two runs
# that differ only by noise must not refuse each other.
NON_INFERIORITY = 0.02


def roc_auc(y: Target, p: Array) -> float:
    """Return the area under the ROC curve (ties count half); NaN where only one class is there."""
    positives = int(y.sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return float("nan")
    ranks: Array = np.asarray(rankdata(p), dtype=np.float64)
    return float((ranks[y == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(y: Target, p: Array) -> float:
    """Return the mean precision over the positives, walking down the ranking; equal scores count as one step."""
    positives = int(y.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-p, kind="stable")
    scores, hits = p[order], np.cumsum(y[order])
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    reached: Array = hits[last].astype(np.float64)
    recall, precision = reached / positives, reached / (last + 1)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def brier(y: Target, p: Array) -> float:
    """Return the mean squared error of the probabilities."""
    return float(np.mean((p - y) ** 2))


def calibration_error(y: Target, p: Array) -> float:
    """Return the expected calibration error over ten bins of equal counts."""
    edges = np.quantile(p, np.linspace(0, 1, 11))
    bins = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, 9)
    counts = np.bincount(bins, minlength=10)
    gap = np.abs(np.bincount(bins, weights=y, minlength=10) - np.bincount(bins, weights=p, minlength=10))
    return float(gap.sum() / counts.sum())


def log_losses(y: Target, p: Array) -> Array:
    """Return the logarithmic loss of each row."""
    q = np.clip(p, 1e-6, 1 - 1e-6)
    losses: Array = np.where(y == 1, -np.log(q), -np.log(1 - q))
    return losses


METRICS: Mapping[str, Callable[[Target, Array], float]] = {
    "auc": roc_auc,
    "average_precision": average_precision,
    "brier": brier,
    "ece": calibration_error,
}


def measure(y: Target, p: Array, *, seed: int, resamples: int = RESAMPLES) -> dict[str, dict[str, float | None]]:
    """Return every metric with its 95 % bootstrap interval.

    Returns
    -------
    dict
        {metric: {"value", "low", "high"}}; None where the metric is not defined (one class only).
    """
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(y), len(y)) for _ in range(resamples)] if len(y) else []
    report: dict[str, dict[str, float | None]] = {}
    for name, metric in METRICS.items():
        if not len(y):
            report[name] = {"value": None, "low": None, "high": None}
            continue
        values = np.array([metric(y[draw], p[draw]) for draw in draws])
        values = values[~np.isnan(values)]
        low, high = (float(q) for q in np.quantile(values, (0.025, 0.975))) if len(values) else (None, None)
        report[name] = {"value": _defined(metric(y, p)), "low": low, "high": high}
    return report


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate decided, with the paired difference in log loss (challenger minus champion) behind it."""

    passed: bool
    reason: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int = 0


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


def base_rate(y_train: Target, rows: int) -> Array:
    """Baseline: everybody gets the share of the training rows."""
    return np.full(rows, float(y_train.mean()))


def late_by_due(y_train: Target, late_train: Array, late: Array) -> Array:
    """Baseline: the share of issues among late and among other orders of the training rows."""
    rates = [float((y_train[late_train == flag].sum() + 1) / ((late_train == flag).sum() + 2)) for flag in (0.0, 1.0)]
    return np.where(late > 0, rates[1], rates[0])


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
