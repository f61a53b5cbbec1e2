"""Why a prediction is high: plain sentences, each with its effect on the probability.

One method for every stage: a group of features that belong to one fact is set to its typical values, and the
subject is predicted again; the effect is the difference. For a linear model this is its exact contribution, for
trees it is fast (a batch prediction a group), always consistent with the model that is used, and shares no
credit among features that say the same thing. It says what the model looks at, not what causes trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from predictors import sentences
from predictors.frames import Array
from predictors.model import TrainedModel
from predictors.sentences import Row, counted

__all__ = ["FACTS", "MAX_REASONS", "MIN_EFFECT", "Fact", "Reason", "Row", "clearing", "counted", "explain"]

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


def explain(
    model: TrainedModel, frame: pl.DataFrame, probabilities: Sequence[float] | Array, facts: Sequence[Fact] = FACTS
) -> list[list[Reason]]:
    """Return the strongest reasons that raise each prediction, strongest first.

    Parameters
    ----------
    model : TrainedModel
    frame : polars.DataFrame
        The features of the subjects, one row each.
    probabilities : sequence of float
        What the model predicts for these rows.
    facts : sequence of Fact
        The table of feature texts.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    told = [fact for fact in facts if any(name in model.features for name in fact.features)]
    if not told or not frame.height:
        return [[] for _ in range(frame.height)]
    without = np.stack([without_fact(model, frame, p, fact) for fact in told])
    effects = p - without
    # Ties keep the order of the table.
    strongest = np.argsort(-effects, axis=0, kind="stable")[:MAX_REASONS]
    return [
        [
            Reason(
                feature=told[k].name,
                text=told[k].text(row),
                effect=round(float(effects[k, index]), 4),
                without=float(without[k, index]),
            )
            for k in strongest[:, index]
            if effects[k, index] >= MIN_EFFECT
        ]
        for index, row in enumerate(frame.iter_rows(named=True))
    ]


def clearing(reasons: Sequence[Reason], threshold: float) -> Reason | None:
    """Return the one fact that would clear a flag: were it typical, the prediction would lie below the threshold.

    Of all facts it is the one whose typical value lowers the prediction furthest, hence the first reason, or none.
    """
    return reasons[0] if reasons and reasons[0].without < threshold else None


def without_fact(model: TrainedModel, frame: pl.DataFrame, p: Array, fact: Fact) -> Array:
    """Predict with one fact at its typical values, (n,); rows where it is typical already keep their prediction."""
    used = [name for name in fact.features if name in model.features]
    typical = [pl.lit(model.reference.get(name)).cast(frame.schema[name]).alias(name) for name in used]
    unusual = frame.select(
        pl.any_horizontal(pl.col(name).ne_missing(value) for name, value in zip(used, typical, strict=True)).alias("_")
    )["_"]
    result = p.copy()
    if unusual.any():
        result[unusual.to_numpy()] = model.probabilities(frame.filter(unusual).with_columns(typical))
    return result
