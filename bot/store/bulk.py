"""Inserting many rows at once, as quickly as the engine takes them.

SQLite runs in our own process, so that what SQLAlchemy does per row is most of the time there: values are
brought to the driver's form a column at a time, by the types of the table as always. PostgreSQL gains nothing by that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from bot.store.columns import Instant, sqlite_instant

__all__ = ["insert_rows", "renew_rows"]


def insert_rows(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.insert(table), rows)
        return
    _insert(connection, table, rows)


def renew_rows(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], key: Collection[str]
) -> None:
    """Insert rows that all name the same columns; one that stands already under the key is given the new values.

    Parameters
    ----------
    key : collection of str
        The columns of a unique constraint.
    """
    if not rows:
        return
    renewed = [name for name in rows[0] if name not in key]
    if connection.dialect.name != "sqlite":
        statement = postgresql.insert(table)
        changed = {name: statement.excluded[name] for name in renewed}
        connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changed), rows)
        return
    values = ", ".join(f"{name} = excluded.{name}" for name in renewed)
    _insert(connection, table, rows, f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {values}")


def _insert(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], conflict: str = "") -> None:
    names = list(rows[0])
    columns = [_for_driver(connection.dialect, table.c[name], rows) for name in names]
    marks = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks}){conflict}"  # noqa: S608 - names of our own tables
    connection.exec_driver_sql(statement, list(zip(*columns, strict=True)))


def _for_driver(dialect: sa.Dialect, column: sa.Column[Any], rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    name = column.name
    if isinstance(column.type, Instant):
        return [sqlite_instant(row[name]) for row in rows]
    convert = column.type.dialect_impl(dialect).bind_processor(dialect)
    if convert is None:
        return [row[name] for row in rows]
    if isinstance(column.type, sa.JSON):  # most rows have no further columns of the shop's own
        return ["{}" if row[name] == {} else convert(row[name]) for row in rows]
    return [convert(row[name]) for row in rows]
