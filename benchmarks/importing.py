"""How much slower `aftercare import` is than a bare `executemany` of the same rows into the same tables.

    python -m benchmarks.importing [DIR]        (else AFTERCARE_DATA/olist, else ../shared/data/olist)

The peer gets every row ready-made from memory, checks nothing, and writes all of it in one transaction a
table. Both fill a fresh SQLite database in the same run, turn about; the ratio of the best times is printed, and the
exit status is 1 where it is over 5.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bot.cli import configure_logging
from bot.clock import SystemClock
from bot.config import Settings
from bot.services.importing.importer import Importer
from bot.store import migrations
from bot.store.database import Database, open_database
from bot.store.enums import Entity

LIMIT = 5.0
ROUNDS = 3


def main() -> int:
    """Measure, print, and say by the exit status whether the limit is held."""
    folder = Path(
        sys.argv[1] if len(sys.argv) > 1 else Path(os.environ.get("AFTERCARE_DATA") or "../shared/data") / "olist"
    )
    configure_logging(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        ours, bare, tuned, rows = [], [], [], []
        for turn in range(ROUNDS):
            database = _fresh(Path(scratch) / f"ours{turn}.db")
            started = time.perf_counter()
            Importer(database, SystemClock(), Settings()).import_paths([folder])
            ours.append(time.perf_counter() - started)
            rows = rows or _rows(database)
            database.close()
            for name, seconds in (("bare", bare), ("tuned", tuned)):
                peer = _fresh(Path(scratch) / f"{name}{turn}.db")
                assert peer.file
                opened: Any = (
                    sqlite3.connect(peer.file, isolation_level=None) if name == "bare" else peer.engine.raw_connection()
                )
                seconds.append(_bare(opened, rows))
                opened.close()
                peer.close()
            for file in Path(scratch).iterdir():
                file.unlink()
    count = sum(len(values) for _, _, values in rows)
    ratio, against_tuned = min(ours) / min(bare), min(ours) / min(tuned)
    print(
        f"rows {count:,}  import {min(ours):.2f} s ({count / min(ours):,.0f} rows/s)  executemany {min(bare):.2f} s  ratio {ratio:.2f} (limit {LIMIT}); "
        f"on our own connection, with its larger page cache, executemany {min(tuned):.2f} s  ratio {against_tuned:.2f}"
    )
    return 0 if ratio <= LIMIT else 1


def _fresh(file: Path) -> Database:
    database = open_database(f"sqlite:///{file}")
    migrations.upgrade(database)
    return database


def _rows(database: Database) -> list[tuple[str, list[str], list[Any]]]:
    """Read back all that was imported, in the order of the tables."""
    assert database.file
    found = []
    with sqlite3.connect(database.file) as connection:
        for entity in Entity:
            cursor = connection.execute(f"SELECT * FROM {entity} ORDER BY id")
            found.append((entity.value, [column[0] for column in cursor.description], cursor.fetchall()))
    connection.close()
    return found


def _bare(connection: Any, tables: list[tuple[str, list[str], list[Any]]]) -> float:
    """Write the rows by the DBAPI's own executemany, a transaction a table, in WAL with foreign keys checked."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=NORMAL")
    started = time.perf_counter()
    for name, columns, rows in tables:
        marks = ", ".join("?" * len(columns))
        cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})", rows)
        cursor.execute("COMMIT")
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
