"""What a plot or a table shows of probabilities and outcomes: curves, bins and shares, as numbers.

Drawing belongs in `predictors.plots`, single figures with bootstrap intervals in `predictors.evaluation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from predictors.evaluation import Target
from predictors.frames import Array

# The 97.5 % point of the standard normal: two-sided 95 % intervals.
Z_95 = 1.959963984540054
# More points than this no eye can tell apart in a plot.
MAX_POINTS = 400


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points of a curve, in the order of `x`; both in [0, 1]."""

    x: Array
    y: Array


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Groups of rows: their mean prediction, and the observed share with its 95 % Wilson interval.

    All arrays are (k,); groups without a row are not there.
    """

    rows: Array
    predicted: Array
    observed: Array
    low: Array
    high: Array


def roc_line(y: Target, p: Array) -> Line:
    """Return false against true positive rate; one class only: no points."""
    if not 0 < y.sum() < len(y):
        return _nothing()
    false_rate, true_rate, _ = roc_curve(y, p)
    return _thinned(false_rate, true_rate)


def precision_recall_line(y: Target, p: Array) -> Line:
    """Return recall against precision, from the top of the ranking down; no positives: no points."""
    if not y.sum():
        return _nothing()
    precision, recall, _ = precision_recall_curve(y, p, drop_intermediate=True)
    # The last point of scikit-learn, recall 0 at precision 1, was not observed.
    return _thinned(recall[-2::-1], precision[-2::-1])


def reliability_bins(y: Target, p: Array, bins: int = 10) -> Bins:
    """Group the rows by probability into bins of equal counts; equal probabilities may leave fewer bins."""
    if not len(y):
        return grouped(y, p, np.empty(0, dtype=np.int64))
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)))
    return grouped(y, p, np.clip(np.searchsorted(edges, p, side="right") - 1, 0, max(len(edges) - 2, 0)))


def grouped(y: Target, p: Array, groups: Sequence[int] | Target) -> Bins:
    """Summarise rows by the number of their group, in ascending order of that number."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    rows = np.bincount(index).astype(np.float64)
    observed = np.bincount(index, weights=y) / rows
    low, high = wilson(observed, rows)
    return Bins(rows=rows, predicted=np.bincount(index, weights=p) / rows, observed=observed, low=low, high=high)


def wilson(share: Array, rows: Array) -> tuple[Array, Array]:
    """Return the 95 % interval of a share by Wilson's score (JASA 1927), which stays within [0, 1]."""
    spread = Z_95**2 / rows
    middle = (share + spread / 2) / (1 + spread)
    half = Z_95 * np.sqrt(share * (1 - share) / rows + spread / (4 * rows)) / (1 + spread)
    return np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)


def _thinned(x: Array, y: Array) -> Line:
    if len(x) <= MAX_POINTS:
        return Line(x=x, y=y)
    kept = np.unique(np.round(np.linspace(0, len(x) - 1, MAX_POINTS)).astype(np.int64))
    return Line(x=x[kept], y=y[kept])


def _nothing() -> Line:
    return Line(x=np.empty(0), y=np.empty(0))
