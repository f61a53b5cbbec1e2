"""Days of work in minutes: the memory of the one process stays flat (promise 27).

    python -m benchmarks.soak [--days N] [--customers N] [--warm-up N] [--database URL]

A day is one daily round and a few hundred check-ins: planned, approved, sent to a real server on loopback, answered by
every fifth customer, with the ticks of a working day between, all by a moved clock. The exit status is 1 where the memory
after the last day is more than a tenth above the memory after the warm-up.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.conversation.conversations import Inbound
from bot.services.planning.planner import Planner
from bot.store.outreach import list_outreach
from bot.store.planning import Forecast
from bot.wiring import App
from tests.integration.shop_rows import add_customer, add_order, add_prediction
from tests.peers.sink import Sink, start_sink

MORNING = datetime(2026, 3, 10, 5, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# What was promised.
LIMIT = 1.10
REPLIES = ("Where is my parcel?", "Thank you!", "It is damaged.", "How do I return it?", "I want to talk to somebody.")


@dataclass(frozen=True, kw_only=True)
class Day:
    """What one day did, and what it left: the resident memory in MB, and how many objects Python keeps."""

    number: int
    sent: int
    replied: int
    resident_mb: float
    objects: int
    seconds: float


class Soak:
    """One application that lives through days."""

    def __init__(self, folder: Path, sink: Sink, customers: int, database: str | None = None) -> None:
        self.customers = customers
        self.clock = ManualClock(MORNING)
        self.settings = Settings.model_validate(
            {
                "home": folder,
                "database": {"url": database or f"sqlite:///{folder / 'aftercare.db'}"},
                "email": {"enabled": True, "from": "care@shop.example"},
                "scheduler": {"daily_at": "06:00", "daily_capacity": customers},
                "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
                "review": {"undo_seconds": 0},
                "experiments": {"holdout_share": 0.0},
                "secrets": {"secret_key": "k" * 40, "smtp_url": sink.url},
            }
        )
        self.app = App(self.settings, self.clock)
        self.app.__dict__["planner"] = Planner(
            self.app.database,
            self.clock,
            self.settings,
            self.app.catalogue,
            self.app.playbooks,
            rescore=self._predict,
            index=lambda: self.app.knowledge.index(),
        )
        self._day = 0

    def live(self) -> Day:
        """Live through one day; every tick of it, though quickly."""
        began = time.monotonic()
        sent = replied = 0
        for hour in range(24):
            self.app.daily.run_if_due()
            if hour == 2:
                self._approve()
            for _ in range(6):
                self.app.tick()
                self.app.deliver()
                self.clock.advance(HOUR / 6)
            if hour == 12:
                replied = self._reply()
        with self.app.database.read() as connection:
            sent = sum(one.sent_at is not None for one in list_outreach(connection, limit=10**6)) - self._sent_before
        self._sent_before += sent
        self._day += 1
        gc.collect()
        return Day(
            number=self._day,
            sent=sent,
            replied=replied,
            resident_mb=resident_mb(),
            objects=len(gc.get_objects()),
            seconds=time.monotonic() - began,
        )

    _sent_before = 0

    def close(self) -> None:
        """Give everything back."""
        self.app.close()

    def _predict(self, kind: str, as_of: datetime, _save: bool) -> Sequence[Forecast]:
        """Find new customers with late parcels every morning, as a shop's imports and the scoring would."""
        if kind == "issue":
            with self.app.database.write() as connection:
                for number in range(self.customers):
                    key = f"d{self._day}c{number}"
                    person = add_customer(connection, key, as_of - 30 * DAY, locale=("en", "de")[number % 2])
                    order = add_order(connection, key, person, as_of - 9 * DAY, promised_at=as_of - DAY)
                    add_prediction(connection, person, order, as_of, 0.5)
        return []

    def _approve(self) -> None:
        for one in self.app.review.queue(limit=10**6):
            self.app.review.approve(one.id, one.version, "cli:ana")

    def _reply(self) -> int:
        """Let every fifth customer of the day answer."""
        today = (self.clock.now() - 14 * HOUR).date().isoformat()
        with self.app.database.read() as connection:
            found = [one for one in list_outreach(connection, limit=10**6) if one.local_date >= today and one.sent_at]
        for number, one in enumerate(found[::5]):
            self.app.conversations.receive(
                Inbound(
                    source="email",
                    external_id=f"<r{one.id}@mail.example>",
                    channel="email",
                    thread=f"<t{one.id}@mail.example>",
                    customer_id=one.customer_id,
                    sender=f"c{one.id}@mail.example",
                    text=REPLIES[number % len(REPLIES)],
                    occurred_at=self.clock.now(),
                )
            )
        return len(found[::5])


def resident_mb() -> float:
    """Return how much memory this process holds, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def soaking(folder: Path, customers: int, database: str | None = None) -> Iterator[Soak]:
    """Give an application that can live through days, with its mail server."""
    with start_sink(folder) as sink:
        soak = Soak(folder, sink, customers, database)
        try:
            yield soak
        finally:
            soak.close()


def main() -> int:
    """Live, print a line a day, and say by the exit status whether the memory stayed flat."""
    words = argparse.ArgumentParser(prog="benchmarks.soak", description=(__doc__ or "").splitlines()[0])
    words.add_argument("--days", type=int, default=8)
    words.add_argument("--customers", type=int, default=300)
    words.add_argument("--warm-up", type=int, default=2)
    words.add_argument("--database")
    chosen = words.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    days: list[Day] = []
    with tempfile.TemporaryDirectory(prefix="aftercare-soak-") as folder, soaking(Path(folder), chosen.customers, chosen.database) as soak:  # fmt: skip
        for _ in range(chosen.days):
            day = soak.live()
            days.append(day)
            print(f"day {day.number}: {day.sent} sent, {day.replied} answers in, {day.resident_mb:.1f} MB, {day.objects:,} objects, {day.seconds:.1f} s", flush=True)  # fmt: skip
    warm, last = days[chosen.warm_up - 1], days[-1]
    share = last.resident_mb / warm.resident_mb
    print(f"after the warm-up {warm.resident_mb:.1f} MB, at the end {last.resident_mb:.1f} MB: {share:.3f} of it (at most {LIMIT:.2f})")  # fmt: skip
    return 0 if share <= LIMIT and all(day.sent == chosen.customers for day in days) else 1


if __name__ == "__main__":
    sys.exit(main())
