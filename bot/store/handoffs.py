"""Hand-overs of conversations to humans: opened, taken, given back.

Whose turn it is and what is due is `bot.store.duty`'s business, what is said `bot.store.conversations`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.errors import NotFound
from bot.store.enums import HandoffState
from bot.store.tables import metadata

__all__ = [
    "ACTIVE",
    "Handoff",
    "active_handoff",
    "handoff",
    "mark_answered",
    "mark_urgent",
    "move_handoff",
    "open_handoff",
]

handoffs = metadata.tables["handoffs"]

# Hand-overs that a human still has to look after.
ACTIVE = (HandoffState.OPEN.value, HandoffState.TAKEN.value)


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """A conversation given to a human, with the reason."""

    id: int
    conversation_id: int
    reason: str
    state: HandoffState
    urgent: bool
    owner: str | None
    opened_at: datetime
    due_at: datetime | None
    closed_at: datetime | None


def open_handoff(connection: Connection, conversation_id: int, reason: str, urgent: bool, now: datetime) -> int:
    """Give a conversation to a human; return the hand-over's id."""
    values = {
        "conversation_id": conversation_id,
        "reason": reason,
        "state": HandoffState.OPEN.value,
        "urgent": urgent,
        "opened_at": now,
    }
    return int(connection.execute(sa.insert(handoffs).values(**values).returning(handoffs.c.id)).scalar_one())


def active_handoff(connection: Connection, conversation_id: int) -> Handoff | None:
    """Return the hand-over of a conversation that a human still looks after."""
    statement = (
        sa.select(handoffs)
        .where(handoffs.c.conversation_id == conversation_id, handoffs.c.state.in_(ACTIVE))
        .order_by(handoffs.c.id.desc())
        .limit(1)
    )
    return _handoff(connection.execute(statement).first())


def handoff(connection: Connection, handoff_id: int) -> Handoff:
    """Return one hand-over.

    Raises
    ------
    NotFound
        There is none with this id.
    """
    found = _handoff(connection.execute(sa.select(handoffs).where(handoffs.c.id == handoff_id)).first())
    if found is None:
        raise NotFound(f"there is no hand-over {handoff_id}")
    return found


def move_handoff(
    connection: Connection,
    handoff_id: int,
    to: HandoffState,
    *,
    owner: str | None = None,
    closed_at: datetime | None = None,
) -> bool:
    """Move an active hand-over; False says that nobody looks after it any more."""
    values: dict[str, Any] = {"state": to.value, "closed_at": closed_at}
    if owner is not None:
        values["owner"] = owner
    statement = sa.update(handoffs).where(handoffs.c.id == handoff_id, handoffs.c.state.in_(ACTIVE))
    return connection.execute(statement.values(**values)).rowcount == 1


def mark_urgent(connection: Connection, handoff_id: int) -> None:
    """Say that a hand-over cannot wait: by when it is due is to be set anew."""
    calm = sa.update(handoffs).where(handoffs.c.id == handoff_id, handoffs.c.urgent.is_(False))
    connection.execute(calm.values(urgent=True, due_at=None, reminded_at=None))


def mark_answered(connection: Connection, handoff_id: int) -> None:
    """Say that the customer has an answer: nothing is due until they write again."""
    connection.execute(sa.update(handoffs).where(handoffs.c.id == handoff_id).values(due_at=None, reminded_at=None))


def _handoff(row: Any) -> Handoff | None:
    if row is None:
        return None
    names = Handoff.__dataclass_fields__
    return Handoff(**{name: row._mapping[name] for name in names} | {"state": HandoffState(row.state)})
