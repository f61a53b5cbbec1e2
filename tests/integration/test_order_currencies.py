"""In which currency a customer orders, on each engine."""

from __future__ import annotations

from datetime import timedelta

from bot.store.currencies import order_currencies
from bot.store.database import Database
from tests.conftest import NOW
from tests.integration.shop_rows import add_customer, add_order


def test_one_currency_is_named_and_several_are_none(database: Database) -> None:
    orders = {
        "always dollars": ("USD", "usd "),
        "never said": (None, ""),
        "said and not said": ("EUR", None),
        "two": ("USD", "EUR"),
    }
    with database.write() as connection:
        ids = {key: add_customer(connection, key, NOW) for key in orders}
        for key, named in orders.items():
            for number, currency in enumerate(named):
                add_order(connection, f"{key}{number}", ids[key], NOW, currency=currency)
        later = add_customer(connection, "later", NOW)
        add_order(connection, "later1", later, NOW + timedelta(days=1), currency="USD")
        known_later = NOW + timedelta(days=1)
        add_order(connection, "known later", ids["always dollars"], NOW, currency="EUR", recorded_at=known_later)
    with database.read() as connection:
        found = dict(order_currencies(connection, default="EUR", until=NOW))
    assert {key: found.get(value) for key, value in ids.items()} == {
        "always dollars": "USD",
        "never said": "EUR",
        "said and not said": "EUR",
        "two": None,
    }
    assert later not in found
