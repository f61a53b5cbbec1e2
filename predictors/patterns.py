"""Emergent patterns: cells of orders (a lot, a product, a seller, a region) with more trouble lately than expected.

What is expected of a cell is the shop's hazard by the age of its orders, times the cell's own past ratio of observed to
expected drawn towards 1 (Gamma-Poisson), times how the rest of the shop fares in the same window. What is observed is
then negative binomial, with the dispersions of that prior and of past windows (Poisson where neither shows).
Every cell and kind of trouble is tested over 7 and 28 days, and the false discovery rate held over all of them. What
is remembered from day to day is `bot.decide.patterns`' business, how it is said `bot.services.patterns`'.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from predictors.cells import Cell, Cells, Dimension, Mask, WindowCounts, build_cells
from predictors.errors import NotEnoughDataError
from predictors.exposure import (
    LAST_AGE_DAYS,
    Index,
    Orders,
    counted,
    days_by_age,
    days_until_first,
    first_events,
    fit_rates,
    orders_at_risk,
)
from predictors.frames import Array
from predictors.moments import order_moments
from predictors.snapshot import Snapshot
from predictors.surprise import discoveries, fit_dispersion, tail_probability
from predictors.trouble import ANY, KINDS, topics, trouble_events

__all__ = ["FALSE_SHARE", "WINDOWS_DAYS", "Pattern", "find_patterns"]

WINDOWS_DAYS = (7, 28)
# The past that says what is usual ends where the longest window begins.
REFERENCE_DAYS = 365
PAST_WINDOWS = 6
# Fewer orders than this in that past say nothing about what is usual.
FEWEST_ORDERS = 100
# The expected share of false ones among the patterns of a day, over all tests of that day.
FALSE_SHARE = 0.05
FEWEST_EXPOSED = 5
FEWEST_TROUBLED = 3
SMALLEST_RATIO = 1.5
# Few cells cannot show how much cells differ; no prior is taken to be narrower than this.
SMALLEST_SPREAD = 0.02
# A pattern that has begun within the past must not make wild cells look usual; no prior is taken to be wider than this.
LARGEST_SPREAD = 1.0
# Customers with trouble that the rest of the shop is assumed to have had as expected, so that few do not set the level.
LEVEL_STRENGTH = 10.0


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One cell with surprisingly much trouble of one kind.

    Attributes
    ----------
    kind : str
        A kind of `predictors.trouble.KINDS`, a topic, or `trouble` (any kind).
    troubled, exposed : int
        Distinct customers in the window.
    expected : float
        Customers with trouble that were expected.
    p_value : float
        One-sided, of the more surprising window, doubled for there being two.
    troubled_orders : tuple of int
        Whose trouble of this kind was recorded in the window.
    silent_orders : tuple of int
        Of the cell, at risk, with no trouble of any kind recorded: whom a check-in could still reach in time.
    """

    cell: Cell
    kind: str
    window_days: int
    troubled: int
    exposed: int
    expected: float
    p_value: float
    troubled_orders: tuple[int, ...]
    silent_orders: tuple[int, ...]

    @property
    def identity(self) -> tuple[str, str]:
        """What makes it the same pattern tomorrow: the cell and the kind."""
        return self.cell.key, self.kind

    @property
    def ratio(self) -> float:
        """How many times as many as expected."""
        return self.troubled / self.expected


@dataclass(frozen=True, kw_only=True)
class _Window:
    """One window: who is at risk in it, whatever the kind."""

    days_long: int
    low: float
    high: float
    days: Array
    at_risk: Mask

    @classmethod
    def of(cls, orders: Orders, days_long: int, ends: float) -> _Window:
        # An instant is inside up to the snapshot's end itself.
        high = np.nextafter(ends, np.inf) if ends == 0 else ends
        days = days_by_age(orders, ends - days_long, high)
        return cls(days_long=days_long, low=ends - days_long, high=high, days=days, at_risk=days.sum(axis=1) > 0)

    def counts(self, cells: Cells, orders: Orders, first: Array, rates: Array) -> WindowCounts:
        alive, troubled = self.state(orders, first)
        return cells.count(alive, troubled, np.where(alive, self.days @ rates, 0.0))

    def state(self, orders: Orders, first: Array) -> tuple[Mask, Mask]:
        """Return which orders had no trouble of the kind before and were at risk, and which of them had it then."""
        troubled = counted(orders, first, self.low, self.high) >= 0
        return (self.at_risk & (first >= self.low)) | troubled, troubled


@dataclass(frozen=True, kw_only=True)
class _Usual:
    """What is usual of one kind in each cell: its factor on the hazard, and how uncertain and unsteady that is."""

    rates: Array
    factor: Array
    dispersion: Array

    def mean(self, counts: WindowCounts) -> Array:
        """Expected customers with trouble in each cell, at the level of the rest of the shop in that window."""
        return counts.expected * self.factor * _level(counts)


def find_patterns(
    snapshot: Snapshot,
    texts: pl.DataFrame,
    *,
    due_days: int,
    known: Collection[tuple[str, str]] = (),
    false_share: float = FALSE_SHARE,
) -> list[Pattern]:
    """Find the patterns of the snapshot's end, most surprising first.

    Parameters
    ----------
    texts : polars.DataFrame
        `predictors.trouble.TEXTS`.
    due_days : int
        As in `order_moments`.
    known : collection of (str, str)
        Identities of open patterns; where two cells tell of the same trouble, one that is known keeps it.
    false_share : float
        The false discovery rate over all tests.

    Raises
    ------
    NotEnoughDataError
        Too few orders in the past to say what is usual.
    """
    gap = float(max(WINDOWS_DAYS))
    moments = order_moments(snapshot, due_days=due_days)
    orders = orders_at_risk(moments, snapshot.until, REFERENCE_DAYS + gap)
    low, high = -REFERENCE_DAYS - gap, -gap
    reference = days_by_age(orders, low, high)
    if (past := int((reference.sum(axis=1) > 0).sum())) < FEWEST_ORDERS:
        raise NotEnoughDataError(
            f"{past} orders were under way more than {gap:.0f} days ago; patterns need {FEWEST_ORDERS} to know what is usual"
        )
    events = first_events(orders, trouble_events(snapshot, texts), snapshot.until)
    cells = build_cells(snapshot, orders)
    windows = [_Window.of(orders, days, 0.0) for days in WINDOWS_DAYS]
    past_windows = [_Window.of(orders, int(gap), -gap * back) for back in range(1, PAST_WINDOWS + 1)]
    tests: list[_Tests] = []
    for kind in (*KINDS, ANY, *topics()):
        first = events.get(kind)
        if first is not None:
            usual = _usual(cells, orders, first, reference, (low, high), past_windows)
            tests.append(_tests(cells, orders, kind, first, usual, windows))
    if not tests:
        return []
    p_values = np.array([one.p_values for one in tests])
    tested = p_values <= 1
    # A kind that was never recorded was looked for too: it cannot be discovered, but it counts.
    kinds = len(KINDS) + 1 + len(topics())
    unseen = (kinds - len(tests)) * int(tested.sum(axis=1).max())
    chosen = np.zeros(p_values.shape, dtype=bool)
    among = np.append(p_values[tested], np.ones(unseen))
    chosen[tested] = discoveries(among, false_share)[: int(tested.sum())]
    limit = false_share / len(among)
    return _told_apart(cells, orders, events, windows, tests, chosen, limit, frozenset(known))


@dataclass(frozen=True, kw_only=True)
class _Tests:
    """One kind over all cells: the doubled p-value of the better window (2 where a cell was not tested)."""

    kind: str
    first: Array
    usual: _Usual
    counts: tuple[WindowCounts, ...]
    best: Index
    p_values: Array


def _usual(
    cells: Cells, orders: Orders, first: Array, reference: Array, span: tuple[float, float], past: list[_Window]
) -> _Usual:
    low, high = span
    age = counted(orders, first, low, high)
    days = days_until_first(orders, reference, first, low, high)
    rates = fit_rates(days, age)
    observed, expected = cells.sums((age >= 0).astype(np.float64)), cells.sums(days @ rates)
    windows = [window.counts(cells, orders, first, rates) for window in past]
    dimension = np.array([cell.dimension.value for cell in cells.cells])
    factor, dispersion = np.ones(len(dimension)), np.zeros(len(dimension))
    for one in Dimension:
        here = dimension == one.value
        if not here.any():
            continue
        spread = float(np.clip(fit_dispersion(observed[here], expected[here]), SMALLEST_SPREAD, LARGEST_SPREAD))
        # Gamma(1/spread, 1/spread) prior on the cell's ratio; posterior mean and squared coefficient of variation.
        factor[here] = (observed[here] + 1 / spread) / (expected[here] + 1 / spread)
        unsure = 1.0 / (observed[here] + 1 / spread)
        unsteady = fit_dispersion(
            np.concatenate([counts.observed[here] for counts in windows]),
            np.concatenate([(counts.expected * factor * _level(counts))[here] for counts in windows]),
        )
        unsteady = min(unsteady, LARGEST_SPREAD)
        dispersion[here] = unsure + unsteady + unsure * unsteady
    return _Usual(rates=rates, factor=factor, dispersion=dispersion)


def _level(counts: WindowCounts) -> Array:
    """How the rest of the shop fares against what the hazard expects, for each cell without itself."""
    observed = np.maximum(counts.shop_observed - counts.observed, 0.0)
    expected = np.maximum(counts.shop_expected - counts.expected, 0.0)
    level: Array = (observed + LEVEL_STRENGTH) / (expected + LEVEL_STRENGTH)
    return level


def _tests(cells: Cells, orders: Orders, kind: str, first: Array, usual: _Usual, windows: list[_Window]) -> _Tests:
    counts = tuple(window.counts(cells, orders, first, usual.rates) for window in windows)
    tails = np.array([tail_probability(one.observed, usual.mean(one), usual.dispersion) for one in counts])
    enough = np.array([one.exposed >= FEWEST_EXPOSED for one in counts])
    tails = np.where(enough, tails, 1.0)
    doubled = np.minimum(len(windows) * tails.min(axis=0), 1.0)
    return _Tests(
        kind=kind,
        first=first,
        usual=usual,
        counts=counts,
        best=tails.argmin(axis=0),
        p_values=np.where(enough.any(axis=0), doubled, 2.0),
    )


def _told_apart(
    cells: Cells,
    orders: Orders,
    events: Mapping[str, Array],
    windows: list[_Window],
    tests: list[_Tests],
    chosen: Mask,
    limit: float,
    known: frozenset[tuple[str, str]],
) -> list[Pattern]:
    """Keep of the discoveries those that others do not explain: a bad lot also lifts its product and its seller.

    What is known goes first, then the most surprising; each takes the orders with its trouble away. Without them the
    k-th pattern must be as surprising as the k-th discovery has to be (`limit` times k): were all that one bad lot
    lifts counted as discoveries, they would let noise in.
    """
    candidates = [(which, int(cell)) for which in range(len(tests)) for cell in np.flatnonzero(chosen[which])]

    def rank(one: tuple[int, int]) -> tuple[bool, float, str, str]:
        test, cell = tests[one[0]], cells.cells[one[1]]
        return (cell.key, test.kind) not in known, float(test.p_values[one[1]]), cell.key, test.kind

    explained = np.zeros(len(orders.due), dtype=bool)
    found: list[Pattern] = []
    for which, cell in sorted(candidates, key=rank):
        test = tests[which]
        window, counts = windows[int(test.best[cell])], test.counts[int(test.best[cell])]
        rows = cells.rows_of(cell)
        alive, troubled = window.state(orders, test.first)
        mean = float(test.usual.mean(counts)[cell])
        left = rows[~explained[rows]]
        customers = len(np.unique(orders.customer_id[left[troubled[left]]]))
        share = float((window.days[left] @ test.usual.rates)[alive[left]].sum()) / max(
            float((window.days[rows] @ test.usual.rates)[alive[rows]].sum()), 1e-12
        )
        p_value = tail_probability(
            np.array([float(customers)]), np.array([mean * share]), test.usual.dispersion[cell : cell + 1]
        )
        if (
            customers < FEWEST_TROUBLED
            or counts.observed[cell] < SMALLEST_RATIO * mean
            or float(p_value[0]) * len(windows) > limit * (len(found) + 1)
        ):
            continue
        explained[rows[np.isfinite(test.first[rows])]] = True
        found.append(
            Pattern(
                cell=cells.cells[cell],
                kind=test.kind,
                window_days=window.days_long,
                troubled=int(counts.observed[cell]),
                exposed=int(counts.exposed[cell]),
                expected=mean,
                p_value=float(test.p_values[cell]),
                troubled_orders=_ids(orders, rows[troubled[rows]]),
                silent_orders=_ids(orders, rows[_silent(orders, events, rows)]),
            )
        )
    return sorted(found, key=lambda one: (one.p_value, one.identity))


def _silent(orders: Orders, events: Mapping[str, Array], rows: Index) -> Mask:
    told = np.zeros(len(rows), dtype=bool)
    for first in events.values():
        told |= np.isfinite(first[rows])
    result: Mask = ~told & (orders.gone[rows] > 0) & (orders.due[rows] + LAST_AGE_DAYS > 0)
    return result


def _ids(orders: Orders, rows: Index) -> tuple[int, ...]:
    return tuple(sorted(int(one) for one in orders.order_id[rows]))
