"""What is usual: how often trouble of a kind comes at which age, what each cell has of it, and how steadily.

Learned from the past only; what is surprising against it is decided in `predictors.patterns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictors.cells import Cells, Dimension, Mask, WindowCounts
from predictors.exposure import Index, Orders, counted, days_by_age, days_until_first, fit_rates
from predictors.frames import Array
from predictors.surprise import fit_dispersion

__all__ = ["USUAL_AFTER_DAYS", "Usual", "Window", "learn_rates", "learn_usual"]

# What a cell itself has done becomes usual for it only after so long: a trouble of last month is not over by being known.
USUAL_AFTER_DAYS = 120
# Few cells cannot show how much cells differ; no prior is taken to be narrower than this.
SMALLEST_SPREAD = 0.02
# A pattern that has begun within the past must not make wild cells look usual; no prior is taken to be wider than this.
LARGEST_SPREAD = 1.0
# Customers with trouble that the rest of the shop is assumed to have had as expected, so that few do not set the level.
LEVEL_STRENGTH = 10.0


@dataclass(frozen=True, kw_only=True)
class Window:
    """One window [low, high): who is at risk in it, whatever the kind.

    Attributes
    ----------
    days : array (n, ages)
        Days of each order at each age.
    at_risk : array of bool (n,)
    """

    days_long: int
    low: float
    high: float
    days: Array
    at_risk: Mask

    @classmethod
    def of(cls, orders: Orders, days_long: int, ends: float) -> Window:
        """Cut a window of so many days that ends at an instant."""
        # An instant is inside up to the snapshot's end itself.
        high = float(np.nextafter(ends, np.inf)) if ends == 0 else ends
        days = days_by_age(orders, ends - days_long, high)
        return cls(days_long=days_long, low=ends - days_long, high=high, days=days, at_risk=days.sum(axis=1) > 0)

    def counts(self, cells: Cells, orders: Orders, first: Array, rates: Array) -> WindowCounts:
        """Count one kind of trouble over all cells."""
        alive, troubled = self.state(orders, first)
        return cells.count(alive, troubled, np.where(alive, self.days @ rates, 0.0))

    def state(self, orders: Orders, first: Array) -> tuple[Mask, Mask]:
        """Return which orders had no trouble of the kind before and were at risk, and which of them had it then."""
        troubled = counted(orders, first, self.low, self.high) >= 0
        return (self.at_risk & (first >= self.low)) | troubled, troubled


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What is usual of one kind in each cell, (cells,): its factor on the hazard, and how uncertain and unsteady it is."""

    rates: Array
    factor: Array
    dispersion: Array

    def mean(self, counts: WindowCounts) -> Array:
        """Expected customers with trouble in each cell, at the level of the rest of the shop in that window."""
        return counts.expected * self.factor * _level(counts)


def learn_rates(orders: Orders, first: Array, days: Array, low: float, high: float) -> Array:
    """Learn the hazard of one kind, (ages,), from the shop as a whole in the span [low, high).

    Parameters
    ----------
    first : array (n,)
        From `predictors.exposure.first_events`.
    days : array (n, ages)
        `days_by_age` of the span.
    """
    return fit_rates(days_until_first(orders, days, first, low, high), counted(orders, first, low, high))


def learn_usual(
    cells: Cells, orders: Orders, first: Array, rates: Array, days: Array, low: float, past: Sequence[Window]
) -> Usual:
    """Learn what each cell has of one kind against what the hazard expects of it, up to `USUAL_AFTER_DAYS` ago.

    Parameters
    ----------
    days : array (n, ages)
        `days_by_age` from `low` to `USUAL_AFTER_DAYS` ago.
    past : sequence of Window
        Before that too; how unsteady cells were over them.
    """
    high = -float(USUAL_AFTER_DAYS)
    troubled = counted(orders, first, low, high) >= 0
    observed = cells.sums(troubled.astype(np.float64))
    expected = cells.sums(days_until_first(orders, days, first, low, high) @ rates)
    windows = [window.counts(cells, orders, first, rates) for window in past]
    dimension = np.array([cell.dimension.value for cell in cells.cells])
    factor, unsure, dispersion = np.ones(len(dimension)), np.zeros(len(dimension)), np.zeros(len(dimension))
    for one in (Dimension.PRODUCT, Dimension.SELLER, Dimension.REGION, Dimension.LOT):
        here = np.flatnonzero(dimension == one.value)
        if not len(here):
            continue
        # A lot is expected to be as its product is, until it has a past of its own.
        base, unsure_base = _of_parents(cells, here, factor, unsure)
        spread = float(np.clip(fit_dispersion(observed[here], base * expected[here]), SMALLEST_SPREAD, LARGEST_SPREAD))
        # Gamma(1/spread, 1/spread) prior on the cell's ratio; posterior mean and squared coefficient of variation.
        factor[here] = base * (observed[here] + 1 / spread) / (base * expected[here] + 1 / spread)
        unsure[here] = 1.0 / (observed[here] + 1 / spread) + unsure_base
        unsteady = fit_dispersion(
            np.concatenate([counts.observed[here] for counts in windows]),
            np.concatenate([(counts.expected * factor * _level(counts))[here] for counts in windows]),
        )
        unsteady = min(unsteady, LARGEST_SPREAD)
        dispersion[here] = unsure[here] + unsteady + unsure[here] * unsteady
    return Usual(rates=rates, factor=factor, dispersion=dispersion)


def _of_parents(cells: Cells, here: Index, factor: Array, unsure: Array) -> tuple[Array, Array]:
    """Return factor and uncertainty of the product that each lot belongs to; of all other cells 1 and 0."""
    products = {cell.product_id: index for index, cell in enumerate(cells.cells) if cell.dimension is Dimension.PRODUCT}
    parents = [
        products.get(cells.cells[index].product_id, -1) if cells.cells[index].dimension is Dimension.LOT else -1
        for index in here
    ]
    known = np.array(parents) >= 0
    return np.where(known, factor[parents], 1.0), np.where(known, unsure[parents], 0.0)


def _level(counts: WindowCounts) -> Array:
    """How the rest of the shop fares against what the hazard expects, for each cell without itself."""
    observed = np.maximum(counts.shop_observed - counts.observed, 0.0)
    expected = np.maximum(counts.shop_expected - counts.expected, 0.0)
    level: Array = (observed + LEVEL_STRENGTH) / (expected + LEVEL_STRENGTH)
    return level
