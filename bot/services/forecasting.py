"""Between scoring and planning: predictions as the planner wants them, stored or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from bot.services.scoring import Scorer
from bot.store.planning import Forecast

__all__ = ["rescoring_by"]


def rescoring_by(scorer: Scorer) -> Callable[[str, datetime, bool], Sequence[Forecast]]:
    """Return what a planner calls to predict everything recent of a kind now."""

    def rescore(kind: str, as_of: datetime, save: bool) -> Sequence[Forecast]:
        return [
            Forecast(
                prediction_id=one.prediction_id,
                kind=one.kind,
                moment=one.moment,
                customer_id=one.customer_id,
                order_id=one.order_id,
                as_of=one.as_of,
                probability=one.probability,
                band=one.band,
                reasons=tuple(one.reason_rows),
            )
            for one in scorer.score(kind, as_of=as_of, save=save)
        ]

    return rescore
