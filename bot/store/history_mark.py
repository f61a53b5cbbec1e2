"""What was written since something was read that histories are made of: nothing, the orders of a few customers, or too much."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.policy import Reason
from bot.store.tables import metadata

__all__ = ["Mark", "next_recorded", "orders_touched", "written_mark"]


class Mark(NamedTuple):
    """The newest id of each table that histories are made of, and how many customers were erased."""

    customers: int
    products: int
    orders: int
    order_lines: int
    touchpoints: int
    revisions: int
    outreaches: int
    refusals: int
    erased: int


_TABLES = Mark._fields[:-1]
_customers, _products, _orders, _lines, _touchpoints, _revisions, _outreaches, _refusals = (
    metadata.tables[name] for name in _TABLES
)
# A draw counts from when it decided: when a check-in was proposed, or refused because its customer is held out.
_RECORDED = {name: metadata.tables[name].c["created_at" if name == "outreaches" else "recorded_at"] for name in _TABLES}
_MARK = sa.select(
    *(sa.select(sa.func.max(metadata.tables[name].c.id)).scalar_subquery() for name in _TABLES),
    # An erased customer leaves an empty row under this source.
    sa.select(sa.func.count()).where(_customers.c.source == "erased").scalar_subquery(),
)
_SINCE = {name: sa.bindparam(name, type_=sa.BigInteger()) for name in _TABLES}
_NEW_REVISIONS = _revisions.c.id > _SINCE["revisions"]
# From when on orders may be described otherwise: entities that they only name were given new content.
_OTHERWISE_FROM = sa.select(sa.func.min(_revisions.c.superseded_at)).where(
    _NEW_REVISIONS, _revisions.c.entity.in_(["customers", "products"])
)


def written_mark(connection: Connection) -> Mark:
    """Return what changes whenever something is written that histories are made of; found in no time."""
    return Mark(*(int(one or 0) for one in connection.execute(_MARK).one()))


def next_recorded(connection: Connection, after: datetime, since: Mark | None = None) -> datetime | None:
    """Return when the first row that is there already, but recorded for a later instant, becomes known; None: there is none.

    Parameters
    ----------
    since : Mark, optional
        Only what was written after it.
    """
    found: list[datetime | None] = []
    for name in _TABLES:
        recorded = _RECORDED[name]
        query = sa.select(sa.func.min(recorded)).where(recorded > after)
        newer = metadata.tables[name].c.id > getattr(since, name, 0)
        found.append(connection.scalar(query if since is None else query.where(newer)))
    if since is not None:  # what was given a new content has its id from before
        renewed = sa.select(sa.func.min(_revisions.c.superseded_at)).where(_revisions.c.superseded_at > after)
        found.append(connection.scalar(renewed.where(_NEW_REVISIONS), since._asdict()))
    return min((one for one in found if one is not None), default=None)


def orders_touched(connection: Connection, since: Mark, now: Mark, at_most: int) -> list[int] | None:
    """Return our ids of the orders whose facts may be others than at a mark, some of them in vain.

    They are all orders of each customer of whom anything was written: what names no order is about their latest.

    Returns
    -------
    list of int or None
        None: more than `at_most`, or something was taken away, which leaves no trace of what it was about.
    """
    if now.erased != since.erased or any(new < old for new, old in zip(now, since, strict=True)):
        return None
    values: dict[str, object] = since._asdict()
    customers = _TOUCHED
    if (changed_from := connection.scalar(_OTHERWISE_FROM, values)) is not None:
        later = (_orders.c.placed_at >= changed_from) | (_orders.c.recorded_at >= changed_from)
        customers = (*_TOUCHED, sa.select(_orders.c.customer_id).where(later))
    query = sa.select(_orders.c.id).where(_orders.c.customer_id.in_(sa.union(*customers))).limit(at_most + 1)
    found = [int(one) for one in connection.scalars(query, values)]
    return None if len(found) > at_most else sorted(found)


def _revised(entity: str) -> sa.Select[tuple[int]]:
    return sa.select(_revisions.c.entity_id).where(_NEW_REVISIONS, _revisions.c.entity == entity)


_older = _refusals.alias("older")
_HELD_OUT = _refusals.c.reason == Reason.HOLDOUT.value
# A refusal is stored again every day on which the order is still meant; the first one decided.
_AGAIN = sa.exists().where(
    _older.c.assignment_id == _refusals.c.assignment_id,
    _older.c.order_id == _refusals.c.order_id,
    _older.c.reason == _refusals.c.reason,
    _older.c.id <= _SINCE["refusals"],
)
_OF_LINES = sa.select(_orders.c.customer_id).join(_lines, _lines.c.order_id == _orders.c.id)
# Customers of whom anything was written.
_TOUCHED: tuple[sa.Select[int], ...] = (
    sa.select(_touchpoints.c.customer_id).where(_touchpoints.c.id > _SINCE["touchpoints"]),
    sa.select(_orders.c.customer_id).where(_orders.c.id > _SINCE["orders"]),
    sa.select(_orders.c.customer_id).where(_orders.c.id.in_(_revised("orders"))),
    _OF_LINES.where(_lines.c.id > _SINCE["order_lines"]),
    _OF_LINES.where(_lines.c.id.in_(_revised("order_lines"))),
    sa.select(_outreaches.c.customer_id).where(_outreaches.c.id > _SINCE["outreaches"]),
    sa.select(_refusals.c.customer_id).where(_refusals.c.id > _SINCE["refusals"], _HELD_OUT, ~_AGAIN),
)
