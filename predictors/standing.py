"""How many orders the end of an order stands for in histories, where some customers were contacted: from when on, and by how much.

A seller whose bad orders are all saved by check-ins would look safe. So from its first contact on an order stands for none,
and one that was held out of a draw stands for those like it that were drawn to be contacted: 1 / (1 - p) from the draw on. What
was recorded before counts as it did, so that a history says what was known at any instant. Which subjects may teach a model,
once their whole outcome is known, is decided in `predictors.treatment`.

Contacts that nobody drew have no such probability. Those left alone by the same seller, product or route stand for them in its
rates, which is right as far as people did not choose by more than that.
"""

from __future__ import annotations

import polars as pl

from predictors.labels import CONTACT
from predictors.snapshot import DRAWS, INSTANT, Schema, Snapshot, valid_draws

__all__ = ["FOLLOWED_DAYS", "MAX_WEIGHT", "open_draws", "standing", "watched", "with_standing"]

# Nobody stands for more than so many others: beyond, a little bias is cheaper than the variance (Cole & Hernán 2008).
MAX_WEIGHT = 20.0

# A contact so long after an order was due changes nothing any more in what became of it.
FOLLOWED_DAYS = 90

_CHANGES: Schema = {"order_id": pl.Int64, "at": INSTANT, "before": pl.Float64, "weight": pl.Float64}


def open_draws(draws: pl.DataFrame | None, snapshot: Snapshot) -> pl.DataFrame:
    """Return draws that were open: where contact was certain, nobody was held out to stand for the contacted."""
    if draws is None:
        return pl.DataFrame(schema=dict(DRAWS))
    possible = pl.col("propensity").is_between(0.0, 1.0, closed="none")
    return valid_draws(draws).filter(possible & (pl.col("at") <= snapshot.until))


def standing(snapshot: Snapshot, moments: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return each change in how many an order stands for: order_id, at, and the number before and after, in that order.

    Parameters
    ----------
    moments : polars.DataFrame
        From `predictors.moments.order_moments`.
    outcomes : polars.DataFrame
        From `predictors.labels.outcome_events`: a contact after the first issue has not changed it.
    """
    drawn = open_draws(snapshot.draws, snapshot)
    contacts = snapshot.touchpoints.filter(pl.col("kind") == CONTACT)
    if not drawn.height and not contacts.height:
        return pl.DataFrame(schema=dict(_CHANGES))
    by_draw = pl.when(pl.col("contacted") == 1).then(0.0).otherwise(1.0 / (1.0 - pl.col("propensity")))
    reached = contacts.select("order_id", "customer_id", at="recorded_at", factor=pl.lit(0.0))
    # What names no order is about whatever the customer had bought by then.
    loose = reached.filter(pl.col("order_id").is_null()).drop("order_id").join(moments, on="customer_id")
    columns = ["order_id", "at", "factor"]
    factors = pl.concat(
        [
            drawn.select("order_id", "at", factor=by_draw),
            reached.filter(pl.col("order_id").is_not_null()).select(columns),
            loose.filter(pl.col("placed_moment") < pl.col("at")).select(columns),
        ]
    )
    issues = outcomes.filter("is_issue").group_by("order_id").agg(issue_at=pl.col("recorded_at").min())
    weight = pl.min_horizontal(pl.col("factor").cum_prod().over("order_id"), MAX_WEIGHT)
    return (
        factors.join(moments.select("order_id", "due_moment"), on="order_id")
        .join(issues, on="order_id", how="left")
        .filter(
            pl.col("at") <= pl.col("due_moment") + pl.duration(days=FOLLOWED_DAYS),
            pl.col("issue_at").is_null() | (pl.col("at") < pl.col("issue_at")),
        )
        .sort(columns)
        .with_columns(weight=weight)
        .unique(["order_id", "at"], keep="last", maintain_order=True)
        .select("order_id", "at", "weight", before=pl.col("weight").shift(1).over("order_id").fill_null(1.0))
        .filter(pl.col("weight") != pl.col("before"))
        .select(list(_CHANGES))
    )


def with_standing(rows: pl.DataFrame, changes: pl.DataFrame, at: str) -> pl.DataFrame:
    """Add `stands_for`, how many the order of each row stood for right before an instant of the row.

    Parameters
    ----------
    rows : polars.DataFrame
        order_id and the instant.
    changes : polars.DataFrame
        From `standing`.
    """
    if not changes.height:
        return rows.with_columns(stands_for=pl.lit(1.0))
    latest = changes.select("order_id", "at", stands_for="weight").sort("at")
    found = (
        rows.with_row_index("_place")
        .sort(at)
        .join_asof(latest, left_on=at, right_on="at", by="order_id", allow_exact_matches=False, check_sortedness=False)
    )
    return found.sort("_place").drop("_place", "at").with_columns(pl.col("stands_for").fill_null(1.0))


def watched(changes: pl.DataFrame, base: pl.DataFrame) -> pl.DataFrame:
    """Return the changes after an order was due, with the order.

    Parameters
    ----------
    base : polars.DataFrame
        order_id, due_moment, and whatever is to be in the result.
    """
    return changes.join(base, on="order_id").filter(pl.col("at") >= pl.col("due_moment"))
