"""How many check-ins each channel may still send today: a count a channel and local date, kept in the database.

The row is locked while a claim is made, so that two workers cannot spend the same contact. Nothing is written where the
shop sets no budget. What is done with a contact for which no budget is left is `bot.decide.policy`'s business.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = ["budget_left", "spend_budget"]

budgets = metadata.tables["budgets"]


def budget_left(connection: Connection, channel: str, local_date: str, limit: int) -> int | None:
    """Return how many check-ins a channel may still send on a date, and lock the count; None: any number.

    Parameters
    ----------
    limit : int
        Most a day; 0 for no limit.
    """
    if not limit:
        return None
    insert_once(connection, budgets, {"channel": channel, "local_date": local_date, "spent": 0})
    columns = budgets.c
    query = sa.select(columns.spent).where(columns.channel == channel, columns.local_date == local_date)
    return max(limit - int(connection.execute(query.with_for_update()).scalar_one()), 0)


def spend_budget(connection: Connection, channel: str, local_date: str, count: int) -> None:
    """Count check-ins that are handed to a channel, in the transaction that asked what was left."""
    columns = budgets.c
    statement = sa.update(budgets).where(columns.channel == channel, columns.local_date == local_date)
    connection.execute(statement.values(spent=columns.spent + count))
