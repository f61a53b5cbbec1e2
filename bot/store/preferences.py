"""By which channel customers like to be reached: what they or the shop wrote down, else where they last answered.

Which of the channels that are allowed is taken is decided in `bot.services.planning.policy_facts`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.shop import Customer
from bot.store.tables import metadata

__all__ = ["PREFERRED_CHANNEL", "own_preference", "replied_on"]

touchpoints = metadata.tables["touchpoints"]
# The column of a customers file that names the channel; it is kept as an attribute.
PREFERRED_CHANNEL = "preferred_channel"
# Habits change: an answer from longer ago says nothing.
REMEMBERED = timedelta(days=365)


def own_preference(customer: Customer) -> str | None:
    """Return the channel that a customer asked for, as the shop wrote it down."""
    found = (customer.attributes or {}).get(PREFERRED_CHANNEL)
    return found.strip().casefold() if isinstance(found, str) and found.strip() else None


def replied_on(connection: Connection, customer_ids: Collection[int], now: datetime) -> dict[int, str]:
    """Return the channel on which each customer answered last, of those who did within a year."""
    given = {"people": list(customer_ids), "known_by": now, "since": now - REMEMBERED}
    return {row.customer_id: row.channel for row in connection.execute(_REPLIES, given)}


# The last one of each customer stands last.
_REPLIES = (
    sa.select(touchpoints.c.customer_id, touchpoints.c.channel)
    .where(
        touchpoints.c.customer_id.in_(sa.bindparam("people", expanding=True)),
        # Written so that no index on kinds fits: by that one SQLite would go through the whole shop for each page of customers.
        sa.func.coalesce(touchpoints.c.kind, "") == "reply",
        touchpoints.c.channel.is_not(None),
        touchpoints.c.recorded_at <= sa.bindparam("known_by", type_=touchpoints.c.recorded_at.type),
        touchpoints.c.occurred_at > sa.bindparam("since", type_=touchpoints.c.occurred_at.type),
    )
    .order_by(touchpoints.c.occurred_at, touchpoints.c.id)
)
