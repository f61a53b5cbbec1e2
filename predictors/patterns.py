"""Emergent patterns: cells of orders (a lot, a product, a seller, a region) with more trouble lately than expected.

What is expected of a cell is the shop's hazard by the age of its orders, times the cell's own past ratio of observed to
expected drawn towards 1 (Gamma-Poisson), times how the rest of the shop fares in the same window. What is observed is
then negative binomial, with the dispersions of that prior and of past windows (Poisson where neither shows).
Every cell and kind of trouble is tested over 7 and 28 days, and the false discovery rate held over all of them. What
is remembered from day to day is `bot.decide.patterns`' business, how it is said `bot.services.prediction.patterns`'.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from predictors.cells import Cell, Cells, Mask, WindowCounts, build_cells
from predictors.errors import NotEnoughDataError
from predictors.exposure import LAST_AGE_DAYS, Index, Orders, days_by_age, first_events, orders_at_risk
from predictors.frames import Array
from predictors.moments import order_moments
from predictors.snapshot import Snapshot
from predictors.surprise import discoveries, tail_probability
from predictors.trouble import ANY, KINDS, topics, trouble_events
from predictors.usual import USUAL_AFTER_DAYS, Usual, Window, learn_rates, learn_usual

__all__ = ["FALSE_SHARE", "WINDOWS_DAYS", "Pattern", "find_patterns"]

WINDOWS_DAYS = (7, 28)
# The past that says at which age trouble comes ends where the longest window begins.
REFERENCE_DAYS = 365
PAST_WINDOWS = 6
# Fewer orders than this in that past say nothing about what is usual.
FEWEST_ORDERS = 100
# The expected share of false ones among the patterns of a day, over all tests of that day. Days share most of their
# data, but each may add a false one: .05 a day would be too much over a month.
FALSE_SHARE = 0.01
FEWEST_EXPOSED = 5
FEWEST_TROUBLED = 3
SMALLEST_RATIO = 1.5


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
    windows = [Window.of(orders, days, 0.0) for days in WINDOWS_DAYS]
    past_windows = [Window.of(orders, int(gap), -USUAL_AFTER_DAYS - gap * back) for back in range(PAST_WINDOWS)]
    own = days_by_age(orders, low, -USUAL_AFTER_DAYS)
    tests: list[_Tests] = []
    for kind in (*KINDS, ANY, *topics()):
        first = events.get(kind)
        if first is not None:
            rates = learn_rates(orders, first, reference, low, high)
            usual = learn_usual(cells, orders, first, rates, own, low, past_windows)
            tests.append(_tests(cells, orders, kind, first, usual, windows))
    p_values = np.array([one.p_values for one in tests])
    tested = p_values <= 1
    if not tested.any():
        return []
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
    usual: Usual
    counts: tuple[WindowCounts, ...]
    best: Index
    p_values: Array


def _tests(cells: Cells, orders: Orders, kind: str, first: Array, usual: Usual, windows: list[Window]) -> _Tests:
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
    windows: list[Window],
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
