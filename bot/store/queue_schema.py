"""Procrastinate's tables in our own schema: installing them and bringing them to the version that is installed.

Their SQL comes with the package and is handed in; which of its migrations were run is kept as a switch of ours. They
are not among our own migrations, because only installations with workers have them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.errors import StoreError
from bot.store.controls import get_control, set_control
from bot.store.database import Database

__all__ = ["QueueSchema", "install_queue", "queue_address", "queue_version", "removal_of_queue", "require_queue"]

_VERSION = "queue_schema"
MISSING = "the workers' queue is not in the database (a new one, or restored from a backup without it); run `aftercare db upgrade`"
# Whatever bears Procrastinate's name in one schema; routines first, since types stand in their signatures.
_REMOVAL = """DO $$ DECLARE one text; BEGIN
FOR one IN
  SELECT format('DROP ROUTINE %s CASCADE', oid::regprocedure) FROM pg_proc WHERE pronamespace = {schema}::regnamespace AND proname LIKE 'procrastinate\\_%'
LOOP EXECUTE one; END LOOP;
FOR one IN
  SELECT format('DROP TABLE %s CASCADE', oid::regclass) FROM pg_class WHERE relnamespace = {schema}::regnamespace AND relkind = 'r' AND relname LIKE 'procrastinate\\_%'
LOOP EXECUTE one; END LOOP;
FOR one IN
  SELECT format('DROP TYPE %s CASCADE', t.oid::regtype) FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
  WHERE t.typnamespace = {schema}::regnamespace AND t.typname LIKE 'procrastinate\\_%' AND (t.typtype = 'e' OR c.relkind = 'c')
LOOP EXECUTE one; END LOOP;
END $$;
"""


@dataclass(frozen=True, kw_only=True)
class QueueSchema:
    """The SQL of Procrastinate's tables.

    Attributes
    ----------
    whole : str
        Everything at the newest version, for a database that has nothing yet.
    migrations : tuple of (name, SQL)
        The way there, oldest first.
    """

    whole: str
    migrations: tuple[tuple[str, str], ...]

    @property
    def version(self) -> str:
        """The name of the newest migration."""
        return self.migrations[-1][0]


def queue_address(database: Database) -> str:
    """Return where the database is, password included, as libpq reads it; never to be logged."""
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def queue_version(database: Database) -> str | None:
    """Return the migration that the queue's tables are at; None where there are none of ours."""
    if database.embedded:
        return None
    with database.read() as connection:
        value = get_control(connection, _VERSION)
        return str(value["version"]) if value and _stands(connection) else None


def require_queue(database: Database) -> None:
    """Insist that the queue's tables stand; only `db upgrade` puts them there.

    Raises
    ------
    StoreError
        Saying what to run.
    """
    if queue_version(database) is None:
        raise StoreError(MISSING)


def removal_of_queue(database: Database) -> str:
    """Return the SQL that takes our queue's tables away, before a backup that may lack them is put in their place.

    Jobs of the time after the backup mean nothing to the rows within it; empty where the tables are not ours.
    """
    if queue_version(database) is None:
        return ""
    with database.read() as connection:
        schema = connection.execute(sa.text("SELECT quote_literal(quote_ident(current_schema()))")).scalar_one()
    return _REMOVAL.replace("{schema}", schema)


def install_queue(database: Database, schema: QueueSchema, now: datetime) -> bool:
    """Bring the queue's tables to a version, each step in a transaction of its own; return whether anything was done.

    Raises
    ------
    StoreError
        The tables are newer, or somebody else's.
    """
    present = queue_version(database)
    if present == schema.version:
        return False
    if present is None:
        with database.write() as connection:
            if _stands(connection):
                advice = (
                    "give Aftercare a schema of its own, or, if nobody uses them, drop what is named procrastinate_*"
                )
                raise StoreError(
                    f"tables of Procrastinate were put here by somebody else, or before a restore; {advice}"
                )
            _step(connection, schema.version, schema.whole, now)
        return True
    names = [name for name, _ in schema.migrations]
    if present not in names:
        raise StoreError(
            f"the queue's tables are at {present}, newer than this version; install the newer Procrastinate"
        )
    for name, statements in schema.migrations[names.index(present) + 1 :]:
        with database.write() as connection:
            _step(connection, name, statements, now)
    return True


def _step(connection: Connection, version: str, statements: str, now: datetime) -> None:
    # Many statements at once, and percent signs that are meant: only the driver's own cursor takes them as they are.
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(statements)
    set_control(connection, _VERSION, {"version": version}, "db upgrade", now)


def _stands(connection: Connection) -> bool:
    found = connection.execute(sa.text("SELECT to_regclass('procrastinate_jobs')")).scalar_one()
    return found is not None
