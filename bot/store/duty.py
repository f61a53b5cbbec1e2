"""Hand-overs that wait for an agent: whose turn each is, by when, and whether somebody was reminded.

Each change is a compare-and-set on what was seen, so that of two processes that look at once one acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import Author, HandoffState
from bot.store.handoffs import ACTIVE
from bot.store.tables import conversations, customers, handoffs, utterances

__all__ = ["OpenDuty", "duties", "last_asked", "set_turn"]


@dataclass(frozen=True, kw_only=True)
class OpenDuty:
    """A hand-over that an agent still looks after.

    Attributes
    ----------
    reminders : int
        How often somebody was reminded or asked anew.
    last_author : str or None
        Who wrote last.
    """

    id: int
    conversation_id: int
    state: HandoffState
    reason: str
    urgent: bool
    owner: str | None
    opened_at: datetime
    due_at: datetime | None
    reminded_at: datetime | None
    reminders: int
    last_author: str | None
    customer_name: str | None


def duties(connection: Connection) -> list[OpenDuty]:
    """Return the hand-overs that are open or taken: urgent first, then by when an answer is due."""
    said = utterances.alias("said")
    last = (
        sa.select(said.c.author)
        .where(said.c.conversation_id == handoffs.c.conversation_id, said.c.author != Author.BOT.value)
        .order_by(said.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    names = [name for name in OpenDuty.__dataclass_fields__ if name not in ("last_author", "customer_name")]
    query = (
        sa.select(
            *(handoffs.c[name] for name in names), last.label("last_author"), customers.c.name.label("customer_name")
        )
        .join(conversations, conversations.c.id == handoffs.c.conversation_id)
        .outerjoin(customers, customers.c.id == conversations.c.customer_id)
        .where(handoffs.c.state.in_(ACTIVE))
        .order_by(handoffs.c.urgent.desc(), handoffs.c.due_at.is_(None), handoffs.c.due_at, handoffs.c.id)
    )
    return [OpenDuty(**{**row._mapping, "state": HandoffState(row.state)}) for row in connection.execute(query)]


def last_asked(connection: Connection) -> str | None:
    """Return whose turn the latest hand-over was that had anybody's."""
    query = sa.select(handoffs.c.owner).where(handoffs.c.owner.is_not(None)).order_by(handoffs.c.id.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none()


def set_turn(connection: Connection, seen: OpenDuty, **columns: Any) -> bool:
    """Change owner, due_at, reminded_at or reminders; False where it is not as it was seen any more."""
    table = handoffs.c
    same = [
        table.id == seen.id,
        table.state == seen.state.value,
        table.reminders == seen.reminders,
        table.owner.is_not_distinct_from(seen.owner),
        table.due_at.is_not_distinct_from(seen.due_at),
    ]
    return connection.execute(sa.update(handoffs).where(*same).values(**columns)).rowcount == 1
