"""How much a prediction hangs on small things: each subject is predicted again under a table of small shocks.

This is the sensitivity of the model, never a statement about causes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from predictors.frames import Array
from predictors.model import TrainedModel
from predictors.moments import Moment

# The largest move of the probability under any shock: below the first it is low, below the second medium.
LOW_BELOW, MEDIUM_BELOW = 0.05, 0.15


@dataclass(frozen=True, kw_only=True)
class Shock:
    """A small change of what happened, as new values of features."""

    name: str
    changes: Mapping[str, pl.Expr]


@dataclass(frozen=True, kw_only=True)
class Fragility:
    """How far the shocks move one prediction."""

    level: str
    shocks: tuple[tuple[str, float], ...]


def _parcel_later(days: float) -> dict[str, pl.Expr]:
    """Later by some days: what would pass the end of the promised day becomes 'not delivered' at that end.

    At the due moment nothing later than the promise's end can be seen, so waiting stops there.
    """
    early = pl.col("days_early")
    waited = pl.min_horizontal(pl.lit(days), early.clip(0)).fill_null(days)
    late = (early < days) & early.is_not_null()
    return {
        "not_delivered": pl.when(late).then(1.0).otherwise(pl.col("not_delivered")),
        "elapsed_days": pl.col("elapsed_days") + waited,
        "days_early": pl.max_horizontal(early - days, pl.min_horizontal(early, pl.lit(0.0))),
        "transit_days": pl.col("transit_days") + waited,
        "elapsed_against_usual_days": pl.col("elapsed_against_usual_days") + waited,
    }


def _busier(name: str) -> dict[str, pl.Expr]:
    return {f"{name}_backlog_log": (pl.col(f"{name}_backlog_log").exp() * 2 - 1).log()}


SHOCKS: Mapping[Moment, tuple[Shock, ...]] = {
    Moment.PLACED: (
        Shock(name="promise two days shorter", changes={
            "promise_days": pl.col("promise_days") - 2, "promise_margin_days": pl.col("promise_margin_days") - 2,
        }),
        Shock(name="seller's backlog doubled", changes=_busier("seller")),
        Shock(name="ten points more parcels late on the route", changes={
            "route_recent_late_rate": (pl.col("route_recent_late_rate") + 0.1).clip(0, 1),
            "region_recent_late_rate": (pl.col("region_recent_late_rate") + 0.1).clip(0, 1),
        }),
    ),
    Moment.DUE: (
        Shock(name="parcel two days later", changes=_parcel_later(2.0)),
        Shock(name="parcel five days later", changes=_parcel_later(5.0)),
        Shock(name="handed over two days later", changes={
            "handover_days": pl.col("handover_days") + 2, "handover_late_days": pl.col("handover_late_days") + 2,
            "handover_against_usual_days": pl.col("handover_against_usual_days") + 2,
        }),
    ),
}  # fmt: skip


def fragilities(
    model: TrainedModel, frame: pl.DataFrame, probabilities: Array, shocks: Sequence[Shock] | None = None
) -> list[Fragility]:
    """Return the fragility of each row; shocks that touch no feature of the model are left out."""
    table = SHOCKS.get(Moment(model.moment), ()) if shocks is None else shocks
    shocked: list[tuple[str, Array]] = []
    for shock in table:
        if (
            not frame.height
            or not set(shock.changes) & set(model.features)
            or not set(shock.changes) <= set(frame.columns)
        ):
            continue
        changed = frame.with_columns(value.alias(name) for name, value in shock.changes.items())
        shocked.append((shock.name, model.probabilities(changed)))
    result: list[Fragility] = []
    for index in range(frame.height):
        moves = tuple((name, round(float(p[index]), 6)) for name, p in shocked)
        farthest = max((abs(p - float(probabilities[index])) for _, p in moves), default=0.0)
        level = "low" if farthest < LOW_BELOW else "medium" if farthest < MEDIUM_BELOW else "high"
        result.append(Fragility(level=level, shocks=moves))
    return result
