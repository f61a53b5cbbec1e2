"""Which questions count as unanswered, at which risk, and what agents replied, on both engines."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.cli import run
from bot.clock import ManualClock
from bot.services.privacy import Privacy
from bot.store.database import Database, open_database
from bot.store.tables import metadata
from bot.store.unanswered import agent_replies, unanswered

HOUR = timedelta(hours=1)


class World:
    """Writes conversations as the dialogue leaves them."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.count = 0

    def put(self, table: str, **values: object) -> int:
        with self.database.write() as connection:
            statement = sa.insert(metadata.tables[table]).values(**values).returning(metadata.tables[table].c.id)
            return int(connection.execute(statement).scalar_one())

    def customer(self, external_id: str = "c1") -> int:
        return self.put(
            "customers", source="files", external_id=external_id, name="Anna Born", email=f"{external_id}@example.org",
            fingerprint="f", attributes={}, recorded_at=self.clock.now(),
        )  # fmt: skip

    def thread(self, customer_id: int | None = None) -> int:
        self.count += 1
        now = self.clock.now()
        return self.put(
            "conversations", channel="slack", thread=f"T{self.count}", customer_id=customer_id, state="bot",
            clarifications=0, created_at=now, updated_at=now,
        )  # fmt: skip

    def said(self, thread: int, author: str, text: str, external_id: str | None = None, **more: object) -> int:
        self.count += 1
        now = self.clock.now()
        values = {
            "conversation_id": thread, "source": "slack" if author == "customer" else "aftercare",
            "external_id": external_id or f"x{self.count}", "direction": "in" if author == "customer" else "out",
            "author": author, "text": text, "occurred_at": now, "recorded_at": now,
        }  # fmt: skip
        return self.put("utterances", **{**values, **more})

    def asked(self, thread: int, text: str, decision: str = "handoff", intent: str = "question") -> int:
        return self.said(thread, "customer", text, intent=intent, decision=decision, confidence=0.1)

    def version(self) -> int:
        article = self.put("articles", external_id="a", active=True)
        return self.put(
            "article_versions", article_id=article, version=1, title="A", body="b", questions=[], tags=[], locale="en",
            products=[], sha256="0", recorded_at=self.clock.now(),
        )  # fmt: skip

    def predicted(self, customer_id: int, probability: float, at: datetime, kind: str = "issue") -> None:
        self.count += 1
        self.put(
            "predictions", kind=kind, moment="placed", subject=f"s{self.count}", customer_id=customer_id, as_of=at,
            horizon_days=45, probability=probability, band="low", stage="early", model="m", reasons=[], fragility={},
            recorded_at=at,
        )  # fmt: skip

    def found(self) -> list[tuple[int, bool, float | None]]:
        now = self.clock.now()
        with self.database.read() as connection:
            rows = unanswered(connection, now - timedelta(days=90), now)
        return [(one.utterance_id, one.unhelpful, one.risk) for one in rows]


@pytest.fixture
def world(database: Database, clock: ManualClock) -> World:
    return World(database, clock)


def test_what_was_handed_over_or_rated_as_no_help_is_unanswered(world: World) -> None:
    thread, version, now = world.thread(), world.version(), world.clock.now()
    handed = world.asked(thread, "kosher?")
    world.asked(thread, "talk to a human", intent="human")
    world.asked(thread, "one more", decision="silent")
    rated = []
    for helped in (False, True, None):
        inbound = world.asked(thread, "how warm?", decision="answer")
        answer = world.said(thread, "bot", "so warm", f"bot:{inbound}", article_version_id=version)
        if helped is not None:
            world.put("ratings", utterance_id=answer, helped=helped, rated_at=now)
        rated.append(inbound)
    no_article = world.asked(thread, "hello", decision="answer")
    hello = world.said(thread, "bot", "hello", f"bot:{no_article}")
    world.put("ratings", utterance_id=hello, helped=False, rated_at=now)
    assert world.found() == [(handed, False, None), (rated[0], True, None)]
    world.clock.advance(timedelta(days=91))
    assert world.found() == []


def test_the_risk_is_the_latest_that_was_predicted_by_then(world: World) -> None:
    customer, other, now = world.customer(), world.customer("c2"), world.clock.now()
    world.predicted(customer, 0.2, now - 2 * HOUR)
    world.predicted(customer, 0.4, now - HOUR)
    world.predicted(customer, 0.9, now - HOUR, kind="churn")
    world.predicted(customer, 0.8, now + HOUR)
    first = world.asked(world.thread(customer), "kosher?")
    second = world.asked(world.thread(other), "kosher?")
    world.clock.advance(2 * HOUR)
    assert world.found() == [(first, False, pytest.approx(0.4)), (second, False, None)]


def test_replies_belong_to_the_last_question_that_the_bot_decided_about(world: World) -> None:
    one, two = world.thread(), world.thread()
    world.said(one, "agent", "unasked")
    first = world.asked(one, "kosher?")
    world.said(one, "bot", "a colleague will write", f"bot:{first}")
    world.asked(two, "is it answered?", decision="answer")
    world.said(two, "agent", "of another matter")
    replied = [world.said(one, "agent", "Yes.")]
    world.asked(one, "sure?", decision="silent")
    replied.append(world.said(one, "agent", "Quite sure."))
    world.asked(one, "thanks", decision="answer", intent="smalltalk")
    world.said(one, "agent", "Welcome.")
    second = world.asked(one, "gift cards?")
    replied.append(world.said(one, "agent", "No."))
    now = world.clock.now()
    with world.database.read() as connection:
        found = agent_replies(connection, unanswered(connection, now - HOUR, now), now)
    assert [(reply.question_id, reply.utterance_id) for reply in found] == [
        (first, replied[0]),
        (first, replied[1]),
        (second, replied[2]),
    ]


def test_nothing_of_an_erased_customer_is_found(world: World) -> None:
    customer = world.customer()
    thread = world.thread(customer)
    world.asked(thread, "kosher?")
    world.said(thread, "agent", "Yes, Anna.")
    stays = world.asked(world.thread(), "kosher?")
    Privacy(world.database, world.clock).erase("c1", "cli:test")
    now = world.clock.now()
    with world.database.read() as connection:
        rows = unanswered(connection, now - HOUR, now)
        assert agent_replies(connection, rows, now) == []
    assert [one.utterance_id for one in rows] == [stays]


def test_both_commands_print_the_same_gaps_and_hostile_words_do_nothing(
    tmp_path: Path,
    sqlite_url: str,
    clock: ManualClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AFTERCARE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("AFTERCARE_NOW", clock.now().isoformat())
    database = open_database(sqlite_url)
    world = World(database, clock)
    world.asked(world.thread(), "\x1b]0;owned\x07[bold]is it [/bold] kosher? a@example.org")
    database.close()
    config = tmp_path / "config.yaml"
    config.write_text("shop:\n  name: Kehrwerk\n")
    printed: list[tuple[str, str]] = []
    for group in ("kb", "report"):
        assert run([group, "gaps", "--json", "--config", str(config)]) == 0
        line = capsys.readouterr().out
        assert json.loads(line)["question"] == "]0;owned [bold]is it [/bold] kosher? [address]"
        assert run([group, "gaps", "--config", str(config)]) == 0
        table = capsys.readouterr().out
        assert "\x1b" not in table
        assert "\x07" not in table
        assert "[bold]is" in table
        printed.append((line, table))
        assert run([group, "gaps", "--as-of", "2026-03-01", "--config", str(config)]) == 0
        assert "Every question was answered" in capsys.readouterr().out
    assert printed[0] == printed[1]


def test_a_draft_is_printed_and_nothing_is_published(
    tmp_path: Path,
    sqlite_url: str,
    clock: ManualClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AFTERCARE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("AFTERCARE_NOW", clock.now().isoformat())
    database = open_database(sqlite_url)
    world = World(database, clock)
    thread = world.thread(world.customer())
    world.asked(thread, "Is it kosher?")
    world.said(thread, "agent", "Dear Anna,\n\nyes, it is. \x1b[31mCall 030 1234567.")
    config = tmp_path / "config.yaml"
    config.write_text("shop:\n  name: Kehrwerk\n")
    assert run(["kb", "list", "--config", str(config)]) == 0
    capsys.readouterr()

    def versions() -> int:
        with database.read() as connection:
            return connection.execute(
                sa.select(sa.func.count()).select_from(metadata.tables["article_versions"])
            ).scalar_one()

    before = versions()
    assert run(["kb", "gaps", "--draft", "1", "--config", str(config)]) == 0
    draft = capsys.readouterr().out
    assert draft.endswith("---\n\nyes, it is. [31mCall [number].\n")
    assert "\x1b" not in draft
    assert versions() == before
    for wrong in (["--draft", "2"], ["--draft", "0"], ["--draft", "1", "--json"]):
        assert run(["kb", "gaps", *wrong, "--config", str(config)]) == 2
    database.close()
