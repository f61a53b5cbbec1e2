"""Reading what is known of some orders only: chunk by chunk of a large shop, or one order.

The frames are those of `bot.store.history`, without the rows of other orders. What histories say about a seller or a route
comes from all orders and is put together elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.history import among, read_frame
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

_orders, _lines, _touchpoints = (metadata.tables[name] for name in ("orders", "order_lines", "touchpoints"))
_revisions = metadata.tables["revisions"]


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
    names = ("customers", "products", "orders", "order_lines", "touchpoints", "revisions")
    newest = [sa.select(sa.func.max(metadata.tables[name].c.id)).scalar_subquery() for name in names]
    customers = metadata.tables["customers"]
    # An erased customer leaves an empty row under this source.
    erased = sa.select(sa.func.count()).where(customers.c.source == "erased").scalar_subquery()
    return tuple(int(one or 0) for one in connection.execute(sa.select(*newest, erased)).one())


def next_recorded(connection: Connection, after: datetime) -> datetime | None:
    """Return when the first row that is there already, but recorded for a later instant, becomes known; None: there is none."""
    names = ("customers", "products", "orders", "order_lines", "touchpoints", "revisions")
    tables = [metadata.tables[name] for name in names]
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
    none: sa.ColumnElement[bool] = _touchpoints.c.order_id.is_(None)
    if order_id is not None:
        buyer = sa.select(_orders.c.customer_id).where(_orders.c.id == order_id).scalar_subquery()
        none &= _touchpoints.c.customer_id == buyer
    if (
        connection.scalar(sa.select(_touchpoints.c.id).where(none, _touchpoints.c.kind.in_(TROUBLE_KINDS)).limit(1))
        is None
    ):
        return OrderlessTrouble(touchpoints=pl.DataFrame(schema={"touchpoint_id": pl.Int64, "order_id": pl.Int64}))
    loose = read_frame(connection, "touchpoints", until, timezone, kinds=TROUBLE_KINDS, where=none)
    theirs = among(connection, _orders.c.customer_id, loose["customer_id"].unique().to_list())
    old = (_revisions.c.entity == "orders") & _revisions.c.entity_id.in_(sa.select(_orders.c.id).where(theirs))
    orders = read_frame(connection, "orders", until, timezone, where=theirs, replaced=old)
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

    def frame(name: str, where: sa.ColumnElement[bool], replaced: sa.ColumnElement[bool] | None = None) -> pl.DataFrame:
        return read_frame(connection, name, until, timezone, where=where, replaced=replaced)

    def entities(name: str, ids: pl.Series) -> pl.DataFrame:
        wanted = [int(one) for one in ids.drop_nulls().unique()]
        table = metadata.tables[name]
        return frame(name, among(connection, table.c.id, wanted), among(connection, _revisions.c.entity_id, wanted))

    of_orders = _orders.c.id.between(first, last)
    orders = frame("orders", of_orders, _revisions.c.entity_id.between(first, last))
    of_lines = _lines.c.order_id.between(first, last)
    lines = frame("order_lines", of_lines, _revisions.c.entity_id.in_(sa.select(_lines.c.id).where(of_lines)))
    touchpoints = frame("touchpoints", _touchpoints.c.order_id.between(first, last))
    if orderless := loose.of_orders(first, last):
        touchpoints = pl.concat([touchpoints, frame("touchpoints", among(connection, _touchpoints.c.id, orderless))])
    return Snapshot(
        customers=entities("customers", orders["customer_id"]),
        products=entities("products", lines["product_id"]),
        orders=orders,
        order_lines=lines,
        touchpoints=touchpoints,
        until=until,
        timezone=timezone,
    )
