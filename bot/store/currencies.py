"""In which currency each customer orders; what follows from it is not known here."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.tables import metadata

__all__ = ["order_currencies"]

_orders = metadata.tables["orders"]


def order_currencies(connection: Connection, *, default: str, until: datetime) -> list[tuple[int, str | None]]:
    """Return for every customer who had ordered by an instant the currency of their orders; None where they differ.

    Parameters
    ----------
    default : str
        The currency of orders that name none.
    """
    currency = sa.func.upper(sa.func.coalesce(sa.func.nullif(sa.func.trim(_orders.c.currency), ""), default))
    query = (
        sa.select(_orders.c.customer_id, sa.func.min(currency), sa.func.max(currency))
        .where(_orders.c.placed_at <= until, _orders.c.recorded_at <= until)
        .group_by(_orders.c.customer_id)
    )
    return [(int(row[0]), str(row[1]) if row[1] == row[2] else None) for row in connection.execute(query)]
