"""The day that the demo shows by itself: what happens in which order, and what it does where a person was faster."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bot.clock import ManualClock
from bot.config import load_settings
from bot.decide.lifecycle import OutreachState
from bot.demo.arrivals import skip_daily_round
from bot.demo.day import ANSWERABLE, SOURCE, UNANSWERABLE, Day, Tools
from bot.demo.mail_program import MailProgram
from bot.demo.narration import Narrator
from bot.errors import ChannelError
from bot.services.knowledge.desk import KnowledgeDesk
from bot.services.review.cards import CardView
from bot.store.outreach import list_outreach
from bot.wiring import App
from tests.integration.shop_rows import propose
from tests.integration.talk import CLASSIFIER, ENCODER

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
CONFIG = """
shop: {name: Hearth and Whirl, timezone: Europe/Berlin}
email: {enabled: true, from: care@shop.example, outbox: outbox}
"""


class Shop:
    """A bot on a clock that stands, whose jobs run whenever time passes."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "config.yaml").write_text(f"{CONFIG}database: {{url: '{url}'}}\n")
        self.clock = ManualClock(NOON)
        self.app = App(load_settings(folder / "config.yaml", {"AFTERCARE_SECRET_KEY": "k" * 40}), self.clock)
        self.program = MailProgram(folder / "outbox", folder / "sent", UTC)
        self.narrator = Narrator(Console(file=io.StringIO(), width=300))
        self.pauses: list[float] = []
        self.before_pause: dict[int, Callable[[], None]] = {}
        self.goes_on = True
        self.works = True
        self.proposed = 0

    # The pace:

    def lasts(self, seconds: float) -> float:
        return seconds

    def pause(self, seconds: float) -> bool:
        self.before_pause.get(len(self.pauses), lambda: None)()
        self.pauses.append(seconds)
        return self.goes_on and self.wait(seconds)

    def wait(self, seconds: float) -> bool:
        self.clock.advance(timedelta(seconds=seconds))
        if self.works:
            self.app.mailroom.work()
            self.app.deliver()
        return True

    # The arrivals and the door:

    def bring(self, count: int, playbook: str | None = None, *, in_slack: bool = False) -> list[CardView]:
        cards = []
        for _ in range(count):
            self.proposed += 1
            one = propose(
                self.app.database, self.clock.now(), key=str(self.proposed), probability=0.9 - self.proposed / 10
            )
            cards.append(self.app.review.card(one.id))
        return cards

    def post(self, content: bytes) -> None:
        self.app.mailroom.take_posted(content, None)

    def play(self) -> str:
        parts: dict[str, Any] = {"arrivals": self, "door": self, "pace": self}
        tools = Tools(app=self.app, program=self.program, narrator=self.narrator, in_slack=False, **parts)
        Day(tools).play()
        assert isinstance(self.narrator.console.file, io.StringIO)
        return self.narrator.console.file.getvalue()


@pytest.fixture
def shop(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
    running = Shop(tmp_path, sqlite_url)
    running.bring(2)
    yield running
    running.app.close()


def test_the_day_shows_an_approval_a_reply_and_a_hand_over_each_announced(shop: Shop) -> None:
    told = shop.play()
    order = (
        "next, in 40 s: Lin, a colleague, approves one too.",
        "13:00:40 Lin approved the check-in to",
        "mail is in the mailbox",
        "3 more check-ins",
        "answers that mail.",
        f"asked: “{ANSWERABLE}” The bot answered from the article “{SOURCE}”",
        "asks what no article knows.",
        f"asked: “{UNANSWERABLE}” No article answers that, so the bot handed over.",
        "as a human; read it in the mailbox",
        "2 more check-ins",
    )
    places = [" ".join(told.split()).find(words) for words in order]
    assert -1 not in places, told
    assert places == sorted(places)
    # A person can follow: there are pauses, and the whole is over within minutes.
    assert all(seconds >= 20 for seconds in shop.pauses if seconds)
    assert shop.pauses.count(0) == 1  # what comes after the approval takes its half minute by itself
    assert 120 <= sum(shop.pauses) <= 300
    kinds = [(one.written_here, one.id.partition("-")[0]) for one in reversed(shop.program.letters())]
    assert kinds.count((True, "reply")) == 2
    assert [kind for kind in kinds if not kind[0]] == [(False, "outreach"), *[(False, "utterance")] * 3]
    with shop.app.database.read() as connection:
        untouched = list_outreach(connection, {OutreachState.SUGGESTED})
    assert len(untouched) == 6  # the person's own to decide


def test_the_least_pressing_one_is_the_colleagues(shop: Shop) -> None:
    first, *_ = shop.app.review.queue()
    shop.play()
    with shop.app.database.read() as connection:
        (approved,) = list_outreach(connection, {OutreachState.REPLIED})
    assert approved.id != first.id


def test_where_the_person_decided_all_the_story_says_so_and_stops(shop: Shop) -> None:
    def decide_all() -> None:
        for one in shop.app.review.queue():
            shop.app.review.reject(one.id, one.version, "cli:me", "not_needed")

    shop.before_pause[0] = decide_all
    assert "the rest of the story is yours" in shop.play()
    assert len(shop.pauses) == 1


def test_a_person_who_wants_something_else_is_not_kept(shop: Shop) -> None:
    shop.goes_on = False
    assert "Lin approved" not in shop.play()


def test_a_bot_that_does_nothing_is_not_waited_for_for_ever(shop: Shop) -> None:
    shop.works = False
    assert "The story stops here: the mail has not left yet" in " ".join(shop.play().split())


def test_a_bot_that_takes_no_mail_ends_the_story_and_nothing_else(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_content: bytes) -> None:
        raise ChannelError("the bot does not take mails")

    monkeypatch.setattr(shop, "post", refuse)
    assert "The story stops here: the bot does not take mails" in " ".join(shop.play().split())


def test_the_round_of_a_day_is_left_out_once(shop: Shop) -> None:
    skip_daily_round(shop.app, NOON)
    skip_daily_round(shop.app, NOON)
    assert shop.app.daily.run_if_due() is None
