"""Reading whom experiments drew to be contacted or held out, as histories of a snapshot need it: `predictors.snapshot.DRAWS`.

Strictly as known at each draw: how probable a contact was must not be learned from later draws.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.assignment import HOLDOUT
from bot.decide.policy import Reason
from bot.store.columns import Instant
from bot.store.history_frames import among, as_instant, ids_value, in_batches, instant_of
from bot.store.tables import metadata
from predictors.snapshot import DRAWS

__all__ = ["read_draws"]

_outreaches, _refusals, _assignments, _orders = (
    metadata.tables[name] for name in ("outreaches", "refusals", "assignments", "orders")
)
_DRAWN = {"order_id": pl.Int64, "playbook": pl.String, "arm": pl.String, "propensity": pl.Float64}
_ARMS = {"playbook": pl.String, "arm": pl.String, "propensity": pl.Float64}


def read_draws(connection: Connection, until: datetime, order_ids: Collection[int] | None = None) -> pl.DataFrame:
    """Return the draws over orders that decided by an instant, of all orders or of some."""
    dialect = connection.dialect.name
    wanted: dict[str, Any] = {"until": until}
    if order_ids is not None:
        wanted["ids"] = ids_value(dialect, order_ids)
    time = pl.String if dialect == "sqlite" else pl.Int64
    drawn = in_batches(connection, _drawn(dialect, order_ids is not None), wanted, {**_DRAWN, "at": time})
    if not drawn.height:
        return pl.DataFrame(schema=dict(DRAWS))
    arms = in_batches(connection, _arms(dialect), {"until": until}, {**_ARMS, "since": time})
    sqlite = dialect == "sqlite"
    return _with_propensities(
        drawn.with_columns(as_instant("at", sqlite)), arms.with_columns(as_instant("since", sqlite))
    )


def _with_propensities(drawn: pl.DataFrame, arms: pl.DataFrame) -> pl.DataFrame:
    """Say of each draw how probable it was to be drawn to be contacted.

    A draw stores the probability of its own arm. Of several variants that is a part of the probability of a contact: there the
    holdout's share says the rest; where nobody had been held out by then, everybody was contacted.

    Parameters
    ----------
    arms : polars.DataFrame
        Since when each arm of each playbook was drawn with which probability.
    """
    held_out = pl.col("arm") == HOLDOUT
    shares = arms.filter(held_out).select("playbook", "since", share="propensity").sort("since")
    variants = arms.filter(~held_out).group_by("playbook", "arm").agg(pl.col("since").min())
    several = variants.group_by("playbook").agg(several_since=pl.col("since").sort().get(1, null_on_oob=True))
    contact = (
        pl.when(held_out)
        .then(1.0 - pl.col("propensity"))
        .when((pl.col("several_since") <= pl.col("at")).fill_null(False))
        .then(1.0 - pl.col("share").fill_null(0.0))
        .otherwise("propensity")
    )
    return (
        drawn.sort("at")
        .join_asof(shares, left_on="at", right_on="since", by="playbook", check_sortedness=False)
        .join(several, on="playbook", how="left")
        .with_columns(propensity=contact, contacted=(~held_out).cast(pl.Int8))
        .sort("order_id", "at", "playbook")
        .select(list(DRAWS))
    )


@cache
def _drawn(dialect: str, some: bool) -> sa.Select[Any]:
    """Return the statement of the first time at which each draw decided about each order.

    A customer stays in the arm of a playbook, so one assignment may decide about several orders, each at its own time; a
    refusal is stored again every day on which the order is still meant.
    """
    out, refused = _outreaches.c, _refusals.c
    until = sa.bindparam("until", type_=Instant())
    proposed = sa.select(out.order_id, out.assignment_id, out.created_at.label("at")).where(
        out.created_at <= until, out.order_id.is_not(None)
    )
    held = sa.select(refused.order_id, refused.assignment_id, refused.recorded_at.label("at")).where(
        refused.reason == Reason.HOLDOUT.value,
        refused.recorded_at <= until,
        refused.assignment_id.is_not(None),
        refused.order_id.is_not(None),
    )
    if some:  # by the customers, of whom there is an index
        buyers = sa.select(_orders.c.customer_id).where(among(dialect, _orders.c.id))
        proposed = proposed.where(out.customer_id.in_(buyers), among(dialect, out.order_id))
        held = held.where(refused.customer_id.in_(buyers), among(dialect, refused.order_id))
    decided = sa.union_all(proposed, held).subquery()
    first = (
        sa.select(decided.c.order_id, decided.c.assignment_id, sa.func.min(decided.c.at).label("at"))
        .group_by(decided.c.order_id, decided.c.assignment_id)
        .subquery()
    )
    arm = _assignments.c
    columns = (first.c.order_id, arm.playbook, arm.arm, arm.propensity, instant_of(first.c.at, dialect == "sqlite"))
    return sa.select(*columns).join(_assignments, arm.id == first.c.assignment_id)


@cache
def _arms(dialect: str) -> sa.Select[Any]:
    arm = _assignments.c
    since = sa.func.min(arm.drawn_at).label("since")
    drawn = sa.select(arm.playbook, arm.arm, arm.propensity, since).where(
        arm.drawn_at <= sa.bindparam("until", type_=Instant())
    )
    found = drawn.group_by(arm.playbook, arm.arm, arm.propensity).subquery()
    return sa.select(found.c.playbook, found.c.arm, found.c.propensity, instant_of(found.c.since, dialect == "sqlite"))
