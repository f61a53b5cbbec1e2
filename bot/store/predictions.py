"""Predictions as they are kept: one for each subject, moment, instant and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from bot.store.tables import metadata

__all__ = ["PREDICTIONS_A_TIME", "latest_predictions", "save_predictions"]

# Rows that one writing transaction may save and stay short.
PREDICTIONS_A_TIME = 300

_predictions = metadata.tables["predictions"]
_KEY = ("kind", "moment", "subject", "as_of", "model")


def save_predictions(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Save predictions; one that stands already is confirmed (same id, its content and `recorded_at` renewed).

    Returns
    -------
    list of int
        The ids, in the order of the rows.
    """
    if not rows:
        return []
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(_predictions)
    renewed = {name: statement.excluded[name] for name in rows[0] if name not in _KEY}
    statement = statement.on_conflict_do_update(index_elements=list(_KEY), set_=renewed)
    # The rows as parameters, not as VALUES in the statement: that would be compiled anew for each batch.
    returning = statement.returning(_predictions.c.id, *(_predictions.c[name] for name in _KEY))
    found = connection.execute(returning, [dict(row) for row in rows])
    ids = {tuple(row[1:]): int(row[0]) for row in found}
    return [ids[tuple(row[name] for name in _KEY)] for row in rows]


def latest_predictions(
    connection: Connection, kind: str, *, until: datetime, subjects: Sequence[str] | None = None
) -> list[sa.Row[Any]]:
    """Return the latest prediction of each subject of a kind that was recorded by an instant."""
    columns = _predictions.c
    newest = sa.func.row_number().over(
        partition_by=columns.subject, order_by=(columns.as_of.desc(), columns.recorded_at.desc(), columns.id.desc())
    )
    inner = sa.select(_predictions, newest.label("place")).where(
        columns.kind == kind, columns.recorded_at <= until, columns.as_of <= until
    )
    if subjects is not None:
        inner = inner.where(columns.subject.in_(list(subjects)))
    ranked = inner.subquery()
    return list(connection.execute(sa.select(ranked).where(ranked.c.place == 1).order_by(ranked.c.id)))
