"""Whoever delivers, stops or ends contact takes locks in one order, the audit log last: nobody waits in a circle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.channels.base import DeadAddressError, Message
from bot.errors import PermanentChannelError, TransientChannelError, UncertainChannelError
from bot.services.delivery.deliverer import SETTLES_AFTER
from bot.services.delivery.stopping import Stopping
from bot.services.mail.opting_out import OptOutDesk
from bot.store.backup import release
from bot.store.controls import RESTORED, set_control
from bot.store.database import Connection, Database, open_database
from bot.store.tables import metadata
from bot.tokens import Purpose, Signer
from tests.integration.delivery_world import NOON, S, Shop, fails, talk

pytestmark = pytest.mark.peer  # SQLite has one writer at a time, and no locks to order
Act = Callable[[], object]
outreaches = metadata.tables["outreaches"]
# Every kind of end: each writes to other tables, and takes other locks.
ENDS: list[Exception | None] = [
    None,
    DeadAddressError("gone"),
    PermanentChannelError("refused"),
    TransientChannelError("busy", retry_after=0.0),
    UncertainChannelError("cut"),
]


def every_end(message: Message) -> None:
    error = ENDS[int(message.key.split(":")[1]) % len(ENDS)]
    if error is not None:
        raise error


@contextmanager
def written(database: Database) -> Iterator[list[list[str]]]:
    """Collect the statements of each transaction, in order."""
    found: list[list[str]] = []

    def begins(connection: Connection) -> None:
        connection.info["written"] = []
        found.append(connection.info["written"])

    def runs(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        connection.info["written"].append(statement)

    sa.event.listen(database.engine, "begin", begins)
    sa.event.listen(database.engine, "before_cursor_execute", runs)
    yield found
    sa.event.remove(database.engine, "begin", begins)
    sa.event.remove(database.engine, "before_cursor_execute", runs)


def after_the_log(statements: list[str]) -> list[str]:
    """Return what a transaction still did after its first look at the audit log, which locks it."""
    first = next((at for at, statement in enumerate(statements) if " audit" in statement), len(statements))
    own = (" audit", "INTO controls", "pg_advisory_xact_lock(%")
    return [statement for statement in statements[first:] if not any(word in statement for word in own)]


def _locks(statement: str) -> bool:
    return "pg_advisory_xact_lock_shared" in statement or ("FROM buckets" in statement and "FOR UPDATE" in statement)


def deliver(shop: Shop) -> Act:
    for number in range(2 * len(ENDS)):
        shop.approve(f"c{number}")
    shop.channel.mood = every_end
    return shop.deliverer.drain


def recover(shop: Shop) -> Act:
    shop.approve()
    with shop.database.write() as connection:
        doubt = {"state": S.SENDING.value, "attempts": 1, "sending_since": NOON, "sending_by": "elsewhere:1:1"}
        connection.execute(sa.update(outreaches).values(doubt))
    shop.clock.advance(timedelta(days=1))
    return shop.deliverer.recover


def reconcile(shop: Shop) -> Act:
    shop.approve()
    shop.channel.doubt = fails(UncertainChannelError("cut"))
    shop.deliverer.drain()
    shop.clock.advance(SETTLES_AFTER)
    return shop.deliverer.reconcile


def opt_out(shop: Shop) -> Act:
    signer = Signer("s" * 40)
    token = signer.sign(Purpose.OPT_OUT, f"email.{shop.see(shop.approve()).customer_id}")
    return lambda: OptOutDesk(shop.database, shop.clock, signer).confirm(token, "email_link")


def stop(shop: Shop) -> Act:
    return lambda: Stopping(shop.database, shop.clock).stop("cli:ana")


def confirm_a_restore(shop: Shop) -> Act:
    with shop.database.write() as connection:
        set_control(connection, RESTORED, {"at": NOON.isoformat()}, "cli:ana", NOON)
    return lambda: release(shop.database, "cli:ana", NOON)


@pytest.fixture
def shop(postgres_url: str) -> Iterator[Shop]:
    database = open_database(postgres_url)
    yield Shop(database, delivery={"connections": len(ENDS), "per_second": {"email": 1000.0}})
    database.close()


@pytest.mark.parametrize("prepare", [deliver, recover, reconcile, opt_out, stop, confirm_a_restore])
def test_nothing_is_locked_after_the_audit_log(shop: Shop, prepare: Callable[[Shop], Act]) -> None:
    act = prepare(shop)
    with written(shop.database) as transactions:
        act()
    assert any(" audit" in statement for statements in transactions for statement in statements)
    assert [late for statements in transactions if (late := after_the_log(statements))] == []


def test_the_bucket_is_locked_before_the_switches(shop: Shop) -> None:
    shop.approve()
    talk(shop, "Here.")
    with written(shop.database) as transactions:
        report = shop.deliverer.drain()
    assert (report.sent, report.answers) == (1, 1)
    orders = {
        tuple(dict.fromkeys("bucket" if "FROM buckets" in one else "switches" for one in statements if _locks(one)))
        for statements in transactions
        if any("INSERT INTO deliveries" in one for one in statements)
    }
    assert orders == {("bucket", "switches")}


def test_workers_opt_outs_and_stops_beside_each_other_never_wait_in_a_circle(shop: Shop) -> None:
    ids = [shop.approve(f"c{number}") for number in range(40)]
    people = [shop.see(one).customer_id for one in ids]
    shop.channel.mood = every_end
    signer = Signer("s" * 40)
    desk = OptOutDesk(shop.database, shop.clock, signer)
    workers = [shop.new_deliverer(f"worker-{number}") for number in range(2)]
    stopping = Stopping(shop.database, shop.clock)
    start = threading.Barrier(4)
    broken: list[Exception] = []

    def opt_outs() -> None:
        for person in reversed(people):
            desk.confirm(signer.sign(Purpose.OPT_OUT, f"email.{person}"), "email_link")

    def switch() -> None:
        for _ in range(5):
            stopping.stop("cli:ana")
            stopping.resume("cli:ana")

    def run(act: Callable[[], Any]) -> None:
        start.wait(60)
        try:
            for _ in range(3):
                act()
        except Exception as error:
            broken.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in (*(one.drain for one in workers), opt_outs, switch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert broken == []
