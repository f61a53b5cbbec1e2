"""Promise 8: after four hours without the bot, each due item runs once, or expires by its stated time to live."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.services.planning.planner import Planner
from bot.services.review.desk import ReviewDesk
from bot.settings import Settings
from bot.store.database import Database
from bot.store.outreach import Outreach, outreach
from bot.store.runs import latest_runs
from bot.wiring import App
from tests.fake_channel import FakeChannel
from tests.integration.delivery_world import talk
from tests.integration.shop_rows import add_customer, add_order, add_prediction, propose

S = OutreachState
BEFORE = datetime(2026, 3, 10, 6, 30, tzinfo=UTC)  # half past seven in Berlin: half an hour before the daily round
HOUR = timedelta(hours=1)
DOWN = 4 * HOUR


class Shop:
    """One database, and the bot that is started on it anew after each time that it was down."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock(BEFORE)
        self.channel = FakeChannel()
        self.settings = Settings.model_validate(
            {
                "shop": {"timezone": "Europe/Berlin"},
                "database": {"url": database.engine.url.render_as_string(hide_password=False)},
                "email": {"enabled": True},
                "review": {"undo_seconds": 0},
                "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
                "scheduler": {"daily_at": "08:00"},
                "experiments": {"holdout_share": 0.0},
            }
        )
        self.desk = ReviewDesk(database, self.clock, self.settings)
        self.app = self.start()

    def start(self) -> App:
        app = App(self.settings, self.clock)
        app.__dict__["channels"] = {"email": self.channel}
        app.__dict__["planner"] = Planner(
            app.database, self.clock, self.settings, app.catalogue, app.playbooks, rescore=lambda *_: []
        )
        return app

    def down(self) -> None:
        """Let the process be gone for four hours."""
        self.app.database.close()
        self.clock.advance(DOWN)
        self.app = self.start()

    def come_round(self) -> None:
        """Let every job come round, in the order of the scheduler."""
        self.app.upkeep.run()
        self.app.daily.run_if_due()
        self.app.deliver()

    def propose(self, key: str, due: timedelta = timedelta(0), ttl: timedelta = 72 * HOUR) -> Outreach:
        now = self.clock.now()
        return propose(self.database, now, key, not_before=now + due, expires_at=now + ttl)

    def approve(self, key: str, due: timedelta = timedelta(0), ttl: timedelta = 72 * HOUR) -> int:
        one = self.propose(key, due, ttl)
        return self.desk.approve(one.id, one.version, "cli:ana").id

    def see(self, outreach_id: int) -> Any:
        with self.database.read() as connection:
            return outreach(connection, outreach_id)

    def sent(self) -> list[str]:
        return [message.key for message in self.channel.taken]


@pytest.fixture
def shop(database: Database) -> Iterator[Shop]:
    made = Shop(database)
    yield made
    made.app.database.close()


def test_each_item_that_became_due_runs_once_or_has_expired(shop: Shop) -> None:
    due = [shop.approve(f"d{hour}", due=hour * HOUR) for hour in range(5)]
    later = shop.approve("later", due=5 * HOUR)
    late = shop.approve("late", due=HOUR, ttl=3 * HOUR)
    on_time = shop.approve("on time", due=HOUR, ttl=DOWN + HOUR)
    undecided = shop.propose("undecided", ttl=2 * HOUR).id
    open_one = shop.propose("open", ttl=6 * HOUR).id
    asleep = shop.propose("asleep")
    shop.desk.snooze(asleep.id, asleep.version, "cli:ana", BEFORE + 2 * HOUR)
    shop.down()
    for _ in range(3):
        shop.come_round()
    assert sorted(shop.sent()) == sorted(f"outreach:{one}:1" for one in (*due, on_time))
    assert {shop.see(one).state for one in (*due, on_time)} == {S.SENT}
    assert shop.see(later).state == S.APPROVED
    assert [shop.see(one).state for one in (late, undecided)] == [S.EXPIRED, S.EXPIRED]
    assert [shop.see(one).state for one in (open_one, asleep.id)] == [S.SUGGESTED, S.SUGGESTED]
    shop.clock.advance(HOUR)
    shop.come_round()
    assert shop.see(later).state == S.SENT


def test_the_daily_round_that_was_missed_runs_once_and_yesterdays_is_not_made_up_for(shop: Shop) -> None:
    now = shop.clock.now()
    with shop.database.write() as connection:
        person = add_customer(connection, "c1", now - timedelta(days=30))
        order = add_order(connection, "o1", person, now - timedelta(days=9), promised_at=now - timedelta(days=1))
        add_prediction(connection, person, order, now, 0.5)
    shop.come_round()
    shop.down()
    for _ in range(3):
        shop.come_round()
    with shop.database.read() as connection:
        assert [(run.key, run.state) for run in latest_runs(connection, "daily", 9)] == [("2026-03-10", "done")]
    assert len(shop.desk.queue()) == 1
    for _ in range(12):  # two days
        shop.down()
    for _ in range(3):
        shop.come_round()
    with shop.database.read() as connection:
        days = sorted(run.key for run in latest_runs(connection, "daily", 9))
    assert days == ["2026-03-10", "2026-03-12"]


def test_what_was_being_sent_and_what_was_to_be_tried_again_come_up_once(shop: Shop) -> None:
    hand = shop.approve("hand")
    # From the moment at which the mail is out, nothing of this process reaches the database any more.
    shop.channel.doubt = lambda _message: setattr(shop.app.deliverer, "_database", Gone())
    with pytest.raises(ConnectionAbortedError):
        shop.app.deliverer.drain()
    shop.channel.doubt = None
    assert shop.see(hand).state == S.SENDING
    again = shop.approve("again")
    (said,) = talk(shop, "Here.")  # type: ignore[arg-type]
    shop.down()
    for _ in range(3):
        shop.come_round()
        shop.clock.advance(timedelta(minutes=1))
    assert [shop.see(one).state for one in (hand, again)] == [S.SENT, S.SENT]
    assert sorted(shop.sent()) == [f"outreach:{hand}:1", f"outreach:{again}:1", f"utterance:{said}:1"]


class Gone:
    """The database, as a process sees it that is no more."""

    def write(self) -> None:
        raise ConnectionAbortedError("this process is no more")
