"""Why a prediction is high: plain sentences, each with its effect on the probability.

One method for every stage: a group of features that belong to one fact is set to its typical values, and the
subject is predicted again; the effect is the difference. For a linear model this is its exact contribution, for
trees it is fast (a batch prediction a group), always consistent with the model that is used, and shares no
credit among features that say the same thing. It says what the model looks at, not what causes trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from predictors.model import TrainedModel

Row = Mapping[str, Any]
# Effects below one point of probability are not worth a reader's time.
MIN_EFFECT = 0.01
MAX_REASONS = 3


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One plain sentence for why a prediction is high, with its effect on the probability."""

    feature: str
    text: str
    effect: float


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Features that belong to one fact, and how to say it."""

    name: str
    features: tuple[str, ...]
    text: Callable[[Row], str]


def _percent(row: Row, name: str) -> str:
    value = row.get(name)
    return "unknown" if value is None else f"{100 * value:.0f} %"


def counted(number: float, noun: str) -> str:
    """Write a number with its noun: `1 seller`, `3 sellers`."""
    return f"{number:.0f} {noun}" if round(number) == 1 else f"{number:.0f} {noun}s"


def _several(row: Row, name: str, noun: str) -> str:
    value = row.get(name)
    return f"an unknown number of {noun}s" if value is None else counted(value, noun)


def _days(row: Row, name: str) -> str:
    value = row.get(name)
    if value is None:
        return "an unknown number of days"
    rounded = f"{abs(value):.0f}" if abs(value) >= 3 else f"{abs(value):.1f}"
    return f"{rounded} {'day' if rounded in ('1', '1.0') else 'days'}"


def _experience(row: Row, name: str) -> str:
    orders = row.get(f"{name}_orders_log")
    return "" if orders is None else f", on {counted(2.718281828459045**orders - 1, 'order')}"


def _arrival(row: Row) -> str:
    if row.get("not_delivered"):
        return (
            f"The parcel had not arrived by the end of the promised day, {_days(row, 'elapsed_days')} after the order"
        )
    early = row.get("days_early")
    promise = (
        ""
        if early is None
        else f", {_days(row, 'days_early')} {'before' if early >= 0 else 'after'} the promise ran out"
    )
    return f"The parcel arrived {_days(row, 'elapsed_days')} after the order{promise}"


def _handover(row: Row) -> str:
    if row.get("shipped") == 0:
        return "The parcel has not been handed to the carrier"
    late = row.get("handover_late_days")
    if late is None:
        return f"The parcel was handed to the carrier after {_days(row, 'handover_days')}"
    return f"The parcel was handed to the carrier {_days(row, 'handover_late_days')} {'later' if late > 0 else 'earlier'} than agreed"


FACTS: tuple[Fact, ...] = (
    Fact(name="arrival", text=_arrival, features=(
        "not_delivered", "elapsed_days", "days_early", "transit_days", "elapsed_against_usual_days", "exceptions",
    )),
    Fact(name="handover", text=_handover, features=(
        "shipped", "handover_days", "handover_late_days", "handover_against_usual_days",
    )),
    Fact(name="complaints", features=("complaints",), text=lambda r: f"The customer has already written {_several(r, 'complaints', 'time')} about this order"),
    Fact(name="payment", features=("paid", "paid_hours", "payment_type", "installments"), text=lambda r: f"The order was paid by {r.get('payment_type') or 'an unknown way'}" + ("" if r.get("paid_hours") is None else f" after {r['paid_hours']:.0f} hours")),
    Fact(name="basket", features=("lines", "items", "sellers", "weight_log", "volume_log"), text=lambda r: f"The order has {_several(r, 'items', 'item')} from {_several(r, 'sellers', 'seller')}"),
    Fact(name="price", features=("value_log", "shipping_log", "shipping_share"), text=lambda r: f"Shipping is {_percent(r, 'shipping_share')} of what was paid"),
    Fact(name="product_page", features=("photos", "description_length"), text=lambda r: f"The product page shows {_several(r, 'photos', 'photo')}"),
    Fact(name="promise", features=("promise_days", "promise_margin_days", "ship_by_days"), text=lambda r: f"Delivery was promised within {_days(r, 'promise_days')}; this route usually takes {_days(r, 'route_delivery_days')}"),
    Fact(name="seller", features=("seller_bad_rate", "seller_recent_bad_rate", "seller_trouble_rate", "seller_ratings_log", "seller_orders_log"), text=lambda r: f"{_percent(r, 'seller_bad_rate')} of this seller's ratings are bad{_experience(r, 'seller')}"),
    Fact(name="seller_pace", features=("seller_late_rate", "seller_recent_late_rate", "seller_delivery_days", "seller_overdue_days", "seller_handover_days", "seller_backlog_log", "seller_recent_orders_log"), text=lambda r: f"This seller hands parcels over after {_days(r, 'seller_handover_days')} and is late on {_percent(r, 'seller_late_rate')}{_experience(r, 'seller')}"),
    Fact(name="product", features=("product_bad_rate", "product_trouble_rate", "product_late_rate", "product_ratings_log", "product_orders_log"), text=lambda r: f"{_percent(r, 'product_bad_rate')} of this product's ratings are bad{_experience(r, 'product')}"),
    Fact(name="category", features=("category_bad_rate", "category_trouble_rate", "category_late_rate", "category_delivery_days", "category_handover_days", "category_ratings_log", "category_orders_log"), text=lambda r: f"{_percent(r, 'category_bad_rate')} of the ratings in this category are bad"),
    Fact(name="route", features=("route_bad_rate", "route_recent_bad_rate", "route_late_rate", "route_recent_late_rate", "route_delivery_days", "route_overdue_days", "route_ratings_log", "route_orders_log", "route_backlog_log", "route_recent_orders_log"), text=lambda r: f"Lately {_percent(r, 'route_recent_late_rate')} of the parcels on this route were late"),
    Fact(name="region", features=("region_bad_rate", "region_recent_bad_rate", "region_late_rate", "region_recent_late_rate", "region_delivery_days", "region_overdue_days", "region_ratings_log", "region_orders_log"), text=lambda r: f"Lately {_percent(r, 'region_recent_late_rate')} of the parcels into this region were late"),
    Fact(name="buyer", features=("buyer_bad_rate", "buyer_trouble_rate", "buyer_ratings_log", "buyer_orders_log"), text=lambda r: "This customer's earlier orders went " + ("badly" if (r.get("buyer_bad_rate") or 0) > 0.2 else "as others do")),
    Fact(name="time", features=("weekday", "hour"), text=lambda r: "The order was placed at a time of the week when more goes wrong"),
)  # fmt: skip


def explain(
    model: TrainedModel, frame: pl.DataFrame, probabilities: Sequence[float], facts: Sequence[Fact] = FACTS
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
    effects: list[tuple[Fact, list[float]]] = []
    for fact in facts:
        used = [name for name in fact.features if name in model.features]
        if not used or not frame.height:
            continue
        typical = frame.with_columns(
            pl.lit(model.reference.get(name)).cast(frame.schema[name]).alias(name) for name in used
        )
        without = model.probabilities(typical)
        effects.append((fact, [float(p) - float(q) for p, q in zip(probabilities, without, strict=True)]))
    reasons: list[list[Reason]] = []
    for index, row in enumerate(frame.iter_rows(named=True)):
        found = sorted(
            ((values[index], fact) for fact, values in effects if values[index] >= MIN_EFFECT),
            key=lambda pair: -pair[0],
        )
        reasons.append(
            [
                Reason(feature=fact.name, text=fact.text(row), effect=round(effect, 4))
                for effect, fact in found[:MAX_REASONS]
            ]
        )
    return reasons
