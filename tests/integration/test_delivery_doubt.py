"""What a broken connection, process or database leaves behind is shown, settled by asking, and never sent twice."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.channels.base import Message
from bot.errors import AlreadyDecided, UncertainChannelError
from bot.services.delivery.deliverer import SETTLES_AFTER
from bot.services.delivery.ownership import this_process
from bot.services.review.desk import ReviewDesk
from bot.store.database import Connection, Database
from bot.store.tables import metadata
from tests.integration.delivery_world import S, Shop, fails, talk

touchpoints = metadata.tables["touchpoints"]


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
    # A pid that cannot run: Linux gives out none above 2^22.
    host, _, _ = this_process().split(":")
    dead = shop.new_deliverer(owner=f"{host}:{2**22 + 1}:1")

    class Gone:
        def write(self) -> None:
            raise ConnectionAbortedError("this process is no more")

    # From the moment at which the mail is out, nothing of this deliverer reaches the database any more.
    shop.channel.doubt = lambda _message: setattr(dead, "_database", Gone())
    with pytest.raises(ConnectionAbortedError):
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


def test_what_is_under_way_when_the_database_goes_is_waited_for_and_written_down_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(database, delivery={"connections": 2})
    both = [shop.approve(f"c{number}") for number in range(2)]
    write = Database.write
    refused, taken = threading.Event(), itertools.count()

    @contextmanager
    def away(_database: Database) -> Iterator[Connection]:
        refused.set()
        raise ConnectionError("the database is away")
        yield

    def cut(_message: Message) -> None:
        if next(taken) == 0:
            monkeypatch.setattr(Database, "write", away)
        else:
            assert refused.wait(60)

    shop.channel.mood = cut
    with pytest.raises(ConnectionError):
        shop.deliverer.drain()
    monkeypatch.setattr(Database, "write", write)
    assert shop.deliverer.recover() == 0
    assert shop.deliverer.drain().sent == 2
    assert [shop.attempts(one) for one in both] == [["sent"], ["sent"]]
    assert len(shop.sent_keys()) == 2


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


def test_a_human_says_what_became_of_an_uncertain_one(shop: Shop) -> None:
    shop.channel.doubt = fails(UncertainChannelError())
    arrived, lost = shop.approve("c1"), shop.approve("c2")
    shop.deliverer.drain()
    desk = ReviewDesk(shop.database, shop.clock, shop.settings)
    for one, says in ((arrived, True), (lost, False)):
        assert shop.see(one).state == S.UNCERTAIN
        desk.settle(one, shop.see(one).version, "cli:ana", arrived=says)
    assert (shop.see(arrived).state, shop.attempts(arrived)) == (S.SENT, ["sent"])
    assert (shop.see(lost).state, shop.attempts(lost)) == (S.FAILED, ["failed"])
    with shop.database.read() as connection:
        journey = connection.execute(sa.select(touchpoints.c.customer_id, touchpoints.c.kind)).all()
    assert [tuple(row) for row in journey] == [(shop.see(arrived).customer_id, "outreach_sent")]
    with pytest.raises(AlreadyDecided):
        desk.settle(lost, shop.see(lost).version, "cli:ana", arrived=True)


@contextmanager
def lost_commits(database: Database) -> Iterator[None]:
    """Let each writing transaction commit and then fail, as where the answer to the commit is lost on the way."""
    honest = database.write

    @contextmanager
    def write() -> Iterator[Connection]:
        with honest() as connection:
            yield connection
        raise ConnectionResetError("the answer to the commit was lost")

    database.write = write  # type: ignore[method-assign]
    try:
        yield
    finally:
        database.write = honest  # type: ignore[method-assign]


def test_what_was_claimed_by_a_commit_whose_answer_was_lost_is_sent_once(shop: Shop) -> None:
    one = shop.approve("c1")
    (said,) = talk(shop, "Here.")
    with lost_commits(shop.database):
        with pytest.raises(ConnectionResetError):
            shop.deliverer.drain()
        with pytest.raises(ConnectionResetError):
            shop.deliverer.send_utterance(said)
    assert (shop.see(one).state, shop.sent_keys()) == (S.SENDING, [])
    assert shop.deliverer.recover() == 0
    shop.deliverer.drain()
    assert shop.see(one).state == S.SENT
    assert sorted(shop.sent_keys()) == [f"outreach:{one}:2", f"utterance:{said}:2"]
