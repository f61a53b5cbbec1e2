"""Reading what is known of some orders only: chunk by chunk of a large shop, or one order.

The frames are those of `bot.store.history_frames`, without the rows of other orders. What histories say about a seller or a route
comes from all orders and is put together elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.draw_history import read_draws
from bot.store.history_frames import FrameQuery, among, ids_value
from bot.store.tables import metadata
from predictors.labels import CONTACT, TROUBLE_KINDS, with_order_meant
from predictors.snapshot import Snapshot

__all__ = [
    "Contacts",
    "OrderlessTrouble",
    "contacts",
    "count_orders",
    "order_ranges",
    "orderless_trouble",
    "read_orders",
    "read_these_orders",
]

_customers, _products, _orders, _lines, _touchpoints, _revisions = (
    metadata.tables[name] for name in ("customers", "products", "orders", "order_lines", "touchpoints", "revisions")
)


@dataclass(frozen=True, kw_only=True)
class OrderlessTrouble:
    """Tickets and complaints that name no order, with the order that each is taken to be about."""

    touchpoints: pl.DataFrame  # touchpoint_id, order_id

    def of_orders(self, which: pl.Expr) -> list[int]:
        """Return the touchpoints that are about orders of which something is true of `order_id`."""
        if not self.touchpoints.height:
            return []
        return [int(one) for one in self.touchpoints.filter(which)["touchpoint_id"]]


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """What is known of contacts beside those that name an order: those that name none, and the draws."""

    touchpoints: pl.DataFrame
    draws: pl.DataFrame


def count_orders(connection: Connection) -> int:
    """Return how many orders there are."""
    return int(connection.scalar(sa.select(sa.func.count()).select_from(_orders)) or 0)


def order_ranges(connection: Connection, size: int) -> list[tuple[int, int]]:
    """Return ranges (first id, last id) of at most `size` orders each, both ends included; none where there are none."""
    place = sa.func.row_number().over(order_by=_orders.c.id).label("place")
    ranked = sa.select(_orders.c.id, place).subquery()
    begins = sa.select(ranked.c.id).where(ranked.c.place % size == 1 % size).order_by(ranked.c.id)
    firsts = [int(one) for one in connection.scalars(begins)]
    lasts = [*(first - 1 for first in firsts[1:]), 2**63 - 1]
    return list(zip(firsts, lasts, strict=True)) if firsts else []


def orderless_trouble(
    connection: Connection, until: datetime, timezone: str, order_ids: Collection[int] | None = None
) -> OrderlessTrouble:
    """Find out what tickets and complaints without an order are about, of all customers or of those of some orders."""
    queries = _queries(connection.dialect.name)
    of = queries.orderless if order_ids is None else queries.orderless_of_buyers
    wanted = {} if order_ids is None else {"ids": ids_value(connection.dialect.name, order_ids)}
    if connection.scalar(of.any, wanted) is None:
        return OrderlessTrouble(touchpoints=pl.DataFrame(schema={"touchpoint_id": pl.Int64, "order_id": pl.Int64}))
    loose = of.touchpoints.read(connection, until, timezone, **wanted)
    ids = ids_value(connection.dialect.name, loose["customer_id"].unique().to_list())
    orders = queries.of_customers.read(connection, until, timezone, ids=ids)
    meant = with_order_meant(loose.drop("order_id"), orders)
    return OrderlessTrouble(touchpoints=meant.select("touchpoint_id", "order_id"))


def contacts(
    connection: Connection, until: datetime, timezone: str, order_ids: Collection[int] | None = None
) -> Contacts:
    """Find out who was contacted or drawn, of all customers and orders or of some orders."""
    queries = _queries(connection.dialect.name)
    of = queries.contacts if order_ids is None else queries.contacts_of_buyers
    wanted = {} if order_ids is None else {"ids": ids_value(connection.dialect.name, order_ids)}
    return Contacts(
        touchpoints=of.touchpoints.read(connection, until, timezone, **wanted),
        draws=read_draws(connection, until, order_ids),
    )


def read_orders(
    connection: Connection,
    first: int,
    last: int,
    *,
    until: datetime,
    timezone: str,
    loose: OrderlessTrouble,
    reached: Contacts,
) -> Snapshot:
    """Read all that was recorded by an instant of the orders with ids in a range, both ends included.

    Parameters
    ----------
    loose : OrderlessTrouble
        Of the customers of these orders, or of all.
    reached : Contacts
        The same.
    """

    which = pl.col("order_id").is_between(first, last)
    span = {"first": first, "last": last}
    some = _queries(connection.dialect.name).of_range
    return _read(connection, some, span, until, timezone, loose.of_orders(which), reached)


def read_these_orders(
    connection: Connection,
    order_ids: Collection[int],
    *,
    until: datetime,
    timezone: str,
    reached: Contacts | None = None,
) -> Snapshot:
    """Read all that was recorded by an instant of some orders.

    Parameters
    ----------
    reached : Contacts, optional
        Of these orders; only what they add to histories hangs on it.
    """
    dialect = connection.dialect.name
    loose = orderless_trouble(connection, until, timezone, order_ids)
    about = loose.of_orders(pl.col("order_id").is_in(list(order_ids)))
    ids = {"ids": ids_value(dialect, order_ids)}
    return _read(connection, _queries(dialect).of_ids, ids, until, timezone, about, reached)


def _read(
    connection: Connection,
    some: _SomeOrders,
    which: Mapping[str, Any],
    until: datetime,
    timezone: str,
    orderless: Collection[int],
    reached: Contacts | None,
) -> Snapshot:
    """Read some orders, and of the touchpoints without an order those that are about them."""
    dialect = connection.dialect.name
    queries = _queries(dialect)

    def entities(query: FrameQuery, ids: pl.Series) -> pl.DataFrame:
        wanted = [int(one) for one in ids.drop_nulls().unique()]
        return query.read(connection, until, timezone, ids=ids_value(dialect, wanted))

    orders = some.orders.read(connection, until, timezone, **which)
    lines = some.order_lines.read(connection, until, timezone, **which)
    touchpoints = some.touchpoints.read(connection, until, timezone, **which)
    if orderless:
        more = queries.touchpoints_by_id.read(connection, until, timezone, ids=ids_value(dialect, orderless))
        touchpoints = pl.concat([touchpoints, more])
    found: dict[str, pl.DataFrame] = {}
    if reached is not None and reached.touchpoints.height:
        theirs = reached.touchpoints.join(orders.select("customer_id"), on="customer_id", how="semi")
        touchpoints = pl.concat([touchpoints, theirs])
    if reached is not None:
        found["draws"] = reached.draws.join(orders.select("order_id"), on="order_id", how="semi")
    return Snapshot(
        customers=entities(queries.customers, orders["customer_id"]),
        products=entities(queries.products, lines["product_id"]),
        orders=orders,
        order_lines=lines,
        touchpoints=touchpoints,
        until=until,
        timezone=timezone,
        **found,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _SomeOrders:
    """Orders that are named by parameters, with their lines and touchpoints."""

    orders: FrameQuery
    order_lines: FrameQuery
    touchpoints: FrameQuery

    @classmethod
    def of(cls, dialect: str, named: Callable[[sa.ColumnElement[Any]], sa.ColumnElement[bool]]) -> _SomeOrders:
        of_lines = named(_lines.c.order_id)
        lines = _revisions.c.entity_id.in_(sa.select(_lines.c.id).where(of_lines))
        return cls(
            orders=FrameQuery.of(dialect, "orders", where=named(_orders.c.id), replaced=named(_revisions.c.entity_id)),
            order_lines=FrameQuery.of(dialect, "order_lines", where=of_lines, replaced=lines),
            touchpoints=FrameQuery.of(dialect, "touchpoints", where=named(_touchpoints.c.order_id)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Orderless:
    """Whether there are touchpoints of some kinds without an order, and which."""

    any: sa.Select[Any]
    touchpoints: FrameQuery

    @classmethod
    def of(cls, dialect: str, kinds: Sequence[str], which: sa.ColumnElement[bool]) -> _Orderless:
        return cls(
            any=sa.select(_touchpoints.c.id).where(which, _touchpoints.c.kind.in_(kinds)).limit(1),
            touchpoints=FrameQuery.of(dialect, "touchpoints", kinds=kinds, where=which),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Queries:
    """Statements with parameters: `first` and `last` of a range of orders, or `ids`."""

    of_range: _SomeOrders
    of_ids: _SomeOrders
    touchpoints_by_id: FrameQuery
    customers: FrameQuery
    products: FrameQuery
    of_customers: FrameQuery
    orderless: _Orderless
    orderless_of_buyers: _Orderless
    contacts: _Orderless
    contacts_of_buyers: _Orderless


@cache
def _queries(dialect: str) -> _Queries:
    """Make the statements once for an engine: composing them took longer than they take."""
    first, last = (sa.bindparam(end, type_=sa.BigInteger()) for end in ("first", "last"))
    none: sa.ColumnElement[bool] = _touchpoints.c.order_id.is_(None)
    buyers = sa.select(_orders.c.customer_id).where(among(dialect, _orders.c.id))
    of_buyers = none & _touchpoints.c.customer_id.in_(buyers)
    theirs, entity = among(dialect, _orders.c.customer_id), among(dialect, _revisions.c.entity_id)

    def of(frame: str, where: sa.ColumnElement[bool], replaced: sa.ColumnElement[bool] | None = None) -> FrameQuery:
        return FrameQuery.of(dialect, frame, where=where, replaced=replaced)

    return _Queries(
        of_range=_SomeOrders.of(dialect, lambda column: column.between(first, last)),
        of_ids=_SomeOrders.of(dialect, lambda column: among(dialect, column)),
        touchpoints_by_id=of("touchpoints", among(dialect, _touchpoints.c.id)),
        customers=of("customers", among(dialect, _customers.c.id), entity),
        products=of("products", among(dialect, _products.c.id), entity),
        of_customers=of("orders", theirs, _revisions.c.entity_id.in_(sa.select(_orders.c.id).where(theirs))),
        orderless=_Orderless.of(dialect, TROUBLE_KINDS, none),
        orderless_of_buyers=_Orderless.of(dialect, TROUBLE_KINDS, of_buyers),
        contacts=_Orderless.of(dialect, (CONTACT,), none),
        contacts_of_buyers=_Orderless.of(dialect, (CONTACT,), of_buyers),
    )
