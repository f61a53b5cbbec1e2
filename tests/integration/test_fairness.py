"""Promise 15: a playbook with a huge audience delays the others by no more than a stated bound, by several workers too."""

from __future__ import annotations

import threading

import sqlalchemy as sa

from bot.store.bulk import insert_rows
from bot.store.claiming import WINDOW
from bot.store.database import Database
from bot.store.tables import metadata
from tests.integration.delivery_world import Shop

HUGE, SMALL = 2000, 20
WORKERS, CONNECTIONS = 3, 4


def fill(shop: Shop, huge_size: int = HUGE) -> tuple[set[int], list[int]]:
    """Approve many check-ins of one playbook and few of another; return the ids of both."""
    model = shop.see(shop.approve("model", playbook="huge"))
    customers, outreaches = metadata.tables["customers"], metadata.tables["outreaches"]
    with shop.database.write() as connection:
        person = dict(
            connection.execute(sa.select(customers).where(customers.c.id == model.customer_id)).one()._mapping
        )
        one = dict(connection.execute(sa.select(outreaches).where(outreaches.c.id == model.id)).one()._mapping)
        del person["id"], one["id"]
        keys = [f"c{number}" for number in range(huge_size + SMALL)]
        insert_rows(
            connection, customers, [{**person, "external_id": key, "email": f"{key}@mail.example"} for key in keys]
        )
        query = sa.select(customers.c.id).where(customers.c.external_id.in_(keys)).order_by(customers.c.id)
        people = list(connection.execute(query).scalars())
        rows = [
            {
                **one,
                "customer_id": number,
                "order_id": None,
                "dedupe_key": f"bulk:{number}",
                # The huge one is the more urgent and the older one, which must not help it.
                "playbook": "huge" if place < huge_size else "small",
                "urgent": place < huge_size,
            }
            for place, number in enumerate(people)
        ]
        insert_rows(connection, outreaches, rows)
        found = list(connection.execute(sa.select(outreaches.c.id, outreaches.c.playbook).order_by(outreaches.c.id)))
    huge = {row.id for row in found if row.playbook == "huge"}
    return huge, [row.id for row in found if row.playbook == "small"]


def test_a_hundred_times_as_many_delay_another_playbook_by_the_stated_bound(database: Database) -> None:
    shop = Shop(database, delivery={"connections": CONNECTIONS})
    huge, small = fill(shop)
    workers = [shop.new_deliverer(f"worker-{number}") for number in range(WORKERS)]
    threads = [threading.Thread(target=worker.drain, args=(HUGE,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(170)
        assert not thread.is_alive()
    order = [int(key.split(":")[1]) for key in shop.sent_keys()]
    assert len(order) == len(set(order)) == HUGE + SMALL + 1
    assert set(order) == huge | set(small)
    # The bound of bot.store.claiming: with two playbooks, the r-th of the small one leaves after at most 2·r others and
    # one window. Here each worker had looked once already, and may have one for each connection in its hands.
    for turn, place in enumerate(sorted(order.index(one) for one in small), start=1):
        assert place <= 2 * turn + WINDOW + WORKERS * CONNECTIONS, (turn, place)


def test_what_comes_while_a_huge_audience_is_being_sent_waits_for_one_window_at_most(database: Database) -> None:
    shop = Shop(database)
    huge, small = fill(shop, 3 * WINDOW)
    with database.write() as connection:  # those of the small playbook are not due before the others are under way
        rows = metadata.tables["outreaches"]
        connection.execute(sa.update(rows).where(rows.c.id.in_(small)).values(state="suggested"))
    came: list[int] = []

    def come(_message: object) -> None:
        if len(shop.channel.taken) == 100:
            with database.write() as connection:
                connection.execute(sa.update(rows).where(rows.c.id.in_(small)).values(state="approved"))
            came.append(len(shop.channel.taken))

    shop.channel.doubt = come
    shop.deliverer.drain(limit=HUGE)
    order = [int(key.split(":")[1]) for key in shop.sent_keys()]
    assert set(order) == huge | set(small)
    for turn, place in enumerate(sorted(order.index(one) for one in small), start=1):
        assert place - came[0] <= 2 * turn + WINDOW, (turn, place)
