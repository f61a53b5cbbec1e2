"""Which customers may teach a churn model, and with what weight, where some were contacted to keep them.

As `predictors.treatment` has it for orders: the churn is that of being left alone. A customer is followed from the
beginning of a window until they buy, are contacted, or the window ends; who is contacted is left out, and those like
them who were left alone stand for them. A contact before the window is a part of the history that all have.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from predictors.frames import Array
from predictors.snapshot import INSTANT, Snapshot
from predictors.treatment import CONTACT, MAX_WEIGHT, left_alone_so_far, open_draws

__all__ = ["customers_left_alone"]


def customers_left_alone(
    snapshot: Snapshot, rows: pl.DataFrame, X: pl.DataFrame, *, days: int, end: datetime, draws: pl.DataFrame | None
) -> Array | None:
    """Weigh the customers of a window so that those who were left alone stand for all.

    Parameters
    ----------
    rows : polars.DataFrame
        customer_id and moment, the beginning of the window.
    X : polars.DataFrame
        The features of the same rows in the same order.
    days : int
        The length of the window.
    end : datetime
        Its end.
    draws : polars.DataFrame or None
        `predictors.treatment.DRAWS`, over orders: each is about who placed the order.

    Returns
    -------
    (n,) array or None
        Weights with mean 1 over those left alone, 0 for who was contacted or drawn to be; None where nobody was, nor held out.
    """
    past = snapshot.at(end)
    followed = _followed(past, rows, days)
    owners = past.orders.select("order_id", "customer_id").unique("order_id")
    drawn = _within(open_draws(draws, past).join(owners, on="order_id"), followed)
    contacts = past.touchpoints.filter(pl.col("kind") == CONTACT).select("customer_id", at="recorded_at")
    reached = _within(contacts, followed).group_by("customer_id").agg(pl.col("at").min())
    if not drawn.height and not reached.height:
        return None
    by_draw = drawn.group_by("customer_id").agg(
        by_draw=(1.0 / (1.0 - pl.col("propensity"))).product(), contacted=pl.col("contacted").max()
    )
    known = followed.join(by_draw, on="customer_id", how="left", maintain_order="left").join(
        reached, on="customer_id", how="left", maintain_order="left"
    )
    held = (known["contacted"].fill_null(0) == 0).to_numpy()
    lived = pl.DataFrame(
        {
            "until": (known["ends"] - known["moment"]).dt.total_seconds() / 86400.0,
            "contact": (known["at"] - known["moment"]).dt.total_seconds() / 86400.0,
        }
    )
    probability = left_alone_so_far(X, lived, held, days)
    alone = held & lived["contact"].is_null().to_numpy()
    weights: Array = np.where(
        alone, np.minimum(known["by_draw"].fill_null(1.0).to_numpy() / probability, MAX_WEIGHT), 0.0
    )
    return weights / weights[alone].mean() if alone.any() else weights


def _followed(past: Snapshot, rows: pl.DataFrame, days: int) -> pl.DataFrame:
    """Return customer_id, moment and `ends`, the first order in the window or its end, in the order of the rows."""
    bought = (
        past.orders.select("customer_id", "placed_at")
        .join(rows.select("customer_id", "moment"), on="customer_id")
        .filter(pl.col("placed_at") > pl.col("moment"))
        .group_by("customer_id")
        .agg(pl.col("placed_at").min())
    )
    window_ends = pl.col("moment") + timedelta(days=days)
    return (
        rows.select("customer_id", pl.col("moment").cast(INSTANT))
        .join(bought, on="customer_id", how="left", maintain_order="left")
        .select("customer_id", "moment", ends=pl.min_horizontal("placed_at", window_ends))
    )


def _within(events: pl.DataFrame, followed: pl.DataFrame) -> pl.DataFrame:
    """Keep what happened to a customer while they were followed."""
    joined = events.join(followed, on="customer_id")
    return joined.filter((pl.col("at") > pl.col("moment")) & (pl.col("at") < pl.col("ends")))
