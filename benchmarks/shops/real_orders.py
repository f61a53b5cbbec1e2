"""The real orders that benchmarks judge on, read through the product's own import."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from pathlib import Path

from bot.clock import SystemClock
from bot.config import Settings
from bot.services.importing.importer import Importer
from bot.store import history, migrations
from bot.store.database import open_database
from predictors.snapshot import Snapshot

TIMEZONE = "America/Sao_Paulo"


def olist_folder() -> Path:
    """Return where the data should be: AFTERCARE_DATA, else ../shared/data."""
    return Path(os.environ.get("AFTERCARE_DATA") or "../shared/data") / "olist"


def olist_snapshot(folder: Path, until: datetime) -> Snapshot:
    """Import Olist into a database of its own and read all that was recorded by an instant."""
    settings = Settings.model_validate({"shop": {"timezone": TIMEZONE}})
    with tempfile.TemporaryDirectory() as scratch:
        database = open_database(f"sqlite:///{scratch}/olist.db")
        migrations.upgrade(database)
        Importer(database, SystemClock(), settings).import_paths([folder])
        with database.read() as connection:
            snapshot = history.read_snapshot(connection, until=until, timezone=TIMEZONE)
        database.close()
    return snapshot
