"""Cutting the customers into ranges of ids, for work that is done in parts."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.tables import metadata

__all__ = ["customer_ranges"]

customers = metadata.tables["customers"]
# Above every id.
LAST = 2**63 - 1


def customer_ranges(connection: Connection, size: int) -> list[tuple[int, int]]:
    """Return ranges (first id, last id) of about `size` customers each, without gaps: every customer is in one."""
    place = sa.func.row_number().over(order_by=customers.c.id).label("place")
    ranked = sa.select(customers.c.id, place).subquery()
    ends = sa.select(ranked.c.id).where(ranked.c.place % size == 0).order_by(ranked.c.id)
    borders = [int(one) for one in connection.execute(ends).scalars()]
    total = int(connection.execute(sa.select(sa.func.count()).select_from(customers)).scalar_one())
    if borders and total % size == 0:
        borders.pop()  # the last range is open
    firsts = [0, *(border + 1 for border in borders)]
    return list(zip(firsts, [*borders, LAST], strict=True))
