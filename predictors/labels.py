"""What counts as an issue, and which orders count as observed by an instant.

A bad rating, a ticket, a complaint, a return or a refund within the horizon after the moment. Lateness is a
cause and never the label. Which orders are asked about belongs in `predictors.moments`.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import polars as pl

from predictors.moments import RATING_KINDS
from predictors.snapshot import Snapshot

# The product wrote to a customer; what came after is not how the order would have ended by itself.
CONTACT = "outreach_sent"
TROUBLE_KINDS = ("ticket_opened", "complaint", "return_requested", "returned", "refunded")
# A rating of one or two stars (of five) is a bad one.
BAD_RATING = 2.0
# Ratings have settled once this share of them is in; fewer delays than this say little about so late a share.
NEARLY_ALL = 0.99
MIN_DELAYS = 500


class LabelledBy(StrEnum):
    AUTO = "auto"  # rated where the shop records no tickets or returns at all, else all
    ALL = "all"  # every order whose horizon has passed
    RATED = "rated"  # only orders that were rated


def outcome_events(snapshot: Snapshot) -> pl.DataFrame:
    """Return what says how an order went: order_id, recorded_at, kind, is_rating, is_issue, stars (of a rating).

    A ticket or complaint without an order is taken to be about the customer's latest order known by then.
    """
    kinds = [*TROUBLE_KINDS, *RATING_KINDS]
    events = snapshot.touchpoints.filter(pl.col("kind").is_in(kinds)).select(
        "order_id", "customer_id", "recorded_at", "kind", "value", is_rating=pl.col("kind").is_in(list(RATING_KINDS))
    )
    named = events.filter(pl.col("order_id").is_not_null())
    loose = events.filter(pl.col("order_id").is_null() & ~pl.col("is_rating")).drop("order_id")
    if loose.height:
        named = pl.concat([named, with_order_meant(loose, snapshot.orders).select(named.columns)])
    bad = ~pl.col("is_rating") | (pl.col("value") <= BAD_RATING)
    rated = ~pl.col("is_rating") | pl.col("value").is_not_null()
    return named.filter(rated).select(
        "order_id", "recorded_at", "kind", "is_rating", is_issue=bad, stars=pl.when("is_rating").then("value")
    )


def with_order_meant(loose: pl.DataFrame, orders: pl.DataFrame) -> pl.DataFrame:
    """Add to touchpoints without an order the customer's latest order known by then; those without any are left out."""
    known = (
        orders.group_by("order_id")
        .agg(pl.col("customer_id").first(), since=pl.max_horizontal("placed_at", "recorded_at").min())
        .sort("since", "order_id")
    )
    found = loose.sort("recorded_at").join_asof(
        known, left_on="recorded_at", right_on="since", by="customer_id", check_sortedness=False
    )
    return found.filter(pl.col("order_id").is_not_null())


def resolve_mode(snapshot: Snapshot, mode: LabelledBy) -> LabelledBy:
    """Turn `auto` into what it means for the shop as known by the snapshot."""
    if mode is not LabelledBy.AUTO:
        return mode
    troubles = snapshot.touchpoints["kind"].is_in(list(TROUBLE_KINDS)).any()
    return LabelledBy.ALL if troubles else LabelledBy.RATED


def label_issues(
    snapshot: Snapshot, subjects: pl.DataFrame, *, horizon_days: int, mode: LabelledBy, settle_days: float | None = None
) -> pl.DataFrame:
    """Label the subjects whose outcome is known by the snapshot.

    Parameters
    ----------
    snapshot : Snapshot
        Its `until` is the instant by which an outcome must have been recorded.
    subjects : polars.DataFrame
        order_id, moment; with `settle_days` also settles_from.
    horizon_days : int
        Days after the moment in which an issue counts.
    mode : LabelledBy
        `auto` is resolved on the snapshot.
    settle_days : float, optional
        Days after `settles_from` from which a rated order counts although its horizon has not passed: from
        `settled_after`. By default all wait for the horizon.

    Returns
    -------
    polars.DataFrame
        order_id, issue (0 or 1), known_at (from when the label was certain), only the observed ones.
    """
    mode = resolve_mode(snapshot, mode)
    horizon = pl.duration(days=horizon_days)
    events = outcome_events(snapshot).join(subjects.select("order_id", "moment"), on="order_id")
    within = events.filter(
        (pl.col("recorded_at") > pl.col("moment")) & (pl.col("recorded_at") <= pl.col("moment") + horizon)
    )
    seen = within.group_by("order_id").agg(
        issue=pl.col("is_issue").any(),
        rated=pl.col("is_rating").any(),
        rated_at=pl.col("recorded_at").filter("is_rating").min(),
    )
    known_at = pl.col("moment") + horizon
    if settle_days is not None and mode is LabelledBy.RATED:
        settled = pl.col("settles_from") + pl.duration(seconds=round(settle_days * 86400))
        # A straggler's rating is known when it comes; what has no promise waits for the horizon.
        known_at = pl.min_horizontal(known_at, pl.max_horizontal(settled.fill_null(known_at), "rated_at"))
    labelled = subjects.join(seen, on="order_id", how="left").with_columns(known_at=known_at)
    if mode is LabelledBy.RATED:
        labelled = labelled.filter(pl.col("rated") | pl.col("issue"))
    return labelled.filter(pl.col("known_at") <= snapshot.until).select(
        "order_id", pl.col("issue").fill_null(False).cast(pl.Int8), "known_at"
    )


def settled_after(snapshot: Snapshot, moments: pl.DataFrame, *, horizon_days: int, mode: LabelledBy) -> float | None:
    """Return in how many days after an order was due nearly all of its ratings have come; None: wait for the horizon.

    Counting an order as soon as it is rated favours fast raters. Once 99 of 100 ratings are in, the rest can favour
    nobody by much, and the labels are weeks fresher: on Olist 22 days in place of 45. Learned from orders that fell
    due a horizon or more before the snapshot ends. Where tickets or returns also count, they may come to the very
    end of the horizon.

    Parameters
    ----------
    moments : polars.DataFrame
        From `predictors.moments.order_moments`.
    """
    kinds = snapshot.touchpoints["kind"].is_in(list(TROUBLE_KINDS))
    if resolve_mode(snapshot, mode) is not LabelledBy.RATED or kinds.any():
        return None
    old = moments.filter(pl.col("due_moment") <= snapshot.until - timedelta(days=horizon_days))
    delays = old.select(
        ((pl.col("first_rating_at") - pl.col("due_moment")).dt.total_seconds() / 86400.0).alias("days")
    ).filter(pl.col("days").is_between(0.0, horizon_days))["days"]
    if delays.len() < MIN_DELAYS:
        return None
    nearly_all = delays.quantile(NEARLY_ALL)
    return None if nearly_all is None else float(nearly_all)
