"""The database itself: opening it, reading transactions, writing transactions.

SQLite runs in WAL with foreign keys on; every writing transaction there begins with `BEGIN IMMEDIATE`,
because read-then-write transactions that begin deferred lose or fail under concurrent writers. A commit is on the
disk when it returns (`synchronous=FULL`): were a claim lost with the power, its mail would be sent twice. No network
call is ever made inside `read()` or `write()`.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from bot.errors import StoreError

__all__ = ["BUSY_SECONDS", "Connection", "Database", "open_database"]

# How long a SQLite writer waits for the lock; a writing transaction is meant to last under 100 ms.
BUSY_SECONDS = 15.0
# How soon a writer of another process looks again. SQLite's own waiting looks after up to 100 ms, so that whoever writes
# without much of a pause is hardly ever met between two transactions.
LOOK_AGAIN_SECONDS = 0.002
# A server that vanished without a word is noticed within half a minute, not after TCP's two hours.
PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# A connection's page cache. SQLite's 2 MB make an import of 277,000 rows take twice as long (34 s against 17 s): the
# unique indexes are hit at random places.
CACHE_KIB = 65_536


class Database:
    """One open database and its two kinds of transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.embedded = engine.dialect.name == "sqlite"
        # SQLite has one writer at a time: threads of this process take turns here, where waking takes no polling.
        self._turn = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads (one consistent view on SQLite)."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that may write; it commits at the end and rolls back on any error."""
        with (
            self._own_turn(),
            self.engine.connect().execution_options(aftercare_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        if not self.embedded:
            yield
            return
        if not self._turn.acquire(timeout=BUSY_SECONDS):
            raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))
        try:
            yield
        finally:
            self._turn.release()

    @property
    def file(self) -> Path | None:
        """The file of an embedded database."""
        name = self.engine.url.database
        return Path(name) if self.embedded and name and name != ":memory:" else None

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


def open_database(url: str, *, home: Path = Path()) -> Database:
    """Open a database by URL; its errors hide the values of a statement, which hold addresses and words.

    Parameters
    ----------
    url : str
        `sqlite:///FILE` (relative to `home`) or `postgresql://USER@HOST/DATABASE`.
    home : Path
        The folder of the configuration file.

    Raises
    ------
    StoreError
        The file or server cannot be used; the message says what to do.
    """
    target = make_url(url)
    if target.get_backend_name() == "sqlite":
        return Database(_sqlite_engine(target, home))
    target = target.set(drivername="postgresql+psycopg")
    try:
        engine = sa.create_engine(
            target, connect_args=PATIENCE, pool_pre_ping=True, pool_size=10, max_overflow=10, hide_parameters=True
        )
    except ModuleNotFoundError as error:
        raise StoreError("PostgreSQL needs psycopg: pip install 'aftercare-bot[postgres]'") from error
    return Database(engine)


def _sqlite_engine(target: sa.URL, home: Path) -> sa.Engine:
    file = (home / (target.database or "aftercare.db")).resolve()
    if not file.parent.is_dir():
        raise StoreError(f"the folder {file.parent} does not exist; create it or change database.url")
    engine = sa.create_engine(
        target.set(database=str(file)),
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        try:
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                f"busy_timeout={int(BUSY_SECONDS * 1000)}",
                f"cache_size=-{CACHE_KIB}",
            ):
                connection.execute(f"PRAGMA {pragma}")
        except Exception as error:
            raise StoreError(
                f"{file} is no usable SQLite database ({error}); name another file in database.url"
            ) from error

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("aftercare_write", False):
            _begin_writing(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_writing(connection: Connection) -> None:
    """Take SQLite's one write lock, looking often while another process holds it."""
    raw: Any = connection.connection.dbapi_connection
    deadline = time.monotonic() + BUSY_SECONDS
    raw.execute("PRAGMA busy_timeout=0")
    try:
        while time.monotonic() < deadline:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
            else:
                return
            time.sleep(random.uniform(0.5, 1.5) * LOOK_AGAIN_SECONDS)  # noqa: S311
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # once more, for the error as everybody knows it
    finally:
        raw.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")


def ping(database: Database) -> None:
    """Prove that the database answers.

    Raises
    ------
    StoreError
        It does not.
    """
    try:
        with database.read() as connection:
            connection.execute(sa.text("SELECT 1"))
    except OperationalError as error:
        raise StoreError(
            f"the database does not answer ({type(error.orig).__name__}); check database.url and that the server runs"
        ) from error
