"""Counts over the whole loop for reports; what they mean is `bot.services.insight`'s business."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.autonomy import AFTERCARE
from bot.store.enums import Author, Direction
from bot.store.tables import metadata

__all__ = ["count_by_state", "count_decisions", "count_inbound", "count_outcomes", "count_refusals", "count_replies"]

outreaches = metadata.tables["outreaches"]
decisions = metadata.tables["decisions"]
refusals = metadata.tables["refusals"]
utterances = metadata.tables["utterances"]
outcomes = metadata.tables["outcomes"]
touchpoints = metadata.tables["touchpoints"]


def count_by_state(connection: Connection, since: datetime) -> dict[str, int]:
    """Count check-ins proposed since an instant by their present state."""
    return _grouped(connection, outreaches.c.state, outreaches.c.created_at, since)


def count_decisions(connection: Connection, since: datetime) -> dict[str, int]:
    """Count agents' decisions by kind; what went out unasked is none of theirs."""
    theirs = decisions.c.actor != AFTERCARE
    return _grouped(connection, decisions.c.kind, decisions.c.recorded_at, since, theirs)


def count_refusals(connection: Connection, since: datetime) -> dict[str, int]:
    """Count refusals and deferrals by reason."""
    return _grouped(connection, refusals.c.reason, refusals.c.recorded_at, since)


def count_inbound(connection: Connection, since: datetime) -> dict[str, int]:
    """Count customers' messages by what the bot decided about each."""
    columns = utterances.c
    theirs = sa.and_(
        columns.direction == Direction.IN, columns.author == Author.CUSTOMER, columns.decision.is_not(None)
    )
    return _grouped(connection, columns.decision, columns.recorded_at, since, theirs)


def count_replies(connection: Connection, since: datetime, now: datetime) -> tuple[int, int]:
    """Return how many check-ins were sent since an instant, and how many of their customers wrote back."""
    out = outreaches.c
    sent = out.sent_at >= since
    answered = sa.exists().where(
        touchpoints.c.customer_id == out.customer_id,
        touchpoints.c.kind == "reply",
        touchpoints.c.occurred_at > out.sent_at,
        touchpoints.c.recorded_at <= now,
    )
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(sa.case((answered, 1), else_=0)), 0)).select_from(
        outreaches
    )
    total, replied = connection.execute(query.where(sent)).one()
    return int(total), int(replied)


def count_outcomes(connection: Connection, since: datetime) -> dict[str, tuple[int, float]]:
    """Return for each kind of outcome how many were observed since an instant, and their mean."""
    columns = outcomes.c
    query = (
        sa.select(columns.kind, sa.func.count(), sa.func.avg(columns.value))
        .where(columns.observed_at >= since)
        .group_by(columns.kind)
    )
    return {kind: (int(number), float(mean)) for kind, number, mean in connection.execute(query)}


def _grouped(
    connection: Connection,
    group: sa.Column[Any],
    instant: sa.Column[Any],
    since: datetime,
    condition: sa.ColumnElement[bool] | None = None,
) -> dict[str, int]:
    query = sa.select(group, sa.func.count()).where(instant >= since)
    if condition is not None:
        query = query.where(condition)
    return {str(key): int(number) for key, number in connection.execute(query.group_by(group).order_by(group))}
