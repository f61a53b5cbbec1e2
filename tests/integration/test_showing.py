"""What the delivery did is shown soon after, and nothing that goes wrong there touches the delivery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import structlog

from bot.channels.slack.connection import SlackConnection
from bot.clock import ManualClock
from bot.running import _warm
from bot.services.knowledge.desk import KnowledgeDesk
from bot.services.review.desk import ReviewDesk
from bot.settings import Database as DatabaseSettings
from bot.settings import Review, Settings
from bot.wiring import App
from messages.reading import SHIPPED_ARTICLES
from tests.conftest import NOW
from tests.fake_channel import FakeChannel
from tests.integration.shop_rows import propose
from tests.peers.process import until


class Screen:
    """Counts how often somebody asked it to show things; may be broken."""

    def __init__(self) -> None:
        self.asked = 0
        self.broken = False

    def sync(self) -> int:
        self.asked += 1
        if self.broken:
            raise RuntimeError("the screen is broken")
        return 0


@pytest.fixture
def app(sqlite_url: str, tmp_path: Path) -> Iterator[App]:
    settings = Settings(review=Review(undo_seconds=0)).model_copy(
        update={"database": DatabaseSettings(url=sqlite_url), "home": tmp_path}
    )
    running = App(settings, ManualClock(NOW))
    running.__dict__["channels"] = {"email": FakeChannel()}
    yield running
    running.close()


@pytest.fixture
def screen(app: App) -> Screen:
    made = Screen()
    app.__dict__["slack"] = cast(SlackConnection, made)
    return made


def approve(app: App, key: str) -> None:
    one = propose(app.database, app.clock.now(), key)
    ReviewDesk(app.database, app.clock, app.settings).approve(one.id, one.version, "cli:ana")


def test_a_delivery_that_did_something_is_shown_once_and_one_that_did_nothing_is_not(app: App, screen: Screen) -> None:
    app.deliver()
    app.show_delivered()
    assert screen.asked == 0
    approve(app, "c1")
    app.deliver()
    app.show_delivered()
    app.deliver()
    app.show_delivered()
    assert screen.asked == 1


def test_the_running_bot_delivers_on_although_nothing_can_be_shown(app: App, screen: Screen) -> None:
    screen.broken = True
    channel = cast(FakeChannel, app.channels["email"])
    approve(app, "c1")
    scheduler = app.scheduler(ticks=False)
    scheduler.start()
    try:
        until(lambda: screen.asked, "somebody asked to show the first")
        approve(app, "c2")
        until(lambda: len(channel.taken) == 2, "the second is sent")
        until(lambda: set(scheduler.trouble()) == {"show"}, "health names what fails, and only that")
        screen.broken = False
        until(lambda: not scheduler.trouble(), "it is shown after all")
    finally:
        assert scheduler.stop(10)


def test_knowledge_that_cannot_be_warmed_is_told_and_ends_nothing() -> None:
    class Broken:
        def decide(self, question: str) -> None:
            raise OSError("no disk")

    with structlog.testing.capture_logs() as logs:
        _warm(cast(KnowledgeDesk, Broken()))
    assert [(line["event"], line["error"]) for line in logs] == [("knowledge_not_warmed", "OSError")]


def test_warming_leaves_the_index_ready(app: App) -> None:
    app.knowledge.import_folder(SHIPPED_ARTICLES / "delivery-times.md")
    with structlog.testing.capture_logs() as logs:
        _warm(app.knowledge)
    events = [line["event"] for line in logs]
    assert events[-1] == "knowledge_warmed"
    with structlog.testing.capture_logs() as logs:
        app.knowledge.decide("When does my parcel arrive?")
    assert "knowledge_indexed" not in [line["event"] for line in logs]
