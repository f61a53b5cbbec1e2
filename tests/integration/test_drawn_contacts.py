"""Which orders were drawn to be contacted or held out, as the training of the risk reads it from the plans."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from bot.clock import ManualClock
from bot.services.prediction.experience import drawn_contacts
from bot.store.database import Database
from bot.store.tables import metadata
from tests.integration.test_planning import NOW, late_order, planner, settings_with


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
