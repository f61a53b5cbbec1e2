"""How much a prediction hangs on small things: each subject is predicted again under a table of small shocks.

This is the sensitivity of the model, never a statement about causes. A shock moves all features that hang together, so
that no shocked row is one that could not be. A shock can only move what is a feature: there is none here for a slow
reply or a missed step of a setup, because no model looks at either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from predictors.frames import Array
from predictors.lazy_rows import LazyRows
from predictors.model import TrainedModel
from predictors.moments import Moment
from predictors.rescoring import Predicted, predicted

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


class Fragilities(LazyRows[Fragility]):
    """The fragility of each row; kept as columns, since most are only stored.

    Attributes
    ----------
    names : tuple of str
        The shocks that were told.
    before : array, (n,)
        Probabilities without a shock.
    shocked : array, (shocks, n)
        Probabilities under each.
    """

    def __init__(self, names: tuple[str, ...], before: Array, shocked: Array) -> None:
        self.names = names
        self.before = before
        self.shocked = shocked

    def __len__(self) -> int:
        return len(self.before)

    def row(self, index: int) -> Fragility:
        moved = (of_shock[index] for of_shock in self.rounded)
        return Fragility(
            level=self.levels[index], shocks=tuple(zip(self.names, moved, strict=True)), text=self.texts[index]
        )

    @cached_property
    def levels(self) -> list[str]:
        """How far the shocks move each prediction at most: low, medium or high."""
        if not self.names:
            return ["low"] * len(self)
        farthest = np.abs(self.shocked - self.before).max(axis=0)
        place = np.searchsorted((LOW_BELOW, MEDIUM_BELOW), farthest, side="right")
        found: list[str] = np.array(["low", "medium", "high"], dtype=object)[place].tolist()
        return found

    @cached_property
    def rounded(self) -> list[list[float]]:
        """The probabilities under each shock as they are shown."""
        return [[round(p, 6) for p in of_shock] for of_shock in self.shocked.tolist()]

    @cached_property
    def texts(self) -> list[str]:
        """Say the shock that raises each prediction most; none does: that it stays."""
        if not self.names or not len(self):
            return [""] * len(self)
        worst = self.shocked.argmax(axis=0)
        after = self.shocked[worst, np.arange(len(self))]
        worst[after - self.before < 0.01] = -1
        # Only whole percentages are said, so that few sentences differ. Both rint and Python round halves to even.
        points = np.rint(100 * self.before), np.rint(100 * np.where(worst < 0, 0.0, after))
        said = np.column_stack([points[0], worst, points[1]]).astype(np.int64)
        distinct, which = np.unique(said, axis=0, return_inverse=True)
        sentences = np.array([self._sentence(*one) for one in distinct.tolist()], dtype=object)
        found: list[str] = sentences[which.ravel()].tolist()
        return found

    def _sentence(self, before: int, worst: int, after: int) -> str:
        if worst < 0:
            return f"{before} % now; no small shock raises it"
        return f"{before} % now; {self.names[worst]}: {after} %"


def fragilities(
    model: TrainedModel,
    frame: pl.DataFrame,
    probabilities: Array,
    shocks: Sequence[Shock] | None = None,
    again: Predicted | None = None,
) -> Fragilities:
    """Return the fragility of each row; shocks that touch no feature of the model are left out.

    Parameters
    ----------
    again : Predicted, optional
        The rows ready to be predicted again, where somebody has them already.
    """
    table = SHOCKS.get(Moment(model.moment), ()) if shocks is None else shocks
    known, features = set(frame.columns), set(model.features)
    told = [shock for shock in table if shock.changes.keys() & features and shock.changes.keys() <= known]
    if not told or not frame.height:
        return Fragilities((), probabilities, np.empty((0, frame.height)))
    again = again or predicted(model, frame, probabilities)
    # All shocks in one step.
    moved = frame.select(
        value.alias(f"{number} {name}") for number, shock in enumerate(told) for name, value in shock.changes.items()
    )
    cases = [{name: moved[f"{number} {name}"] for name in shock.changes} for number, shock in enumerate(told)]
    return Fragilities(tuple(shock.name for shock in told), probabilities, again.with_columns(cases))


def shaken(frame: pl.DataFrame, shock: Shock) -> pl.DataFrame:
    """Return the rows as they would be after a shock."""
    return frame.with_columns(_changed(shock))


def _changed(shock: Shock) -> list[pl.Expr]:
    return [value.alias(name) for name, value in shock.changes.items()]
