"""A touchpoint that stands already is left out, and stays as it was, on both engines."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from bot.store.database import Database
from bot.store.shop import Touchpoint, add_touchpoints
from bot.store.tables import touchpoints
from tests.integration.delivery_world import NOON
from tests.integration.shop_rows import add_customer


def test_a_touchpoint_that_stands_already_is_left_out(database: Database) -> None:
    with database.write() as connection:
        rated = Touchpoint(
            id=None, source="aftercare", external_id="csat:1", customer_id=add_customer(connection, "c1", NOON), order_id=None,
            kind="csat", occurred_at=NOON, recorded_at=NOON, value=4.5, text='"Good" \\ 日本', channel="email", attributes={"of": [1]},
        )  # fmt: skip
        add_touchpoints(connection, [rated])
    with database.write() as connection:
        add_touchpoints(connection, [replace(rated, value=1.0), replace(rated, external_id="csat:2", text=None)])
        columns = (touchpoints.c.value, touchpoints.c.text, touchpoints.c.occurred_at, touchpoints.c.attributes)
        found = connection.execute(sa.select(*columns).order_by(touchpoints.c.external_id)).all()
    assert [tuple(row) for row in found] == [(4.5, '"Good" \\ 日本', NOON, {"of": [1]}), (4.5, None, NOON, {"of": [1]})]
