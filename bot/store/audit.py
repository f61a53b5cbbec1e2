"""The audit log: who did what to which thing, as a chain of hashes in which a change shows.

Every entry carries the hash of the one before it. Entries are written in the transaction of the act itself,
one transaction at a time: SQLite's BEGIN IMMEDIATE sees to that, on PostgreSQL an advisory lock does. The
newest hash stands in a switch as well, so that a cut-off end shows. Details name ids and states, never
words, addresses or tokens: nothing here is ever erased.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.controls import get_control, set_control
from bot.store.tables import audit

__all__ = ["count", "record", "verify"]

# Any number will do, as long as nobody else in the database uses it for an advisory lock.
CHAIN_LOCK = 0x61667463617564
HEAD = "audit_head"
FIRST = "0" * 64


def record(
    connection: Connection,
    *,
    at: datetime,
    actor: str,
    action: str,
    entity: str,
    entity_id: int | str,
    detail: Mapping[str, Any] | None = None,
) -> int:
    """Append an entry within a writing transaction; return its id.

    Parameters
    ----------
    actor : str
        `slack:TEAM:USER`, `cli:USERNAME`, `bot` or `system`.
    detail : mapping, optional
        Plain JSON values; ids and states only.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CHAIN_LOCK)))
    previous = connection.execute(sa.select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)).scalar_one_or_none()
    entry = {
        "recorded_at": at,
        "actor": actor,
        "action": action,
        "entity": entity,
        "entity_id": str(entity_id),
        "detail": None if detail is None else json.loads(json.dumps(detail, default=str, allow_nan=False)),
        "previous_hash": previous or FIRST,
    }
    digest = _digest(entry)
    found = connection.execute(sa.insert(audit).values(**entry, hash=digest).returning(audit.c.id)).scalar_one()
    set_control(connection, HEAD, {"id": found, "hash": digest}, "system", at)
    return int(found)


def verify(connection: Connection) -> list[int]:
    """Return the ids of entries that do not fit the chain: altered, out of order, or missing at the end."""
    broken: list[int] = []
    previous = FIRST
    for row in connection.execute(sa.select(audit).order_by(audit.c.id).execution_options(yield_per=1000)):
        entry = dict(row._mapping)
        if entry["previous_hash"] != previous or entry["hash"] != _digest(entry):
            broken.append(row.id)
        previous = row.hash
    head = get_control(connection, HEAD)
    if head and head["hash"] != previous:
        broken.append(int(head["id"]))
    return sorted(set(broken))


def count(connection: Connection) -> int:
    """Return how many entries there are."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(audit)).scalar_one())


def _digest(entry: Mapping[str, Any]) -> str:
    content = [
        entry["previous_hash"],
        entry["recorded_at"].astimezone(UTC).isoformat(),
        *(entry[name] for name in ("actor", "action", "entity", "entity_id")),
        _canonical(entry["detail"]),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Make numbers equal however an engine gives them back: JSONB returns 1e20 as an integer."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
