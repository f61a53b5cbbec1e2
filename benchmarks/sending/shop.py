"""An installation with approved check-ins: a folder, a configuration, a database that goes when it is over."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from benchmarks.sending.mails import LOCALE, PLAYBOOK, TEMPLATE, Order
from bot.config import Settings
from bot.store import migrations
from bot.store.database import Connection, Database, open_database
from bot.store.jobs import attach_jobs, wake_outreach
from bot.store.queue_schema import install_queue
from bot.store.tables import metadata
from bot.tasks import queue_schema

REPOSITORY = Path(__file__).parents[2]
_CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Shop:
    """One installation."""

    folder: Path
    database: Database
    environment: dict[str, str]

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def command(self, *words: str) -> list[str]:
        """Return the command line of `aftercare WORDS`."""
        return [sys.executable, "-c", "from bot.cli import main; main()", *words, "--config", str(self.config)]

    def approve_all(self, orders: Sequence[Order], due: Sequence[datetime] = ()) -> None:
        """Put customers and approved check-ins into the tables, as they stand after planning and approval.

        Parameters
        ----------
        due : sequence of datetime, optional
            The `not_before` of each; all are due at once without it.
        """
        now = datetime.now(UTC)
        due = due or [now] * len(orders)
        for begin in range(0, len(orders), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            with self.database.write() as connection:
                _insert(connection, orders[part], due[part], now)
                for one, at in zip(orders[part], due[part], strict=True):
                    wake_outreach(connection, one.id, at, now)
        if not self.database.embedded:
            with self.database.write() as connection:  # autovacuum has had no time
                connection.exec_driver_sql("ANALYZE")

    def states(self) -> dict[str, int]:
        """Count the check-ins in each state."""
        rows = metadata.tables["outreaches"]
        with self.database.read() as connection:
            found = connection.execute(sa.select(rows.c.state, sa.func.count().label("number")).group_by(rows.c.state))
            return {row.state: row.number for row in found}

    def last_recorded(self) -> datetime:
        """Return when the last attempt was written down as finished."""
        rows = metadata.tables["deliveries"]
        with self.database.read() as connection:
            found = connection.execute(sa.select(sa.func.max(rows.c.finished_at))).scalar_one()
            assert isinstance(found, datetime), "nothing was sent"
            return found


@contextmanager
def new_shop(folder: Path, url: str, smtp_url: str, **changed: Any) -> Iterator[Shop]:
    """Make an installation; a schema of its own on PostgreSQL, a file on SQLite.

    Parameters
    ----------
    url : str
        `sqlite` or the URL of a PostgreSQL database.
    changed
        Sections of the configuration that differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schema = f"bench_{uuid.uuid4().hex[:12]}"
    own = f"sqlite:///{folder / 'aftercare.db'}" if url == "sqlite" else _with_schema(url, schema)
    settings: dict[str, Any] = {
        "shop": {"name": "Tea & Mugs", "timezone": "Europe/Berlin", "url": "https://shop.example"},
        "web": {"port": 0},
        "email": {"enabled": True, "from": "care@shop.example"},
        "review": {"undo_seconds": 0},
        "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
        "database": {"url": own},
        **changed,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    admin = None if url == "sqlite" else open_database(url)
    if admin is not None:
        with admin.write() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    database = open_database(own)
    try:
        migrations.upgrade(database)
        if changed.get("delivery", {}).get("engine") == "workers":
            install_queue(database, queue_schema(), datetime.now(UTC))
            attach_jobs(database, Settings().delivery.batch_size)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AFTERCARE_", "SLACK_", "SMTP_", "IMAP_"))}
        yield Shop(
            folder=folder,
            database=database,
            environment={
                **kept,
                "PYTHONPATH": str(REPOSITORY),
                "AFTERCARE_SECRET_KEY": "a-key-for-benchmarks-only-of-forty-letters",
                "SMTP_URL": smtp_url,
            },
        )
    finally:
        database.close()
        if admin is not None:
            with admin.write() as connection:
                connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
            admin.close()


def _with_schema(url: str, schema: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"


def _insert(connection: Connection, orders: Sequence[Order], due: Sequence[datetime], now: datetime) -> None:
    tables = metadata.tables
    earlier = now - timedelta(days=20)
    connection.execute(
        sa.insert(tables["customers"]),
        [
            {"id": one.customer_id, "source": "files", "external_id": f"c{one.customer_id}", "name": f"Maria {one.id}",
             "email": one.address, "timezone": "Europe/Berlin", "fingerprint": str(one.id), "recorded_at": earlier}
            for one in orders
        ],
    )  # fmt: skip
    connection.execute(
        sa.insert(tables["assignments"]),
        [
            {"id": one.id, "customer_id": one.customer_id, "playbook": PLAYBOOK, "experiment": PLAYBOOK,
             "arm": "treatment", "propensity": 0.9, "salt": "bench", "drawn_at": now}
            for one in orders
        ],
    )  # fmt: skip
    connection.execute(
        sa.insert(tables["outreaches"]),
        [
            {"id": one.id, "version": 2, "state": "approved", "customer_id": one.customer_id,
             "dedupe_key": f"{one.customer_id}:{PLAYBOOK}:first:{now.date()}", "playbook": PLAYBOOK, "playbook_version": "1",
             "step": "first", "channel": "email", "local_date": str(now.date()), "assignment_id": one.id,
             "template": TEMPLATE, "locale": LOCALE, "subject": one.subject, "draft": one.draft, "original_draft": one.draft,
             "reasons": [{"feature": "late_days", "text": "The parcel is three days late.", "effect": 0.21}],
             "probability": 0.5, "band": "high", "urgent": False, "created_at": now, "updated_at": now, "not_before": at,
             "expires_at": at + timedelta(hours=72), "attempts": 0, "decided_at": now, "decided_by": "cli:bench"}
            for one, at in zip(orders, due, strict=True)
        ],
    )  # fmt: skip
