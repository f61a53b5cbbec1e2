"""An answer that cannot be delivered comes to a human's eyes, on both engines."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.channels.base import Knowledge
from bot.errors import PermanentChannelError, TransientChannelError, UncertainChannelError
from bot.services.delivery.deliverer import SETTLES_AFTER
from bot.store import conversations as store
from bot.store import handoffs
from bot.store.database import Database
from bot.store.enums import ConversationState, HandoffState
from bot.store.handoffs import Handoff
from tests.integration.delivery_world import Shop, fails, talk


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


def human(shop: Shop) -> Handoff | None:
    with shop.database.read() as connection:
        return handoffs.active_handoff(connection, 1)


def test_an_answer_that_was_refused_for_good_is_handed_over(shop: Shop) -> None:
    talk(shop, "Here.")
    shop.channel.mood = fails(PermanentChannelError("refused"))
    assert shop.deliverer.drain().answers == 0
    found = human(shop)
    assert found is not None
    assert (found.reason, found.state, found.urgent) == ("not_delivered", HandoffState.OPEN, True)
    with shop.database.read() as connection:
        assert store.conversation(connection, 1).state is ConversationState.HUMAN
    shop.deliverer.drain()
    assert human(shop) == found


def test_an_answer_that_is_tried_again_is_handed_over_only_when_all_tries_failed(shop: Shop) -> None:
    talk(shop, "Here.")
    shop.channel.mood = fails(TransientChannelError("busy"))
    for _ in range(shop.settings.delivery.max_attempts - 1):
        shop.deliverer.drain()
        assert human(shop) is None
        shop.clock.advance(timedelta(hours=2))
    shop.deliverer.drain()
    assert human(shop) is not None


def test_an_agent_whose_reply_failed_sees_a_new_hand_over(shop: Shop) -> None:
    talk(shop, "Here.")
    with shop.database.write() as connection:
        first = handoffs.open_handoff(connection, 1, "no_answer", False, shop.clock.now())
        handoffs.move_handoff(connection, first, HandoffState.TAKEN, owner="slack:T1:ADA")
        store.change_conversation(connection, 1, shop.clock.now(), state=ConversationState.HUMAN.value)
    shop.channel.mood = fails(PermanentChannelError("refused"))
    shop.deliverer.drain()
    found = human(shop)
    assert found is not None
    assert (found.id != first, found.reason) == (True, "not_delivered")
    with shop.database.read() as connection:
        assert handoffs.handoff(connection, first).state is HandoffState.CLOSED


def test_an_answer_in_doubt_is_shown_to_a_human_once_and_never_sent_again(shop: Shop) -> None:
    talk(shop, "Here.")
    shop.channel.mood = fails(UncertainChannelError("it broke after the last dot"))
    shop.channel.find = lambda message: Knowledge.UNKNOWN  # type: ignore[method-assign]
    shop.deliverer.drain()
    assert human(shop) is None
    shop.clock.advance(SETTLES_AFTER)
    shop.deliverer.reconcile()
    found = human(shop)
    assert found is not None
    assert (found.reason, found.urgent) == ("in_doubt", True)
    with shop.database.write() as connection:
        handoffs.move_handoff(connection, found.id, HandoffState.GIVEN_BACK, closed_at=shop.clock.now())
    shop.channel.mood = None
    shop.clock.advance(SETTLES_AFTER)
    assert (shop.deliverer.reconcile(), shop.deliverer.drain().answers, human(shop)) == (0, 0, None)
