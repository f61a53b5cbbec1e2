"""For which customers a prediction that is still in force is high; what that means is `bot.decide.stage`'s business."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import PredictionKind
from bot.store.tables import metadata

__all__ = ["alarms"]

_predictions = metadata.tables["predictions"]


def alarms(connection: Connection, until: datetime, customer_id: int | None = None) -> dict[int, datetime]:
    """Return for each such customer since when: the earliest of their latest predictions of trouble or leaving that are high.

    Only the latest of each subject counts, and only while its horizon has not passed.
    """
    columns = _predictions.c
    newest = sa.func.row_number().over(
        partition_by=(columns.kind, columns.subject), order_by=(columns.as_of.desc(), columns.id.desc())
    )
    inner = sa.select(
        columns.customer_id, columns.band, columns.as_of, columns.horizon_days, newest.label("place")
    ).where(
        columns.kind.in_([PredictionKind.ISSUE.value, PredictionKind.CHURN.value]),
        columns.recorded_at <= until,
        columns.as_of <= until,
    )
    if customer_id is not None:
        inner = inner.where(columns.customer_id == customer_id)
    ranked = inner.subquery()
    found: dict[int, datetime] = {}
    for row in connection.execute(sa.select(ranked).where(ranked.c.place == 1, ranked.c.band == "high")):
        if row.as_of + timedelta(days=row.horizon_days) > until:
            found[row.customer_id] = min(row.as_of, found.get(row.customer_id, row.as_of))
    return found
