"""Reading what is known of some orders only: chunk by chunk of a large shop, or one order.

The frames are those of `bot.store.history_frames`, without the rows of other orders. What histories say about a seller or a route
comes from all orders and is put together elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.history_frames import FrameQuery, among, ids_value
from bot.store.tables import metadata
from predictors.labels import TROUBLE_KINDS, with_order_meant
from predictors.snapshot import Snapshot

__all__ = [
    "OrderlessTrouble",
    "count_orders",
    "next_recorded",
    "order_ranges",
    "orderless_trouble",
    "read_orders",
    "written_mark",
]

# What histories are made of.
_TABLES = ("customers", "products", "orders", "order_lines", "touchpoints", "revisions")
_customers, _products, _orders, _lines, _touchpoints, _revisions = (metadata.tables[name] for name in _TABLES)
_MARK = sa.select(
    *(sa.select(sa.func.max(metadata.tables[name].c.id)).scalar_subquery() for name in _TABLES),
    # An erased customer leaves an empty row under this source.
    sa.select(sa.func.count()).where(_customers.c.source == "erased").scalar_subquery(),
)


@dataclass(frozen=True, kw_only=True)
class OrderlessTrouble:
    """Tickets and complaints that name no order, with the order that each is taken to be about."""

    touchpoints: pl.DataFrame  # touchpoint_id, order_id

    def of_orders(self, first: int, last: int) -> list[int]:
        """Return the touchpoints that are about orders with ids in a range."""
        about = self.touchpoints.filter(pl.col("order_id").is_between(first, last))
        return [int(one) for one in about["touchpoint_id"]]


def written_mark(connection: Connection) -> tuple[int, ...]:
    """Return what changes whenever something is written that histories are made of; found in no time."""
    return tuple(int(one or 0) for one in connection.execute(_MARK).one())


def next_recorded(connection: Connection, after: datetime) -> datetime | None:
    """Return when the first row that is there already, but recorded for a later instant, becomes known; None: there is none."""
    tables = [metadata.tables[name] for name in _TABLES]
    found = [
        connection.scalar(sa.select(sa.func.min(table.c.recorded_at)).where(table.c.recorded_at > after))
        for table in tables
    ]
    return min((one for one in found if one is not None), default=None)


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
    connection: Connection, until: datetime, timezone: str, order_id: int | None = None
) -> OrderlessTrouble:
    """Find out what tickets and complaints without an order are about, of all customers or of the one of an order."""
    queries, wanted = _queries(connection.dialect.name), {"buyer_of": order_id}
    of = queries.orderless if order_id is None else queries.orderless_of_one
    if connection.scalar(of.any, wanted) is None:
        return OrderlessTrouble(touchpoints=pl.DataFrame(schema={"touchpoint_id": pl.Int64, "order_id": pl.Int64}))
    loose = of.touchpoints.read(connection, until, timezone, **wanted)
    ids = ids_value(connection.dialect.name, loose["customer_id"].unique().to_list())
    orders = queries.of_customers.read(connection, until, timezone, ids=ids)
    meant = with_order_meant(loose.drop("order_id"), orders)
    return OrderlessTrouble(touchpoints=meant.select("touchpoint_id", "order_id"))


def read_orders(
    connection: Connection, first: int, last: int, *, until: datetime, timezone: str, loose: OrderlessTrouble
) -> Snapshot:
    """Read all that was recorded by an instant of the orders with ids in a range, both ends included.

    Parameters
    ----------
    loose : OrderlessTrouble
        Of the customers of these orders, or of all.
    """

    dialect = connection.dialect.name
    queries = _queries(dialect)
    span = {"first": first, "last": last}

    def entities(query: FrameQuery, ids: pl.Series) -> pl.DataFrame:
        wanted = [int(one) for one in ids.drop_nulls().unique()]
        return query.read(connection, until, timezone, ids=ids_value(dialect, wanted))

    orders = queries.orders.read(connection, until, timezone, **span)
    lines = queries.order_lines.read(connection, until, timezone, **span)
    touchpoints = queries.touchpoints.read(connection, until, timezone, **span)
    if orderless := loose.of_orders(first, last):
        more = queries.touchpoints_by_id.read(connection, until, timezone, ids=ids_value(dialect, orderless))
        touchpoints = pl.concat([touchpoints, more])
    return Snapshot(
        customers=entities(queries.customers, orders["customer_id"]),
        products=entities(queries.products, lines["product_id"]),
        orders=orders,
        order_lines=lines,
        touchpoints=touchpoints,
        until=until,
        timezone=timezone,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Orderless:
    """Whether there is trouble without an order, and which; of one order's customer with the parameter `buyer_of`."""

    any: sa.Select[Any]
    touchpoints: FrameQuery

    @classmethod
    def of(cls, dialect: str, which: sa.ColumnElement[bool]) -> _Orderless:
        return cls(
            any=sa.select(_touchpoints.c.id).where(which, _touchpoints.c.kind.in_(TROUBLE_KINDS)).limit(1),
            touchpoints=FrameQuery.of(dialect, "touchpoints", kinds=TROUBLE_KINDS, where=which),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Queries:
    """Statements with parameters: `first` and `last` of a range of orders, or `ids`."""

    orders: FrameQuery
    order_lines: FrameQuery
    touchpoints: FrameQuery
    touchpoints_by_id: FrameQuery
    customers: FrameQuery
    products: FrameQuery
    of_customers: FrameQuery
    orderless: _Orderless
    orderless_of_one: _Orderless


@cache
def _queries(dialect: str) -> _Queries:
    """Make the statements once for an engine: composing them took longer than they take."""
    first, last = (sa.bindparam(end, type_=sa.BigInteger()) for end in ("first", "last"))
    of_lines = _lines.c.order_id.between(first, last)
    none: sa.ColumnElement[bool] = _touchpoints.c.order_id.is_(None)
    buyer = sa.select(_orders.c.customer_id).where(_orders.c.id == sa.bindparam("buyer_of")).scalar_subquery()
    theirs = among(dialect, _orders.c.customer_id)

    def of(frame: str, where: sa.ColumnElement[bool], replaced: sa.ColumnElement[bool] | None = None) -> FrameQuery:
        return FrameQuery.of(dialect, frame, where=where, replaced=replaced)

    return _Queries(
        orders=of("orders", _orders.c.id.between(first, last), _revisions.c.entity_id.between(first, last)),
        order_lines=of("order_lines", of_lines, _revisions.c.entity_id.in_(sa.select(_lines.c.id).where(of_lines))),
        touchpoints=of("touchpoints", _touchpoints.c.order_id.between(first, last)),
        touchpoints_by_id=of("touchpoints", among(dialect, _touchpoints.c.id)),
        customers=of("customers", among(dialect, _customers.c.id), among(dialect, _revisions.c.entity_id)),
        products=of("products", among(dialect, _products.c.id), among(dialect, _revisions.c.entity_id)),
        of_customers=of("orders", theirs, _revisions.c.entity_id.in_(sa.select(_orders.c.id).where(theirs))),
        orderless=_Orderless.of(dialect, none),
        orderless_of_one=_Orderless.of(dialect, none & (_touchpoints.c.customer_id == buyer)),
    )
