"""The database opens, migrates and keeps time on both engines."""

from __future__ import annotations

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import OperationalError

from bot.store import database as opening
from bot.store import migrations
from bot.store.database import Database, open_database
from bot.store.tables import metadata


def test_migrations_equal_the_tables(database: Database) -> None:
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_second_upgrade_does_nothing(database: Database) -> None:
    assert migrations.upgrade(database) is False


def test_a_writer_who_is_never_let_in_is_told_so(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_SECONDS", 0.2)
    database, other = open_database(sqlite_url), open_database(sqlite_url)
    with database.write(), pytest.raises(OperationalError, match="locked"), other.write():  # as another process does
        pytest.fail("two wrote at once")
    with database.write():
        refused: list[str] = []
        ended = threading.Thread(target=_refused, args=(database, refused))  # as another thread does
        ended.start()
        ended.join(10)
    assert refused == ["database is locked"]
    with other.write() as connection:  # and both may write again
        connection.exec_driver_sql("CREATE TABLE proof (n INTEGER)")
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO proof VALUES (1)")
    database.close()
    other.close()


def _refused(database: Database, found: list[str]) -> None:
    try:
        with database.write():
            pass
    except OperationalError as error:
        found.append(str(error.orig))
