"""Predictions as they are kept: one for each subject, moment, instant and model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.bulk import renew_frame
from bot.store.tables import metadata

__all__ = ["PREDICTIONS_A_TIME", "latest_predictions", "save_predictions"]

# Rows that one writing transaction may save and stay short.
PREDICTIONS_A_TIME = 1000

_predictions = metadata.tables["predictions"]
_KEY = ("kind", "moment", "subject", "as_of", "model")


def save_predictions(connection: Connection, rows: pl.DataFrame) -> None:
    """Save predictions; one that stands already is confirmed (same id, its content and `recorded_at` renewed).

    Parameters
    ----------
    rows : polars.DataFrame
        The columns of the table but its id; `reasons` and `fragility` as JSON text.
    """
    renew_frame(connection, _predictions, rows, _KEY)


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
