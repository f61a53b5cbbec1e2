"""Answers in conversations leave once, in order and in their thread."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.errors import TransientChannelError, UncertainChannelError
from bot.services.delivery.deliverer import SETTLES_AFTER
from bot.store.database import Database
from bot.store.tables import utterances
from tests.integration.delivery_world import Shop, fails, talk


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


def test_answers_leave_once_in_order_and_in_their_thread(shop: Shop) -> None:
    first, second = talk(shop, "Here.", "And there.")
    assert shop.deliverer.drain().answers == 2
    assert shop.deliverer.drain().answers == 0
    assert shop.sent_keys() == [f"utterance:{first}:1", f"utterance:{second}:1"]
    message = shop.channel.taken[0]
    assert (message.thread, message.in_reply_to) == ("<first@mail.example>", "<in@mail.example>")
    assert (message.address, message.proactive) == ("talker@mail.example", False)
    assert message.subject.startswith("Re: ")
    with shop.database.read() as connection:
        evidence = connection.execute(sa.select(utterances.c.evidence).where(utterances.c.id == first)).scalar_one()
    assert evidence["reference"] == f"fake-utterance:{first}:1"


def test_one_answer_can_be_sent_at_once_and_only_once(shop: Shop) -> None:
    (only,) = talk(shop, "Here.")
    assert shop.deliverer.send_utterance(only) is True
    assert shop.deliverer.send_utterance(only) is False
    assert len(shop.sent_keys()) == 1


def test_a_later_answer_waits_for_an_earlier_one_that_is_tried_again(shop: Shop) -> None:
    first, second = talk(shop, "Here.", "And there.")
    shop.channel.mood = fails(TransientChannelError("busy"))
    shop.deliverer.drain()
    shop.channel.mood = None
    assert shop.deliverer.drain().answers == 0
    shop.clock.advance(timedelta(minutes=2))
    assert shop.deliverer.drain().answers == 2
    assert shop.sent_keys() == [f"utterance:{first}:2", f"utterance:{second}:1"]


def test_an_answer_in_doubt_is_settled_by_asking(shop: Shop) -> None:
    (only,) = talk(shop, "Here.")
    shop.channel.doubt = fails(UncertainChannelError("cut"))
    assert shop.deliverer.drain().answers == 0
    shop.channel.doubt = None
    shop.clock.advance(SETTLES_AFTER)
    assert shop.deliverer.drain().answers == 0
    assert shop.deliverer.reconcile() == 1
    assert shop.deliverer.drain().answers == 0
    assert shop.sent_keys() == [f"utterance:{only}:1"]
