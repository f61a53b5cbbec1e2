"""One installation on any engine, driven step by step, so that what it decides can be compared with another's.

A step answers with what was decided, or with the error and its words; `everything` is the content of all tables. Time,
owners and channels are the test's own: whatever differs between two engines is a difference in decisions. Row numbers
are not: PostgreSQL's sequences skip where a row was already there, so that references are compared by rank.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from bot.channels.base import DeadAddressError, Message
from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.errors import AftercareError, PermanentChannelError, TransientChannelError, UncertainChannelError
from bot.services.delivery.deliverer import Deliverer
from bot.services.delivery.stopping import Stopping
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import load_playbooks
from bot.services.review.desk import ReviewDesk
from bot.services.review.upkeep import Upkeep
from bot.store import migrations
from bot.store.backup import release
from bot.store.consent import record_consent, suppress
from bot.store.controls import RESTORED, set_control
from bot.store.conversations import add_outbound, open_conversation
from bot.store.database import Database, open_database
from bot.store.enums import Author, DeliveryState
from bot.store.jobs import DELIVER, attach_jobs
from bot.store.outreach import list_outreach
from bot.store.queue_schema import install_queue
from bot.store.tables import metadata
from bot.tasks import queue_schema
from bot.worker import Delivery
from messages.catalogue import Catalogue
from tests.fake_channel import FakeChannel
from tests.integration.shop_rows import add_customer, add_order, add_prediction
from tests.peers import missing_peer

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)  # a Tuesday, 13:00 in Berlin
OWNER = "host:1:1"
ZONES = ("Europe/Berlin", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu")
# What a channel may say to a customer's message, by the name that a step uses.
MOODS: dict[str, Exception | None] = {
    "takes": None,
    "soft": TransientChannelError("451 later"),
    "waits": TransientChannelError("429 slow down", retry_after=600.0),
    "refuses": PermanentChannelError("554 spam"),
    "dead": DeadAddressError("550 5.1.1 no such user"),
    "vague": UncertainChannelError("cut after DATA"),
}
SETTINGS: dict[str, Any] = {
    "shop": {"name": "Kehrwerk", "timezone": "Europe/Berlin"},
    "email": {"enabled": True},
    "review": {"undo_seconds": 30, "claim_minutes": 10},
    "delivery": {"connections": 1, "max_attempts": 3},
    "scheduler": {"daily_capacity": 5},
    "policy": {"caps": {"day": 1, "week": 2, "month": 3}},
}


class Sender(Protocol):
    """How what is due leaves."""

    def send_due(self) -> None:
        """Send until nothing more can leave now."""


class Embedded:
    """The one process's way: its tick drains."""

    def __init__(self, deliverer: Deliverer) -> None:
        self._deliverer = deliverer

    def send_due(self) -> None:
        while any(vars(self._deliverer.drain()).values()):
            pass


class Workers:
    """The workers' way: jobs that commits left in the queue are handed to the task's own function, then the sweep."""

    def __init__(self, database: Database, clock: ManualClock, deliverer: Deliverer, channels: dict[str, Any]) -> None:
        self._database = database
        self._delivery = Delivery(database, clock, deliverer, channels, batch_size=5)

    def send_due(self) -> None:
        while True:
            while (job := self._take_job()) is not None:
                self._delivery.deliver(job.get("outreaches", ()), job.get("utterances", ()))
            if not self._delivery.sweep():
                return

    def _take_job(self) -> dict[str, Any] | None:
        # Our clock stands still while the queue's runs: a job counts as due, and one that comes too early does nothing.
        statement = sa.text(
            "DELETE FROM procrastinate_jobs WHERE id = (SELECT id FROM procrastinate_jobs WHERE queue_name = :queue "
            "ORDER BY priority DESC, id LIMIT 1) RETURNING args"
        )
        with self._database.write() as connection:
            found: dict[str, Any] | None = connection.execute(statement, {"queue": DELIVER}).scalar_one_or_none()
        return found


class World:
    """A shop and all that acts on it, each step a method; steps name customers and check-ins by number."""

    def __init__(self, database: Database, *, workers: bool = False) -> None:
        self.database = database
        self.workers = workers
        self.catalogue = Catalogue.load()
        self.begin()

    def begin(self, holdout_share: float = 0.0) -> None:
        """Start anew: empty tables, noon, a channel that takes everything."""
        self.settings = Settings.model_validate({**SETTINGS, "experiments": {"holdout_share": holdout_share}})
        self.playbooks = load_playbooks(self.settings, self.catalogue.names)
        tables = [*metadata.tables, *(["procrastinate_jobs"] if self.workers else [])]
        with self.database.write() as connection:
            if self.database.embedded:
                connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
                for table in tables:
                    connection.exec_driver_sql(f"DELETE FROM {table}")
            else:
                connection.exec_driver_sql(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
        self.clock = ManualClock(NOON)
        self.real = ManualClock(NOON)
        self.channel = FakeChannel()
        self.channel.mood = self._answer
        self.moods: dict[str, str] = {}
        self.customers: list[int] = []
        channels = {"email": self.channel}
        self.deliverer = Deliverer(
            self.database, self.clock, self.settings, channels, self.catalogue, owner=OWNER, real_clock=self.real
        )
        self.sender: Sender = Embedded(self.deliverer)
        if self.workers:
            self.sender = Workers(self.database, self.clock, self.deliverer, channels)
        self.desk = ReviewDesk(self.database, self.clock, self.settings)
        self.upkeep = Upkeep(self.database, self.clock, self.settings, self.playbooks)

    def do(self, step: tuple[Any, ...]) -> Any:
        """Do one step; return what it decided, or its error."""
        name, *arguments = step
        try:
            return getattr(self, f"do_{name}")(*arguments)
        except AftercareError as error:
            return type(error).__name__, str(error)

    def states(self) -> list[str]:
        """Return the state of each check-in, oldest first."""
        rows = metadata.tables["outreaches"]
        with self.database.read() as connection:
            return list(connection.execute(sa.select(rows.c.state).order_by(rows.c.id)).scalars())

    def everything(self) -> dict[str, list[str]]:
        """Return the content of every table, whatever order and numbers its rows got."""
        with self.database.read() as connection:
            rows = {
                name: [dict(row._mapping) for row in connection.execute(sa.select(table).order_by(table.c.id))]
                for name, table in metadata.tables.items()
            }
        ranks = {name: {row["id"]: rank for rank, row in enumerate(found)} for name, found in rows.items()}
        return {name: sorted(_shown(name, row, ranks) for row in found) for name, found in rows.items()}

    def sent(self) -> list[str]:
        """Return the keys of what the channel took: the check-ins in order, then the answers in theirs."""
        keys = [message.key for message in self.channel.taken]  # workers send answers first
        return sorted(keys, key=lambda key: key.partition(":")[0])

    # --- Steps ---------------------------------------------------------------------------------------

    def do_customer(self, probability: float, zone: int, reachable: bool) -> int:
        """Have a customer whose parcel is late, with a prediction of now."""
        number, now = len(self.customers), self.clock.now()
        with self.database.write() as connection:
            person = add_customer(
                connection,
                f"c{number}",
                now - timedelta(days=30),
                timezone=ZONES[zone % len(ZONES)],
                email=f"c{number}@mail.example" if reachable else None,
            )
            order = add_order(connection, f"o{number}", person, now - timedelta(days=9), promised_at=now - timedelta(days=1))  # fmt: skip
            add_prediction(connection, person, order, now, probability)
        self.customers.append(person)
        return person

    def do_plan(self) -> list[dict[str, Any]]:
        planner = Planner(self.database, self.clock, self.settings, self.catalogue, self.playbooks)
        return [line.line() for line in planner.plan()]

    def do_approve(self, which: int, actor: int, stale: int) -> tuple[str, int]:
        return self._decide("approve", which, actor, stale)

    def do_edit(self, which: int, actor: int, stale: int, words: str) -> tuple[str, int]:
        return self._decide("edit", which, actor, stale, words)

    def do_reject(self, which: int, actor: int, stale: int, reason: str) -> tuple[str, int]:
        return self._decide("reject", which, actor, stale, reason)

    def do_snooze(self, which: int, actor: int, stale: int, hours: int) -> tuple[str, int]:
        return self._decide("snooze", which, actor, stale, self.clock.now() + timedelta(hours=hours))

    def do_claim(self, which: int, actor: int, stale: int) -> tuple[str, int]:
        return self._decide("claim", which, actor, stale)

    def do_undo(self, which: int, actor: int, stale: int) -> tuple[str, int]:
        return self._decide("undo", which, actor, stale)

    def do_retry(self, which: int, actor: int, stale: int) -> tuple[str, int]:
        return self._decide("retry", which, actor, stale)

    def do_settle(self, which: int, actor: int, stale: int, arrived: bool) -> tuple[str, int]:
        one, version = self._seen(which, stale)
        after = self.desk.settle(one, version, f"cli:{actor % 3}", arrived=arrived)
        return after.state.value, after.version

    def do_mood(self, customer: int, mood: str) -> None:
        """Let the mail server answer so to this customer's mails from now on."""
        self.moods[f"c{customer % max(len(self.customers), 1)}@mail.example"] = mood

    def do_deliver(self) -> list[str]:
        """Do what the delivery's tick does: show doubts, ask about them, send what is due."""
        self.deliverer.recover()
        self.deliverer.reconcile()
        self.sender.send_due()
        return self.sent()

    def do_die_sending(self, which: int) -> int:
        """Leave a check-in as a process leaves it that dies with the mail in its hands; the mail did or did not go."""
        outreaches, deliveries = metadata.tables["outreaches"], metadata.tables["deliveries"]
        found = self._approved(which)
        if found is None:
            return 0
        now, attempt = self.clock.now(), found.attempts + 1
        with self.database.write() as connection:
            connection.execute(
                sa.update(outreaches)
                .where(outreaches.c.id == found.id)
                .values(
                    state="sending",
                    attempts=attempt,
                    sending_since=now,
                    sending_by="dead:1:1",
                    version=found.version + 1,
                    updated_at=now,
                )
            )
            connection.execute(
                sa.insert(deliveries).values(
                    outreach_id=found.id,
                    attempt=attempt,
                    key=f"outreach:{found.id}:{attempt}",
                    channel="email",
                    state=DeliveryState.STARTED.value,
                    started_at=now,
                    owner="dead:1:1",
                )
            )
        return found.id

    def do_answer(self, customer: int, words: str) -> int:
        """Write to a customer in a conversation, as the bot or an agent does."""
        if not self.customers:
            return 0
        number = customer % len(self.customers)
        with self.database.write() as connection:
            thread = open_conversation(connection, "email", f"<t{number}@mail.example>", self.customers[number], self.clock.now())  # fmt: skip
            count = connection.execute(sa.text("SELECT count(*) FROM utterances")).scalar_one()
            return add_outbound(
                connection, thread.id, external_id=f"say:{count}", author=Author.BOT, author_id=None, text=words, now=self.clock.now()
            )  # fmt: skip

    def do_opt_out(self, customer: int) -> None:
        if self.customers:
            person = self.customers[customer % len(self.customers)]
            with self.database.write() as connection:
                record_consent(connection, person, "email", "check_ins", False, "email", None, self.clock.now())

    def do_complaint(self, customer: int) -> None:
        with self.database.write() as connection:
            suppress(connection, "email", f"c{customer % max(len(self.customers), 1)}@mail.example", "complaint", self.clock.now())  # fmt: skip

    def do_upkeep(self) -> str:
        return repr(self.upkeep.run())

    def do_advance(self, minutes: int) -> None:
        for clock in (self.clock, self.real):
            clock.advance(timedelta(minutes=minutes))

    def do_stop(self) -> bool:
        return Stopping(self.database, self.clock).stop("cli:ana", "a test")

    def do_resume(self) -> bool:
        return Stopping(self.database, self.clock).resume("cli:ana")

    def do_restored(self) -> None:
        now = self.clock.now()
        with self.database.write() as connection:
            set_control(connection, RESTORED, {"at": now.isoformat(), "backup": "b"}, "cli:ana", now)

    def do_release(self) -> bool:
        return release(self.database, "cli:ana", self.clock.now())

    # --- How -----------------------------------------------------------------------------------------

    def _decide(self, what: str, which: int, actor: int, stale: int, *more: Any) -> tuple[str, int]:
        one, version = self._seen(which, stale)
        after = getattr(self.desk, what)(one, version, f"cli:{actor % 3}", *more)
        return after.state.value, after.version

    def _seen(self, which: int, stale: int) -> tuple[int, int]:
        with self.database.read() as connection:
            found = sorted(list_outreach(connection), key=lambda one: one.id)
        if not found:
            return 4711, 1
        one = found[which % len(found)]
        return one.id, one.version - stale

    def _approved(self, which: int) -> Any:
        with self.database.read() as connection:
            found = sorted(list_outreach(connection, {OutreachState.APPROVED}), key=lambda one: one.id)
        return found[which % len(found)] if found else None

    def _answer(self, message: Message) -> None:
        error = MOODS[self.moods.get(message.address, "takes")]
        if error is not None:
            raise error


def _shown(table: str, row: dict[str, Any], ranks: dict[str, dict[int, int]]) -> str:
    """Write a row as text, references by rank; without what follows from row numbers alone."""
    columns = metadata.tables[table].columns
    found = {name: value for name, value in row.items() if name not in ("id", "hash", "previous_hash")}
    for name in found:
        for reference in columns[name].foreign_keys:
            found[name] = ranks[reference.column.table.name].get(found[name])
    if table == "audit" and found["entity"] != "outreach":
        del found["entity_id"]
    if table == "controls" and found["name"] == "audit_head":
        del found["value"]
    return json.dumps(found, sort_keys=True, default=str)


def sqlite_world(folder: Path) -> World:
    """Return a world on a new SQLite file."""
    database = open_database(f"sqlite:///{folder / 'engine.db'}")
    migrations.upgrade(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return World(database)


@contextmanager
def postgres_world(*, workers: bool = False) -> Iterator[World]:
    """Give a world in a schema of its own on the test server, with the workers' queue where asked."""
    base = os.environ.get("AFTERCARE_TEST_POSTGRES_URL")
    if not base:
        missing_peer("no PostgreSQL: set AFTERCARE_TEST_POSTGRES_URL")
    schema = f"e_{uuid.uuid4().hex[:12]}"
    admin = open_database(base)
    with admin.write() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    database = open_database(f"{base}{'&' if '?' in base else '?'}options=-csearch_path%3D{schema}")
    try:
        migrations.upgrade(database)
        if workers:
            install_queue(database, queue_schema(), NOON)
            attach_jobs(database, batch_size=5)
        yield World(database, workers=workers)
    finally:
        database.close()
        with admin.write() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
        admin.close()
