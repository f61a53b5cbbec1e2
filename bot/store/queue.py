"""The queue of check-ins that wait for an agent: filtered, paged, counted, and which one comes next.

Only reading; deciding is `bot.services.review.desk`'s business.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import OutreachState
from bot.store.enums import Direction
from bot.store.outreach import Outreach, as_outreach
from bot.store.tables import metadata

__all__ = [
    "Owner",
    "QueueFilter",
    "Waiting",
    "count_waiting",
    "next_waiting",
    "playbooks_waiting",
    "waiting",
    "wrote_since",
]

outreaches = metadata.tables["outreaches"]
conversations = metadata.tables["conversations"]
utterances = metadata.tables["utterances"]


class Owner(StrEnum):
    """Whose check-ins are meant."""

    ANYBODY = ""  # all of them
    MINE = "mine"  # those that I claimed
    NOBODY = "nobody"  # those that nobody has claimed


@dataclass(frozen=True, kw_only=True)
class QueueFilter:
    """Which waiting check-ins are meant; empty values mean all.

    Attributes
    ----------
    urgent : bool or None
        Only urgent ones, or only others.
    """

    playbook: str = ""
    band: str = ""
    urgent: bool | None = None
    owner: Owner = Owner.ANYBODY


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The queue in numbers."""

    waiting: int
    urgent: int
    claimed: int
    ending: int
    oldest_at: datetime | None


def waiting(
    connection: Connection, wanted: QueueFilter, actor: str, now: datetime, *, limit: int, offset: int = 0
) -> tuple[list[Outreach], int]:
    """Return some of the check-ins that wait, most pressing first, and how many there are in all."""
    conditions = _conditions(wanted, actor, now)
    total = connection.execute(sa.select(sa.func.count()).select_from(outreaches).where(*conditions)).scalar_one()
    query = sa.select(outreaches).where(*conditions).order_by(*_PRESSING).limit(limit).offset(offset)
    return [as_outreach(dict(row._mapping)) for row in connection.execute(query)], int(total)


def next_waiting(connection: Connection, actor: str, now: datetime) -> Outreach | None:
    """Return what an agent should look at next: what nobody has claimed, then their own, then what others have."""
    claimed = outreaches.c.claimed_until > now
    turn = sa.case((claimed & (outreaches.c.claimed_by == actor), 1), (claimed, 2), else_=0)
    query = sa.select(outreaches).where(*_conditions(QueueFilter(), actor, now)).order_by(turn, *_PRESSING).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else as_outreach(dict(row._mapping))


def count_waiting(connection: Connection, now: datetime, ending_before: datetime) -> Waiting:
    """Return the queue in numbers; `ending` are those that expire before an instant."""
    columns = outreaches.c

    def number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)

    query = sa.select(
        sa.func.count(),
        number(columns.urgent.is_(True)),
        number(columns.claimed_until > now),
        number(columns.expires_at < ending_before),
        sa.func.min(columns.created_at),
    ).where(*_conditions(QueueFilter(), "", now))
    total, urgent, claimed, ending, oldest = connection.execute(query).one()
    return Waiting(waiting=int(total), urgent=int(urgent), claimed=int(claimed), ending=int(ending), oldest_at=oldest)


def playbooks_waiting(connection: Connection, now: datetime) -> dict[str, int]:
    """Return how many check-ins of each playbook wait."""
    columns = outreaches.c
    query = (
        sa.select(columns.playbook, sa.func.count())
        .where(*_conditions(QueueFilter(), "", now))
        .group_by(columns.playbook)
        .order_by(columns.playbook)
    )
    return {str(playbook): int(number) for playbook, number in connection.execute(query)}


def wrote_since(connection: Connection, customer_ids: Collection[int], since: datetime) -> set[int]:
    """Return the customers who wrote to us since an instant, in a conversation that is not closed."""
    query = (
        sa.select(conversations.c.customer_id)
        .join(utterances, utterances.c.conversation_id == conversations.c.id)
        .where(
            conversations.c.customer_id.in_(list(customer_ids)),
            conversations.c.state != "closed",
            utterances.c.direction == Direction.IN.value,
            utterances.c.recorded_at >= since,
        )
    )
    return {int(one) for one in connection.execute(query).scalars()}


_PRESSING = (
    outreaches.c.urgent.desc(),
    sa.func.coalesce(outreaches.c.probability, 0.0).desc(),
    outreaches.c.id,
)


def _conditions(wanted: QueueFilter, actor: str, now: datetime) -> list[sa.ColumnElement[bool]]:
    columns: Any = outreaches.c
    found = [columns.state == OutreachState.SUGGESTED.value, columns.expires_at > now]
    if wanted.playbook:
        found.append(columns.playbook == wanted.playbook)
    if wanted.band:
        found.append(columns.band == wanted.band)
    if wanted.urgent is not None:
        found.append(columns.urgent.is_(wanted.urgent))
    if wanted.owner is Owner.MINE:
        found += [columns.claimed_by == actor, columns.claimed_until > now]
    elif wanted.owner is Owner.NOBODY:
        found.append(sa.or_(columns.claimed_until.is_(None), columns.claimed_until <= now))
    return found
