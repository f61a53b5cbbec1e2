"""How much trouble is to be expected from orders in a span, by how long they have had to show it.

Trouble comes at a rate that depends on the age of an order, counted from when it was due (the earlier of delivery and
the end of the promised day): a piecewise constant hazard, learned from the shop's own past as events over order-days.
An order that arrived yesterday has had little time to complain and adds little to what is expected. Counting from
the promise, not only from the delivery, keeps late parcels from being expected to be trouble, which would hide them.
Instants are days before (negative) or after the snapshot's end; which orders belong together is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.frames import Array

__all__ = [
    "AGES",
    "LAST_AGE_DAYS",
    "Index",
    "Orders",
    "counted",
    "days_by_age",
    "days_until_first",
    "first_events",
    "fit_rates",
    "orders_at_risk",
]

# Days since an order was due at which another rate begins; before the first, the order is still on its way.
AGES: tuple[float, ...] = (0.0, 1.0, 3.0, 7.0, 14.0, 28.0, 60.0, 90.0)
# Trouble later than this is no longer counted with the order.
LAST_AGE_DAYS = AGES[-1]
AGE_STRENGTH = 5.0

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Orders:
    """The orders of a shop as arrays, all (n,).

    Attributes
    ----------
    order_id, customer_id : array of int
    placed, due, gone : array of float
        Days since the snapshot's end; `gone` is when an order was cancelled, infinite where it was not.
    """

    order_id: Index
    customer_id: Index
    placed: Array
    due: Array
    gone: Array


def orders_at_risk(moments: pl.DataFrame, until: datetime, since_days: float) -> Orders:
    """Take the orders that were at risk at some time in the last `since_days` days.

    Parameters
    ----------
    moments : polars.DataFrame
        From `predictors.moments.order_moments`.
    """

    def days(column: str) -> pl.Expr:
        return (pl.col(column) - until).dt.total_microseconds() / 86_400e6

    rows = (
        moments.select(
            "order_id",
            "customer_id",
            placed=days("placed_moment"),
            due=days("due_moment"),
            gone=days("cancelled_at").fill_null(float("inf")),
        )
        .filter(pl.col("placed") <= 0, pl.col("due") >= -since_days - LAST_AGE_DAYS)
        .sort("order_id")
    )
    return Orders(**{name: rows[name].to_numpy() for name in rows.columns})


def first_events(orders: Orders, events: pl.DataFrame, until: datetime) -> dict[str, Array]:
    """Return for each kind when it was first recorded of each order, (n,); infinite where it never was."""
    position = pl.DataFrame({"order_id": orders.order_id}).with_row_index("row")
    rows = events.join(position, on="order_id").with_columns(
        at=(pl.col("recorded_at") - until).dt.total_microseconds() / 86_400e6
    )
    found: dict[str, Array] = {}
    for (kind,), part in rows.partition_by("kind", as_dict=True).items():
        at = np.full(len(orders.order_id), np.inf)
        at[part["row"].to_numpy()] = part["at"].to_numpy()
        found[str(kind)] = at
    return found


def days_by_age(orders: Orders, low: float, high: float | Array) -> Array:
    """Return how many days each order spent at each age in the span [low, high), (n, ages).

    Column 0 is the time before the order is due, column i that from `AGES[i - 1]` to `AGES[i]`. A cancelled order
    is no longer at risk. `high` may be one instant for each order, (n,).
    """
    days = np.empty((len(orders.due), len(AGES)))
    ends = np.minimum(orders.gone, high)
    begins = np.maximum(orders.placed, low)
    for age in range(len(AGES)):
        first = begins if age == 0 else np.maximum(orders.due + AGES[age - 1], begins)
        days[:, age] = np.maximum(np.minimum(orders.due + AGES[age], ends) - first, 0.0)
    return days


def days_until_first(orders: Orders, days: Array, first: Array, low: float, high: float) -> Array:
    """Return `days_by_age` of the same span, up to each order's first event only, (n, ages)."""
    rows = np.flatnonzero(np.isfinite(first))
    result = days.copy()
    result[rows] = days_by_age(_taken(orders, rows), low, np.minimum(high, first[rows]))
    return result


def counted(orders: Orders, first: Array, low: float, high: float) -> Index:
    """Return at which age each order's first event in the span [low, high) came, (n,); -1 where none counts."""
    since = np.where(np.isfinite(first), first, -np.inf) - orders.due
    age = np.searchsorted(np.array(AGES), since, side="right").astype(np.int64)
    counts = (
        (first >= low) & (first < high) & (since < LAST_AGE_DAYS) & (first >= orders.placed) & (first < orders.gone)
    )
    return np.where(counts, age, -1)


def fit_rates(days: Array, age_of_event: Index) -> Array:
    """Learn the events a day at each age, (ages,): events over order-days.

    Few events say little about the age at which they come: the rates are drawn towards the mean rate of all ages, with
    the weight of `AGE_STRENGTH` events, which leaves their sum over the span as it was observed. A kind that never
    happened counts as half an event.

    Parameters
    ----------
    days : array (n, ages)
        From `days_until_first`.
    age_of_event : array (n,)
        From `counted`, of the same span.
    """
    at_risk = days.sum(axis=0)
    counts = np.bincount(age_of_event[age_of_event >= 0], minlength=len(AGES)).astype(np.float64)
    if not at_risk.sum():
        return np.zeros(len(AGES))
    overall = max(float(counts.sum()), 0.5) / at_risk.sum()
    weight = AGE_STRENGTH / (AGE_STRENGTH + counts.sum())
    own = np.divide(counts, at_risk, out=np.full(len(AGES), overall), where=at_risk > 0)
    rates: Array = weight * overall + (1 - weight) * own
    return rates


def _taken(orders: Orders, rows: Index) -> Orders:
    return Orders(**{field.name: getattr(orders, field.name)[rows] for field in fields(orders)})
