"""What the bot has to tell its people by itself, each thing once: a model replaced another, an experiment ended, a loser."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = ["Notice", "add_notice", "notices_since"]

_notices = metadata.tables["notices"]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing to tell, in sentences."""

    id: int
    kind: str
    text: str
    recorded_at: datetime


def add_notice(connection: Connection, kind: str, key: str, text: str, now: datetime) -> bool:
    """Tell something, in a writing transaction; False: what has this key was told before."""
    values = {"kind": kind, "key": key, "text": text, "recorded_at": now}
    return insert_once(connection, _notices, values) is not None


def notices_since(connection: Connection, since: datetime) -> list[Notice]:
    """Return what was told since an instant, oldest first."""
    columns = (_notices.c.id, _notices.c.kind, _notices.c.text, _notices.c.recorded_at)
    query = sa.select(*columns).where(_notices.c.recorded_at >= since).order_by(_notices.c.id)
    return [Notice(**row._mapping) for row in connection.execute(query)]
