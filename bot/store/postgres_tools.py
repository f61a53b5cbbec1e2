"""PostgreSQL's own programs (pg_dump, pg_restore, psql), called for backups. The password goes by environment only."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from bot.errors import InputError, StoreError
from bot.store.database import Database

__all__ = ["dump", "load", "other_sessions"]


def dump(database: Database, file: Path) -> None:
    """Write a consistent dump, readable by `load`."""
    _run(
        database,
        "pg_dump",
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        f"--file={file}",
        database_argument=True,
    )


def load(database: Database, file: Path, first_statement: str, last_statement: str) -> None:
    """Run one statement, replace the tables by those of a dump and run another statement, all in one transaction."""
    with TemporaryDirectory() as scratch:
        script = Path(scratch) / "restore.sql"
        try:
            _run(
                database,
                "pg_restore",
                "--clean",
                "--if-exists",
                "--no-owner",
                "--no-privileges",
                f"--file={script}",
                str(file),
            )
        except StoreError as error:
            raise InputError(
                f"{file} is no backup of Aftercare ({error}); name a file that `aftercare db backup` wrote"
            ) from error
        first = Path(scratch) / "first.sql"
        first.write_text(first_statement, encoding="utf-8")
        with script.open("a", encoding="utf-8") as end:
            end.write("\n" + last_statement)
        _run(
            database,
            "psql", "--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null", f"--file={first}",
            f"--file={script}",
            database_argument=True,
        )  # fmt: skip


def other_sessions(database: Database) -> int:
    """Count the clients connected to the database besides this process."""
    database.engine.dispose()
    with database.read() as connection:
        return int(
            connection.execute(
                sa.text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            ).scalar_one()
        )


def _run(database: Database, program: str, *arguments: str, database_argument: bool = False) -> None:
    path = shutil.which(program)
    if path is None:
        raise StoreError(
            f"{program} is not installed; install PostgreSQL's client programs (postgresql-client) and try again"
        )
    database.engine.dispose()
    url = database.engine.url.set(drivername="postgresql", password=None)
    environment = dict(os.environ)
    if password := database.engine.url.password:
        environment["PGPASSWORD"] = str(password)
    command = [path, *arguments, *([f"--dbname={url.render_as_string()}"] if database_argument else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise StoreError(f"{program} failed: {lines[0] if lines else f'exit status {done.returncode}'}")
