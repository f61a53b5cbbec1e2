"""Backups and restoring them, online, for both engines; and migrations that back up first.

A restored database knows what *was* due, not what has been sent since: it comes back with the switch
`restored` set in the same step, and what was due is held until somebody confirms.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from bot.errors import InputError, Refused, StoreError
from bot.store import audit, migrations, postgres_tools
from bot.store.controls import RESTORED, get_control, set_control
from bot.store.database import Database, open_database, ping
from bot.store.queue_schema import removal_of_queue

__all__ = ["back_up", "release", "require_current", "restore", "upgrade_safely"]

IN_USE = "the database is in use; stop `aftercare run` and every other command on it, then restore again"


def back_up(database: Database, folder: Path, now: datetime) -> Path:
    """Write a consistent copy while the database may be in use; return its file.

    Raises
    ------
    StoreError
        The copy could not be written; nothing half-written stays under its name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = _free_name(folder, now, "db" if database.embedded else "dump")
        part = target.with_name(f"{target.name}.part")
        part.touch(mode=0o600)
        try:
            if database.embedded:
                _copy_out(database, part)
            else:
                postgres_tools.dump(database, part)
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"no backup could be written to {folder} ({error}); check database.backups") from error
    return target


def restore(database: Database, file: Path, folder: Path, actor: str, now: datetime) -> Path | None:
    """Replace the whole database by a backup; return the backup of what stood there before.

    All of it happens in one step: the content, its migration to this version, and the hold.

    Raises
    ------
    Refused
        Somebody is using the database.
    InputError
        The file is no backup of Aftercare, or one of a newer version.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist; name a file that `aftercare db backup` wrote")
    hold = {"at": now.astimezone(UTC).isoformat(), "backup": file.name}
    if not database.embedded:
        ping(database)
        if postgres_tools.other_sessions(database):
            raise Refused(IN_USE)
        empty = migrations.current_revision(database) is None
        before = None if empty else back_up(database, folder, now)
        first = "" if empty else removal_of_queue(database)
        postgres_tools.load(database, file, first, _hold_statement(database, hold, actor, now))
        migrations.upgrade(database)
        _note(database, file, actor, now)
        return before
    with TemporaryDirectory() as scratch:
        staged = open_database(f"sqlite:///{_checked_copy(file, Path(scratch))}")
        try:
            _require_known(migrations.current_revision(staged), file)
            migrations.upgrade(staged)
            with staged.write() as connection:
                set_control(connection, RESTORED, hold, actor, now)
            _note(staged, file, actor, now)
        finally:
            staged.close()
        database.close()
        assert database.file
        with _alone(database.file) as target:
            empty = target.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
            before = None if empty else _keep(target, folder, now)
            with closing(sqlite3.connect(Path(scratch) / "staged.db")) as source:
                source.backup(target)
    return before


def release(database: Database, actor: str, now: datetime) -> bool:
    """Confirm a restored database: what was due may go. False says that nothing was held."""
    with database.write() as connection:
        if get_control(connection, RESTORED) is None:
            return False
        set_control(connection, RESTORED, None, actor, now)
        audit.record(connection, at=now, actor=actor, action="release", entity="database", entity_id="restored")
    return True


def upgrade_safely(database: Database, folder: Path, now: datetime) -> Path | None:
    """Bring a database to this version; one that holds anything is backed up first. Return the backup."""
    present = migrations.current_revision(database)
    if present == migrations.latest_revision():
        return None
    _require_known(present, None)
    kept = back_up(database, folder, now) if present is not None else None
    migrations.upgrade(database)
    return kept


def require_current(database: Database) -> None:
    """Insist that a database server answers and is at this version; only `db upgrade` changes it.

    Raises
    ------
    StoreError
        Saying what to run.
    """
    ping(database)
    present, needed = migrations.current_revision(database), migrations.latest_revision()
    if present != needed:
        _require_known(present, None)
        raise StoreError(
            f"the database is at revision {present or 'none'}, this version needs {needed}; run `aftercare db upgrade`"
        )


def _require_known(revision: str | None, file: Path | None) -> None:
    if file is not None and revision is None:
        raise InputError(f"{file} is no backup of Aftercare; name a file that `aftercare db backup` wrote")
    if revision is not None and not migrations.knows(revision):
        what = "the database" if file is None else str(file)
        raise StoreError(f"{what} is at revision {revision}, newer than this version; install the newer Aftercare")


def _note(database: Database, file: Path, actor: str, now: datetime) -> None:
    with database.write() as connection:
        audit.record(connection, at=now, actor=actor, action="restore", entity="database", entity_id=file.name)


def _free_name(folder: Path, now: datetime, ending: str) -> Path:
    stem = f"aftercare-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    names = (f"{stem}{suffix}.{ending}" for suffix in ("", *(f"-{count}" for count in range(2, 1000))))
    return next(folder / name for name in names if not (folder / name).exists())


def _copy_out(database: Database, part: Path) -> None:
    with database.engine.connect() as connection, closing(sqlite3.connect(part)) as target:
        source: Any = connection.connection.driver_connection
        source.backup(target)
        _finish(target)


def _finish(target: sqlite3.Connection) -> None:
    # A backup is one file: without this it would ask for its -wal file.
    target.execute("PRAGMA journal_mode=DELETE")
    found = target.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise StoreError(f"the database is damaged ({found}); restore a backup")


def _keep(source: sqlite3.Connection, folder: Path, now: datetime) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = _free_name(folder, now, "db")
    target.touch(mode=0o600)
    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target


def _checked_copy(file: Path, scratch: Path) -> Path:
    copy = scratch / "staged.db"
    try:
        shutil.copyfile(file, copy)
        with closing(sqlite3.connect(copy)) as connection:
            found = connection.execute("PRAGMA quick_check").fetchone()[0]
            known = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").fetchone()[
                0
            ]
    except (OSError, sqlite3.Error) as error:
        raise InputError(
            f"{file} is no backup of Aftercare ({error}); name a file that `aftercare db backup` wrote"
        ) from error
    if found != "ok" or not known:
        raise InputError(f"{file} is damaged or no backup of Aftercare; name a file that `aftercare db backup` wrote")
    return copy


@contextmanager
def _alone(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file with nobody else in it: only its single user may leave WAL mode."""
    try:
        with closing(sqlite3.connect(file, timeout=1, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            yield connection
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise Refused(IN_USE) from error
        raise StoreError(f"{file} could not be replaced ({error})") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{file} is damaged ({error}); move it away and restore again") from error


def _hold_statement(database: Database, hold: dict[str, str], actor: str, now: datetime) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    with database.read() as connection:
        schema = connection.execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    values = ", ".join((quoted(RESTORED), quoted(json.dumps(hold)), quoted(actor), quoted(now.isoformat())))
    return (
        f"INSERT INTO {schema}.controls (name, value, actor, updated_at) VALUES ({values}) "  # noqa: S608 - all quoted
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value, actor = excluded.actor, updated_at = excluded.updated_at;\n"
    )
