"""What was known of every customer at an instant: how often, how lately, how much, and how it went.

One code path for training on past snapshots and for scoring. Strictly what the snapshot holds at that instant.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from predictors.labels import CONTACT, outcome_events
from predictors.moments import order_moments
from predictors.snapshot import INSTANT, Snapshot

_WEEK = 7 * 86400.0


def customer_features(snapshot: Snapshot, at: datetime) -> pl.DataFrame:
    """Describe every customer with an order by `at`.

    Orders on the same local date count as one purchase, as in the BG/NBD literature.

    Returns
    -------
    polars.DataFrame
        customer_id, moment and the features, sorted by customer.
    """
    past = snapshot.at(at)
    days = _purchase_days(past)
    now = pl.lit(at).cast(INSTANT)
    gap = pl.col("placed_at").diff().dt.total_seconds() / _WEEK
    weeks = {
        name: (now - pl.col(column)).dt.total_seconds() / _WEEK
        for name, column in (("age", "first"), ("quiet", "last"))
    }
    people = days.group_by("customer_id").agg(
        frequency=(pl.len() - 1).cast(pl.Float64),
        first=pl.col("placed_at").min(),
        last=pl.col("placed_at").max(),
        spend_log=pl.col("total").sum().log1p(),
        order_value_log=pl.col("total").mean().log1p(),
        last_value_log=pl.col("total").last().log1p(),
        gap_mean_weeks=gap.mean(),
        gap_spread_weeks=gap.std(),
        recent_purchases=(pl.col("placed_at") > now - timedelta(days=90)).sum().cast(pl.Float64),
    )
    people = people.with_columns(
        recency_weeks=(pl.col("last") - pl.col("first")).dt.total_seconds() / _WEEK,
        age_weeks=weeks["age"],
        quiet_weeks=weeks["quiet"],
    ).with_columns(
        quiet_against_gap=pl.col("quiet_weeks") / (pl.col("gap_mean_weeks") + 1.0),
        quiet_share=pl.col("quiet_weeks") / (pl.col("age_weeks") + 1e-9),
        pace_log=((pl.col("frequency") + 1.0) / (pl.col("age_weeks") + 1.0)).log(),
        frequency_log=pl.col("frequency").log1p(),
        quiet_log=pl.col("quiet_weeks").log1p(),
    )
    events = outcome_events(past).join(past.orders.select("order_id", "customer_id").unique("order_id"), on="order_id")
    trouble = events.group_by("customer_id").agg(
        issues=pl.col("is_issue").sum().cast(pl.Float64), ratings=pl.col("is_rating").sum().cast(pl.Float64)
    )
    people = people.join(trouble, on="customer_id", how="left").with_columns(
        pl.col("issues", "ratings").fill_null(0.0), moment=now
    )
    return people.drop("first", "last").sort("customer_id")


def purchases_left_alone(snapshot: Snapshot, at: datetime) -> pl.DataFrame:
    """Return what BG/NBD learns from: each customer's purchases until the first contact after their first purchase.

    Whom to contact is decided by what was seen of a customer by then, and the likelihood of what was seen is the same whatever
    decided when to stop looking: so the rest may be left away, and nobody need stand for anybody else.

    Returns
    -------
    polars.DataFrame
        customer_id, frequency, recency_weeks and age_weeks as in `customer_features`, sorted by customer.
    """
    columns = ["customer_id", "frequency", "recency_weeks", "age_weeks"]
    people = customer_features(snapshot, at).select(columns)
    past = snapshot.at(at)
    contacts = past.touchpoints.filter(pl.col("kind") == CONTACT).select("customer_id", contact_at="occurred_at")
    if not contacts.height:
        return people
    days = _purchase_days(past)
    first = days.group_by("customer_id").agg(first=pl.col("placed_at").min())
    reached = contacts.join(first, on="customer_id").filter(pl.col("contact_at") > pl.col("first"))
    ends = reached.group_by("customer_id").agg(pl.col("contact_at").min(), pl.col("first").first())
    seen = days.join(ends, on="customer_id").filter(pl.col("placed_at") < pl.col("contact_at"))
    until_contact = seen.group_by("customer_id").agg(
        frequency=(pl.len() - 1).cast(pl.Float64),
        recency_weeks=(pl.col("placed_at").max() - pl.col("first").first()).dt.total_seconds() / _WEEK,
        age_weeks=(pl.col("contact_at").first() - pl.col("first").first()).dt.total_seconds() / _WEEK,
    )
    return people.update(until_contact, on="customer_id", how="left").select(columns)


def purchase_values(snapshot: Snapshot, at: datetime) -> pl.DataFrame:
    """Return how many of each customer's purchases by `at` had a value above 0, and their mean value.

    The first purchase counts: leaving it out, as the literature does, forecast the spend of CDNOW's customers worse on
    each of three windows inside the history (`benchmarks/churn.py`). Free, refunded and unpriced orders do not count.

    Returns
    -------
    polars.DataFrame
        customer_id, valued_purchases (float) and mean_value in the orders' own currency; only customers with one.
    """
    days = _purchase_days(snapshot.at(at))
    # Sorted, so that sums do not depend on the order of the groups.
    valued = days.filter(pl.col("total") > 0).sort("customer_id", "day")
    return (
        valued.group_by("customer_id", maintain_order=True)
        .agg(valued_purchases=pl.len().cast(pl.Float64), mean_value=pl.col("total").mean())
        .sort("customer_id")
    )


def bought_within(snapshot: Snapshot, start: datetime, end: datetime) -> pl.Series:
    """Return the customers who placed an order after `start` and up to `end`."""
    orders = _purchases(snapshot)
    return orders.filter((pl.col("placed_at") > start) & (pl.col("placed_at") <= end))["customer_id"].unique()


def _purchase_days(snapshot: Snapshot) -> pl.DataFrame:
    """Return each customer's purchases: the orders of one local date are one."""
    days = _purchases(snapshot).group_by("customer_id", "day")
    return days.agg(pl.col("total").sum(), pl.col("placed_at").min()).sort("placed_at")


def _purchases(snapshot: Snapshot) -> pl.DataFrame:
    """Return the latest known version of every order that was not cancelled."""
    cancelled = order_moments(snapshot, due_days=1).filter(pl.col("cancelled_at").is_not_null())["order_id"]
    current = snapshot.orders.filter(
        pl.col("superseded_at").is_null()
        & (pl.col("placed_at") <= snapshot.until)
        & ~pl.col("order_id").is_in(cancelled.implode())
    )
    day = pl.col("placed_at").dt.convert_time_zone(snapshot.timezone).dt.date()
    return current.sort("placed_at").with_columns(day=day)
