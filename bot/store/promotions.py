"""Who scores, and who scored before: promotions as a stack that only grows.

A promotion lies on top of the one that was on top when it came; a rollback puts the model below the top on top again,
over what lay below that. So rolling back can be repeated, down to the first. Two that act on the same top at the same
time cannot both succeed: the second finds another top than it saw, or the number taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store import audit
from bot.store.enums import ModelStatus, PromotionWay
from bot.store.models import ModelVersion, Series, of_series
from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = ["Promotion", "promote", "promotion_below", "promotions_of", "top_promotion"]

_models = metadata.tables["model_versions"]
_promotions = metadata.tables["promotions"]


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """One time that a model became champion; `below` is the number of the promotion that a rollback goes to."""

    number: int
    model_version_id: int
    model: str
    below: int | None
    way: PromotionWay
    actor: str
    reason: str
    recorded_at: datetime


def top_promotion(connection: Connection, series: Series) -> Promotion | None:
    """Return the promotion in force; None where nobody was promoted yet."""
    row = connection.execute(_select(series).order_by(_promotions.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else _promotion(row)


def promotion_below(connection: Connection, series: Series, top: Promotion) -> Promotion | None:
    """Return the promotion that a rollback from `top` goes to."""
    if top.below is None:
        return None
    row = connection.execute(_select(series).where(_promotions.c.number == top.below)).one_or_none()
    return None if row is None else _promotion(row)


def promotions_of(connection: Connection, series: Series) -> list[Promotion]:
    """Return all promotions, the newest first."""
    return [_promotion(row) for row in connection.execute(_select(series).order_by(_promotions.c.number.desc()))]


def promote(
    connection: Connection,
    model: ModelVersion,
    *,
    seen: Promotion | None,
    below: int | None,
    way: PromotionWay,
    actor: str,
    reason: str,
    now: datetime,
) -> bool:
    """Let a model score from now on, within a writing transaction; the one before is retired, and the audit told.

    Parameters
    ----------
    seen : Promotion or None
        The promotion in force when it was decided.
    below : int or None
        Where a rollback from here goes to.

    Returns
    -------
    bool
        False: another promotion is in force by now, and nothing was changed.
    """
    series = model.series
    top = top_promotion(connection, series)
    if (top and top.number) != (seen and seen.number):
        return False
    values = {
        "kind": model.kind,
        "moment": model.moment,
        "horizon_days": model.horizon_days,
        "number": (top.number if top else 0) + 1,
        "model_version_id": model.id,
        "below": below,
        "way": way.value,
        "actor": actor,
        "reason": reason,
        "recorded_at": now,
    }
    # On PostgreSQL somebody else may have inserted it since the look; then we waited for their commit here.
    if insert_once(connection, _promotions, values) is None:
        return False
    champion = (*of_series(series), _models.c.status == ModelStatus.CHAMPION.value)
    connection.execute(sa.update(_models).where(*champion).values(status=ModelStatus.RETIRED.value))
    connection.execute(sa.update(_models).where(_models.c.id == model.id).values(status=ModelStatus.CHAMPION.value))
    audit.record(
        connection,
        at=now,
        actor=actor,
        action=f"model_{way.value}",
        entity="model",
        entity_id=model.name,
        detail={"reason": reason, "instead_of": top.model if top else None, "sha256": model.sha256},
    )
    return True


def _select(series: Series) -> sa.Select[Any]:
    mine = [_promotions.c[name] == value for name, value in zip(Series._fields, series, strict=True)]
    joined = _promotions.join(_models, _models.c.id == _promotions.c.model_version_id)
    return sa.select(_promotions, _models.c.name.label("model")).select_from(joined).where(*mine)


def _promotion(row: Any) -> Promotion:
    return Promotion(
        number=row.number,
        model_version_id=row.model_version_id,
        model=row.model,
        below=row.below,
        way=PromotionWay(row.way),
        actor=row.actor,
        reason=row.reason,
        recorded_at=row.recorded_at,
    )
