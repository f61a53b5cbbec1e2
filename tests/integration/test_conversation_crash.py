"""What a crash or a broken step leaves of a conversation: other customers' messages are decided all the same."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.services.conversation.conversations import ConversationDecision, Conversations
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store.database import Database
from tests.integration.shop_rows import add_customer
from tests.integration.talk import CLASSIFIER, ENCODER, SETTINGS, Talk


def test_a_message_that_cannot_be_judged_does_not_hold_up_those_after_it(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
    desk = KnowledgeDesk(database, clock, SETTINGS)
    with database.write() as connection:
        customer_id = add_customer(connection, "maria", clock.now(), slack_user_id="U1")
    talk = Talk(database, clock, Conversations(database, clock, SETTINGS, desk), customer_id)
    judge, broken = desk.decide, {"poison", "How do I clean the filter?"}

    def fails(question: str, **given: Any) -> Any:
        if question in broken:
            raise RuntimeError("this text breaks the encoder")
        return judge(question, **given)

    monkeypatch.setattr(desk, "decide", fails)
    for thread, words in (("D1", "poison"), ("D2", "How do I clean the filter?")):
        with pytest.raises(RuntimeError):
            talk.say(words, thread=thread)
    broken.discard("How do I clean the filter?")
    clock.advance(timedelta(minutes=1))
    (resumed,) = talk.conversations.resume()
    assert resumed.decision is ConversationDecision.ANSWER
    broken.clear()
    (late,) = talk.conversations.resume()  # the other one is not given up
    assert not late.duplicate
