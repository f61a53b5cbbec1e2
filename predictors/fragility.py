"""How much a prediction hangs on small things: each subject is predicted again under a table of small shocks.

This is the sensitivity of the model, never a statement about causes. A shock moves all features that hang together, so
that no shocked row is one that could not be. A shock can only move what is a feature: there is none here for a slow
reply or a missed step of a setup, because no model looks at either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
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
    text: str


def _parcel_later(days: float) -> dict[str, pl.Expr]:
    """Later by some days: what would pass the end of the promised day becomes 'not delivered' at that end.

    At the due moment nothing later than the promise's end can be seen, so waiting stops there; a parcel that had not
    arrived by then stays as it is.
    """
    early = pl.col("days_early")
    waited = _waited(days)
    late = (early < days) & early.is_not_null()
    return {
        "not_delivered": pl.when(late).then(1.0).otherwise(pl.col("not_delivered")),
        "elapsed_days": pl.col("elapsed_days") + waited,
        "days_early": pl.max_horizontal(early - days, pl.min_horizontal(early, pl.lit(0.0))),
        "transit_days": pl.col("transit_days") + waited,
        "elapsed_against_usual_days": pl.col("elapsed_against_usual_days") + waited,
    }


def _handed_over_later(days: float) -> dict[str, pl.Expr]:
    """Handed over later by some days, and therefore delivered later by as many.

    What would be handed over only after the moment was not handed over by then, and has no days of its own yet.
    """
    still = pl.col("handover_days") + days <= pl.col("elapsed_days") + _waited(days)
    moved = {
        "handover_days": pl.col("handover_days") + days,
        "handover_late_days": pl.col("handover_late_days") + days,
        "handover_against_usual_days": pl.col("handover_against_usual_days") + days,
        # The parcel travels as long as before, but what is not seen to arrive is seen to travel for less.
        "transit_days": pl.col("transit_days") + _waited(days) - days,
    }
    return {
        **_parcel_later(days),
        **{name: pl.when(still).then(value) for name, value in moved.items()},
        "shipped": pl.when(still | pl.col("handover_days").is_null()).then(pl.col("shipped")).otherwise(0.0),
    }


def _waited(days: float) -> pl.Expr:
    return pl.min_horizontal(pl.lit(days), pl.col("days_early").clip(0)).fill_null(days)


def _promised_sooner(days: float) -> dict[str, pl.Expr]:
    # No promise lies before the order.
    shortened = pl.min_horizontal(pl.lit(days), pl.col("promise_days").clip(0))
    return {
        "promise_days": pl.col("promise_days") - shortened,
        "promise_margin_days": pl.col("promise_margin_days") - shortened,
        "promise_slack_days": pl.col("promise_slack_days") - shortened,
        "promise_slack_spreads": pl.col("promise_slack_spreads") - shortened / pl.col("route_transit_spread_days"),
    }


def _busier(name: str) -> dict[str, pl.Expr]:
    """Twice the orders waiting; never more than were placed lately, as `predictors.histories` counts them."""
    waiting, placed = (pl.col(f"{name}_{what}_log").exp() - 1 for what in ("backlog", "recent_orders"))
    doubled = pl.max_horizontal(pl.min_horizontal(2 * waiting, placed), waiting)
    return {f"{name}_backlog_log": doubled.log1p()}


SHOCKS: Mapping[Moment, tuple[Shock, ...]] = {
    Moment.PLACED: (
        Shock(name="promise two days shorter", changes=_promised_sooner(2.0)),
        Shock(name="seller's backlog doubled", changes=_busier("seller")),
        Shock(name="ten points more parcels late on the route", changes={
            "route_recent_late_rate": (pl.col("route_recent_late_rate") + 0.1).clip(0, 1),
            "region_recent_late_rate": (pl.col("region_recent_late_rate") + 0.1).clip(0, 1),
        }),
    ),
    Moment.DUE: (
        Shock(name="parcel two days later", changes=_parcel_later(2.0)),
        Shock(name="parcel five days later", changes=_parcel_later(5.0)),
        Shock(name="handed over two days later", changes=_handed_over_later(2.0)),
    ),
}  # fmt: skip


def fragilities(
    model: TrainedModel, frame: pl.DataFrame, probabilities: Array, shocks: Sequence[Shock] | None = None
) -> list[Fragility]:
    """Return the fragility of each row; shocks that touch no feature of the model are left out."""
    table = SHOCKS.get(Moment(model.moment), ()) if shocks is None else shocks
    told = [
        shock
        for shock in table
        if set(shock.changes) & set(model.features) and set(shock.changes) <= set(frame.columns)
    ]
    if not told or not frame.height:
        return [Fragility(level="low", shocks=(), text="") for _ in range(frame.height)]
    shocked = np.stack([model.probabilities(shaken(frame, shock)) for shock in told])
    farthest = np.abs(shocked - probabilities).max(axis=0)
    return [
        Fragility(
            level="low" if move < LOW_BELOW else "medium" if move < MEDIUM_BELOW else "high",
            shocks=tuple((shock.name, round(float(p), 6)) for shock, p in zip(told, moved, strict=True)),
            text=_sentence(float(before), told, moved),
        )
        for before, move, moved in zip(probabilities, farthest, shocked.T, strict=True)
    ]


def shaken(frame: pl.DataFrame, shock: Shock) -> pl.DataFrame:
    """Return the rows as they would be after a shock."""
    return frame.with_columns(value.alias(name) for name, value in shock.changes.items())


def _sentence(before: float, shocks: Sequence[Shock], moved: Array) -> str:
    """Say the shock that raises the prediction most; none does: that it stays."""
    worst = int(np.argmax(moved))
    if moved[worst] - before < 0.01:
        return f"{100 * before:.0f} % now; no small shock raises it"
    return f"{100 * before:.0f} % now; {shocks[worst].name}: {100 * moved[worst]:.0f} %"
