"""The database opens, migrates and keeps time on both engines."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from bot.store import migrations
from bot.store.database import Database
from bot.store.tables import metadata


def test_migrations_equal_the_tables(database: Database) -> None:
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_second_upgrade_does_nothing(database: Database) -> None:
    assert migrations.upgrade(database) is False
