"""At the moment of sending, stop, hold, opt-outs, quiet hours and caps still have the last word."""

from __future__ import annotations

import threading
from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from bot.services.delivery.stopping import Stopping
from bot.store.backup import release
from bot.store.claiming import claim
from bot.store.consent import record_consent, suppress
from bot.store.controls import RESTORED, STOPPED, set_control
from bot.store.database import Database, open_database
from bot.store.tables import outreaches
from tests.integration.delivery_world import NOON, S, Shop, talk
from tests.integration.shop_rows import insert
from tests.peers.process import until


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


def test_the_global_stop_keeps_everything_back(shop: Shop) -> None:
    one = shop.approve()
    with shop.database.write() as connection:
        set_control(connection, STOPPED, True, "cli:ana", NOON)
    assert shop.deliverer.drain().sent == 0
    with shop.database.write() as connection:
        set_control(connection, STOPPED, None, "cli:ana", NOON)
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
    assert sorted(shop.sent_keys()) == sorted([f"outreach:{new}:1", f"outreach:{old}:1", f"utterance:{said}:1"])


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


@pytest.mark.peer
@pytest.mark.parametrize("what", ["stop", "suppress"])
def test_a_stop_or_a_suppression_waits_for_the_claim_under_way(postgres_url: str, what: str) -> None:
    database = open_database(postgres_url)
    shop = Shop(database)
    one = shop.approve("c1")

    def end() -> None:
        if what == "stop":
            Stopping(database, shop.clock).stop("cli:ana")
        else:
            with database.write() as connection:
                suppress(connection, "email", "c1@mail.example", "complaint", NOON)

    ending = threading.Thread(target=end)
    with database.write() as claiming:
        gate = shop.deliverer._departure.verdicts
        found = claim(
            claiming,
            now=NOON,
            owner="worker",
            channel="email",
            gate=lambda connection, pairs: gate(connection, pairs, NOON),
            room=1,
            window=deque(),
        )
        assert [claimed.outreach.id for claimed in found.claimed] == [one]
        ending.start()
        until(lambda: _waiting(database), "the other transaction waits for the claim")
    ending.join(60)
    assert not ending.is_alive()
    shop.approve("c2")
    with database.write() as connection:
        connection.execute(sa.text("UPDATE customers SET email = 'c1@mail.example'"))
    assert shop.deliverer.drain().sent == 0
    database.close()


def _waiting(database: Database) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with database.read() as connection:
        return bool(connection.execute(sa.text(query)).scalar_one())
