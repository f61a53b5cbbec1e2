"""Two replicas on one database: a human's word silences the bot in both until the conversation is given back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from bot.clock import ManualClock
from bot.services.conversation.conversations import ConversationDecision, Conversations, Inbound, Received
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store.database import Database, open_database
from tests.integration.shop_rows import add_customer
from tests.integration.talk import CLASSIFIER, ENCODER, SETTINGS, Talk

D = ConversationDecision
AGENT = "slack:T1:ADA"


@pytest.fixture
def replicas(database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Talk, Talk]]:
    monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
    with database.write() as connection:
        customer_id = add_customer(connection, "maria", clock.now() - timedelta(days=30), slack_user_id="U1")
    made = []
    for number in (1, 2):
        own = open_database(database.engine.url.render_as_string(hide_password=False))
        desk = KnowledgeDesk(own, clock, SETTINGS)
        talk = Talk(own, clock, Conversations(own, clock, SETTINGS, desk), customer_id)
        talk._ids = iter(range(number, 1000, 2))
        made.append(talk)
    yield made[0], made[1]
    for talk in made:
        talk.database.close()


def said_by_bot(talk: Talk) -> int:
    return sum(row.author == "bot" for row in talk.rows("utterances"))


def at_once(replicas: tuple[Talk, Talk], inbound: Inbound) -> list[Received]:
    together = Barrier(2)

    def receive(talk: Talk) -> Received:
        together.wait(60)
        return talk.conversations.receive(inbound)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(receive, replicas))


@pytest.mark.parametrize("gives_back", [0, 1])
def test_a_humans_word_in_one_replica_silences_the_other_until_given_back(
    replicas: tuple[Talk, Talk], gives_back: int
) -> None:
    first, second = replicas
    asked = second.say("How do I clean the filter?")
    assert asked.decision is D.ANSWER
    first.conversations.reply_as_agent(asked.conversation_id, AGENT, "Ada here, I will look into it.")
    before = said_by_bot(first)
    assert second.say("How do I return something?").decision is D.SILENT
    both = at_once(replicas, first.inbound("And how do I clean the filter?"))
    assert [one.decision for one in both] == [D.SILENT, D.SILENT]
    assert sorted(one.duplicate for one in both) == [False, True]
    assert [one.utterance_ids for one in both] == [(), ()]
    assert said_by_bot(first) == before
    assert replicas[gives_back].conversations.give_back(asked.conversation_id, AGENT)
    answered = replicas[1 - gives_back].say("How do I return something?")
    assert answered.decision is D.ANSWER
    assert said_by_bot(first) == before + 1


def test_after_a_human_spoke_no_replica_lets_the_bot_speak_whichever_came_first(replicas: tuple[Talk, Talk]) -> None:
    first, second = replicas
    thread = first.say("How do I clean the filter?").conversation_id
    together = Barrier(2)
    inbound = second.inbound("How do I return something?")

    def reply() -> int:
        together.wait(60)
        return first.conversations.reply_as_agent(thread, AGENT, "Ada here.")

    def receive() -> Received:
        together.wait(60)
        return second.conversations.receive(inbound)

    with ThreadPoolExecutor(2) as pool:
        replied, received = pool.submit(reply), pool.submit(receive)
        agent_id, bot = replied.result(), received.result()
    # The bot either spoke before the agent or not at all: their order is that of their rows.
    assert all(utterance_id < agent_id for utterance_id in bot.utterance_ids)
    assert bot.decision is (D.ANSWER if bot.utterance_ids else D.SILENT)
    assert first.say("How do I return something?").decision is D.SILENT
