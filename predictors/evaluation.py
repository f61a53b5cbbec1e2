"""How good probabilities were: metrics with bootstrap intervals, alone and beside others on the same rows.

What is compared with what belongs in `predictors.backtest`, curves and bins in `predictors.curves`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from predictors.frames import Array
from predictors.gates import Verdict, gate, log_losses

__all__ = [
    "LOSSES",
    "METRICS",
    "Comparison",
    "Interval",
    "Target",
    "Verdict",
    "average_precision",
    "brier",
    "calibration_error",
    "compare",
    "gate",
    "log_loss",
    "measure",
    "precision_at",
    "roc_auc",
]

Target = npt.NDArray[np.int64]
# {"value", "low", "high"}: the value on all rows and the ends of its 95 % interval; None where it is not defined.
Interval = dict[str, float | None]
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


def precision_at(y: Target, p: Array, shares: Array) -> Array:
    """Return the share of positives among the highest-ranked rows, for each share of all rows that is taken.

    Rows of equal probability count as drawn at random from among themselves, so the answer never hangs on the order
    of the rows.

    Parameters
    ----------
    y, p : (n,) arrays
    shares : (k,) array
        In (0, 1]; at least one row is taken.
    """
    if not len(y):
        return np.full(len(shares), np.nan)
    order = np.argsort(-p, kind="stable")
    last = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
    hits = np.cumsum(y[order])[last].astype(np.float64)
    taken = np.maximum(np.floor(shares * len(y)), 1.0)
    found: Array = np.interp(taken, np.concatenate([[0.0], last + 1.0]), np.concatenate([[0.0], hits]))
    return found / taken


def log_loss(y: Target, p: Array) -> float:
    """Return the mean logarithmic loss."""
    return float(log_losses(y, p).mean())


def _precision_at(share: float) -> Callable[[Target, Array], float]:
    return lambda y, p: float(precision_at(y, p, np.array([share]))[0])


METRICS: Mapping[str, Callable[[Target, Array], float]] = {
    "auc": roc_auc,
    "average_precision": average_precision,
    "brier": brier,
    "ece": calibration_error,
    "log_loss": log_loss,
    "precision_at_5_percent": _precision_at(0.05),
    "precision_at_10_percent": _precision_at(0.10),
}
# Of these, less is better.
LOSSES = frozenset({"brier", "ece", "log_loss"})


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every metric of every model, and the paired differences of the first model to each other one.

    Both are {NAME: {METRIC: interval}}; a difference is the first model's value minus the other's.
    """

    models: dict[str, dict[str, Interval]]
    differences: dict[str, dict[str, Interval]]


def measure(y: Target, p: Array, *, seed: int, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """Return every metric with its 95 % bootstrap interval.

    Returns
    -------
    dict
        {metric: {"value", "low", "high"}}; None where the metric is not defined (one class only).
    """
    return compare(y, {"model": p}, seed=seed, resamples=resamples).models["model"]


def compare(
    y: Target,
    predictions: Mapping[str, Array],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    clusters: npt.NDArray[np.int64] | None = None,
) -> Comparison:
    """Measure several models on the same rows, with 95 % percentile bootstrap intervals.

    Every model is measured on the same draws, so that a difference does not carry what both share.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    predictions : mapping of name to (n,) probabilities
        The first is compared with each other one.
    seed : int
        Of the draws.
    clusters : (n,) array, optional
        Rows of one cluster (a customer asked about at several instants, say) are drawn together: they are not
        independent of each other, and intervals from single rows would be too narrow.
    """
    names = list(predictions)
    drawn = np.full((resamples, len(names), len(METRICS)), np.nan)
    for number, rows in enumerate(_draws(len(y), clusters, resamples, seed)):
        drawn[number] = [[metric(y[rows], predictions[name][rows]) for metric in METRICS.values()] for name in names]
    values = np.array(
        [[metric(y, predictions[name]) if len(y) else np.nan for metric in METRICS.values()] for name in names]
    )
    models = {name: _intervals(values[k], drawn[:, k]) for k, name in enumerate(names)}
    differences = {
        name: _intervals(values[0] - values[k], drawn[:, 0] - drawn[:, k]) for k, name in enumerate(names) if k
    }
    return Comparison(models=models, differences=differences)


def _draws(
    rows: int, clusters: npt.NDArray[np.int64] | None, resamples: int, seed: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the numbers of the rows of each resample."""
    if not rows:
        return
    rng = np.random.default_rng(seed)
    if clusters is None:
        for _ in range(resamples):
            yield rng.integers(0, rows, rows)
        return
    _, of_row, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    sorted_rows = np.argsort(of_row, kind="stable")
    starts = np.cumsum(sizes) - sizes
    for _ in range(resamples):
        chosen = rng.integers(0, len(sizes), len(sizes))
        lengths = sizes[chosen]
        # Each chosen cluster's rows one after another: its start, then on by one.
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        yield sorted_rows[np.repeat(starts[chosen], lengths) + within]


def _intervals(values: Array, drawn: Array) -> dict[str, Interval]:
    """Put each metric's value beside the middle 95 % of its resamples; (k,) and (resamples, k)."""
    report: dict[str, Interval] = {}
    for number, name in enumerate(METRICS):
        found = drawn[:, number][~np.isnan(drawn[:, number])]
        low, high = (float(q) for q in np.quantile(found, (0.025, 0.975))) if len(found) else (None, None)
        report[name] = {"value": _defined(values[number]), "low": low, "high": high}
    return report


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
