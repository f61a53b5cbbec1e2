"""Inbound events: recorded once in a short transaction before they are acknowledged, worked on afterwards.

A duplicate is recognised by (source, key). What an event means is the business of whoever received it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import EventState
from bot.store.once import insert_once
from bot.store.tables import events

__all__ = ["Event", "event_of", "finish_event", "record_event", "unfinished"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that the outside world told us."""

    id: int
    source: str
    key: str
    kind: str
    payload: Any
    state: EventState
    received_at: datetime
    handled_at: datetime | None
    error: str | None


def record_event(
    connection: Connection, source: str, key: str, kind: str, payload: Mapping[str, Any] | None, now: datetime
) -> bool:
    """Remember an event; False says that it was known already."""
    values = {
        "source": source,
        "key": key,
        "kind": kind,
        "payload": None if payload is None else dict(payload),
        "state": EventState.RECEIVED.value,
        "received_at": now,
    }
    return insert_once(connection, events, values) is not None


def finish_event(connection: Connection, source: str, key: str, now: datetime, error: str | None = None) -> None:
    """Write down that an event was handled, or why it could not be."""
    state = EventState.DONE if error is None else EventState.FAILED
    connection.execute(
        sa.update(events)
        .where(events.c.source == source, events.c.key == key)
        .values(state=state.value, handled_at=now, error=error)
    )


def event_of(connection: Connection, source: str, key: str) -> Event | None:
    """Return one event, None where it never arrived."""
    row = connection.execute(sa.select(events).where(events.c.source == source, events.c.key == key)).first()
    return None if row is None else _event(row)


def unfinished(connection: Connection, before: datetime, source: str | None = None) -> list[Event]:
    """Return events received before an instant on which nobody finished, oldest first.

    They are what a crash left behind between recording and working.
    """
    statement = sa.select(events).where(events.c.state == EventState.RECEIVED.value, events.c.received_at < before)
    if source is not None:
        statement = statement.where(events.c.source == source)
    return [_event(row) for row in connection.execute(statement.order_by(events.c.received_at, events.c.id))]


def _event(row: Any) -> Event:
    return Event(
        id=row.id,
        source=row.source,
        key=row.key,
        kind=row.kind,
        payload=row.payload,
        state=EventState(row.state),
        received_at=row.received_at,
        handled_at=row.handled_at,
        error=row.error,
    )
