"""Inserting many rows at once, as quickly as the engine takes them.

SQLite runs in our own process, so that what SQLAlchemy does per row is most of the time there: values are
brought to the driver's form a column at a time, by the types of the table as always. PostgreSQL gains nothing by that.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.columns import Instant, sqlite_instant

__all__ = ["few_collections", "insert_rows", "renew_frame"]

# New objects before the collector of reference cycles looks at them, and how much more rarely at older ones.
_RARELY = (100_000, 50, 100)


@contextmanager
def few_collections() -> Iterator[None]:
    """Let the collector of reference cycles look rarely while very many rows pass through.

    A driver's row is a tuple, and every 700 new ones the collector by default looks for cycles, which rows never have: that was
    a sixth of the time in which a shop is scored. It is a matter of the process; two at once do no more than leave it looking rarely.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def insert_rows(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.insert(table), rows)
        return
    _insert(connection, table, rows)


def renew_frame(connection: Connection, table: sa.Table, frame: pl.DataFrame, key: Collection[str]) -> None:
    """Insert the rows of a frame; one that stands already under the key is given the new values.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns of the table: instants in UTC, JSON already written as text. No key stands in it twice.
    key : collection of str
        The columns of a unique constraint.
    """
    if not frame.height:
        return
    names = ", ".join(frame.columns)
    renewed = ", ".join(f"{name} = excluded.{name}" for name in frame.columns if name not in key)
    conflict = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {renewed}"
    if connection.dialect.name == "sqlite":
        instants = [name for name in frame.columns if isinstance(table.c[name].type, Instant)]
        written = frame.with_columns(pl.col(instants).dt.strftime("%Y-%m-%d %H:%M:%S.%6f"))
        marks = ", ".join("?" * frame.width)
        # The names are those of our own tables.
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks}) {conflict}"  # noqa: S608
        connection.exec_driver_sql(statement, written.rows())
        return
    types = {name: table.c[name].type.compile(connection.dialect) for name in frame.columns}
    arrays = ", ".join(f"%s::{'text' if of == 'JSONB' else of}[]" for of in types.values())
    values = ", ".join(f"{name}::{of}" for name, of in types.items())
    statement = f"INSERT INTO {table.name} ({names}) SELECT {values} FROM unnest({arrays}) AS given({names}) {conflict}"  # noqa: S608
    connection.exec_driver_sql(statement, tuple(column.to_list() for column in frame))


def _insert(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(rows[0])
    columns = [_for_driver(connection.dialect, table.c[name], rows) for name in names]
    marks = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - names of our own tables
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
