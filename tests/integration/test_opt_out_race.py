"""Promise 16: opt-outs commit while workers claim and send; no attempt begins after one did."""

from __future__ import annotations

import threading

import sqlalchemy as sa

from bot.services.mail.opting_out import OptOutDesk
from bot.store.database import Database
from bot.store.tables import metadata
from bot.tokens import Purpose, Signer
from tests.integration.delivery_world import S, Shop

CUSTOMERS = 60
deliveries = metadata.tables["deliveries"]


def begun(database: Database, outreach_id: int) -> int:
    """Count the attempts whose row stands: a row stands before its send begins."""
    with database.read() as connection:
        query = sa.select(sa.func.count()).select_from(deliveries).where(deliveries.c.outreach_id == outreach_id)
        return int(connection.execute(query).scalar_one())


def test_nothing_begins_after_an_opt_out_committed(database: Database) -> None:
    shop = Shop(database, delivery={"connections": 2})
    ids = [shop.approve(f"c{number}") for number in range(CUSTOMERS)]
    people = {one: shop.see(one).customer_id for one in ids}
    signer = Signer("s" * 40)
    desk = OptOutDesk(database, shop.clock, signer)
    workers = [shop.new_deliverer(f"worker-{number}") for number in range(2)]
    start = threading.Barrier(len(workers) + 1)
    at_commit: dict[int, int] = {}
    # Neither side may be done before the other has begun: then there would be no race.
    first_sent, some_opted_out = threading.Event(), threading.Event()

    def sent(_message: object) -> None:
        first_sent.set()
        if len(shop.channel.taken) >= 10:
            assert some_opted_out.wait(60)

    shop.channel.doubt = sent

    def drain(number: int) -> None:
        start.wait(60)
        workers[number].drain(CUSTOMERS)

    def opt_out() -> None:
        start.wait(60)
        assert first_sent.wait(60)
        for one in reversed(ids):
            desk.confirm(signer.sign(Purpose.OPT_OUT, f"email.{people[one]}"), "email_link")
            at_commit[one] = begun(database, one)
            if len(at_commit) == 10:
                some_opted_out.set()

    threads = [threading.Thread(target=drain, args=(number,)) for number in range(2)]
    threads.append(threading.Thread(target=opt_out))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(170)
        assert not thread.is_alive()
    for worker in workers:
        worker.drain(CUSTOMERS)
    assert len(at_commit) == CUSTOMERS
    for one in ids:
        assert begun(database, one) == at_commit[one], one
        assert shop.see(one).state in (S.SENT, S.SUPPRESSED)
        assert shop.sent_keys().count(f"outreach:{one}:1") == at_commit[one]
    assert 0 < sum(at_commit.values()) < CUSTOMERS
