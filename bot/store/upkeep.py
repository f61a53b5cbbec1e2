"""Which check-ins need attention because time passed or something happened meanwhile.

Only reading; what becomes of them is `bot.services.review.upkeep`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import DECIDABLE, OutreachState
from bot.store.tables import metadata

__all__ = ["Overtaken", "awake", "ended", "overtaken", "overtaken_by_order", "settled"]

outreaches = metadata.tables["outreaches"]
touchpoints = metadata.tables["touchpoints"]
orders = metadata.tables["orders"]
outcomes = metadata.tables["outcomes"]
# What may still be called off.
CANCELLABLE = (*sorted(DECIDABLE), OutreachState.APPROVED)


@dataclass(frozen=True, kw_only=True)
class Overtaken:
    """An open check-in and something that happened to its customer or order since it was proposed."""

    outreach_id: int
    playbook: str
    kind: str


def ended(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Return check-ins on which nobody decided in time."""
    columns = outreaches.c
    query = sa.select(columns.id).where(columns.state.in_(sorted(DECIDABLE)), columns.expires_at <= now)
    return list(connection.execute(query.order_by(columns.id).limit(limit)).scalars())


def awake(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Return check-ins that were put aside until a time that has come."""
    columns = outreaches.c
    snoozed = sa.and_(columns.state == OutreachState.SNOOZED, columns.snoozed_until <= now)
    deferred = sa.and_(columns.state == OutreachState.DEFERRED, columns.not_before <= now)
    query = sa.select(columns.id).where(sa.or_(snoozed, deferred), columns.expires_at > now)
    return list(connection.execute(query.order_by(columns.id).limit(limit)).scalars())


def overtaken(
    connection: Connection, exits: Mapping[str, Collection[str]], now: datetime, limit: int
) -> list[Overtaken]:
    """Return open check-ins with what was recorded since they were proposed and ends them.

    What happened to another order of the customer's does not count.

    Parameters
    ----------
    exits : mapping of str to collection of str
        By playbook, the kinds that end its check-ins; others are left out here, so that they fill no page.
    """
    out, happened = outreaches.c, touchpoints.c
    ends = [
        sa.and_(out.playbook == playbook, happened.kind.in_(sorted(kinds)))
        for playbook, kinds in exits.items()
        if kinds
    ]
    if not ends:
        return []
    query = (
        sa.select(out.id.label("outreach_id"), out.playbook, happened.kind)
        .join(touchpoints, happened.customer_id == out.customer_id)
        .where(out.state.in_(CANCELLABLE), sa.or_(*ends))
        .where(happened.recorded_at > out.created_at, happened.recorded_at <= now)
        .where(sa.or_(happened.order_id.is_(None), out.order_id.is_(None), happened.order_id == out.order_id))
        .order_by(out.id)
        .distinct()
        .limit(limit)
    )
    return [Overtaken(**row._mapping) for row in connection.execute(query)]


def overtaken_by_order(
    connection: Connection, playbooks: Collection[str], now: datetime, limit: int
) -> list[Overtaken]:
    """Return open check-ins of some playbooks whose customer has ordered again since they were proposed."""
    out = outreaches.c
    query = (
        sa.select(out.id.label("outreach_id"), out.playbook, sa.literal("placed").label("kind"))
        .join(orders, orders.c.customer_id == out.customer_id)
        .where(out.state.in_(CANCELLABLE), out.playbook.in_(sorted(playbooks)))
        .where(orders.c.placed_at > out.created_at, orders.c.placed_at <= now)
        .order_by(out.id)
        .distinct()
        .limit(limit)
    )
    return [Overtaken(**row._mapping) for row in connection.execute(query)]


def settled(connection: Connection, kinds: Collection[str], limit: int) -> list[int]:
    """Return check-ins that were sent and whose outcome has been observed: nothing more is expected of them."""
    out = outreaches.c
    query = (
        sa.select(out.id)
        .join(outcomes, outcomes.c.assignment_id == out.assignment_id)
        .where(out.state.in_([OutreachState.SENT, OutreachState.REPLIED]), outcomes.c.kind.in_(list(kinds)))
        .where(outcomes.c.recorded_at > out.created_at)
    )
    return list(connection.execute(query.order_by(out.id).distinct().limit(limit)).scalars())
