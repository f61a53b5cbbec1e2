"""Hand-overs do not lie about: asked in turn, reminded, passed on, each once however many look, on both engines where it matters."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.conversation.conversations import Conversations
from bot.services.conversation.duty import DutyRoster
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store import audit
from bot.store.database import Database
from bot.store.tables import metadata
from tests.integration.shop_rows import add_customer
from tests.integration.talk import CLASSIFIER, ENCODER, Talk

ADA, BEN, CEM = (f"slack:T1:U{name}" for name in ("ADA", "BEN", "CEM"))
MINUTE = timedelta(minutes=1)
OPEN = ["09:00-17:00"]
SETTINGS = Settings.model_validate(
    {
        "shop": {"name": "Kehrwerk", "timezone": "Europe/Berlin"},
        "support": {
            "hours": dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), OPEN),
            "due_minutes": {"urgent": 10, "normal": 60},
        },
    }
)
TUESDAY = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)  # 13:00 in Berlin
FRIDAY_EVENING = datetime(2026, 3, 27, 18, 0, tzinfo=UTC)  # clocks change before it opens again

# Where the engine plays no part, one is enough.
ONE_ENGINE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


class Team:
    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database, self.clock = database, clock
        knowledge = KnowledgeDesk(database, clock, SETTINGS)
        self.conversations = Conversations(database, clock, SETTINGS, knowledge)
        self.duty = DutyRoster(database, clock, SETTINGS)

    def talk(self, name: str = "Maria Santos", **more: Any) -> Talk:
        with self.database.write() as connection:
            person = add_customer(connection, f"c{name}", self.clock.now() - timedelta(days=3), name=name, **more)
        return Talk(self.database, self.clock, self.conversations, person, thread=f"D{name}")

    def run(self, *agents: str) -> int:
        return self.duty.run(lambda: agents or (ADA, BEN, CEM))

    def handoff(self, number: int = 0) -> Any:
        table = metadata.tables["handoffs"]
        with self.database.read() as connection:
            return connection.execute(sa.select(table).order_by(table.c.id)).all()[number]

    def stands(self, number: int = 0) -> tuple[str | None, int | None, int]:
        """Return whose turn it is, in how many minutes it is due, and how many reminders there were."""
        row = self.handoff(number)
        due = None if row.due_at is None else round((row.due_at - self.clock.now()) / MINUTE)
        return row.owner, due, row.reminders


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
    monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)


@pytest.fixture
def team(database: Database) -> Team:
    return Team(database, ManualClock(TUESDAY))


def test_somebody_is_asked_reminded_and_then_the_next_one_until_one_takes_it_and_answers(team: Team) -> None:
    talk = team.talk()
    received = talk.say("I want to talk to a human")
    assert received.handoff_id is not None
    assert team.run() == 1
    assert team.stands() == (ADA, 60, 0)
    assert team.run() == 0
    team.clock.advance(55 * MINUTE)
    assert (team.run(), team.run()) == (1, 0)
    assert team.stands() == (ADA, 5, 1)
    team.clock.advance(5 * MINUTE)
    assert (team.run(), team.run()) == (1, 0)
    assert team.stands() == (BEN, 60, 2)
    assert team.conversations.take(received.handoff_id, CEM)  # whoever is free may take it
    team.clock.advance(56 * MINUTE)
    assert team.run() == 1
    assert team.stands() == (CEM, 4, 3)
    team.clock.advance(30 * MINUTE)
    assert team.run() == 0  # who has it keeps it
    team.conversations.reply_as_agent(received.conversation_id, CEM, "Here I am.")
    assert (team.run(), team.stands()) == (0, (CEM, None, 3))
    talk.say("And my second question?")
    assert team.run() == 1  # an answer is owed again
    assert team.stands() == (CEM, 60, 3)
    with team.database.read() as connection:
        assert audit.verify(connection) == []
        rows = connection.execute(
            sa.select(metadata.tables["audit"]).where(metadata.tables["audit"].c.entity == "handoff")
        )
        assert [row.action for row in rows] == [
            "handoff.asked", "handoff.reminded", "handoff.passed_on", "handoff.reminded", "handoff.asked",
        ]  # fmt: skip
    # The next customer is the next agent's.
    team.talk("Noor").say("I want to talk to a human")
    team.run()
    assert team.stands(1)[0] == ADA


def test_of_two_processes_that_look_at_once_one_acts(team: Team) -> None:
    team.talk().say("I want to talk to a human")
    for step in range(3):
        barrier, done = threading.Barrier(2), [0, 0]

        def look(which: int, barrier: threading.Barrier = barrier, done: list[int] = done) -> None:
            barrier.wait(20)
            done[which] = DutyRoster(team.database, team.clock, SETTINGS).run(lambda: (ADA, BEN))

        threads = [threading.Thread(target=look, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sum(done) == 1, step
        team.clock.advance((55 if step == 0 else 5) * MINUTE)
    assert team.handoff().reminders == 2


@ONE_ENGINE
def test_at_night_a_customer_is_told_when_somebody_is_there_and_nobody_is_reminded_until_then(team: Team) -> None:
    team.clock.set(FRIDAY_EVENING)
    talk = team.talk(timezone="Europe/London")
    told = talk.told(talk.say("I want to talk to a human"))
    assert (
        "Our office is closed right now. Our team is back on Monday at 8:00" in told
    )  # London's time, after the change
    team.run()
    assert team.handoff().due_at == datetime(2026, 3, 30, 8, 0, tzinfo=UTC)  # an hour after it opens in Berlin
    team.clock.advance(timedelta(days=2))
    assert team.run() == 0
    german = team.talk("Jan").say("Ich möchte mit einem Menschen sprechen")
    assert "Unser Team ist morgen um 9:00 Uhr wieder da" in talk.told(german)


@ONE_ENGINE
def test_danger_is_urgent_at_any_hour_and_nobody_shall_wait_for_us(team: Team) -> None:
    team.clock.set(FRIDAY_EVENING)
    talk = team.talk()
    told = talk.told(talk.say("The battery is swollen and smells of gas, my hand is burnt"))
    assert "call the emergency services now" in told
    assert "on Monday at 9:00" in told
    assert team.run() == 1
    assert team.stands() == (ADA, 10, 0)
    team.clock.advance(10 * MINUTE)
    assert team.run() == 1
    assert team.stands() == (BEN, 10, 1)
    # One that becomes urgent later gets another time.
    calm = team.talk("Noor")
    calm.say("I want to talk to a human")
    team.run()
    calm.say("Now there is smoke coming out of it!")
    assert team.run() == 1
    assert team.stands(1)[1] == 10


@ONE_ENGINE
def test_in_the_hours_nothing_is_said_of_them_and_without_agents_it_is_due_all_the_same(team: Team) -> None:
    talk = team.talk()
    assert "closed" not in talk.told(talk.say("I want to talk to a human"))
    assert team.duty.run(list) == 1
    assert team.stands() == (None, 60, 0)
