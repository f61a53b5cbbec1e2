"""Backups while the database is in use, restoring in one step, and migrations that back up first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.cli import run
from bot.clock import ManualClock
from bot.config import Settings
from bot.errors import InputError, Refused, StoreError
from bot.store import audit, backup, migrations
from bot.store.controls import RESTORED, get_control
from bot.store.database import Database, open_database
from bot.store.tables import products
from bot.wiring import App
from tests.conftest import NOW


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.peer)])
def own_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database that nobody else is connected to."""
    if request.param == "sqlite":
        database = open_database(request.getfixturevalue("sqlite_url"))
        yield database
        database.close()
        return
    database = open_database(request.getfixturevalue("own_postgres"))
    migrations.upgrade(database)
    yield database
    database.close()


def put(database: Database, name: str) -> None:
    with database.write() as connection:
        connection.execute(
            sa.insert(products).values(source="files", external_id=name, fingerprint="", recorded_at=NOW)
        )


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(products.c.external_id).order_by(products.c.id)).scalars())


def test_a_restored_database_is_as_it_was_and_held_until_released(
    own_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    put(own_database, "before")
    kept = backup.back_up(own_database, tmp_path / "backups", clock.now())
    assert kept.stat().st_mode & 0o077 == 0
    put(own_database, "after")
    replaced = backup.restore(own_database, kept, tmp_path / "backups", "cli:ann", clock.now())
    assert names(own_database) == ["before"]
    with own_database.read() as connection:
        assert get_control(connection, RESTORED)["backup"] == kept.name
        assert audit.verify(connection) == []
        assert audit.count(connection) == 1
    assert replaced is not None
    backup.restore(own_database, replaced, tmp_path / "backups", "cli:ann", clock.now())
    assert names(own_database) == ["before", "after"]
    assert backup.release(own_database, "cli:ann", clock.now())
    assert not backup.release(own_database, "cli:ann", clock.now())
    with own_database.read() as connection:
        assert get_control(connection, RESTORED) is None
        assert audit.verify(connection) == []


def test_a_database_in_use_is_not_replaced(own_database: Database, tmp_path: Path, clock: ManualClock) -> None:
    kept = backup.back_up(own_database, tmp_path / "backups", clock.now())
    put(own_database, "after")
    other = open_database(own_database.engine.url.render_as_string(hide_password=False))
    with other.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(Refused, match="in use"):
            backup.restore(own_database, kept, tmp_path / "backups", "cli:ann", clock.now())
    other.close()
    assert names(own_database) == ["after"]
    with own_database.read() as connection:
        assert get_control(connection, RESTORED) is None


def test_a_backup_during_a_writing_transaction_holds_only_what_was_committed(
    sqlite_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    put(sqlite_database, "committed")
    with sqlite_database.write() as connection:
        connection.execute(
            sa.insert(products).values(source="files", external_id="open", fingerprint="", recorded_at=NOW)
        )
        kept = backup.back_up(sqlite_database, tmp_path / "backups", clock.now())
    copy = open_database(f"sqlite:///{kept}")
    assert names(copy) == ["committed"]
    copy.close()


def test_two_backups_in_one_second_are_two_files(sqlite_database: Database, tmp_path: Path, clock: ManualClock) -> None:
    files = {backup.back_up(sqlite_database, tmp_path / "backups", clock.now()) for _ in range(3)}
    assert len(files) == 3
    assert sorted((tmp_path / "backups").iterdir()) == sorted(files)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"x" * 5000])
def test_what_is_no_backup_is_refused_and_changes_nothing(
    own_database: Database, tmp_path: Path, clock: ManualClock, content: bytes
) -> None:
    put(own_database, "before")
    (tmp_path / "x.db").write_bytes(content)
    for file in (tmp_path / "x.db", tmp_path / "none.db"):
        with pytest.raises(InputError, match="aftercare db backup"):
            backup.restore(own_database, file, tmp_path / "backups", "cli:ann", clock.now())
    assert names(own_database) == ["before"]


def test_somebody_elses_sqlite_file_is_refused(sqlite_database: Database, tmp_path: Path, clock: ManualClock) -> None:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE orders (id)")
    connection.close()
    with pytest.raises(InputError):
        backup.restore(sqlite_database, tmp_path / "x.db", tmp_path / "backups", "cli:ann", clock.now())


def test_a_backup_of_a_newer_version_is_refused(own_database: Database, tmp_path: Path, clock: ManualClock) -> None:
    with own_database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'from_the_future'")
    with pytest.raises(StoreError, match="newer"):
        backup.upgrade_safely(own_database, tmp_path / "backups", clock.now())
    with pytest.raises(StoreError, match="newer"):
        backup.require_current(own_database)


def test_without_pg_dump_the_message_says_what_to_install(
    postgres_url: str, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    database = open_database(postgres_url)
    with pytest.raises(StoreError, match="postgresql-client"):
        backup.back_up(database, tmp_path / "backups", clock.now())
    database.close()
    assert list((tmp_path / "backups").iterdir()) == []


def test_an_embedded_database_that_is_behind_is_backed_up_and_then_migrated(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    done: list[str] = []
    monkeypatch.setattr(migrations, "current_revision", lambda database: "0001" if not done else "0002")
    monkeypatch.setattr(migrations, "latest_revision", lambda: "0002")
    monkeypatch.setattr(migrations, "upgrade", lambda database: done.append("upgraded"))
    settings = Settings.model_validate({"database": {"url": sqlite_url}, "home": tmp_path})
    app = App(settings, clock)
    assert names(app.database) == []
    app.close()
    assert done == ["upgraded"]
    (kept,) = (tmp_path / "backups").iterdir()
    assert kept.name == "aftercare-20260310T120000Z.db"


def test_a_new_embedded_database_needs_no_backup(tmp_path: Path, clock: ManualClock) -> None:
    app = App(Settings.model_validate({"home": tmp_path}), clock)
    assert names(app.database) == []
    app.close()
    assert not (tmp_path / "backups").exists()


def test_a_server_that_is_behind_asks_for_db_upgrade(postgres_url: str, clock: ManualClock) -> None:
    database = open_database(postgres_url)
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
    database.close()
    app = App(Settings.model_validate({"database": {"url": postgres_url}}), clock)
    with pytest.raises(StoreError, match="aftercare db upgrade"):
        assert app.database


def test_the_commands_do_it_all(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert run(["db", "upgrade"]) == 0
    assert run(["db", "backup"]) == 0
    (kept,) = (tmp_path / "backups").iterdir()
    assert str(kept) in capsys.readouterr().out
    assert run(["db", "restore", str(kept)]) == 0
    assert "aftercare db release" in capsys.readouterr().out
    assert run(["db", "release"]) == 0
    assert run(["db", "restore", "none.db"]) == 2
    with sqlite3.connect(tmp_path / "aftercare.db") as other:
        other.execute("SELECT count(*) FROM orders").fetchone()
        assert run(["db", "restore", str(kept)]) == 4
    other.close()


@pytest.mark.peer
def test_a_backup_is_restored_into_an_empty_server_too(own_postgres: str, tmp_path: Path, clock: ManualClock) -> None:
    database = open_database(own_postgres)
    migrations.upgrade(database)
    put(database, "before")
    kept = backup.back_up(database, tmp_path / "backups", clock.now())
    with database.write() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert backup.restore(database, kept, tmp_path / "backups", "cli:ann", clock.now()) is None
    assert names(database) == ["before"]
    database.close()
