"""What orders came to: each, and the usual one; what it means for a ranking is not known here."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.journeys import chunks
from bot.store.tables import metadata

__all__ = ["order_totals", "usual_order_total"]

_orders = metadata.tables["orders"]
# The usual order is the mean of so many of the latest: reading all of a large shop would take longer than it is worth.
LATEST = 1000


def order_totals(connection: Connection, ids: Collection[int]) -> dict[int, float]:
    """Return the totals of orders by their ids; one without a total is left out."""
    found: dict[int, float] = {}
    for page in chunks(ids):
        query = sa.select(_orders.c.id, _orders.c.total).where(_orders.c.id.in_(page), _orders.c.total.is_not(None))
        found |= {int(order): float(total) for order, total in connection.execute(query)}
    return found


def usual_order_total(connection: Connection) -> float | None:
    """Return the mean total of the latest orders; None where none has one."""
    latest = sa.select(_orders.c.total).where(_orders.c.total.is_not(None)).order_by(_orders.c.id.desc()).limit(LATEST)
    found = connection.execute(sa.select(sa.func.avg(latest.subquery().c.total))).scalar_one()
    return None if found is None else float(found)
