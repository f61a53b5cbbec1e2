"""Why a prediction is high: plain sentences, each with its effect on the probability.

One method for every stage: a group of features that belong to one fact is set to its typical values, and the
subject is predicted again; the effect is the difference. For a linear model this is its exact contribution, for
trees it is fast (only trees that ask about the group change, `predictors.rescoring`), always consistent with the model that is used, and shares no
credit among features that say the same thing. It says what the model looks at, not what causes trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors import sentences
from predictors.frames import Array
from predictors.lazy_rows import LazyRows
from predictors.model import TrainedModel
from predictors.rescoring import Predicted, predicted
from predictors.sentences import Row, counted

__all__ = ["FACTS", "MAX_REASONS", "MIN_EFFECT", "Fact", "Reason", "Reasons", "Row", "clearing", "counted", "explain"]

Places = npt.NDArray[np.int8]

# Effects below one point of probability are not worth a reader's time.
MIN_EFFECT = 0.01
MAX_REASONS = 3


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One plain sentence for why a prediction is high, with its effect on the probability."""

    feature: str
    text: str
    effect: float  # on the probability
    # What the model predicts with this fact at its typical values.
    without: float


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Features that belong to one fact, and how to say it."""

    name: str
    features: tuple[str, ...]
    text: Callable[[Row], str]


FACTS: tuple[Fact, ...] = (
    Fact(name="arrival", text=sentences.arrival, features=(
        "not_delivered", "elapsed_days", "days_early", "transit_days", "elapsed_against_usual_days", "exceptions",
    )),
    Fact(name="handover", text=sentences.handover, features=(
        "shipped", "handover_days", "handover_late_days", "handover_against_usual_days",
    )),
    Fact(name="complaints", text=sentences.complaints, features=("complaints",)),
    Fact(name="payment", text=sentences.payment, features=("paid", "paid_hours", "payment_type", "installments")),
    Fact(name="basket", text=sentences.basket, features=("lines", "items", "sellers", "weight_log", "volume_log")),
    Fact(name="price", text=sentences.price, features=("value_log", "shipping_log", "shipping_share")),
    Fact(name="product_page", text=sentences.product_page, features=("photos", "description_length")),
    Fact(name="promise", text=sentences.promise, features=("promise_days", "promise_margin_days", "promise_slack_days", "promise_slack_spreads", "ship_by_days")),
    Fact(name="seller", text=lambda r: sentences.ratings(r, "seller"), features=("seller_bad_rate", "seller_bad_beyond_late", "seller_stars", "seller_recent_bad_rate", "seller_trouble_rate", "seller_ratings_log", "seller_orders_log")),
    Fact(name="seller_pace", text=sentences.pace, features=("seller_late_rate", "seller_fading_late_rate", "seller_fading_handover_days", "seller_fading_overdue_days", "seller_recent_late_rate", "seller_delivery_days", "seller_overdue_days", "seller_handover_days", "seller_backlog_log", "seller_recent_orders_log")),
    Fact(name="product", text=lambda r: sentences.ratings(r, "product"), features=("product_bad_rate", "product_bad_beyond_late", "product_stars", "product_trouble_rate", "product_late_rate", "product_ratings_log", "product_orders_log")),
    Fact(name="category", text=lambda r: sentences.ratings(r, "category"), features=("category_bad_rate", "category_bad_beyond_late", "category_stars", "category_fading_late_rate", "category_trouble_rate", "category_late_rate", "category_delivery_days", "category_handover_days", "category_ratings_log", "category_orders_log")),
    Fact(name="route", text=lambda r: sentences.lateness(r, "route"), features=("route_bad_rate", "route_bad_beyond_late", "route_stars", "route_fading_late_rate", "route_fading_overdue_days", "route_fading_transit_days", "route_transit_spread_days", "origin_bad_rate", "origin_bad_beyond_late", "origin_stars", "origin_fading_late_rate", "origin_ratings_log", "origin_orders_log", "route_recent_bad_rate", "route_late_rate", "route_recent_late_rate", "route_delivery_days", "route_overdue_days", "route_ratings_log", "route_orders_log", "route_backlog_log", "route_recent_orders_log")),
    Fact(name="region", text=lambda r: sentences.lateness(r, "region"), features=("region_bad_rate", "region_bad_beyond_late", "region_stars", "region_fading_late_rate", "region_recent_bad_rate", "region_late_rate", "region_recent_late_rate", "region_delivery_days", "region_overdue_days", "region_ratings_log", "region_orders_log")),
    Fact(name="buyer", text=sentences.buyer, features=("buyer_bad_rate", "buyer_trouble_rate", "buyer_ratings_log", "buyer_orders_log")),
    Fact(name="time", text=sentences.placed_at, features=("weekday", "hour")),
)  # fmt: skip


class Reasons(LazyRows[list[Reason]]):
    """The strongest reasons of each row, strongest first; kept as columns, since most are only stored.

    Attributes
    ----------
    chosen : array of int, (places, n)
        Which fact each place tells of; -1: there is no further reason.
    effects, without : array, (places, n)
    """

    def __init__(self, frame: pl.DataFrame, facts: Sequence[Fact], chosen: Places, effects: Array, without: Array):
        self.chosen = chosen
        self.effects = effects
        self.without = without
        self._frame = frame
        self._facts = facts

    def __len__(self) -> int:
        return self._frame.height

    def row(self, index: int) -> list[Reason]:
        return [
            Reason(feature=fact, text=texts[index], effect=effects[index], without=float(self.without[place, index]))
            for place, (texts, effects) in enumerate(zip(self.texts, self.rounded_effects, strict=True))
            if (fact := self.name(place, index)) is not None
        ]

    def name(self, place: int, index: int) -> str | None:
        """Return the name of the fact that a row's place tells of."""
        number = int(self.chosen[place, index])
        return None if number < 0 else self._facts[number].name

    @property
    def names(self) -> list[list[str | None]]:
        """The name of the fact in each place of each row."""
        known = np.array([*(fact.name for fact in self._facts), None], dtype=object)
        return [known[of_place].tolist() for of_place in self.chosen]

    @cached_property
    def rounded_effects(self) -> list[list[float]]:
        """The effects as they are shown, to a hundredth of a point."""
        return [[round(effect, 4) for effect in of_place] for of_place in self.effects.tolist()]

    @cached_property
    def texts(self) -> list[list[str]]:
        """The sentence in each place of each row; nothing where there is no reason."""
        found = np.full(self.chosen.shape, "", dtype=object)
        for number, fact in enumerate(self._facts):
            places, rows = np.nonzero(self.chosen == number)
            if len(rows):
                view = _RowView(self._frame, rows)
                found[places, rows] = [fact.text(view.at(index)) for index in range(len(rows))]
        return [of_place.tolist() for of_place in found]


class _RowView(Mapping[str, Any]):
    """One of some rows of a frame at a time; a column is only read out once something asks for it."""

    def __init__(self, frame: pl.DataFrame, rows: npt.NDArray[np.intp]) -> None:
        self._frame = frame
        self._rows = pl.Series(rows)
        self._columns: dict[str, list[Any] | None] = {}
        self._index = 0

    def at(self, index: int) -> _RowView:
        self._index = index
        return self

    def get(self, name: str, default: Any = None) -> Any:
        try:
            column = self._columns[name]
        except KeyError:
            known = name in self._frame.columns
            column = self._columns[name] = self._frame[name].gather(self._rows).to_list() if known else None
        return default if column is None else column[self._index]

    def __getitem__(self, name: str) -> Any:
        if name not in self._frame.columns:
            raise KeyError(name)
        return self.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._frame.columns)

    def __len__(self) -> int:
        return self._frame.width


def explain(
    model: TrainedModel,
    frame: pl.DataFrame,
    probabilities: Sequence[float] | Array,
    facts: Sequence[Fact] = FACTS,
    again: Predicted | None = None,
) -> Reasons:
    """Find the strongest reasons that raise each prediction.

    Parameters
    ----------
    model : TrainedModel
    frame : polars.DataFrame
        The features of the subjects, one row each.
    probabilities : sequence of float
        What the model predicts for these rows.
    facts : sequence of Fact
        The table of feature texts.
    again : Predicted, optional
        The rows ready to be predicted again, where somebody has them already.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    features = set(model.features)
    told = [fact for fact in facts if not features.isdisjoint(fact.features)]
    places = min(MAX_REASONS, len(told)) if frame.height else 0
    chosen = np.full((places, frame.height), -1, dtype=np.int8)
    strongest, left = np.zeros(chosen.shape), np.zeros(chosen.shape)
    if places:
        again = again or predicted(model, frame, p)
        without = again.with_values([typical_values(model, fact) for fact in told])
        effects = p - without
        rows = np.arange(frame.height)
        for place in range(places):
            best = effects.argmax(axis=0)  # of equals the first of the table
            strongest[place], left[place] = effects[best, rows], without[best, rows]
            chosen[place] = np.where(strongest[place] >= MIN_EFFECT, best, -1)
            effects[best, rows] = -np.inf
    return Reasons(frame, told, chosen, strongest, left)


def clearing(reasons: Sequence[Reason], threshold: float) -> Reason | None:
    """Return the one fact that would clear a flag: were it typical, the prediction would lie below the threshold.

    Of all facts it is the one whose typical value lowers the prediction furthest, hence the first reason, or none.
    """
    return reasons[0] if reasons and reasons[0].without < threshold else None


def without_fact(model: TrainedModel, frame: pl.DataFrame, p: Array, fact: Fact) -> Array:
    """Predict with one fact at its typical values, (n,); rows where it is typical already keep their prediction."""
    result: Array = predicted(model, frame, p).with_values([typical_values(model, fact)])[0]
    return result


def typical_values(model: TrainedModel, fact: Fact) -> dict[str, float | str | None]:
    """Return the features of a fact that the model takes, at their typical values."""
    return {name: model.reference.get(name) for name in fact.features if name in model.features}
