"""Fixtures for all tests: a clock that stands still, and a fresh database on each engine."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest

from bot.clock import ManualClock
from bot.store import migrations
from bot.store.database import Database, open_database
from tests.peers import missing_peer

# The machines are busy: how long Hypothesis takes to draw says nothing about what is tested.
hypothesis.settings.register_profile(
    "aftercare", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("aftercare")

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "template.db"
    database = open_database(f"sqlite:///{file}")
    migrations.upgrade(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return file


@pytest.fixture
def sqlite_url(tmp_path: Path, _migrated_file: Path) -> str:
    """The URL of a fresh, migrated SQLite database."""
    shutil.copy(_migrated_file, tmp_path / "aftercare.db")
    return f"sqlite:///{tmp_path / 'aftercare.db'}"


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    database = open_database(sqlite_url)
    yield database
    database.close()


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of a fresh, migrated schema of its own on the test server."""
    base = os.environ.get("AFTERCARE_TEST_POSTGRES_URL")
    if not base:
        missing_peer(
            "no PostgreSQL: set AFTERCARE_TEST_POSTGRES_URL, such as postgresql://postgres@127.0.0.1:5432/test"
        )
    schema = f"t_{uuid.uuid4().hex[:12]}"
    admin = open_database(base)
    with admin.write() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    url = f"{base}{'&' if '?' in base else '?'}options=-csearch_path%3D{schema}"
    database = open_database(url)
    migrations.upgrade(database)
    database.close()
    yield url
    with admin.write() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    admin.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.peer)])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A fresh, migrated database, once on SQLite and once on PostgreSQL."""
    opened = open_database(request.getfixturevalue(f"{request.param}_url"))
    yield opened
    opened.close()
