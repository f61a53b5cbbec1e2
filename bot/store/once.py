"""Inserting a row at most once, on both engines; the one place where their dialects differ in this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from bot.store.at_once import insert_at_once

__all__ = ["insert_new", "insert_once", "upsert"]


def insert_once(connection: Connection, table: sa.Table, values: Mapping[str, Any]) -> int | None:
    """Insert a row unless one with the same unique key stands already.

    Returns
    -------
    int or None
        The id of the new row, None where one stood already.
    """
    statement = _dialect(connection).insert(table).values(**values).on_conflict_do_nothing().returning(table.c.id)
    found = connection.execute(statement).scalar_one_or_none()
    return None if found is None else int(found)


def insert_new(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those rows whose unique key does not stand yet; all name the same columns."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(sqlite.insert(table).on_conflict_do_nothing(), list(rows))
    else:
        insert_at_once(connection, table, rows, once=True)


def upsert(connection: Connection, table: sa.Table, key: str, values: Mapping[str, Any]) -> None:
    """Insert a row, or replace the columns given where one with the same `key` column stands already."""
    statement = _dialect(connection).insert(table).values(**values)
    statement = statement.on_conflict_do_update(
        index_elements=[key], set_={name: statement.excluded[name] for name in values if name != key}
    )
    connection.execute(statement)


def _dialect(connection: Connection) -> Any:
    return sqlite if connection.dialect.name == "sqlite" else postgresql
