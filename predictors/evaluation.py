"""How good probabilities were: metrics with bootstrap intervals, and named baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from predictors.frames import Array
from predictors.gates import Verdict, gate

__all__ = [
    "METRICS",
    "Target",
    "Verdict",
    "average_precision",
    "base_rate",
    "brier",
    "calibration_error",
    "gate",
    "late_by_due",
    "measure",
    "roc_auc",
]

Target = npt.NDArray[np.int64]
RESAMPLES = 200


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


def base_rate(y_train: Target, rows: int) -> Array:
    """Baseline: everybody gets the share of the training rows."""
    return np.full(rows, float(y_train.mean()))


def late_by_due(y_train: Target, late_train: Array, late: Array) -> Array:
    """Baseline: the share of issues among late and among other orders of the training rows."""
    rates = [float((y_train[late_train == flag].sum() + 1) / ((late_train == flag).sum() + 2)) for flag in (0.0, 1.0)]
    return np.where(late > 0, rates[1], rates[0])


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
