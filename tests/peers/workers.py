"""A shop on PostgreSQL with a mail server and a queue: what tests need that start `aftercare worker` processes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.services.review.desk import ReviewDesk
from bot.store.bulk import insert_rows
from bot.store.database import Database, open_database
from bot.store.jobs import attach_jobs
from bot.store.outreach import Outreach, change_state, list_outreach, outreach
from bot.store.queue_schema import install_queue
from bot.store.tables import metadata
from bot.tasks import queue_schema
from tests.integration.shop_rows import propose
from tests.peers.mail import MailSink
from tests.peers.process import Aftercare, aftercare, environment

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


class WorkersShop:
    """A folder with a configuration, a clock file and a PostgreSQL schema of its own.

    Parameters
    ----------
    url : str
        The database, migrated.
    at : str, optional
        Another way to the same database for the processes, such as a proxy.
    """

    def __init__(self, folder: Path, url: str, sink: MailSink, *, at: str | None = None, **sections: Any) -> None:
        self.folder = folder
        self.sink = sink
        self.clock_file = folder / "now"
        self.set_clock(NOON)
        config = {
            "shop": {"name": "Tee & Tassen", "timezone": "UTC"},
            "web": {"port": 0},
            "email": {"enabled": True, "from": "care@shop.example"},
            "review": {"undo_seconds": 0},
            "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
            "scheduler": {"daily_at": "23:59", "tick_seconds": 1.0},
            "database": {"url": at or url},
            **sections,
            "delivery": {"engine": "workers", **sections.get("delivery", {})},
        }
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.environment = environment(
            self.config, AFTERCARE_SECRET_KEY="k" * 40, SMTP_URL=sink.url, AFTERCARE_NOW=f"@{self.clock_file}"
        )
        self.database: Database = open_database(url)
        install_queue(self.database, queue_schema(), NOON)
        attach_jobs(self.database, 50)

    def set_clock(self, now: datetime) -> None:
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(now.isoformat(), encoding="utf-8")
        fresh.replace(self.clock_file)

    def worker(self, *arguments: str) -> AbstractContextManager[Aftercare]:
        return aftercare(self.folder, self.environment, "worker", *arguments)

    def run(self, *arguments: str) -> AbstractContextManager[Aftercare]:
        return aftercare(self.folder, self.environment, "run", *arguments)

    def approve(self, key: str = "c1", **columns: Any) -> int:
        earlier = NOON - timedelta(minutes=5)
        one = propose(self.database, earlier, key, **columns)
        desk = ReviewDesk(self.database, ManualClock(earlier), Settings.model_validate({"review": {"undo_seconds": 0}}))
        return desk.approve(one.id, one.version, "cli:ana").id

    def approve_many(self, count: int) -> list[int]:
        """Approve so many check-ins to as many customers, in one transaction; return their ids."""
        first = propose(self.database, NOON - timedelta(minutes=5), "first")
        customers, outreaches = metadata.tables["customers"], metadata.tables["outreaches"]
        with self.database.write() as connection:
            model = dict(connection.execute(sa.select(customers).where(customers.c.id == first.customer_id)).one()._mapping)  # fmt: skip
            model.pop("id")
            keys = [f"m{number}" for number in range(1, count)]
            insert_rows(connection, customers, [{**model, "external_id": key, "email": f"{key}@mail.example"} for key in keys])  # fmt: skip
            people = list(connection.execute(sa.select(customers.c.id).where(customers.c.external_id.in_(keys))).scalars())  # fmt: skip
            proposal = dict(connection.execute(sa.select(outreaches).where(outreaches.c.id == first.id)).one()._mapping)
            proposal.pop("id")
            rows = [{**proposal, "customer_id": one, "order_id": None, "dedupe_key": f"bulk:{one}"} for one in people]
            insert_rows(connection, outreaches, rows)
            for one in list_outreach(connection, {OutreachState.SUGGESTED}):
                assert change_state(connection, one.id, one.version, [one.state], OutreachState.APPROVED, NOON, decided_at=NOON)  # fmt: skip
            ids = connection.execute(sa.select(outreaches.c.id).where(outreaches.c.state == "approved"))
            return list(ids.scalars())

    def see(self, outreach_id: int) -> Outreach:
        with self.database.read() as connection:
            return outreach(connection, outreach_id)

    def states(self) -> dict[str, int]:
        """How many outreaches are in each state."""
        column = metadata.tables["outreaches"].c.state
        with self.database.read() as connection:
            rows = connection.execute(sa.select(column, sa.func.count().label("count")).group_by(column))
            return {row[0]: row[1] for row in rows}

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]
