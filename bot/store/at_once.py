"""What deliverers write for many mails, in one statement: PostgreSQL is asked once, not once a mail.

The rows go as one JSON parameter, so that a statement is put together, prepared and planned once, however many they are.
SQLite runs in our own process and gains nothing by it. Which rows may change is decided by the callers, who hold their
locks: `bot.store.claiming` and `bot.store.delivery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

__all__ = ["given_like", "insert_at_once", "write_at_once"]

Rows = Sequence[Mapping[str, Any]]


def insert_at_once(connection: Connection, table: sa.Table, rows: Rows, *, once: bool = False) -> None:
    """Insert rows that all name the same columns.

    Parameters
    ----------
    once : bool
        Leave out those whose unique key stands already.
    """
    if rows:
        connection.execute(_insert(table, tuple(rows[0]), once), {"rows": _as_json(rows)})


def write_at_once(connection: Connection, statement: sa.Executable, rows: Rows, **values: Any) -> list[Any]:
    """Run a statement over many rows, those of what `given_like` names in it; return the first column of what it returns.

    Parameters
    ----------
    values
        The other parameters of the statement, the same for all.
    """
    return list(connection.execute(statement, {"rows": _as_json(rows), **values}).scalars()) if rows else []


def given_like(*columns: sa.Column[Any], **more: Any) -> Any:
    """Return the rows of the statement's one JSON parameter as a table.

    Parameters
    ----------
    columns
        Columns of tables, whose names and types the given ones shall have.
    more
        Further ones: name and type.
    """
    typed = [sa.column(one.name, one.type) for one in columns] + [sa.column(name, kind) for name, kind in more.items()]
    return sa.func.jsonb_to_recordset(_ROWS).table_valued(*typed).render_derived(name="given", with_types=True)


_ROWS = sa.bindparam("rows", type_=postgresql.JSONB())


@cache
def _insert(table: sa.Table, names: tuple[str, ...], once: bool) -> sa.Insert:
    given = given_like(*(table.c[name] for name in names))
    statement = postgresql.insert(table).from_select(list(names), sa.select(*given.c), include_defaults=False)
    return statement.on_conflict_do_nothing() if once else statement


def _as_json(rows: Rows) -> list[dict[str, Any]]:
    return [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows
    ]
