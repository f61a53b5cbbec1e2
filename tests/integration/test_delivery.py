"""The delivery engine on both databases: what was approved leaves once, or shows why not."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.channels.base import ChannelShutError, DeadAddressError, Message
from bot.clock import ManualClock
from bot.errors import PermanentChannelError, TransientChannelError
from bot.services.delivery.deliverer import Deliverer
from bot.services.review.desk import ReviewDesk
from bot.store import claiming
from bot.store.consent import is_suppressed
from bot.store.database import Database
from bot.store.tables import touchpoints
from tests.integration.delivery_world import NOON, S, Shop, fails


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


def test_an_approved_outreach_is_sent_once_with_evidence_and_a_touchpoint(shop: Shop) -> None:
    one = shop.approve()
    assert shop.deliverer.drain().sent == 1
    assert shop.deliverer.drain().sent == 0
    found = shop.see(one)
    assert (found.state, found.sent_at, found.sending_by) == (S.SENT, NOON, None)
    assert found.evidence["reference"] == f"fake-outreach:{one}:1"
    assert shop.sent_keys() == [f"outreach:{one}:1"]
    message = shop.channel.taken[0]
    assert (message.address, message.text) == ("c1@mail.example", "Hello Maria, your parcel is late.")
    assert message.html is not None
    assert "your parcel is late" in message.html
    with shop.database.read() as connection:
        row = connection.execute(sa.select(touchpoints).where(touchpoints.c.kind == "outreach_sent")).one()
    assert (row.occurred_at, row.channel) == (NOON, "email")


def test_nothing_leaves_before_its_time_and_what_is_late_expires(shop: Shop) -> None:
    one = shop.approve(not_before=NOON + timedelta(hours=2), expires_at=NOON + timedelta(hours=4))
    assert shop.deliverer.drain().sent == 0
    shop.clock.advance(timedelta(hours=5))
    assert shop.deliverer.drain().expired == 1
    assert (shop.see(one).state, shop.see(one).refusal) == (S.EXPIRED, "time_to_live")
    assert shop.sent_keys() == []


def test_all_that_is_late_expires_in_one_draining_and_what_is_late_afterwards_in_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "REFUSALS", 2)  # so many expire in one transaction at most
    hours = [1, 1, 1, 1, 1, 3]
    for number, late in enumerate(hours):
        shop.approve(f"c{number}", not_before=NOON + timedelta(minutes=5), expires_at=NOON + timedelta(hours=late))
    shop.channel.mood = fails(TransientChannelError("not now"))
    shop.clock.set(NOON + timedelta(hours=2))
    assert (report := shop.deliverer.drain()).expired == 5
    assert report.retry == 1
    shop.clock.set(NOON + timedelta(hours=4))
    assert shop.deliverer.drain().expired == 1


def test_the_row_of_an_attempt_stands_before_the_send(shop: Shop) -> None:
    one = shop.approve()
    seen: list[tuple[str, list[str]]] = []
    shop.channel.mood = lambda _message: seen.append((shop.see(one).state, shop.attempts(one)))
    shop.deliverer.drain()
    assert seen == [(S.SENDING, ["started"])]
    assert shop.attempts(one) == ["sent"]


def test_a_refusal_for_now_is_tried_again_later_and_later(shop: Shop) -> None:
    one = shop.approve()
    shop.channel.mood = fails(TransientChannelError("busy"))
    waits: list[timedelta] = []
    for _ in range(3):
        assert shop.deliverer.drain().retry == 1
        due = shop.see(one).next_attempt_at
        assert due is not None
        waits.append(due - shop.clock.now())
        assert shop.deliverer.drain().retry == 0
        shop.clock.set(due)
    assert timedelta(seconds=45) <= waits[0] <= timedelta(seconds=75)
    assert waits[0] < waits[1] < waits[2]
    shop.channel.mood = None
    assert shop.deliverer.drain().sent == 1
    assert shop.attempts(one) == ["retry", "retry", "retry", "sent"]
    assert shop.see(one).refusal is None


def test_a_channel_that_asks_to_wait_is_obeyed(shop: Shop) -> None:
    one = shop.approve()
    shop.channel.mood = fails(TransientChannelError("slow down", retry_after=7200))
    shop.deliverer.drain()
    assert shop.see(one).next_attempt_at == NOON + timedelta(hours=2)


def test_a_channel_that_refuses_us_altogether_is_left_alone_and_nothing_is_given_up_for_it(database: Database) -> None:
    shop = Shop(database, delivery={"max_attempts": 2, "connections": 1})
    real = ManualClock(NOON)
    shop.deliverer = Deliverer(
        database, shop.clock, shop.settings, {"email": shop.channel}, shop.catalogue, real_clock=real
    )
    ids = [shop.approve(f"c{number}") for number in range(3)]
    shop.channel.mood = fails(ChannelShutError("the token was revoked"))
    for _ in range(4):  # twice as often as a refusal for now is tried
        shop.deliverer.drain()
        tried = sum(len(shop.attempts(one)) for one in ids)
        shop.deliverer.drain()
        assert sum(len(shop.attempts(one)) for one in ids) == tried, "it was asked again at once"
        for clock in (shop.clock, real):
            clock.advance(timedelta(minutes=16))
    assert {shop.see(one).state for one in ids} == {S.APPROVED}
    shop.channel.mood = None
    shop.deliverer.drain()
    assert {shop.see(one).state for one in ids} == {S.SENT}


def test_exhausted_retries_end_in_a_dead_letter_that_can_be_replayed(database: Database) -> None:
    shop = Shop(database, delivery={"max_attempts": 2})
    one = shop.approve()
    shop.channel.mood = fails(TransientChannelError("busy"))
    shop.deliverer.drain()
    shop.clock.advance(timedelta(minutes=2))
    assert shop.deliverer.drain().failed == 1
    dead = shop.see(one)
    assert dead.state == S.FAILED
    assert "given up after 2 attempts" in str(dead.refusal)
    shop.channel.mood = None
    assert shop.deliverer.drain().sent == 0
    ReviewDesk(shop.database, shop.clock, shop.settings).retry(one, dead.version, "cli:ana")
    assert shop.deliverer.drain().sent == 1
    assert shop.sent_keys() == [f"outreach:{one}:3"]


def test_a_dead_address_fails_and_is_suppressed_while_others_go_out(shop: Shop) -> None:
    ids = [shop.approve(f"c{number}") for number in range(3)]

    def refuse_second(message: Message) -> None:
        if message.address == "c1@mail.example":
            raise DeadAddressError("550 5.1.1")

    shop.channel.mood = refuse_second
    report = shop.deliverer.drain()
    assert (report.sent, report.failed) == (2, 1)
    assert [shop.see(one).state for one in ids] == [S.SENT, S.FAILED, S.SENT]
    with shop.database.read() as connection:
        addresses = [f"c{number}@mail.example" for number in range(3)]
        assert is_suppressed(connection, "email", addresses) == {"c1@mail.example"}


def test_a_refused_content_fails_without_blaming_the_address(shop: Shop) -> None:
    one = shop.approve()
    shop.channel.mood = fails(PermanentChannelError("554 spam"))
    assert shop.deliverer.drain().failed == 1
    assert shop.see(one).refusal == "554 spam"
    with shop.database.read() as connection:
        assert not is_suppressed(connection, "email", ["c1@mail.example"])


def test_two_deliverers_at_once_send_each_outreach_once(shop: Shop) -> None:
    ids = [shop.approve(f"c{number}") for number in range(12)]
    deliverers = [shop.new_deliverer(owner=f"other:{number}:1") for number in range(3)]
    threads = [threading.Thread(target=deliverer.drain) for deliverer in deliverers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for deliverer in deliverers:  # a row that was locked for a moment is skipped, not lost
        deliverer.drain()
    assert sorted(shop.sent_keys()) == sorted(f"outreach:{one}:1" for one in ids)
    assert {shop.see(one).state for one in ids} == {S.SENT}


def test_after_stop_nothing_new_begins(shop: Shop) -> None:
    ids = [shop.approve(f"c{number}") for number in range(2)]
    shop.channel.mood = lambda _message: shop.deliverer.stop()
    assert shop.deliverer.drain().sent == 1
    assert sorted(shop.see(one).state for one in ids) == [S.APPROVED, S.SENT]
