"""What experiments showed, a customer at a time: what an uplift model learns from.

Outcomes are written by `bot.store.outcomes`; who was drawn into which arm, by `bot.store.planning`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.tables import metadata

__all__ = ["FirstOutcome", "first_outcomes"]

_outcomes = metadata.tables["outcomes"]


@dataclass(frozen=True, kw_only=True)
class FirstOutcome:
    """What became of a customer's first draw over an order.

    Attributes
    ----------
    propensity : float
        How probable the arm was that was drawn.
    value : float
        1 for a bad end.
    """

    order_id: int
    playbook: str
    arm: str
    propensity: float
    anchor_at: datetime
    value: float


def first_outcomes(connection: Connection, kind: str, horizon_days: int, until: datetime) -> list[FirstOutcome]:
    """Return the outcome of each customer's first draw over an order, as recorded by an instant.

    Later draws of the same customer do not count: an earlier check-in may have changed what they began with.
    """
    columns = _outcomes.c
    wanted = [columns[name] for name in FirstOutcome.__dataclass_fields__]
    place = sa.func.row_number().over(partition_by=columns.customer_id, order_by=(columns.anchor_at, columns.id))
    ranked = (
        sa.select(columns.id, *wanted, place.label("place"))
        .where(
            columns.kind == kind,
            columns.horizon_days == horizon_days,
            columns.assignment_id.is_not(None),
            columns.order_id.is_not(None),
            columns.arm.is_not(None),
            columns.propensity.is_not(None),
            columns.recorded_at <= until,
        )
        .subquery()
    )
    query = sa.select(*(ranked.c[column.name] for column in wanted)).where(ranked.c.place == 1)
    return [FirstOutcome(**row._mapping) for row in connection.execute(query.order_by(ranked.c.id))]
