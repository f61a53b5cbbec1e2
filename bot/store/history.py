"""Reading the tables into a snapshot of `predictors.snapshot`, and the names that the shop itself gives.

How one of its frames is read is written in `bot.store.history_frames`. What the frames are for is none of this module's
business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.draw_history import read_draws
from bot.store.history_frames import FRAMES, KINDS, FrameQuery, among, ids_value
from bot.store.tables import metadata
from predictors.snapshot import Snapshot

__all__ = ["names_of", "order_by_key", "read_snapshot"]


def read_snapshot(
    connection: Connection, *, until: datetime, timezone: str, more_kinds: Collection[str] = ()
) -> Snapshot:
    """Read all that was recorded by an instant.

    Parameters
    ----------
    until : datetime
        Rows recorded later are not read at all.
    timezone : str
        The shop's zone; naive times among the attributes (`ship_by`) are in it.
    more_kinds : collection of str
        Kinds of touchpoint to read besides those that predictions are made from.
    """
    kinds = (*KINDS, *more_kinds)
    queries = {name: FrameQuery.of(connection.dialect.name, name, kinds=kinds) for name in FRAMES}
    frames = {name: query.read(connection, until, timezone) for name, query in queries.items()}
    return Snapshot(**frames, until=until, timezone=timezone, draws=read_draws(connection, until))


def names_of(connection: Connection, table: str, ids: Sequence[int]) -> list[tuple[str, str]]:
    """Return (source, the shop's own id) of customers or orders, in the order of our ids."""
    dialect = connection.dialect.name
    rows = connection.execute(_names(dialect, table), {"ids": ids_value(dialect, set(ids))})
    names = {row[0]: (row[1], row[2]) for row in rows}
    return [names[one] for one in ids]


def order_by_key(connection: Connection, key: str, until: datetime) -> list[int]:
    """Return our ids of the orders that a shop's own id names (one for each source), as far as known by an instant."""
    found: list[int] = []
    source = connection.scalar(_FIRST_SOURCE)
    while source is not None:  # source by source: there are few, and the index begins with them
        named = connection.execute(_NAMED, {"source": source, "key": key}).all()
        found += [int(row.id) for row in named if row.recorded_at <= until or _known_before(connection, row.id, until)]
        source = connection.scalar(_NEXT_SOURCE, {"source": source})
    return found


def _known_before(connection: Connection, order_id: int, until: datetime) -> bool:
    """Say whether an order whose present content is newer was known by an instant."""
    first = connection.scalar(_FIRST_KNOWN, {"id": order_id})
    return first is not None and first <= until


# Statements that are run for every single order are made once.
_orders, _revisions = metadata.tables["orders"], metadata.tables["revisions"]
_FIRST_SOURCE = sa.select(sa.func.min(_orders.c.source))
_NEXT_SOURCE = _FIRST_SOURCE.where(_orders.c.source > sa.bindparam("source"))
_NAMED = sa.select(_orders.c.id, _orders.c.recorded_at).where(
    _orders.c.source == sa.bindparam("source"), _orders.c.external_id == sa.bindparam("key")
)
_FIRST_KNOWN = sa.select(sa.func.min(_revisions.c.recorded_at)).where(
    _revisions.c.entity == "orders", _revisions.c.entity_id == sa.bindparam("id")
)


@cache
def _names(dialect: str, table: str) -> sa.Select[Any]:
    found = metadata.tables[table]
    return sa.select(found.c.id, found.c.source, found.c.external_id).where(among(dialect, found.c.id))
