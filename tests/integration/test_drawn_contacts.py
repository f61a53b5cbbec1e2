"""Which orders were drawn to be contacted or held out, as the training of the risk reads it from the plans."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from bot.clock import ManualClock
from bot.services.prediction.experience import drawn_contacts
from bot.store.database import Database
from bot.store.draw_history import read_draws
from bot.store.history import read_snapshot
from bot.store.history_mark import next_recorded, orders_touched, written_mark
from bot.store.orders_history import contacts, read_these_orders
from bot.store.tables import metadata
from tests.integration.shop_rows import add_customer, add_order, insert
from tests.integration.test_planning import DAY, NOW, late_order, planner, settings_with


def order_keys(database: Database) -> dict[int, str]:
    orders = metadata.tables["orders"].c
    with database.read() as connection:
        return {
            int(row.id): str(row.external_id) for row in connection.execute(sa.select(orders.id, orders.external_id))
        }


def test_draws_are_read_with_the_probability_of_a_contact_from_when_they_decided(
    database: Database, clock: ManualClock
) -> None:
    for number in range(30):
        late_order(database, f"c{number}")
    late_order(database, "mute", email=None)  # nobody could contact them: not a matter of the draw
    settings = settings_with(experiments={"holdout_share": 0.3})
    lines = planner(database, clock, settings).plan()
    clock.advance(timedelta(days=1))
    again = planner(database, clock, settings)
    again.plan()  # the holdouts are refused once more: still one draw each

    found = drawn_contacts(database, NOW + timedelta(days=2))
    keys = order_keys(database)
    contacted = {keys[order]: contact for order, _, _, contact in found.iter_rows()}
    wanted = {line.order_id: int(line.decision == "suggest") for line in lines if line.customer_id != "mute"}
    assert contacted == wanted
    assert set(wanted.values()) == {0, 1}
    assert found.height == 30
    assert {round(p, 9) for p in found["propensity"]} == {0.7}
    assert set(found["at"]) == {NOW}
    assert drawn_contacts(database, NOW - timedelta(seconds=1)).is_empty()


def test_histories_see_the_same_draws_of_all_orders_and_of_some(database: Database, clock: ManualClock) -> None:
    for number in range(12):
        late_order(database, f"c{number}")
    settings = settings_with(experiments={"holdout_share": 0.4})
    with database.read() as connection:
        before = written_mark(connection)
    planner(database, clock, settings).plan()
    drawn = drawn_contacts(database, NOW).sort("order_id")
    ids = drawn["order_id"].to_list()
    with database.read() as connection:
        planned = written_mark(connection)
        snapshot = read_snapshot(connection, until=NOW, timezone="UTC")
        earlier = read_snapshot(connection, until=NOW - timedelta(seconds=1), timezone="UTC")
        some = contacts(connection, NOW, "UTC", ids[:3])
        one = read_these_orders(connection, ids[:1], until=NOW, timezone="UTC", reached=some)
        # What was kept of these orders holds no more; of no other is anything new.
        assert orders_touched(connection, before, planned, 100) == sorted(order_keys(database))
        assert next_recorded(connection, NOW - timedelta(seconds=1)) == NOW
    assert_frame_equal(snapshot.draws, drawn)
    assert set(drawn["contacted"]) == {0, 1}
    assert earlier.draws.is_empty()
    assert_frame_equal(some.draws, drawn[:3])
    assert_frame_equal(one.draws, drawn[:1])

    held_out = drawn.filter(pl.col("contacted") == 0)["order_id"][0]
    with database.write() as connection:  # who is held out is refused again the next day, which is no new draw
        refusals = metadata.tables["refusals"]
        row = connection.execute(sa.select(refusals).where(refusals.c.order_id == held_out)).mappings().one()
        again = {**row, "dedupe_key": "again", "recorded_at": NOW + DAY}
        insert(connection, "refusals", **{name: value for name, value in again.items() if name != "id"})
    with database.read() as connection:
        assert written_mark(connection) != planned
        assert orders_touched(connection, planned, written_mark(connection), 100) == []
        assert_frame_equal(read_snapshot(connection, until=NOW + 2 * DAY, timezone="UTC").draws, drawn)


def test_of_several_variants_the_holdout_says_how_probable_a_contact_was_as_far_as_known_by_then(
    database: Database,
) -> None:
    with database.write() as connection:
        customers = [add_customer(connection, f"c{number}", NOW - 30 * DAY) for number in range(4)]
        orders = [add_order(connection, f"o{one}", one, NOW - 9 * DAY) for one in customers]
        arms = [("a", 0.5), ("b", 0.5), ("b", 0.4), ("holdout", 0.2)]
        for day, (customer, order, (arm, share)) in enumerate(zip(customers, orders, arms, strict=True)):
            at = NOW + (day if arm != "holdout" else 1.5) * DAY
            assignment = insert(
                connection, "assignments", customer_id=customer, playbook="p", experiment="p", arm=arm, propensity=share,
                salt="s", drawn_at=at,
            )  # fmt: skip
            insert(
                connection, "refusals", customer_id=customer, order_id=order, playbook="p", step="s", decision="refuse",
                assignment_id=assignment, reason="holdout", local_date="2026-03-10", dedupe_key=f"d{day}", recorded_at=at,
            )  # fmt: skip
        found = read_draws(connection, NOW + 9 * DAY).sort("at")
    # The first was the only variant then, and nobody was held out yet when the second was drawn.
    assert found["propensity"].to_list() == pytest.approx([0.5, 1.0, 0.8, 0.8])
    assert found["contacted"].to_list() == [1, 1, 0, 1]
