"""What nobody wrote down becomes an article: asked, drafted, published, told to those who asked, answered; on both engines where it matters."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.channels.base import Message
from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.errors import AlreadyDecided, InputError
from bot.services.conversation.conversations import Conversations
from bot.services.delivery.deliverer import Deliverer
from bot.services.knowledge.curation import Curation
from bot.services.knowledge.desk import KnowledgeDesk
from bot.services.knowledge.gap_desk import GapDesk, GapWords
from bot.services.knowledge.telling import PLAYBOOK, Telling
from bot.services.privacy import Privacy
from bot.services.review.desk import ReviewDesk
from bot.store import audit
from bot.store.consent import record_consent, suppress
from bot.store.database import Database
from bot.store.enums import GapState
from bot.store.outreach import list_outreach
from bot.store.tables import metadata
from messages.catalogue import Catalogue
from tests.fake_channel import FakeChannel
from tests.integration.shop_rows import add_customer
from tests.integration.talk import CLASSIFIER, ENCODER, Talk

ADA, BEN = "slack:T1:UADA", "slack:T1:UBEN"
ASKED = (
    "Can I use the carafe on an induction hob?",
    "Does the carafe work on an induction hob?",
    "Is it okay to use the carafe on my induction hob?",
)
REPLY = "Hello Maria,\n\nno, the carafe is glass and an induction hob will not heat it. Any gas or ceramic hob will do.\n\nKind regards\nAda"
ANSWER = "no, the carafe is glass and an induction hob will not heat it. Any gas or ceramic hob will do."
SETTINGS = Settings.model_validate(
    {
        "shop": {"name": "Kehrwerk", "timezone": "Europe/Berlin"},
        "email": {"enabled": True, "outbox": "outbox"},
        "review": {"undo_seconds": 0},
        "policy": {"quiet_hours": {"start": "22:00", "end": "08:00"}},
    }
)

# Where the engine plays no part, one is enough.
ONE_ENGINE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@dataclass
class Loop:
    """A shop with agents, and customers who write mails."""

    database: Database
    clock: ManualClock
    taken: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        catalogue = Catalogue.load()
        knowledge = KnowledgeDesk(self.database, self.clock, SETTINGS, catalogue)
        self.conversations = Conversations(self.database, self.clock, SETTINGS, knowledge, catalogue)
        self.curation = Curation(self.database, self.clock, SETTINGS, knowledge)
        self.knowledge = knowledge
        self.desk = GapDesk(self.database, self.clock, SETTINGS, self.curation)
        self.telling = Telling(self.database, self.clock, SETTINGS, catalogue)
        self.review = ReviewDesk(self.database, self.clock, SETTINGS)
        self.channel = FakeChannel()
        self.deliverer = Deliverer(self.database, self.clock, SETTINGS, {"email": self.channel}, catalogue)
        self.people: list[int] = []

    def customer(self, name: str) -> Talk:
        with self.database.write() as connection:
            person = add_customer(
                connection, name, self.clock.now() - timedelta(days=30), email=f"{name}@mail.example", name=f"{name} X"
            )
        self.people.append(person)
        return Talk(self.database, self.clock, self.conversations, person, thread=f"<{name}>", channel="email")

    def three_ask(self, *, given_back: bool = True) -> list[Talk]:
        talks = [self.customer(name) for name in ("maria", "noor", "olaf")]
        for number, (talk, words) in enumerate(zip(talks, ASKED, strict=True)):
            received = talk.say(words, sender=f"{talk.thread.strip('<>')}@mail.example")
            assert received.decision == "handoff"
            if number == 0:
                self.conversations.reply_as_agent(received.conversation_id, ADA, REPLY)
            if given_back:
                assert self.conversations.give_back(received.conversation_id, ADA)
        return talks

    def rows(self, table: str) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(metadata.tables[table]).order_by(metadata.tables[table].c.id)))

    def told(self) -> list[str | None]:
        return [row.told for row in self.rows("gap_questions")]

    def deliver(self) -> list[Message]:
        """Send what is due; return what left since the last time."""
        seen = len(self.channel.taken)
        while any(vars(self.deliverer.drain()).values()):
            pass
        return list(self.channel.taken[seen:])


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
    monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)


@pytest.fixture
def loop(database: Database, clock: ManualClock) -> Loop:
    return Loop(database, clock)


def test_three_ask_one_article_is_published_the_three_are_told_once_and_the_next_gets_the_answer(loop: Loop) -> None:
    loop.three_ask()
    (draft_id,) = loop.desk.propose()
    assert loop.desk.propose() == []  # the same gap is proposed once
    view = loop.desk.view(draft_id)
    assert (view.state, view.customers, view.times, view.body) == (GapState.PROPOSED, 3, 3, ANSWER)
    assert view.title in ASKED
    loop.deliver()

    # Two of the three wrote long ago, the third's conversation is still open.
    loop.clock.advance(timedelta(days=8))
    fourth = loop.customer("pia")
    fourth.say("What about the carafe on an induction hob?", sender="pia@mail.example")
    loop.desk.propose()
    assert loop.desk.view(draft_id).customers == 4
    loop.conversations.give_back(4, BEN)
    loop.deliver()

    words = GapWords(title="The carafe and induction hobs", body=f"N{ANSWER[1:]}", questions=view.questions)
    assert loop.desk.publish(draft_id, view.version, BEN, words) == ("the-carafe-and-induction-hobs", 1)
    assert loop.knowledge.article("the-carafe-and-induction-hobs").origin == "slack"
    assert loop.telling.tell() == 4
    assert loop.telling.tell() == 0
    assert loop.told() == ["outreach", "outreach", "outreach", "conversation"]
    with loop.database.read() as connection:
        proposed = list_outreach(connection, playbook=PLAYBOOK)
    assert sorted(one.customer_id for one in proposed) == loop.people[:3]
    assert all(one.state == OutreachState.SUGGESTED and "glass" in one.draft for one in proposed)
    for one in proposed:
        loop.review.approve(one.id, one.version, ADA)
    sent = loop.deliver()
    assert sorted(message.address for message in sent) == [
        f"{n}@mail.example" for n in ("maria", "noor", "olaf", "pia")
    ]
    assert [message.proactive for message in sent if message.address.startswith("pia")] == [False]

    fifth = loop.customer("quin")
    answered = fifth.say("Can I put the carafe onto an induction hob?", sender="quin@mail.example")
    assert answered.decision == "answer"
    assert "glass" in fifth.told(answered)
    assert loop.desk.propose() == []  # what is answered now is no gap
    with loop.database.read() as connection:
        assert audit.verify(connection) == []
    done = [(row.action, row.actor) for row in loop.rows("audit") if row.entity == "gap"]
    assert done == [("gap.propose", "system"), ("gap.publish", BEN)]


def test_who_opted_out_was_erased_or_is_with_an_agent_is_not_told(loop: Loop) -> None:
    loop.three_ask()
    (draft_id,) = loop.desk.propose()
    unknown = Talk(loop.database, loop.clock, loop.conversations, None, thread="<x>", channel="email")
    received = unknown.say(ASKED[0], sender="who@mail.example")
    loop.desk.propose()
    loop.conversations.give_back(received.conversation_id, ADA)
    version = loop.desk.view(draft_id).version
    loop.desk.publish(draft_id, version, ADA)
    Privacy(loop.database, loop.clock).erase("maria", "cli:test")
    talking = Talk(loop.database, loop.clock, loop.conversations, loop.people[2], thread="<olaf>", channel="email")
    assert (
        talking.say("I want to talk to a human", external_id="<olaf>:9", sender="olaf@mail.example").decision
        == "handoff"
    )
    now = loop.clock.now()
    with loop.database.write() as connection:
        record_consent(connection, loop.people[1], "email", "check_ins", False, "email", None, now)
        suppress(connection, "email", "who@mail.example", "opt_out", now)
    assert loop.telling.tell() == 0
    assert loop.told() == ["consent_refused", None, "suppressed"]
    loop.conversations.give_back(3, ADA)
    assert loop.telling.tell() == 1
    assert loop.told() == ["consent_refused", "conversation", "suppressed"]


@ONE_ENGINE
def test_nobody_is_told_at_night_nor_after_too_long(loop: Loop) -> None:
    loop.three_ask()
    (draft_id,) = loop.desk.propose()
    loop.desk.publish(draft_id, 1, ADA)
    loop.clock.advance(timedelta(hours=12))  # one at night, where they live
    assert loop.telling.tell() == 0
    loop.clock.advance(timedelta(hours=10))
    with loop.database.write() as connection:
        connection.execute(sa.update(metadata.tables["conversations"]).where(metadata.tables["conversations"].c.id > 1).values(state="human"))  # fmt: skip
    assert loop.telling.tell() == 1
    loop.clock.advance(timedelta(days=31))
    assert loop.telling.tell() == 0
    assert loop.told() == ["conversation", "too_late", "too_late"]


def test_one_decision_wins_and_a_declined_gap_rests_until_it_grew_or_the_time_is_over(loop: Loop) -> None:
    loop.three_ask()
    (draft_id,) = loop.desk.propose()
    with pytest.raises(InputError, match="title"):
        loop.desk.publish(draft_id, 1, ADA, GapWords(title=" ", body="x", questions=()))
    with pytest.raises(InputError, match=r"\[name\]"):
        loop.desk.publish(draft_id, 1, ADA, GapWords(title="Hobs", body="Dear [name]", questions=()))
    loop.desk.decline(draft_id, 1, BEN)
    for late in (lambda: loop.desk.publish(draft_id, 1, ADA), lambda: loop.desk.decline(draft_id, 1, ADA)):
        with pytest.raises(AlreadyDecided):
            late()
    assert loop.knowledge.articles()[0].origin == "files"
    assert loop.desk.propose() == []
    for number in range(3):
        loop.customer(f"more{number}").say(ASKED[number])
    (again,) = loop.desk.propose()
    loop.desk.decline(again, 1, BEN)
    assert loop.desk.propose() == []
    loop.clock.advance(timedelta(days=31))
    assert len(loop.desk.propose()) == 1


@ONE_ENGINE
def test_a_draft_made_of_an_erased_customers_words_is_withdrawn(loop: Loop) -> None:
    loop.three_ask()
    (draft_id,) = loop.desk.propose()
    Privacy(loop.database, loop.clock).erase("noor", "cli:test")
    view = loop.desk.view(draft_id)
    assert (view.state, view.title, view.body, tuple(view.questions)) == (GapState.WITHDRAWN, "", "", ())
    with pytest.raises(AlreadyDecided):
        loop.desk.publish(draft_id, 1, ADA)


@ONE_ENGINE
def test_the_day_looks_once_a_week_and_only_at_gaps_that_are_large_enough(loop: Loop) -> None:
    loop.three_ask()
    loop.customer("solo").say("Do you sell spare strings for a violin?")
    assert loop.desk.look_if_due() == 1
    assert loop.desk.look_if_due() == 0
    loop.clock.advance(timedelta(days=8))
    assert loop.desk.look_if_due() == 0
    assert [row.state for row in loop.rows("runs")] == ["done", "done"]
