"""The delivery engine on both databases: what was approved leaves once, or shows why not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.channels.base import DeadAddressError, Message
from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.errors import PermanentChannelError, TransientChannelError, UncertainChannelError
from bot.services.delivery import SETTLES_AFTER, Deliverer
from bot.services.review import ReviewDesk
from bot.store.backup import release
from bot.store.consent import is_suppressed, record_consent, suppress
from bot.store.controls import RESTORED, STOPPED, set_control
from bot.store.database import Connection, Database
from bot.store.decisions import deliveries_of
from bot.store.outreach import Outreach, outreach
from bot.store.tables import outreaches, touchpoints, utterances
from messages.catalogue import Catalogue
from tests.fake_channel import FakeChannel
from tests.integration.shop_rows import add_customer, insert, propose

S = OutreachState
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
OPEN_HOURS = {"quiet_hours": {"start": "00:00", "end": "00:00"}}


class Shop:
    """A database with approved check-ins, and deliverers over one channel."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.database = database
        self.clock = ManualClock(NOON)
        self.settings = Settings.model_validate({"policy": OPEN_HOURS, "review": {"undo_seconds": 0}, **settings})
        self.channel = FakeChannel()
        self.catalogue = Catalogue.load()
        self.deliverer = self.new_deliverer()

    def new_deliverer(self, owner: str | None = None) -> Deliverer:
        channels = {"email": self.channel}
        return Deliverer(self.database, self.clock, self.settings, channels, self.catalogue, owner=owner)

    def approve(self, key: str = "c1", **columns: Any) -> int:
        one = propose(self.database, self.clock.now(), key, **columns)
        return ReviewDesk(self.database, self.clock, self.settings).approve(one.id, one.version, "cli:ana").id

    def see(self, outreach_id: int) -> Outreach:
        with self.database.read() as connection:
            return outreach(connection, outreach_id)

    def attempts(self, outreach_id: int) -> list[str]:
        with self.database.read() as connection:
            return [row["state"] for row in deliveries_of(connection, [outreach_id]).get(outreach_id, [])]

    def sent_keys(self) -> list[str]:
        return [message.key for message in self.channel.taken]


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


def fails(error: Exception) -> Any:
    def raise_it(_message: Message) -> None:
        raise error

    return raise_it


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


def test_the_global_stop_and_a_held_row_keep_everything_back(shop: Shop) -> None:
    one = shop.approve()
    with shop.database.write() as connection:
        set_control(connection, STOPPED, True, "cli:ana", NOON)
    assert shop.deliverer.drain().sent == 0
    with shop.database.write() as connection:
        set_control(connection, STOPPED, None, "cli:ana", NOON)
        connection.execute(sa.update(outreaches).values(held=True))
    assert shop.deliverer.drain().sent == 0
    with shop.database.write() as connection:
        connection.execute(sa.update(outreaches).values(held=False))
    assert shop.deliverer.drain().sent == 1
    assert shop.see(one).state == S.SENT


def test_a_restored_backup_sends_nothing_old_until_somebody_confirms(shop: Shop) -> None:
    old = shop.approve("c1")
    (said,) = talk(shop, "Here.")
    shop.clock.advance(timedelta(minutes=1))
    with shop.database.write() as connection:
        set_control(connection, RESTORED, {"at": shop.clock.now().isoformat(), "backup": "b.db"}, "cli:ana", NOON)
    assert (shop.deliverer.drain().sent, shop.deliverer.send_utterance(said)) == (0, False)
    shop.clock.advance(timedelta(minutes=1))
    new = shop.approve("c2")
    assert shop.deliverer.drain().sent == 1
    assert shop.sent_keys() == [f"outreach:{new}:1"]
    assert release(shop.database, "cli:ana", shop.clock.now())
    assert shop.deliverer.drain().sent == 1
    assert shop.sent_keys() == [f"outreach:{new}:1", f"outreach:{old}:1", f"utterance:{said}:1"]


def test_an_opt_out_that_is_being_written_is_waited_for(shop: Shop) -> None:
    one = shop.approve()
    draining = threading.Thread(target=shop.deliverer.drain)
    with shop.database.write() as connection:
        record_consent(connection, shop.see(one).customer_id, "email", "check_ins", False, "email", None, NOON)
        draining.start()
        if not shop.database.embedded:  # the locked row is skipped; SQLite waits for the writer instead
            draining.join(10)
            assert not draining.is_alive()
    draining.join(20)
    shop.deliverer.drain()
    assert shop.sent_keys() == []
    assert shop.see(one).state == S.SUPPRESSED


def test_an_opt_out_after_the_approval_is_respected(shop: Shop) -> None:
    one = shop.approve()
    with shop.database.write() as connection:
        record_consent(connection, shop.see(one).customer_id, "email", "check_ins", False, "email", None, NOON)
    assert shop.deliverer.drain().refused == 1
    assert (shop.see(one).state, shop.see(one).refusal) == (S.SUPPRESSED, "consent_refused")
    assert shop.sent_keys() == []


def test_a_suppressed_or_missing_address_is_not_written_to(shop: Shop) -> None:
    first, second = shop.approve("c1"), shop.approve("c2")
    with shop.database.write() as connection:
        suppress(connection, "email", "C1@mail.example", "complaint", NOON)
        connection.execute(
            sa.text("UPDATE customers SET email = NULL WHERE id = :id"), {"id": shop.see(second).customer_id}
        )
    assert shop.deliverer.drain().refused == 2
    assert [shop.see(one).refusal for one in (first, second)] == ["suppressed", "no_address"]


def test_quiet_hours_move_the_time_and_keep_the_yes(database: Database) -> None:
    shop = Shop(database, policy={})
    shop.clock.set(datetime(2026, 3, 10, 21, 0, tzinfo=UTC))  # 22:00 in Berlin
    one = shop.approve()
    assert shop.deliverer.drain().refused == 1
    found = shop.see(one)
    assert (found.state, found.refusal) == (S.APPROVED, "quiet_hours")
    assert found.not_before == datetime(2026, 3, 11, 8, 0, tzinfo=UTC)
    shop.clock.set(found.not_before)
    assert shop.deliverer.drain().sent == 1


def test_caps_count_what_is_under_way(shop: Shop) -> None:
    one = shop.approve("c1")
    with shop.database.write() as connection:
        row = connection.execute(sa.select(outreaches).where(outreaches.c.id == one)).one()._mapping
        twin = {**row, "dedupe_key": "twin", "step": "second"}
        del twin["id"]
        second = insert(connection, "outreaches", **twin)
    report = shop.deliverer.drain()
    assert (report.sent, report.refused) == (1, 1)
    assert (shop.see(second).state, shop.see(second).refusal) == (S.APPROVED, "cap_day")
    assert shop.see(second).not_before > NOON


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


# --- Answers in conversations ----------------------------------------------------------------------------


def talk(shop: Shop, *texts: str) -> list[int]:
    now = shop.clock.now()
    with shop.database.write() as connection:
        customer_id = add_customer(connection, "talker", now)
        conversation = insert(
            connection,
            "conversations",
            channel="email",
            thread="<first@mail.example>",
            customer_id=customer_id,
            state="bot",
            clarifications=0,
            created_at=now,
            updated_at=now,
        )
        common = {"conversation_id": conversation, "occurred_at": now, "recorded_at": now}
        inbound = {"source": "email", "external_id": "<in@mail.example>", "direction": "in", "author": "customer"}
        insert(connection, "utterances", **common, **inbound, text="Where is it?", author_id="talker@mail.example")
        return [
            insert(
                connection,
                "utterances",
                **common,
                source="aftercare",
                external_id=f"out-{number}",
                direction="out",
                author="bot",
                text=text,
            )
            for number, text in enumerate(texts)
        ]


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
