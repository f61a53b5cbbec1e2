"""An order that names no currency is in the shop's own; what the file said tells same from changed."""

from __future__ import annotations

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.importing.importer import Importer
from bot.store.database import Database
from bot.store.enums import Entity
from bot.store.shop import order_by_key

ORDERS = [
    {"order_id": "o1", "customer_id": "c1", "placed_at": "2026-01-05", "currency": "USD"},
    {"order_id": "o2", "customer_id": "c1", "placed_at": "2026-01-05"},
]


def test_an_order_that_names_no_currency_is_in_the_shops_own(database: Database, clock: ManualClock) -> None:
    importer = Importer(database, clock, Settings.model_validate({"shop": {"currency": "CHF"}}))
    importer.import_rows(Entity.CUSTOMERS, [{"customer_id": "c1"}])
    importer.import_rows(Entity.ORDERS, ORDERS)
    with database.read() as connection:
        found = [order_by_key(connection, key) for key in ("o1", "o2")]
    assert [one.currency for one in found if one is not None] == ["USD", "CHF"]
    # Another setting later makes no other order of the same row.
    report, _ = Importer(database, clock, Settings()).import_rows(Entity.ORDERS, ORDERS)
    assert (report.unchanged, report.updated) == (2, 0)
