"""Whatever way the same rows are cut, ordered and repeated, the same tables come out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.importing.importer import Importer
from bot.store.database import Database, open_database
from bot.store.enums import Entity
from bot.store.tables import metadata

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 31)).map(lambda moment: moment.isoformat())
maybe = st.none() | words


@st.composite
def shops(draw: st.DrawFn) -> dict[Entity, list[dict[str, Any]]]:
    """Draw a small shop in which every reference is good."""
    customers = [f"c{n}" for n in range(draw(st.integers(1, 4)))]
    products = [f"p{n}" for n in range(draw(st.integers(1, 3)))]
    owners = draw(st.lists(st.sampled_from(customers), max_size=4))
    orders = [(f"o{n}", owner) for n, owner in enumerate(owners)]
    links = draw(st.lists(st.sampled_from([*orders, *((None, name) for name in customers)]), max_size=6))
    return {
        Entity.CUSTOMERS: [
            {"customer_id": name, "name": draw(maybe), "created_at": draw(st.none() | moments), "note": draw(maybe)}
            for name in customers
        ],
        Entity.PRODUCTS: [{"product_id": name, "price": draw(st.none() | st.integers(0, 99))} for name in products],
        Entity.ORDERS: [
            {"order_id": name, "customer_id": owner, "placed_at": draw(moments), "total": draw(st.floats(-1e6, 1e6))}
            for name, owner in orders
        ],
        Entity.ORDER_LINES: [
            {"order_id": name, "line_no": number, "product_id": draw(st.none() | st.sampled_from(products))}
            for name, _ in orders
            for number in range(draw(st.integers(0, 2)))
        ],
        Entity.TOUCHPOINTS: [
            {"touchpoint_id": f"t{n}", "customer_id": owner, "order_id": order, "kind": draw(st.sampled_from("abc")),
             "occurred_at": draw(moments), "recorded_at": draw(st.none() | moments), "text": draw(maybe)}
            for n, (order, owner) in enumerate(links)
        ],
    }  # fmt: skip


def content(database: Database) -> dict[str, list[str]]:
    """Return all rows without the numbers that the database gave them, references named by external ids."""
    with database.read() as connection:
        names: dict[str, dict[int, str]] = {}
        for target in ("customers", "products", "orders"):
            keys = metadata.tables[target].c
            names[target] = {
                row.id: row.external_id for row in connection.execute(sa.select(keys.id, keys.external_id))
            }
        found = {}
        for entity in Entity:
            table = metadata.tables[entity]
            rows = []
            for row in connection.execute(sa.select(table)):
                values = dict(row._mapping)
                del values["id"]
                for column, target in (
                    ("customer_id", "customers"),
                    ("order_id", "orders"),
                    ("product_id", "products"),
                ):
                    if values.get(column) is not None:
                        values[column] = names[target][values[column]]
                rows.append(json.dumps(values, sort_keys=True, default=str))
            found[entity.value] = sorted(rows)
        assert (
            connection.execute(sa.select(sa.func.count()).select_from(metadata.tables["revisions"])).scalar_one() == 0
        )
    return found


def empty(database: Database) -> None:
    with database.write() as connection:
        for entity in reversed(Entity):
            connection.execute(sa.delete(metadata.tables[entity]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shop=shops(), data=st.data())
def test_any_cut_and_order_of_the_same_rows_gives_the_same_tables(
    sqlite_url: str, shop: dict[Entity, list[dict[str, Any]]], data: DataObject
) -> None:
    database = open_database(sqlite_url)
    importer = Importer(database, ManualClock(NOW), Settings())
    empty(database)
    for entity, rows in shop.items():
        report, refused = importer.import_rows(entity, rows)
        assert (report.new, refused) == (len(rows), [])
    whole = content(database)
    empty(database)
    for entity, rows in shop.items():
        shuffled = data.draw(st.permutations(rows))
        cut = data.draw(st.integers(0, len(rows)))
        again = data.draw(st.integers(0, len(rows)))
        for part in (shuffled[:cut], shuffled[cut:], shuffled[again:]):
            report, refused = importer.import_rows(entity, part)
            assert (report.updated, refused) == (0, [])
    assert content(database) == whole
    database.close()
