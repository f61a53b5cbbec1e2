"""Switches that hold for the whole installation and survive a restart.

Known names: `stopped` (nothing is sent at all) and `restored` (the database came from a backup: what was
due is held until somebody confirms). A switch that was never set, or was set to None, is off.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.once import upsert
from bot.store.tables import controls

__all__ = ["RESTORED", "STOPPED", "Control", "control", "controls_held", "get_control", "set_control"]

STOPPED = "stopped"
RESTORED = "restored"


@dataclass(frozen=True, kw_only=True)
class Control:
    """A switch as it was last set; value None: off."""

    value: Any
    actor: str
    updated_at: datetime


def control(connection: Connection, name: str) -> Control | None:
    """Return a switch with who set it last and when; None where it was never set."""
    columns = controls.c
    query = sa.select(columns.value, columns.actor, columns.updated_at).where(columns.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else Control(**row._mapping)


def get_control(connection: Connection, name: str) -> Any:
    """Return the value of a switch; None where it is off."""
    return connection.execute(sa.select(controls.c.value).where(controls.c.name == name)).scalar_one_or_none()


def controls_held(connection: Connection, *names: str) -> dict[str, Any]:
    """Return the values of several switches, and let nobody stop or hold before the caller's transaction ends.

    Many may hold them at once. On PostgreSQL by an advisory lock, which writes nothing: locking the rows for sharing
    would, at every claim. SQLite has one writer at a time anyway.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(_SHARE)
    found = {row.name: row.value for row in connection.execute(_VALUES, {"names": names})}
    return {name: found.get(name) for name in names}


def set_control(connection: Connection, name: str, value: Any, actor: str, now: datetime) -> None:
    """Set a switch; None turns it off. Whoever holds the switches against a change of this one is waited for."""
    if name in (STOPPED, RESTORED) and connection.dialect.name != "sqlite":
        connection.execute(_ALONE)
    upsert(connection, controls, "name", {"name": name, "value": value, "actor": actor, "updated_at": now})


# The lock's number is ours alone within the database: the first eight bytes of sha256("aftercare controls").
_LOCK = int.from_bytes(hashlib.sha256(b"aftercare controls").digest()[:8], "big", signed=True)
_SHARE = sa.text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})")
_ALONE = sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})")
_VALUES = sa.select(controls.c.name, controls.c.value).where(controls.c.name.in_(sa.bindparam("names", expanding=True)))
