"""Whatever a channel answers and whatever becomes of the record: nothing leaves twice, and nobody else is stopped."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.channels.base import Evidence, Message
from bot.errors import TransientChannelError
from bot.services.delivery import answering
from bot.services.delivery import deliverer as delivery
from bot.services.delivery.handover import LONGEST_PAUSE_SECONDS, hand_over
from bot.services.privacy import Privacy
from bot.settings import Delivery
from bot.store import answers
from bot.store.database import Database
from bot.store.enums import DeliveryState
from bot.store.tables import metadata
from tests.fake_channel import FakeChannel
from tests.integration.delivery_world import NOON, S, Shop, fails, talk

attempts = metadata.tables["deliveries"]
NO_WAIT = [float("inf"), float("nan"), float("-inf"), -1.0]


def try_again(shop: Shop) -> None:
    """Give the engine every chance to send something a second time."""
    shop.channel.mood = None
    for _ in range(3):
        shop.clock.advance(timedelta(hours=5))
        shop.deliverer.recover()
        shop.deliverer.drain()


def each_left_once(shop: Shop) -> bool:
    subjects = Counter(key.rpartition(":")[0] for key in shop.sent_keys())
    return set(subjects.values()) == {1}


def answer_state(shop: Shop, utterance_id: int) -> list[str]:
    with shop.database.read() as connection:
        query = sa.select(attempts.c.state).where(attempts.c.utterance_id == utterance_id).order_by(attempts.c.id)
        return list(connection.execute(query).scalars())


def breaks_after(key: str) -> Callable[..., Any]:
    """Return a `hand_over` that sends, and then breaks for one key by a bug of ours."""

    def sends_and_breaks(*given: Any, **named: Any) -> Any:
        outcome = hand_over(*given, **named)
        if named["key"] == key:
            raise OverflowError("a bug")
        return outcome

    return sends_and_breaks


@pytest.mark.parametrize("asked", [*NO_WAIT, 1e300])
def test_a_wait_that_no_provider_can_mean_is_a_day_at_most(asked: float) -> None:
    channel = FakeChannel()
    channel.mood = fails(TransientChannelError("429", retry_after=asked))
    message = Message(key="outreach:1:1", address="ana@example.org", subject="s", text="x")
    outcome = hand_over(channel, lambda: message, key=message.key, attempt=1, now=NOON, rules=Delivery())
    assert outcome.state == DeliveryState.RETRY
    assert outcome.pause == (timedelta(seconds=LONGEST_PAUSE_SECONDS) if asked == 1e300 else None)
    assert outcome.retry_at is not None
    assert NOON < outcome.retry_at <= NOON + timedelta(seconds=LONGEST_PAUSE_SECONDS)


@pytest.mark.parametrize("asked", NO_WAIT[:2])
def test_after_a_wait_that_is_no_number_everything_leaves_once(database: Database, asked: float) -> None:
    shop = Shop(database, delivery={"connections": 3})
    checked = [shop.approve(f"c{number}") for number in range(3)]
    (said,) = talk(shop, "Here.")
    busy = {f"outreach:{checked[0]}:1", f"utterance:{said}:1"}

    def mood(message: Message) -> None:
        if message.key in busy:
            raise TransientChannelError("429", retry_after=asked)

    shop.channel.mood = mood
    report = shop.deliverer.drain()
    assert (report.sent, report.retry, report.answers) == (2, 1, 0)
    try_again(shop)
    assert {shop.see(one).state for one in checked} == {S.SENT}
    assert answer_state(shop, said) == ["retry", "sent"]
    assert each_left_once(shop)


def test_an_attempt_that_breaks_after_the_send_is_in_doubt_and_stops_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(database, delivery={"connections": 3})
    broken, *others = [shop.approve(f"c{number}") for number in range(3)]
    monkeypatch.setattr(delivery, "hand_over", breaks_after(f"outreach:{broken}:1"))
    report = shop.deliverer.drain()
    assert (report.sent, report.uncertain) == (2, 1)
    try_again(shop)
    assert shop.see(broken).state == S.UNCERTAIN
    assert {shop.see(one).state for one in others} == {S.SENT}
    assert each_left_once(shop)


def test_an_answer_that_breaks_after_the_send_is_in_doubt_and_stops_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(database)
    broken, other = talk(shop, "Here.", "And there.")
    monkeypatch.setattr(answering, "hand_over", breaks_after(f"utterance:{broken}:1"))
    assert shop.deliverer.drain().answers == 1
    try_again(shop)
    assert (answer_state(shop, broken), answer_state(shop, other)) == (["uncertain"], ["sent"])
    assert each_left_once(shop)


def test_evidence_that_cannot_be_kept_leaves_doubt_and_no_second_message(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(database)
    one = shop.approve()
    (said,) = talk(shop, "Here.")
    odd = Evidence(reference="r", detail=None)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(shop.channel, "_evidence", lambda _message: odd)
        assert shop.deliverer.drain().uncertain == 1
    try_again(shop)
    assert (shop.see(one).state, answer_state(shop, said)) == (S.UNCERTAIN, ["uncertain"])
    assert each_left_once(shop)


def test_a_server_whose_words_the_database_refuses_stops_no_other_record(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(database, delivery={"connections": 3})
    odd, *others = [shop.approve(f"c{number}") for number in range(3)]

    def words(message: Message) -> Evidence:
        mark = "\x00" if message.key == f"outreach:{odd}:1" else ""
        return Evidence(reference="r", thread="t", detail={"reply": f"250 ok{mark}"})

    monkeypatch.setattr(shop.channel, "_evidence", words)
    for _ in range(delivery.RECORD_TRIES + 1):
        with contextlib.suppress(sa.exc.DBAPIError):  # PostgreSQL's JSON does not take a NUL
            shop.deliverer.drain()
    try_again(shop)
    assert {shop.see(one).state for one in others} == {S.SENT}
    assert shop.see(odd).state == (S.SENT if database.embedded else S.UNCERTAIN)
    assert each_left_once(shop)


def test_a_customer_who_is_erased_while_an_answer_is_refused_stops_nobody(database: Database) -> None:
    shop = Shop(database)
    talk(shop, "Here.")

    def erases(_message: Message) -> None:
        Privacy(database, shop.clock).erase("talker", "cli:ana")
        raise TransientChannelError("429", retry_after=0.0)

    shop.channel.mood = erases
    assert shop.deliverer.drain().answers == 0
    shop.channel.mood = None
    (later,) = talk(shop, "To another.")
    assert shop.deliverer.drain().answers == 1
    try_again(shop)
    assert shop.sent_keys() == [f"utterance:{later}:1"]


def test_an_answer_whose_record_is_refused_is_kept_in_hand_and_stops_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(database)
    (kept,) = talk(shop, "Here.")
    settle = answers.settle_answer

    def refuses(connection: Any, key: str, *given: Any, **named: Any) -> bool:
        if key == f"utterance:{kept}:1":
            raise RuntimeError("the database does not take it")
        return settle(connection, key, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(answers, "settle_answer", refuses)
        assert shop.deliverer.drain().answers == 1
        one = shop.approve()
        try_again(shop)
        assert (answer_state(shop, kept), shop.see(one).state) == (["started"], S.SENT)
    shop.deliverer.drain()
    assert answer_state(shop, kept) == ["sent"]
    assert each_left_once(shop)
