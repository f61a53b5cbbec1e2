"""Switches that hold for the whole installation and survive a restart.

Known names: `stopped` (nothing is sent at all) and `restored` (the database came from a backup: what was
due is held until somebody confirms). A switch that was never set, or was set to None, is off.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.once import upsert
from bot.store.tables import controls

__all__ = ["RESTORED", "STOPPED", "get_control", "set_control"]

STOPPED = "stopped"
RESTORED = "restored"


def get_control(connection: Connection, name: str) -> Any:
    """Return the value of a switch; None where it is off."""
    return connection.execute(sa.select(controls.c.value).where(controls.c.name == name)).scalar_one_or_none()


def set_control(connection: Connection, name: str, value: Any, actor: str, now: datetime) -> None:
    """Set a switch; None turns it off."""
    upsert(connection, controls, "name", {"name": name, "value": value, "actor": actor, "updated_at": now})
