"""What a broken connection, process or database leaves behind is shown, settled by asking, and never sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from bot.channels.base import Message
from bot.errors import UncertainChannelError
from bot.services.delivery import SETTLES_AFTER
from bot.store.database import Connection, Database
from tests.integration.delivery_world import S, Shop, fails


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


@pytest.mark.parametrize("error", [UncertainChannelError("cut"), RuntimeError("a bug in the channel")])
def test_doubt_is_shown_and_never_sent_again_silently(shop: Shop, error: Exception) -> None:
    one = shop.approve()
    shop.channel.doubt = fails(error)
    assert shop.deliverer.drain().uncertain == 1
    assert (shop.see(one).state, shop.attempts(one)) == (S.UNCERTAIN, ["uncertain"])
    shop.clock.advance(timedelta(days=1))
    assert shop.deliverer.drain().sent == 0
    assert len(shop.sent_keys()) == 1


def test_reconciling_finds_what_arrived(shop: Shop) -> None:
    one = shop.approve()
    shop.channel.doubt = fails(UncertainChannelError("cut"))
    shop.deliverer.drain()
    assert shop.deliverer.reconcile() == 0  # it may still be under way
    shop.clock.advance(SETTLES_AFTER)
    assert shop.deliverer.reconcile() == 1
    assert (shop.see(one).state, shop.attempts(one)) == (S.SENT, ["sent"])
    assert shop.deliverer.drain().sent == 0


def test_reconciling_sends_again_only_what_certainly_did_not_arrive(shop: Shop) -> None:
    one = shop.approve()
    shop.channel.mood = fails(UncertainChannelError("cut"))
    shop.deliverer.drain()
    shop.channel.mood = None
    shop.clock.advance(SETTLES_AFTER)
    assert shop.deliverer.reconcile() == 1
    assert shop.see(one).state == S.APPROVED
    shop.deliverer.drain()
    assert shop.sent_keys() == [f"outreach:{one}:2"]


def test_a_process_that_dies_while_sending_leaves_doubt_not_a_second_mail(shop: Shop) -> None:
    one = shop.approve()

    class Killed(BaseException):
        pass

    # A pid that cannot run: Linux gives out none above 2^22.
    dead = shop.new_deliverer(owner=f"{__import__('socket').gethostname()}:{2**22 + 1}:1")
    shop.channel.doubt = fails(Killed())  # type: ignore[arg-type]
    with pytest.raises(Killed):
        dead.drain()
    shop.channel.doubt = None
    assert shop.see(one).state == S.SENDING
    assert shop.deliverer.recover() == 1
    assert shop.see(one).state == S.UNCERTAIN
    assert shop.deliverer.drain().sent == 0
    assert len(shop.sent_keys()) == 1


def test_a_live_process_is_left_alone_until_it_is_overdue(shop: Shop) -> None:
    one = shop.approve()
    recovered: list[int] = []
    other = shop.new_deliverer()

    def meanwhile(_message: Message) -> None:
        recovered.append(other.recover())
        shop.clock.advance(timedelta(seconds=301))
        recovered.append(other.recover())

    shop.channel.mood = meanwhile
    shop.deliverer.drain()
    assert recovered == [0, 1]
    # It was slow, not dead: its evidence settles the doubt.
    assert (shop.see(one).state, shop.attempts(one)) == (S.SENT, ["sent"])


def test_evidence_survives_a_database_that_is_away_for_a_moment(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    one = shop.approve()
    write = Database.write

    @contextmanager
    def away(_database: Database) -> Iterator[Connection]:
        raise ConnectionError("the database is away")
        yield

    def cut(_message: Message) -> None:
        monkeypatch.setattr(Database, "write", away)

    shop.channel.mood = cut
    with pytest.raises(ConnectionError):
        shop.deliverer.drain()
    monkeypatch.setattr(Database, "write", write)
    shop.channel.mood = None
    assert shop.deliverer.recover() == 0
    assert shop.deliverer.drain().sent == 1
    assert shop.see(one).state == S.SENT
    assert len(shop.sent_keys()) == 1


def test_every_database_call_may_fail_and_nothing_is_lost_or_doubled(shop: Shop) -> None:
    """Fail the N-th writing transaction, for every N until none fails, and drain on."""
    calls = 0
    fail_at = 0
    write = Database.write

    @contextmanager
    def counted(database: Database) -> Iterator[Connection]:
        nonlocal calls
        calls += 1
        with write(database) as connection:
            yield connection
            if calls == fail_at:
                raise ConnectionError("the connection broke before the commit")

    for fail_at in range(1, 20):
        calls = 0
        one = shop.approve(f"sweep{fail_at}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "write", counted)
            for _ in range(3):
                try:
                    shop.deliverer.recover()
                    shop.deliverer.drain()
                except ConnectionError:
                    continue
        assert shop.see(one).state == S.SENT
        assert shop.sent_keys().count(f"outreach:{one}:1") == 1
        assert shop.attempts(one) == ["sent"]
        if calls < fail_at:
            break
    else:
        pytest.fail("the sweep never reached a round without a failure")
