"""What a prediction becomes as days pass: an order's chance of trouble yet to show, after what was seen since its moment.

A prediction stands at the purchase or when the order is due. From then on the order is shipped or not, comes or not, and its
customer stays silent. By Bayes' rule, with r the share of orders that anything is ever heard of,

    P(trouble to come | seen) = p r L(seen | trouble) / (p r L(seen | trouble) + (1-p) r L(seen | content) + (1-r) L(seen | silent)),

where each L is the share of past orders of such an end that stood like this, with nothing heard of them, so many days before
or after they were due. Choosing by it is `predictors.retrospect`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.frames import Array
from predictors.labels import outcome_events
from predictors.moments import order_moments
from predictors.snapshot import Snapshot

__all__ = ["DAY", "Evidence", "OrderTimes", "Phase", "instant", "order_times"]

# Instants are microseconds since 1970; NaN: not on record.
DAY = 86_400e6
# Further from the due moment days are not told apart.
LONGEST_DAYS = 30
# So many orders in which nothing is told apart are added to each end, and fewer than these teach nothing at all.
SMOOTHING = 20.0
FEWEST_ORDERS = 100
# In the tables of learned shares a day stands for its mornings: some hours after the end of the promised day.
_MORNING = 1 / 3

Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Phase(IntEnum):
    """Which prediction stands, and what there is to see since."""

    WAITING = 0  # not due yet: the prediction of the purchase; is it shipped?
    OVERDUE = 1  # had not come when due: is it shipped, has it come since?
    DELIVERED = 2  # had come when due: only silence


class _Seen(IntEnum):
    UNSHIPPED = 0
    SHIPPED = 1
    COME = 2


class _End(IntEnum):
    TROUBLE = 0
    CONTENT = 1
    SILENT = 2  # nothing was ever heard


@dataclass(frozen=True, kw_only=True)
class OrderTimes:
    """When things about each order were recorded, as far as a snapshot knows; each array (n,)."""

    order_id: Whole
    customer_id: Whole
    placed: Array
    promised: Array
    due: Array
    shipped: Array
    delivered: Array
    cancelled: Array
    rated: Array
    troubled: Array

    def quiet(self, at: Array | float) -> Flags:
        """Say which are under way with nothing heard of them: neither cancelled nor rated nor in trouble."""
        ended = (self.cancelled <= at) | (self.rated <= at) | (self.troubled <= at)
        return (self.placed <= at) & ~ended

    def phases(self, at: Array | float) -> Whole:
        """Return the `Phase` of each, (n,)."""
        phase = np.where(self.delivered <= self.due, Phase.DELIVERED, Phase.OVERDUE)
        return np.where(self.due <= at, phase, Phase.WAITING).astype(np.int64)

    def seen(self, at: Array | float) -> Whole:
        """Return what is to be seen of each, (n,)."""
        shipped = np.where(self.shipped <= at, _Seen.SHIPPED, _Seen.UNSHIPPED)
        return np.where(self.delivered <= at, _Seen.COME, shipped).astype(np.int64)

    def days_off(self, at: Array | float) -> Whole:
        """Return whole days to or since the due moment of each, (n,)."""
        return np.minimum(np.abs(at - self.due) // DAY, LONGEST_DAYS).astype(np.int64)


def instant(at: datetime) -> float:
    """Return microseconds since 1970."""
    return at.timestamp() * 1e6


def order_times(snapshot: Snapshot, *, due_days: int) -> OrderTimes:
    """Read the times of all orders on record."""
    troubled = (
        outcome_events(snapshot).filter("is_issue").group_by("order_id").agg(troubled=pl.col("recorded_at").min())
    )
    shipped = snapshot.touchpoints.filter(pl.col("kind") == "shipped")
    rows = (
        order_moments(snapshot, due_days=due_days)
        .join(troubled, on="order_id", how="left")
        .join(shipped.group_by("order_id").agg(shipped=pl.col("recorded_at").min()), on="order_id", how="left")
        .sort("placed_moment", "order_id")
    )

    def times(column: str) -> Array:
        result: Array = rows[column].dt.epoch("us").cast(pl.Float64).to_numpy()
        return result

    return OrderTimes(
        order_id=rows["order_id"].to_numpy(),
        customer_id=rows["customer_id"].to_numpy(),
        placed=times("placed_moment"),
        promised=times("promised_end"),
        due=times("due_moment"),
        shipped=times("shipped"),
        delivered=times("delivered_at"),
        cancelled=times("cancelled_at"),
        rated=times("first_rating_at"),
        troubled=times("troubled"),
    )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """How past orders of each end stood, day by day.

    Attributes
    ----------
    standing : array (phases, days, seen, ends)
        Orders of an end that stood like this with nothing heard of them.
    ends : array (phases, ends)
        Orders of each end that were in the phase at all.
    """

    standing: Array
    ends: Array

    @classmethod
    def learn(cls, past: OrderTimes, until: datetime, *, horizon_days: int) -> Evidence:
        """Learn from the orders that were due a horizon or more before `until`."""
        old = past.due <= instant(until) - horizon_days * DAY
        known_until = past.due + horizon_days * DAY
        trouble = past.troubled <= known_until
        content = ~trouble & (past.rated <= known_until)
        end = np.where(trouble, _End.TROUBLE, np.where(content, _End.CONTENT, _End.SILENT))
        standing = np.zeros((len(Phase), LONGEST_DAYS + 1, len(_Seen), len(_End)))
        ends = np.zeros((len(Phase), len(_End)))
        before_due = np.nextafter(past.due, -np.inf)
        final = past.phases(past.due)
        for phase in Phase:
            within = old & (past.placed < past.due) if phase is Phase.WAITING else old & (final == phase)
            within &= past.quiet(past.placed if phase is Phase.WAITING else past.due)
            ends[phase] = np.bincount(end[within], minlength=len(_End))
            for days in range(LONGEST_DAYS + 1):
                if phase is Phase.WAITING:
                    at = np.minimum(past.due - (days + 1 - _MORNING) * DAY, before_due)
                else:
                    at = past.due + (days + _MORNING) * DAY
                there = within & past.quiet(at)
                np.add.at(standing[phase, days], (past.seen(at)[there], end[there]), 1.0)
        return cls(standing=standing, ends=ends)

    def still_to_come(self, p: Array, times: OrderTimes, at: float) -> Array:
        """Return P(trouble shows after `at`) for orders of which nothing was heard by then, (n,).

        Parameters
        ----------
        p : array (n,)
            The prediction that stands: of the purchase before the order is due, else of the due moment.
        """
        phase, days, seen = times.phases(at), times.days_off(at), times.seen(at)
        found = p.copy()
        for one in Phase:
            here = phase == one
            total = float(self.ends[one].sum())
            if total < FEWEST_ORDERS or not here.any():
                continue
            counts = self.standing[one, days[here], seen[here]]
            alike = counts.sum(axis=1, keepdims=True) > 0
            # Where no past order looked like this, what all looked like on that day says more than nothing.
            counts = np.where(alike, counts, self.standing[one, days[here]].sum(axis=1))
            usual = counts.sum(axis=1, keepdims=True) / total
            likely = (counts + SMOOTHING * usual) / (self.ends[one] + SMOOTHING)
            heard = 1 - self.ends[one, _End.SILENT] / total
            trouble = p[here] * heard * likely[:, _End.TROUBLE]
            whole = trouble + (1 - p[here]) * heard * likely[:, _End.CONTENT] + (1 - heard) * likely[:, _End.SILENT]
            # No past order was still quiet on that day: no trouble ever came so late.
            found[here] = np.divide(trouble, whole, out=np.zeros_like(trouble), where=whole > 0)
        return found
