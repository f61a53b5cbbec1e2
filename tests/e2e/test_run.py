"""`aftercare run` as a real process: ready, healthy, on time, and never twice, also through kill -9."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx
import pytest
import sqlalchemy as sa
import yaml

from bot.cli import run as command
from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.services.review.desk import ReviewDesk
from bot.store import migrations
from bot.store.database import Database, open_database
from bot.store.outreach import Outreach, outreach
from bot.store.runs import latest_runs
from bot.store.tables import metadata
from tests.integration.shop_rows import propose
from tests.peers import free_port
from tests.peers.mail import MailSink, mail_sink
from tests.peers.process import Aftercare, aftercare, environment, until

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


class Installation:
    """A folder with a configuration, a database, a clock file and a mail server."""

    def __init__(self, folder: Path, sink: MailSink, zone: str = "Europe/Berlin", now: datetime = NOON) -> None:
        self.folder = folder
        self.sink = sink
        self.clock_file = folder / "now"
        self.set_clock(now)
        config = {
            "shop": {"name": "Tee & Tassen", "timezone": zone},
            "web": {"port": 0},
            "email": {"enabled": True, "from": "care@shop.example"},
            "review": {"undo_seconds": 0},
            "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
            "scheduler": {"daily_at": "08:00", "tick_seconds": 0.1},
            "database": {"url": "sqlite:///shop.db"},
        }
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.environment = environment(
            self.config, AFTERCARE_SECRET_KEY="k" * 40, SMTP_URL=sink.url, AFTERCARE_NOW=f"@{self.clock_file}"
        )
        self.database: Database = open_database(f"sqlite:///{folder / 'shop.db'}")
        migrations.upgrade(self.database)

    def set_clock(self, now: datetime) -> None:
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(now.isoformat(), encoding="utf-8")
        fresh.replace(self.clock_file)

    def run(self, *arguments: str) -> AbstractContextManager[Aftercare]:
        return aftercare(self.folder, self.environment, "run", *arguments)

    def approve(self, key: str = "c1") -> int:
        one = propose(self.database, NOON - timedelta(minutes=5), key)
        desk = ReviewDesk(self.database, ManualClock(NOON - timedelta(minutes=5)), Settings.model_validate({"review": {"undo_seconds": 0}}))  # fmt: skip
        return desk.approve(one.id, one.version, "cli:ana").id

    def see(self, outreach_id: int) -> Outreach:
        with self.database.read() as connection:
            return outreach(connection, outreach_id)

    def consents(self) -> list[tuple[int, bool]]:
        table = metadata.tables["consents"]
        with self.database.read() as connection:
            rows = connection.execute(sa.select(table.c.customer_id, table.c.granted))
            return [(row.customer_id, row.granted) for row in rows]

    def days_done(self) -> list[str]:
        with self.database.read() as connection:
            return sorted(run.key for run in latest_runs(connection, "daily", 50) if run.state == "done")


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path, sink: MailSink) -> Iterator[Installation]:
    made = Installation(tmp_path, sink)
    yield made
    made.database.close()


def test_it_says_when_it_is_ready_delivers_answers_health_and_ends_cleanly(shop: Installation) -> None:
    one = shop.approve()
    with shop.run() as bot:
        ready = bot.ready()
        web = ready["web"]
        assert ready == {"event": "ready", "web": web, "slack": "off", "email": "connected"}
        assert httpx.get(f"{web}/healthz").json() == {"status": "alive"}
        health = httpx.get(f"{web}/readyz")
        assert health.status_code == 200, health.text
        assert set(health.json()["checks"]) == {"database", "slack", "email", "mailbox", "scheduler"}
        until(lambda: shop.see(one).state == OutreachState.SENT, "the check-in is sent")
        assert shop.sink.keys() == [f"outreach:{one}:1"]
        mail = shop.sink.accepted[0].mail
        assert mail["To"] == "c1@mail.example"
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        # The link of the mail: looking changes nothing, the one-click POST ends contact.
        link = urlsplit(str(mail["List-Unsubscribe"]).partition("<")[2].partition(">")[0]).path
        assert httpx.get(f"{web}{link}").status_code == 200
        assert shop.consents() == []
        assert httpx.post(f"{web}{link}", content="List-Unsubscribe=One-Click").status_code == 200
        assert shop.consents() == [(shop.see(one).customer_id, False)]
        assert bot.end() == 0
        assert bot.lines == [json.dumps(ready)]


def test_moved_over_a_day_the_daily_round_happened_once_a_day(shop: Installation) -> None:
    shop.set_clock(datetime(2026, 3, 10, 6, 0, tzinfo=UTC))  # 07:00 in Berlin
    with shop.run() as bot:
        bot.ready()
        assert shop.days_done() == []
        for hour in (7, 8, 20):
            shop.set_clock(datetime(2026, 3, 10, hour, 1, tzinfo=UTC))
            until(lambda: shop.days_done() == ["2026-03-10"], "the round of the first day")
        shop.set_clock(datetime(2026, 3, 11, 7, 1, tzinfo=UTC))
        until(lambda: shop.days_done() == ["2026-03-10", "2026-03-11"], "the round of the second day")
        assert bot.end() == 0


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_moved_over_a_clock_change_each_local_date_happened_once(
    tmp_path: Path, sink: MailSink, zone: str, change: datetime
) -> None:
    now = change - timedelta(hours=12)
    shop = Installation(tmp_path, sink, zone, now)
    # Days are longer or shorter here; the rounds of three dates must come, whatever the hour looked at.
    with shop.run("--only", "scheduler") as bot:
        bot.ready()
        hours = [now + timedelta(hours=number) for number in range(0, 60, 4)]
        for hour in hours:
            shop.set_clock(hour)
            until(lambda at=hour: set(_due_days(hours, at, zone)) <= set(shop.days_done()), f"the round due by {hour}")
        done = shop.days_done()
        assert done == sorted(set(_due_days(hours, hours[-1], zone)))
        assert len(done) >= 2
        assert bot.end() == 0
    with shop.database.read() as connection:
        runs = latest_runs(connection, "daily", 50)
    assert len({run.key for run in runs}) == len(runs)
    shop.database.close()


def _due_days(hours: list[datetime], now: datetime, zone: str) -> list[str]:
    """The local dates on which some hour looked at so far was 08:00 or later on the clock on the wall."""
    walls = [hour.astimezone(ZoneInfo(zone)) for hour in hours if hour <= now]
    return sorted({wall.date().isoformat() for wall in walls if wall.hour >= 8})


def test_killed_while_the_server_has_the_mail_it_is_sent_once_or_shown_uncertain(shop: Installation) -> None:
    one = shop.approve()
    shop.sink.hold = threading.Event()
    with shop.run() as bot:
        until(lambda: shop.sink.accepted, "the server has the mail and has not replied")
        bot.kill()
    shop.sink.hold.set()
    shop.sink.hold = None
    assert shop.see(one).state == OutreachState.SENDING
    other = shop.approve("c2")
    with shop.run() as bot:
        bot.ready()
        until(lambda: shop.see(other).state == OutreachState.SENT, "what was approved later is sent")
        until(lambda: shop.see(one).state == OutreachState.UNCERTAIN, "the doubt is shown")
        assert bot.end() == 0
    assert sorted(shop.sink.keys()) == [f"outreach:{one}:1", f"outreach:{other}:1"]


def test_killed_between_approval_and_send_it_is_sent_once_after_the_restart(shop: Installation) -> None:
    shop.sink.stop_listening()
    with shop.run() as bot:
        until(lambda: "mail_not_reached" in bot.log.read_text(), "it runs without its mail server")
        one = shop.approve()
        until(lambda: shop.see(one).attempts == 1, "the send was tried")
        bot.kill()
    assert shop.sink.accepted == []
    shop.sink.listen()
    shop.set_clock(NOON + timedelta(minutes=5))
    with shop.run() as bot:
        bot.ready()
        state = until(
            lambda: shop.see(one).state in (OutreachState.SENT, OutreachState.UNCERTAIN) and shop.see(one).state,
            "sent or uncertain",
        )
        assert bot.end() == 0
    assert len(shop.sink.accepted) == (1 if state == OutreachState.SENT else 0)


def test_ending_while_a_send_hangs_is_in_time_and_leaves_it_uncertain(shop: Installation) -> None:
    one = shop.approve()
    shop.sink.hold = threading.Event()
    with shop.run() as bot:
        bot.ready()
        until(lambda: shop.sink.accepted, "the server has the mail and has not replied")
        assert bot.end(10) == 0
    assert shop.see(one).state == OutreachState.UNCERTAIN
    assert len(shop.sink.accepted) == 1


def test_ending_before_it_is_ready_is_clean_too(shop: Installation) -> None:
    shop.environment["SMTP_URL"] = f"smtp://127.0.0.1:{free_port()}"
    with shop.run() as bot:
        until(lambda: "mail_not_reached" in bot.log.read_text(), "it waits for its mail server")
        assert bot.end() == 0
        assert bot.lines == []


def test_one_job_can_be_done_once(shop: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    one = shop.approve()
    with shop.run("--once", "deliver") as bot:
        assert bot.process.wait(60) == 0
    assert shop.see(one).state == OutreachState.SENT
    assert json.loads(bot.lines[0])["sent"] == 1
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shop.environment.items():
            patch.setenv(name, value)
        for already in (False, True):
            assert command(["run", "--once", "daily"]) == 0
            assert ("already" in json.loads(capsys.readouterr().out)) is already
        assert command(["run", "--once", "digest"]) == 4
        assert "slack.mode is off" in capsys.readouterr().err
        assert command(["run", "--only", "web,mail"]) == 2
        assert "--only takes parts of" in capsys.readouterr().err
