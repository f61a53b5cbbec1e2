"""When an order is asked about: at purchase (`placed`), and when it is due (`due`).

Both instants follow from what was recorded by then, so that nothing recorded later can move them. What is
computed from an order at its moment belongs in `predictors.features`.
"""

from __future__ import annotations

from enum import StrEnum

import polars as pl

from predictors.snapshot import Snapshot

RATING_KINDS = ("review", "csat")


class Moment(StrEnum):
    PLACED = "placed"  # at purchase
    DUE = "due"  # the earlier of delivery and the end of the promised day
    NOW = "now"  # of a customer: the instant asked about


def order_moments(snapshot: Snapshot, *, due_days: int) -> pl.DataFrame:
    """Compute both moments of every order.

    Parameters
    ----------
    snapshot : Snapshot
    due_days : int
        Where nothing was promised and nothing delivered, an order is due so many days after purchase.

    Returns
    -------
    polars.DataFrame
        order_id, customer_id, placed_moment, due_moment, promised_end, delivered_at, first_rating_at, cancelled_at
        (each instant is the first time it was recorded; `due_moment` may lie beyond the snapshot).
    """
    versions = snapshot.orders.sort("order_id", "recorded_at").with_columns(
        rank=pl.int_range(pl.len()).over("order_id"),
        promised_end=end_of_day("promised_at", snapshot.timezone),
    )
    first = versions.filter(pl.col("rank") == 0)
    orders = first.select(
        "order_id",
        "customer_id",
        placed_moment=pl.max_horizontal("placed_at", "recorded_at"),
        promised_end="promised_end",
        due=pl.coalesce("promised_end", pl.col("placed_at") + pl.duration(days=due_days)),
    )
    for rank in range(1, int(versions["rank"].max() or 0) + 1):  # type: ignore[arg-type]
        # A new promise counts only if it was recorded before the order fell due by the old one.
        later = versions.filter(pl.col("rank") == rank).select(
            "order_id",
            new_recorded="recorded_at",
            new_end="promised_end",
            new_due=pl.max_horizontal(
                pl.coalesce("promised_end", pl.col("placed_at") + pl.duration(days=due_days)), "recorded_at"
            ),
        )
        counts = pl.col("new_recorded") <= pl.max_horizontal("due", "placed_moment")
        orders = (
            orders.join(later, on="order_id", how="left")
            .with_columns(
                due=pl.when(counts).then("new_due").otherwise("due"),
                promised_end=pl.when(counts).then("new_end").otherwise("promised_end"),
            )
            .drop("new_recorded", "new_end", "new_due")
        )
    firsts = (
        snapshot.touchpoints.filter(pl.col("kind").is_in(["delivered", "cancelled", *RATING_KINDS]))
        .group_by("order_id")
        .agg(
            delivered_at=_first("delivered"),
            cancelled_at=_first("cancelled"),
            first_rating_at=_first(*RATING_KINDS),
        )
    )
    return (
        orders.join(firsts, on="order_id", how="left")
        .with_columns(due_moment=pl.max_horizontal(pl.min_horizontal("due", "delivered_at"), "placed_moment"))
        .drop("due")
    )


def issue_subjects(moments: pl.DataFrame, moment: Moment) -> pl.DataFrame:
    """Choose the orders that are asked about at a moment.

    Left out at `due`: what was rated or cancelled at or before it. At `placed` nothing is left out but what was
    cancelled at the very instant of purchase.

    Returns
    -------
    polars.DataFrame
        order_id, customer_id, placed_moment, promised_end, moment
    """
    column = f"{moment.value}_moment"
    at = pl.col(column)
    asked = (pl.col("cancelled_at").is_null() | (pl.col("cancelled_at") > at)) & (
        pl.col("first_rating_at").is_null() | (pl.col("first_rating_at") > at)
    )
    return moments.filter(asked).select("order_id", "customer_id", "placed_moment", "promised_end", moment=at)


def end_of_day(column: str, timezone: str) -> pl.Expr:
    """The instant at which the local day of an instant ends, in UTC.

    Where a clock change skips midnight, the day ends when the next one begins, an hour later by the wall.
    """
    midnight = pl.col(column).dt.convert_time_zone(timezone).dt.date().dt.offset_by("1d").cast(pl.Datetime("us"))
    plain = midnight.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    shifted = midnight.dt.offset_by("1h").dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return pl.coalesce(plain, shifted).dt.convert_time_zone("UTC")


def _first(*kinds: str) -> pl.Expr:
    return pl.col("recorded_at").filter(pl.col("kind").is_in(list(kinds))).min()
