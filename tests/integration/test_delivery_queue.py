"""The queue: fair between playbooks, bounded in rate over all workers, and no channel waits for another."""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st

from bot.channels.base import Message
from bot.clock import ManualClock
from bot.config import Settings
from bot.errors import TransientChannelError
from bot.services.delivery.deliverer import Deliverer
from bot.store import buckets
from bot.store.claiming import claim
from bot.store.consent import record_consent
from bot.store.database import Database, open_database
from bot.store.migrations import upgrade
from bot.store.tables import outreaches
from tests.fake_channel import FakeChannel
from tests.integration.delivery_world import NOON, S, Shop, fails, talk


def test_a_playbook_with_a_huge_audience_delays_another_by_one_turn_only(database: Database) -> None:
    shop = Shop(database)
    many = [shop.approve(f"a{number}", playbook="huge", urgent=True) for number in range(60)]
    few = [shop.approve(f"b{number}", playbook="small") for number in range(3)]
    shop.deliverer.drain(limit=200)
    order = [int(key.split(":")[1]) for key in shop.sent_keys()]
    assert set(order) == {*many, *few}
    # With two playbooks the r-th of the small one leaves after at most 2·r others.
    assert [order.index(one) < 2 * turn for turn, one in enumerate(few, start=1)] == [True] * 3


def test_one_customer_is_judged_again_after_each_check_in(database: Database) -> None:
    shop = Shop(database, delivery={"connections": 8})
    first, second = shop.approve("c1"), shop.approve("c2")
    with database.write() as connection:
        connection.execute(sa.update(outreaches).values(customer_id=shop.see(first).customer_id))
    shop.deliverer.drain()
    assert sorted([shop.see(first).state, shop.see(second).state]) == [S.APPROVED, S.SENT]
    assert {shop.see(first).refusal, shop.see(second).refusal} == {None, "cap_day"}


def test_many_leave_at_once_and_each_once(database: Database) -> None:
    shop = Shop(database, delivery={"connections": 8})
    ids = [shop.approve(f"c{number}") for number in range(40)]
    others = [shop.new_deliverer(f"worker-{number}") for number in range(2)]
    threads = [threading.Thread(target=one.drain, args=(100,)) for one in (shop.deliverer, *others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(shop.sent_keys()) == sorted(f"outreach:{one}:1" for one in ids)
    assert {shop.see(one).state for one in ids} == {S.SENT}
    assert all(shop.attempts(one) == ["sent"] for one in ids)


def test_a_channel_that_hangs_does_not_hold_up_another(database: Database) -> None:
    shop = Shop(database)
    hanging, free = threading.Event(), FakeChannel("slack")
    stuck = shop.approve("c1")
    quick = [shop.approve(f"s{number}", channel="slack") for number in range(3)]
    with database.write() as connection:
        connection.execute(sa.text("UPDATE customers SET slack_user_id = 'U' || id"))

    def hang(_message: Message) -> None:
        assert hanging.wait(60)

    shop.channel.mood = hang
    done = threading.Event()
    free.doubt = lambda _message: done.set() if len(free.taken) == 3 else None
    deliverer = Deliverer(database, shop.clock, shop.settings, {"email": shop.channel, "slack": free}, shop.catalogue)
    draining = threading.Thread(target=deliverer.drain)
    draining.start()
    assert done.wait(60), "Slack waited for the mail server"
    assert shop.channel.taken == []
    hanging.set()
    draining.join(60)
    assert {shop.see(one).state for one in (stuck, *quick)} == {S.SENT}


def test_a_rate_is_kept_over_all_workers_and_answers_count(database: Database) -> None:
    shop = Shop(database, delivery={"connections": 4, "per_second": {"email": 2.0}})
    for number in range(9):
        shop.approve(f"c{number}")
    talk(shop, "Here.")
    real = ManualClock(NOON)
    workers = [
        Deliverer(
            database, shop.clock, shop.settings, {"email": shop.channel}, shop.catalogue, owner=owner, real_clock=real
        )
        for owner in ("one", "two")
    ]
    left = []
    for _ in range(10):
        for worker in workers:
            worker.drain()
        left.append(len(shop.channel.taken))
        real.advance(timedelta(seconds=0.5))
    # Two at once, then one every half second; the answer took its turn among them.
    assert left == [2, 3, 4, 5, 6, 7, 8, 9, 10, 10]


def test_a_channel_that_asks_for_a_pause_gets_it_for_all(database: Database) -> None:
    shop = Shop(database)
    real = ManualClock(NOON)
    deliverer = Deliverer(database, shop.clock, shop.settings, {"email": shop.channel}, shop.catalogue, real_clock=real)
    first, second = shop.approve("c1"), shop.approve("c2")
    shop.channel.mood = fails(TransientChannelError("slow down", retry_after=30.0))
    deliverer.drain(limit=1)
    shop.channel.mood = None
    assert (deliverer.drain().sent, shop.see(second).attempts) == (0, 0)
    real.advance(timedelta(seconds=31))
    shop.clock.advance(timedelta(hours=1))
    assert deliverer.drain().sent == 2
    assert {shop.see(first).state, shop.see(second).state} == {S.SENT}


def test_a_channel_that_is_off_waits_and_then_expires(database: Database) -> None:
    shop = Shop(database)
    one = shop.approve("c1", channel="slack")
    assert (shop.deliverer.drain().sent, shop.see(one).state) == (0, S.APPROVED)
    shop.clock.advance(timedelta(days=30))
    shop.deliverer.drain()
    assert shop.see(one).state == S.EXPIRED


def test_a_stale_window_claims_nothing_twice(database: Database) -> None:
    shop = Shop(database)
    one = shop.approve("c1")
    settings = {"now": NOON, "channel": "email", "gate": lambda _connection, pairs: [None] * len(pairs), "room": 5}
    with database.write() as connection:
        taken = claim(connection, owner="first", window=deque([one]), **settings)
    with database.write() as connection:
        again = claim(connection, owner="second", window=deque([one, one, 4711]), **settings)
    assert ([claimed.key for claimed in taken.claimed], again.claimed) == ([f"outreach:{one}:1"], ())


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Database:
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('buckets') / 'aftercare.db'}")
    upgrade(database)
    return database


@given(
    rate=st.floats(0.2, 50),
    steps=st.lists(st.tuples(st.floats(-0.5, 3), st.integers(0, 100)), min_size=1, max_size=40),
)
@example(rate=6.0, steps=[(0.0, 6), (0.5, 1), (-0.5, 2)])
@example(rate=4.0, steps=[(0.0, 0), (1.0, 0), (-0.5, 2), (0.5, 4)])
@example(rate=4.0, steps=[(0.0, 4), *[(-0.5, 4)] * 11])
def test_no_window_of_time_sees_more_than_its_share(
    memory: Database, rate: float, steps: list[tuple[float, int]]
) -> None:
    now, latest = NOON, NOON - timedelta(days=1)
    spent: list[tuple[datetime, int]] = []
    with memory.write() as connection:
        connection.execute(sa.text("DELETE FROM buckets"))
        for passed, wanted in steps:
            # Clocks that differ by more than a little are another matter.
            now = max(now + timedelta(seconds=passed), latest - buckets.CLOCKS_DIFFER)
            level = buckets.level(connection, "email", rate, now)
            assert level.messages is not None
            count = min(wanted, level.messages)
            buckets.spend(connection, level, count)
            if count:  # else nothing is written down, neither what left nor when
                # Time does not run backwards: whoever says less than another has a clock that is behind.
                latest = max(latest, now)
                spent.append((latest, count))
    for begin, _ in spent:
        for end, _ in spent:
            if end < begin:
                continue
            left = sum(count for at, count in spent if begin <= at <= end)
            assert left <= max(rate, 1.0) + rate * (end - begin).total_seconds() + 1


def test_settings_bound_each_channel() -> None:
    rates = Settings().delivery.per_second
    assert (rates.email, rates.slack) == (0.0, 5.0)


def test_nothing_waits_in_memory_until_after_an_opt_out(database: Database) -> None:
    shop = Shop(database, delivery={"connections": 2})
    warm_up = [shop.approve(f"w{number}") for number in range(30)]
    shop.deliverer.drain(100)  # a server that was quick until now
    assert {shop.see(one).state for one in warm_up} == {S.SENT}
    ids = [shop.approve(f"c{number}") for number in range(8)]
    begun, go_on = threading.Semaphore(0), threading.Event()

    def hang(_message: Message) -> None:
        begun.release()
        assert go_on.wait(60)

    shop.channel.mood = hang
    draining = threading.Thread(target=shop.deliverer.drain)
    draining.start()
    assert all(begun.acquire(timeout=60) for _ in range(2))
    with database.write() as connection:
        for one in ids:
            record_consent(connection, shop.see(one).customer_id, "email", "check_ins", False, "email", None, NOON)
    go_on.set()
    draining.join(60)
    assert not draining.is_alive()
    assert sorted(shop.see(one).state for one in ids) == [S.SENT] * 2 + [S.SUPPRESSED] * 6
