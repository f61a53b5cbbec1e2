"""What an audience may ask about customers and orders beside what every plan reads: what is in them, and their worth so far."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.journeys import Event, OrderFacts
from bot.store.tables import metadata

__all__ = ["Contents", "contents_of_orders", "ordered_so_far", "orders_of_customers", "placed_since"]

products = metadata.tables["products"]
orders = metadata.tables["orders"]
order_lines = metadata.tables["order_lines"]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The shop's ids of the products of an order, and their categories."""

    products: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()


def contents_of_orders(connection: Connection, order_ids: Collection[int]) -> dict[int, Contents]:
    """Return what is in orders."""
    query = (
        sa.select(order_lines.c.order_id, products.c.external_id, products.c.category)
        .join(products, products.c.id == order_lines.c.product_id)
        .where(order_lines.c.order_id.in_(list(order_ids)))
    )
    found: dict[int, tuple[set[str], set[str]]] = {}
    for row in connection.execute(query):
        keys, categories = found.setdefault(row.order_id, (set(), set()))
        keys.add(row.external_id)
        if row.category:
            categories.add(row.category)
    return {
        order_id: Contents(products=frozenset(keys), categories=frozenset(categories))
        for order_id, (keys, categories) in found.items()
    }


def ordered_so_far(connection: Connection, customer_ids: Collection[int], now: datetime) -> dict[int, float]:
    """Return the total of all that customers ordered by `now`; who never ordered anything with a total is left out."""
    query = (
        sa.select(orders.c.customer_id, sa.func.sum(orders.c.total).label("total"))
        .where(orders.c.customer_id.in_(list(customer_ids)), orders.c.placed_at <= now, orders.c.total.is_not(None))
        .group_by(orders.c.customer_id)
    )
    return {row.customer_id: float(row.total) for row in connection.execute(query)}


def orders_of_customers(
    connection: Connection, customer_ids: Collection[int], now: datetime
) -> dict[int, list[OrderFacts]]:
    """Return all that customers ordered by `now`."""
    columns = orders.c
    query = sa.select(
        columns.id, columns.external_id, columns.customer_id, columns.placed_at, columns.promised_at, columns.total
    ).where(columns.customer_id.in_(list(customer_ids)), columns.placed_at <= now)
    found: dict[int, list[OrderFacts]] = {}
    for row in connection.execute(query.order_by(columns.placed_at, columns.id)):
        found.setdefault(row.customer_id, []).append(OrderFacts(**row._mapping))
    return found


def placed_since(
    connection: Connection, customer_ids: Collection[int], since: datetime, now: datetime
) -> dict[int, list[Event]]:
    """Return the orders that customers placed after an instant, as events that name no order: any is one."""
    query = sa.select(orders.c.customer_id, orders.c.placed_at).where(
        orders.c.customer_id.in_(list(customer_ids)), orders.c.placed_at > since, orders.c.placed_at <= now
    )
    found: dict[int, list[Event]] = {}
    for row in connection.execute(query.order_by(orders.c.placed_at)):
        found.setdefault(row.customer_id, []).append(Event(kind="placed", order_id=None, occurred_at=row.placed_at))
    return found
