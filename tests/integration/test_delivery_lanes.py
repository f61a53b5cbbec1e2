"""Every channel has lanes of its own: what hangs on one holds up no other, and answers keep their order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.channels.base import Evidence, Message
from bot.errors import TransientChannelError
from bot.services.delivery.deliverer import Deliverer
from bot.services.delivery.departure import Departure
from bot.store import answers, claiming
from bot.store.database import Database, open_database
from bot.store.tables import metadata
from tests.fake_channel import FakeChannel
from tests.integration.delivery_world import S, Shop, fails, talk
from tests.integration.shop_rows import add_customer, insert

customers = metadata.tables["customers"]
# Only a failing test waits so long.
PATIENCE = 60


class CountingChannel(FakeChannel):
    """Says when it has taken so many messages."""

    def __init__(self, name: str, wanted: int) -> None:
        super().__init__(name)
        self.all_taken = threading.Event()
        self._wanted = wanted

    def send(self, message: Message) -> Evidence:
        found = super().send(message)
        if len(self.taken) == self._wanted:
            self.all_taken.set()
        return found


def say(shop: Shop, channel: str, thread: str) -> int:
    """Write one answer into a new conversation of a customer of its own."""
    now = shop.clock.now()
    with shop.database.write() as connection:
        conversation = insert(
            connection,
            "conversations",
            channel=channel,
            thread=thread,
            customer_id=add_customer(connection, thread, now, slack_user_id=f"U-{thread}"),
            state="bot",
            clarifications=0,
            created_at=now,
            updated_at=now,
        )
        return insert(
            connection,
            "utterances",
            conversation_id=conversation,
            occurred_at=now,
            recorded_at=now,
            source="aftercare",
            external_id=f"out-{thread}",
            direction="out",
            author="bot",
            text="Here.",
        )


def hanging(shop: Shop) -> tuple[threading.Event, Callable[[Message], None]]:
    end = threading.Event()

    def hang(_message: Message) -> None:
        end.wait(2 * PATIENCE)

    return end, hang


@contextmanager
def draining_beside(shop: Shop, slack: FakeChannel) -> Iterator[None]:
    """Drain while mail hangs, until the end of the block."""
    end, shop.channel.mood = hanging(shop)
    channels = {"email": shop.channel, "slack": slack}
    deliverer = Deliverer(shop.database, shop.clock, shop.settings, channels, shop.catalogue)
    thread = threading.Thread(target=deliverer.drain)
    thread.start()
    try:
        yield
    finally:
        deliverer.stop()
        end.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_mail_that_hangs_holds_up_no_check_in_on_slack_even_beyond_the_limit(database: Database) -> None:
    shop = Shop(database, delivery={"connections": 1, "batch_size": 3})
    shop.approve("c1")
    for number in range(8):
        shop.approve(f"s{number}", channel="slack")
    with database.write() as connection:
        connection.execute(sa.update(customers).values(slack_user_id="U" + sa.cast(customers.c.id, sa.Text)))
    slack = CountingChannel("slack", 8)
    with draining_beside(shop, slack):
        assert slack.all_taken.wait(PATIENCE)


def test_a_mail_that_hangs_holds_up_no_answer(database: Database) -> None:
    shop = Shop(database, delivery={"connections": 1})
    shop.approve("c1")
    say(shop, "slack", "D1")
    slack = CountingChannel("slack", 1)
    with draining_beside(shop, slack):
        assert slack.all_taken.wait(PATIENCE)


def test_answers_that_hang_on_one_channel_hold_up_no_other_channels_answers(database: Database) -> None:
    shop = Shop(database, delivery={"connections": 1})
    for number in range(3):
        say(shop, "email", f"<{number}@mail.example>")
    say(shop, "slack", "D1")
    slack = CountingChannel("slack", 1)
    with draining_beside(shop, slack):
        assert slack.all_taken.wait(PATIENCE)


def test_a_later_answer_is_not_sent_alone_before_an_earlier_one_was_begun(database: Database) -> None:
    shop = Shop(database)
    first, second = talk(shop, "Here.", "And there.")
    assert shop.deliverer.send_utterance(second) is False
    assert shop.deliverer.send_utterance(first) is True
    assert shop.deliverer.send_utterance(second) is True
    assert shop.sent_keys() == [f"utterance:{first}:1", f"utterance:{second}:1"]


def test_a_later_answer_is_not_sent_alone_while_an_earlier_one_waits(database: Database) -> None:
    shop = Shop(database)
    first, second = talk(shop, "Here.", "And there.")
    shop.channel.mood = fails(TransientChannelError("busy"))
    shop.deliverer.drain()
    shop.channel.mood = None
    assert shop.deliverer.send_utterance(second) is False
    shop.clock.advance(timedelta(minutes=2))
    shop.deliverer.drain()
    assert shop.sent_keys() == [f"utterance:{first}:2", f"utterance:{second}:1"]


@pytest.mark.peer
def test_two_workers_cannot_take_two_answers_of_one_conversation_at_once(postgres_url: str) -> None:
    database = open_database(postgres_url)
    shop = Shop(database)
    first, _ = talk(shop, "Here.", "And there.")
    with database.write() as one, database.write() as two:
        taken, left = (
            answers.pending_answers(connection, now=shop.clock.now(), channels=["email"], limit=1)
            for connection in (one, two)
        )
    database.close()
    assert ([answer.utterance_id for answer in taken], left) == ([first], [])


def test_a_stop_is_seen_while_row_after_row_is_held_back(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(database)
    monkeypatch.setattr(claiming, "REFUSALS", 1)  # in one transaction
    held = [shop.approve(f"c{number}") for number in range(4)]
    with database.write() as connection:
        connection.execute(sa.update(customers).values(email=None))
    verdicts = Departure.verdicts

    def stops(self: Departure, *given: Any) -> Any:
        shop.deliverer.stop()
        return verdicts(self, *given)

    monkeypatch.setattr(Departure, "verdicts", stops)
    assert shop.deliverer.drain().refused == 1
    assert [shop.see(one).state for one in held].count(S.SUPPRESSED) == 1
