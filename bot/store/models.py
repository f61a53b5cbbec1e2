"""Model versions: which there are, who scores, and the sha256 that its file must have.

How one becomes champion is in `bot.store.promotions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import ModelStatus
from bot.store.tables import metadata

__all__ = [
    "ModelVersion",
    "Series",
    "add_model",
    "champion",
    "champion_mark",
    "horizons",
    "list_models",
    "model_named",
    "next_version",
    "of_series",
]

_models = metadata.tables["model_versions"]


class Series(NamedTuple):
    """Models that may take each other's place: of one kind, moment and horizon."""

    kind: str
    moment: str
    horizon_days: int


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One trained model, as the database knows it."""

    id: int
    name: str
    kind: str
    moment: str
    horizon_days: int
    version: int
    stage: str
    path: str
    sha256: str
    trained_as_of: datetime
    created_at: datetime
    metrics: Mapping[str, Any]
    manifest: Mapping[str, Any]
    status: ModelStatus

    @property
    def series(self) -> Series:
        """The models whose place it may take."""
        return Series(self.kind, self.moment, self.horizon_days)


# Asked for every single order, so it is made once.
_MARK = sa.select(_models.c.id, _models.c.sha256).where(
    *(_models.c[name] == sa.bindparam(name) for name in Series._fields),
    _models.c.status == ModelStatus.CHAMPION.value,
)


def next_version(connection: Connection, kind: str, moment: str, horizon_days: int) -> int:
    """Return the number that the next model of this kind, moment and horizon gets."""
    latest = connection.scalar(
        sa.select(sa.func.max(_models.c.version)).where(*of_series(Series(kind, moment, horizon_days)))
    )
    return int(latest or 0) + 1


def add_model(connection: Connection, model: ModelVersion) -> ModelVersion:
    """Store a model version as a challenger; its `id` and `status` are set here."""
    values = {name: getattr(model, name) for name in model.__dataclass_fields__ if name not in ("id", "status")}
    values["status"] = ModelStatus.CHALLENGER.value
    row = connection.execute(sa.insert(_models).values(**values).returning(_models)).one()
    return _version(row)


def champion(connection: Connection, kind: str, moment: str, horizon_days: int) -> ModelVersion | None:
    """Return the model that scores, None where none was promoted yet."""
    query = sa.select(_models).where(
        *of_series(Series(kind, moment, horizon_days)), _models.c.status == ModelStatus.CHAMPION.value
    )
    row = connection.execute(query).one_or_none()
    return _version(row) if row else None


def champion_mark(connection: Connection, series: Series) -> tuple[int, str] | None:
    """Return the id and the sha256 of the model that scores: what says, in no time, whether it is still the same one."""
    row = connection.execute(_MARK, series._asdict()).one_or_none()
    return None if row is None else (int(row.id), str(row.sha256))


def horizons(connection: Connection, kind: str, moment: str) -> list[int]:
    """Return the horizons for which there is a champion."""
    query = sa.select(_models.c.horizon_days).where(
        _models.c.kind == kind, _models.c.moment == moment, _models.c.status == ModelStatus.CHAMPION.value
    )
    return sorted(int(days) for days in connection.scalars(query))


def model_named(connection: Connection, name: str) -> ModelVersion | None:
    """Return the model of a name."""
    row = connection.execute(sa.select(_models).where(_models.c.name == name)).one_or_none()
    return _version(row) if row else None


def list_models(connection: Connection) -> list[ModelVersion]:
    """Return all models, the newest of each kind first."""
    order = (_models.c.kind, _models.c.moment, _models.c.horizon_days, _models.c.version.desc())
    return [_version(row) for row in connection.execute(sa.select(_models).order_by(*order))]


def of_series(series: Series) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions that choose the models of a series."""
    return tuple(_models.c[name] == value for name, value in zip(Series._fields, series, strict=True))


def _version(row: Any) -> ModelVersion:
    values = dict(row._mapping)
    values["status"] = ModelStatus(values["status"])
    values["metrics"] = values["metrics"] or {}
    values["manifest"] = values["manifest"] or {}
    return ModelVersion(**values)
