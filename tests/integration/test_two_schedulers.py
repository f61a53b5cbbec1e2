"""Promise 7: two schedulers started by mistake, both with every job, make one outreach per customer and step."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.errors import AlreadyDecided
from bot.services.planning.planner import Planner
from bot.settings import Settings
from bot.store.database import Database
from bot.store.outreach import list_outreach
from bot.store.planning import Forecast
from bot.store.tables import metadata
from bot.wiring import App
from tests.fake_channel import FakeChannel
from tests.integration.shop_rows import add_customer, add_order, add_prediction

MORNING = datetime(2026, 3, 10, 7, 30, tzinfo=UTC)  # half past eight in Berlin: the daily round is due
DAY = timedelta(days=1)
CUSTOMERS = 12


class Mistake:
    """One database, one channel, and two applications that do not know of each other."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock(MORNING)
        self.channel = FakeChannel()
        self.settings = Settings.model_validate(
            {
                "shop": {"timezone": "Europe/Berlin"},
                "database": {"url": database.engine.url.render_as_string(hide_password=False)},
                "email": {"enabled": True},
                "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
                "review": {"undo_seconds": 0},
                "experiments": {"holdout_share": 0.0},
                "delivery": {"connections": 4},
            }
        )
        self.apps = [self._app() for _ in range(2)]

    def _app(self) -> App:
        app = App(self.settings, self.clock)
        # Mails go to memory, and predictions are there already; all else is as `aftercare run` wires it.
        app.__dict__["channels"] = {"email": self.channel}
        app.__dict__["planner"] = Planner(
            app.database, self.clock, self.settings, app.catalogue, app.playbooks, rescore=_scored_by_others
        )
        return app

    def arrive(self, day: int) -> None:
        """Let new customers have late parcels, with predictions of this day."""
        now = self.clock.now()
        with self.database.write() as connection:
            for number in range(CUSTOMERS):
                key = f"d{day}c{number}"
                person = add_customer(connection, key, now - 30 * DAY)
                order = add_order(connection, key, person, now - 9 * DAY, promised_at=now - DAY)
                add_prediction(connection, person, order, now - timedelta(minutes=1), 0.5)

    def rows(self) -> list[Any]:
        with self.database.read() as connection:
            return sorted(list_outreach(connection), key=lambda one: one.id)

    def audited(self, action: str) -> int:
        rows = metadata.tables["audit"]
        with self.database.read() as connection:
            query = sa.select(sa.func.count()).where(rows.c.action == action)
            return int(connection.execute(query).scalar_one())

    def close(self) -> None:
        for app in self.apps:
            app.database.close()


def _scored_by_others(_kind: str, _as_of: datetime, _save: bool) -> Sequence[Forecast]:
    return []


def at_once(*works: Callable[[], object]) -> None:
    """Do all of it at the same moment, each on a thread of its own; what one raises fails the test."""
    start, problems = threading.Barrier(len(works)), []

    def run(work: Callable[[], object]) -> None:
        start.wait(60)
        try:
            work()
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert problems == []


@pytest.fixture
def mistake(database: Database) -> Any:
    made = Mistake(database)
    yield made
    made.close()


def test_two_schedulers_make_and_send_one_outreach_per_customer_and_step(mistake: Mistake) -> None:
    one, other = mistake.apps
    for day in range(3):
        mistake.arrive(day)
        at_once(
            one.daily.run_if_due, other.daily.run_if_due, one.upkeep.run, other.upkeep.run, one.deliver, other.deliver
        )
        fresh = [found for found in mistake.rows() if found.state == OutreachState.SUGGESTED]
        assert len(fresh) == CUSTOMERS

        def approve(app: App, fresh: Sequence[Any] = fresh) -> None:
            for found in fresh:
                try:
                    app.review.approve(found.id, found.version, "cli:ana")
                except AlreadyDecided:
                    continue

        at_once(lambda: approve(one), lambda: approve(other))
        at_once(one.deliver, other.deliver, one.daily.run_if_due, other.daily.run_if_due, one.upkeep.run)
        mistake.clock.advance(DAY)
    found = mistake.rows()
    steps = Counter((row.customer_id, row.playbook, row.step) for row in found)
    assert len(found) == 3 * CUSTOMERS
    assert set(steps.values()) == {1}
    assert {row.state for row in found} == {OutreachState.SENT}
    assert Counter(message.key for message in mistake.channel.taken) == Counter(f"outreach:{row.id}:1" for row in found)
    assert mistake.audited("outreach.approve") == 3 * CUSTOMERS


def test_two_plans_at_the_same_moment_propose_each_customer_once(mistake: Mistake) -> None:
    """The claim of the daily round put aside: the plans themselves do not double either."""
    one, other = mistake.apps
    mistake.arrive(0)
    at_once(one.planner.plan, other.planner.plan, one.planner.plan)
    found = mistake.rows()
    assert len(found) == len({row.customer_id for row in found}) == CUSTOMERS
    with mistake.database.read() as connection:
        draws = connection.execute(sa.select(sa.func.count()).select_from(metadata.tables["assignments"]))
        assert draws.scalar_one() == CUSTOMERS
