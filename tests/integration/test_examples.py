"""What readers and agents say about answers becomes labels; how messages sound is kept, and ends a customer's wait; on both engines."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.clock import ManualClock
from bot.errors import InputError
from bot.services.conversation.conversations import Conversations
from bot.services.knowledge.desk import KnowledgeDesk
from bot.services.privacy import Privacy
from bot.store.database import Database
from bot.store.examples import Example, choices_in, examples_of
from bot.store.ratings import rate
from tests.integration.shop_rows import add_customer
from tests.integration.talk import CLASSIFIER, ENCODER, SETTINGS, Talk

ADA = "slack:T1:UADA"
FILTER = "How do I clean the filter of my vacuum?"


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
    monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)


@pytest.fixture
def talk(database: Database, clock: ManualClock) -> Talk:
    knowledge = KnowledgeDesk(database, clock, SETTINGS)
    with database.write() as connection:
        person = add_customer(connection, "maria", clock.now() - timedelta(days=3), name="Maria Santos")
    return Talk(database, clock, Conversations(database, clock, SETTINGS, knowledge), person)


def labels(talk: Talk) -> list[tuple[str | None, bool, str, str | None]]:
    return [(one.article, one.right, one.source.value, one.actor) for one in found(talk)]


def found(talk: Talk) -> list[Example]:
    with talk.database.read() as connection:
        return examples_of(connection, talk.clock.now())


def test_a_rating_a_correction_and_an_agents_word_are_labels_that_go_with_the_customer(talk: Talk) -> None:
    asked = talk.say(FILTER)
    assert asked.decision == "answer"
    with talk.database.write() as connection:
        assert rate(connection, asked.utterance_ids[0], helped=False, now=talk.clock.now())
        assert not rate(connection, asked.utterance_ids[0], helped=True, now=talk.clock.now())
    ((article, *_),) = labels(talk)
    assert labels(talk) == [(article, False, "rating", None)]
    assert article is not None
    talk.conversations.reply_as_agent(asked.conversation_id, ADA, "Rinse it, then let it dry.")
    talk.conversations.reply_as_agent(asked.conversation_id, ADA, "For a day.")
    assert labels(talk) == [(article, False, "rating", None), (article, False, "agent_reply", ADA)]
    with talk.database.read() as connection:
        offered = choices_in(connection, asked.conversation_id)
    assert offered is not None
    assert (offered.utterance_id, len(offered.articles)) == (asked.utterance_id, 3)
    handoff = talk.rows("handoffs")[-1].id
    for wrong in ((asked.utterance_id, 4711), (asked.utterance_id + 1, None)):
        with pytest.raises(InputError, match="no longer offered"):
            talk.conversations.name_article(handoff, *wrong, ADA)
    talk.conversations.name_article(handoff, asked.utterance_id, offered.articles[1][0], ADA)
    assert labels(talk)[2][1:] == (True, "agent_choice", ADA)
    talk.conversations.name_article(handoff, asked.utterance_id, None, ADA)  # the last word counts
    assert labels(talk)[2] == (None, True, "agent_choice", ADA)
    assert {one.text for one in found(talk)} == {FILTER}
    Privacy(talk.database, talk.clock).erase("maria", "cli:test")
    assert found(talk) == []


def test_who_is_upset_after_a_try_gets_a_human_and_how_they_sound_is_kept(talk: Talk) -> None:
    assert talk.say(FILTER).decision == "answer"
    again = talk.say("It is terrible, I am very angry. How do I get my money back?")
    assert again.decision == "handoff"
    assert talk.rows("handoffs")[-1].reason == "impatient"
    said = [row for row in talk.rows("utterances") if row.direction == "in"]
    assert said[1].sentiment < -0.45 < said[0].sentiment
    feelings = Privacy(talk.database, talk.clock).journey("maria").feelings
    assert feelings[f"reply:{said[1].id}"] == (said[1].sentiment, said[1].urgency)
