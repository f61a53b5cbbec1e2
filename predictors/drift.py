"""Has the world moved away from a model? Shifts of its features since training, and its level against what came.

Two readings, each with the false-alarm rate that it is built for. A feature alarms where its population stability index
(PSI) exceeds both the stated bound and what chance alone would give so few rows, unless it always wandered that far. The level alarms where matured outcomes
differ from the sum of the probabilities by more than the stated share, and by more than chance. Where there are too
few rows, that is what is said. Which rows these are belongs to `predictors.monitoring`, what an alarm sets off to the
product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import chi2, norm

from predictors.curves import wilson
from predictors.frames import Array
from predictors.gates import Target

__all__ = [
    "FALSE_ALARMS",
    "FeatureShift",
    "Level",
    "WeekLevel",
    "feature_shifts",
    "level",
    "reference",
    "week_levels",
]

# P(any alarm at one look at a stable world), for the features of a model together and for its level.
FALSE_ALARMS = 0.005
# Fewer rows than this are not compared.
MIN_ROWS = 100
MIN_OUTCOMES = 10
BINS = 10
MAX_LEVELS = 12
# A pipeline is broken where so many more rows than before lack a feature, or hold a category never seen.
MAX_UNKNOWN = 0.2
FOUR_WEEKS = timedelta(weeks=4)
MAX_PLACEMENTS = 6


@dataclass(frozen=True, kw_only=True)
class FeatureShift:
    """How far one feature has moved.

    Attributes
    ----------
    psi, bound : float
        Its population stability index, and from which value on that is an alarm.
    unknown : float
        By how much the share of missing values and of categories never seen has grown.
    wanders : bool
        It moved further than the stated bound in the past already, as running histories do: then its PSI says nothing,
        and only `unknown` can alarm.
    """

    feature: str
    psi: float
    bound: float
    unknown: float
    wanders: bool

    @property
    def alarm(self) -> bool:
        return self.psi > self.bound and (not self.wanders or self.unknown > MAX_UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class WeekLevel:
    """One week of matured outcomes: the mean probability, and the observed share with its 95 % interval."""

    week: date
    rows: int
    expected: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Level:
    """All weeks together: outcomes expected and observed, and the chance of a gap as large in a calibrated model."""

    rows: int
    expected: float
    observed: int
    chance: float
    tolerance: float

    @property
    def ratio(self) -> float:
        return self.observed / self.expected if self.expected > 0 else float("inf")

    @property
    def alarm(self) -> bool:
        return self.chance < FALSE_ALARMS and abs(self.ratio - 1) > self.tolerance


def reference(frame: pl.DataFrame, trained_as_of: datetime) -> dict[str, Any]:
    """Bin each feature of the newest quarter of the rows that a model learned from; plain JSON, for its manifest.

    Running histories (a seller's late rate, say) wander by themselves. How far each feature wandered over the same
    gap in the past, without any alarm being called for, is `usual`: the largest PSI between a window like the
    reference and four weeks that lie as far after it as the first four weeks of use lie after the reference.

    Parameters
    ----------
    frame : polars.DataFrame
        `moment` and the features.

    Returns
    -------
    dict
        {"rows", "features": {name: {"edges" or "levels", "shares", "usual"}}}. The bins of a number lie between its
        deciles, of a category they are its most frequent levels and then all others; the last share is of missing
        values.
    """
    frame = frame.sort("moment")
    newest = _newest_quarter(frame)
    features = {name: _binned(newest[name]) for name in frame.columns if name != "moment"}
    usual = dict.fromkeys(features, 0.0)
    for earlier, later in _placements(frame, newest, trained_as_of):
        for name in features:
            bins = _binned(earlier[name])
            expected = np.asarray(bins["shares"], dtype=np.float64) * earlier.height
            usual[name] = max(usual[name], _psi(expected, _counts(later[name], bins)))
    return {
        "rows": newest.height,
        "features": {name: {**bins, "usual": round(usual[name], 4)} for name, bins in features.items()},
    }


def feature_shifts(learned: Mapping[str, Any], recent: pl.DataFrame, *, bound: float) -> list[FeatureShift] | None:
    """Compare recent rows with what a model learned from, the largest shift first.

    Under no change PSI is about (1/n + 1/m) times a chi-square of (bins - 1) degrees (Yurdakul & Naranjo, 2020, n and
    m rows). A feature's bound is raised to the quantile that all features together pass with `FALSE_ALARMS`.

    Parameters
    ----------
    learned : mapping
        From `reference`.
    recent : polars.DataFrame
        Columns that the model did not know are ignored; a column that is missing counts as missing values.
    bound : float
        From which PSI on a shift is large; .1 to .25 is called moderate in credit scoring, above that large.

    Returns
    -------
    list or None
        None where either side has fewer than `MIN_ROWS` rows.
    """
    rows, features = int(learned.get("rows", 0)), learned.get("features", {})
    if min(rows, recent.height) < MIN_ROWS or not features:
        return None
    shifts: list[FeatureShift] = []
    spread = 1 / rows + 1 / recent.height
    for name, bins in features.items():
        column = recent[name] if name in recent.columns else pl.Series(name, [None] * recent.height, dtype=pl.Float64)
        counts = _counts(column, bins)
        expected = np.asarray(bins["shares"], dtype=np.float64) * rows
        used = (counts + expected) > 0
        if used.sum() < 2:
            continue
        by_chance = float(chi2.ppf(1 - FALSE_ALARMS / len(features), int(used.sum()) - 1)) * spread
        # The last place counts missing values, the one before it, of a category, the levels never seen.
        unseen = slice(-1, None) if "edges" in bins else slice(-2, None)
        unknown = float(counts[unseen].sum() / recent.height - expected[unseen].sum() / rows)
        shifts.append(
            FeatureShift(
                feature=name,
                psi=_psi(expected[used], counts[used]),
                bound=max(bound, by_chance),
                unknown=unknown,
                wanders=float(bins.get("usual", 0.0)) > bound,
            )
        )
    return sorted(shifts, key=lambda one: (not one.alarm, -one.psi, one.feature))


def week_levels(moments: pl.Series, y: Target, p: Array) -> list[WeekLevel]:
    """Compare probabilities with outcomes by the week (from Monday, UTC) of the moment, the oldest first."""
    weeks = moments.dt.truncate("1w").dt.date()
    frame = pl.DataFrame({"week": weeks, "y": y.astype(np.float64), "p": p})
    found = frame.group_by("week").agg(pl.len(), pl.col("y").mean(), pl.col("p").mean()).sort("week")
    low, high = wilson(found["y"].to_numpy(), found["len"].to_numpy().astype(np.float64))
    return [
        WeekLevel(week=week, rows=rows, expected=p, observed=y, low=float(low[place]), high=float(high[place]))
        for place, (week, rows, y, p) in enumerate(found.iter_rows())
    ]


def level(y: Target, p: Array, *, tolerance: float) -> Level | None:
    """Compare the number of outcomes with the sum of their probabilities (calibration in the large).

    In a calibrated model the number has the variance sum p (1 - p) about that sum.

    Returns
    -------
    Level or None
        None where fewer than `MIN_ROWS` rows have matured, or fewer than `MIN_OUTCOMES` outcomes were expected.
    """
    expected, variance = float(p.sum()), float((p * (1 - p)).sum())
    if len(y) < MIN_ROWS or min(expected, len(y) - expected) < MIN_OUTCOMES:
        return None
    observed = int(y.sum())
    chance = float(2 * norm.sf(abs(observed - expected) / np.sqrt(variance)))
    return Level(rows=len(y), expected=expected, observed=observed, chance=chance, tolerance=tolerance)


def _newest_quarter(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.tail(max(frame.height // 4, min(frame.height, MIN_ROWS)))


def _placements(
    frame: pl.DataFrame, newest: pl.DataFrame, trained_as_of: datetime
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield windows of the past that lie to each other as the reference to the first four weeks of use."""
    first, last = newest["moment"].min(), newest["moment"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return
    gap = max(trained_as_of - last, timedelta(0))
    for steps in range(1, MAX_PLACEMENTS + 1):
        end = last - gap - steps * FOUR_WEEKS
        earlier = frame.filter(pl.col("moment").is_between(end - (last - first), end))
        later = frame.filter(pl.col("moment").is_between(end + gap, end + gap + FOUR_WEEKS, closed="right"))
        if min(earlier.height, later.height) >= MIN_ROWS:
            yield earlier, later


def _binned(column: pl.Series) -> dict[str, Any]:
    if column.dtype.is_numeric():
        values = _numbers(column)
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])) if len(values) else np.empty(0)
        bins: dict[str, Any] = {"edges": [float(edge) for edge in edges]}
    else:
        ranked = column.drop_nulls().cast(pl.String).value_counts().sort("count", column.name, descending=[True, False])
        bins = {"levels": [str(level) for level in ranked[column.name].head(MAX_LEVELS)]}
    counts = _counts(column, bins)
    return {**bins, "shares": [round(float(share), 6) for share in counts / max(counts.sum(), 1)]}


def _psi(expected: Array, found: Array) -> float:
    """Sum (q - p) ln(q / p) over bins; half a row is added to each, so that an empty bin stays finite."""
    p = (expected + 0.5) / (expected + 0.5).sum()
    q = (found + 0.5) / (found + 0.5).sum()
    return float(np.sum((q - p) * np.log(q / p)))


def _counts(column: pl.Series, bins: Mapping[str, Any]) -> Array:
    """Count the rows of each bin, then those of other levels (for a category), then the missing ones."""
    if "edges" in bins:
        if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
            column = pl.Series(column.name, [None] * len(column), dtype=pl.Float64)  # no longer a number: unknown
        values = _numbers(column)
        places = np.searchsorted(np.asarray(bins["edges"], dtype=np.float64), values, side="left")
        counted = np.bincount(places, minlength=len(bins["edges"]) + 1)
        present = len(values)
    else:
        levels: Sequence[str] = bins["levels"]
        ranks = {one: place for place, one in enumerate(levels)}
        texts = column.drop_nulls().cast(pl.String).to_list()
        counted = np.bincount([ranks.get(one, len(levels)) for one in texts], minlength=len(levels) + 1)
        present = len(texts)
    result: Array = np.append(counted, len(column) - present).astype(np.float64)
    return result


def _numbers(column: pl.Series) -> Array:
    values: Array = column.cast(pl.Float64).drop_nulls().to_numpy()
    return values[~np.isnan(values)]
