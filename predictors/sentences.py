"""The words of reasons: true of the row they are said of, in plain English, with no number that is not known.

Rates of sellers, products and routes are shrunk towards the shop's own (`predictors.histories`), so they are expectations
and are said as such; only counts are said as counts. Which features belong to which sentence is the table
`predictors.explain.FACTS`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_HISTORIES = {"seller": "this seller", "product": "this product", "category": "this category", "route": "this route",
              "region": "this region", "buyer": "this customer"}  # fmt: skip


def counted(number: float, noun: str) -> str:
    """Write a number with its noun: `1 seller`, `3 sellers`."""
    return f"{number:.0f} {noun}" if round(number) == 1 else f"{number:.0f} {noun}s"


def days(number: float) -> str:
    """Write a length of time, to a tenth of a day where that says something."""
    size = abs(number)
    text = f"{size:.0f}" if size >= 3 else f"{size:.1f}".removesuffix(".0")
    return f"{text} {'day' if text == '1' else 'days'}"


def percent(share: float) -> str:
    """Write a share as a whole percentage; what is not nothing is not written as nothing."""
    return "less than 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def arrival(row: Row) -> str:
    """Say when the parcel came, or that it had not come when it was due."""
    since = _after(row, "elapsed_days", " after the order")
    if row.get("not_delivered"):
        return (
            f"The parcel had not arrived by the end of the promised day{',' + since if since else ''}{_troubles(row)}"
        )
    if row.get("not_delivered") is None and row.get("days_early") is None:
        return (
            f"The parcel had not arrived{since}{_troubles(row)}"
            if since
            else f"The parcel is under way{_troubles(row)}"
        )
    early = row.get("days_early")
    promise = ""
    if early is not None:
        promise = f", {days(early)} {'before' if early >= 0 else 'after'} the promise ran out"
    return f"The parcel arrived{since}{promise}{_troubles(row)}"


def _troubles(row: Row) -> str:
    number = row.get("exceptions") or 0
    return f"; the carrier reported trouble {_times(number)}" if number else ""


def handover(row: Row) -> str:
    """Say when the parcel was handed to the carrier, against what was agreed."""
    if row.get("shipped") == 0:
        return "The parcel has not been handed to the carrier"
    late = row.get("handover_late_days")
    if late is None:
        return f"The parcel was handed to the carrier{_after(row, 'handover_days', ' after the order')}"
    if abs(late) < 0.05:
        return "The parcel was handed to the carrier just when it was agreed"
    return f"The parcel was handed to the carrier {days(late)} {'later' if late > 0 else 'earlier'} than agreed"


def complaints(row: Row) -> str:
    """Say how often the customer has written about this order."""
    number = row.get("complaints") or 0
    return f"The customer has {f'already complained {_times(number)}' if number else 'not complained'} about this order"


def payment(row: Row) -> str:
    """Say how and when the order was paid."""
    if row.get("paid") == 0:
        return "No payment has been recorded for this order"
    way, parts = row.get("payment_type"), row.get("installments") or 0
    how = "" if way in (None, "unknown") else f" by {str(way).replace('_', ' ')}"
    rates = f" in {parts:.0f} instalments" if parts > 1 else ""
    hours = row.get("paid_hours")
    when = (
        ""
        if hours is None
        else f" {counted(hours, 'hour')} after it was placed"
        if hours >= 1
        else " as soon as it was placed"
    )
    if not how + rates + when:
        return "How this order is paid is not recorded"
    return f"The order {'was' if row.get('paid') else 'is'} paid{how}{rates}{when}"


def basket(row: Row) -> str:
    """Say how much was bought, from how many sellers."""
    items, sellers, weight = row.get("items"), row.get("sellers"), math.expm1(row.get("weight_log") or 0.0)
    if items is None:
        return "What this order holds is not recorded"
    by = "" if not sellers else f" from {counted(sellers, 'seller')}"
    # Weights that are not known count as nothing, so nothing is not known.
    heavy = "" if weight < 50 else f", {weight / 1000:.1f} kg in all"
    return f"The order has {counted(items, 'item')}{by}{heavy}"


def price(row: Row) -> str:
    """Say what part of the price is shipping."""
    share = row.get("shipping_share")
    if share is None:
        return "What was paid for shipping is not recorded"
    return f"Shipping is {percent(share)} of what was paid"


def product_page(row: Row) -> str:
    """Say how much the product page shows."""
    photos, length = row.get("photos"), row.get("description_length")
    shown = [] if photos is None else [counted(photos, "photo")]
    shown += [] if length is None else [f"{counted(length, 'character')} of description"]
    return f"The product page has {' and '.join(shown)}" if shown else "Nothing is recorded of the product page"


def promise(row: Row) -> str:
    """Say when delivery was promised, and what is usual."""
    promised, usual = row.get("promise_days"), row.get("route_delivery_days")
    said = "No delivery date was promised" if promised is None else f"Delivery was promised within {days(promised)}"
    return said if usual is None else f"{said}; on this route about {days(usual)} are expected"


def ratings(row: Row, history: str) -> str:
    """Say how many bad ratings are to be expected, and how much stands behind that."""
    name = _HISTORIES[history]
    rate, known = row.get(f"{history}_bad_rate"), row.get(f"{history}_ratings_log")
    if rate is None:
        return f"Nothing is known yet of the ratings of {name}"
    return f"About {percent(rate)} of the ratings of {name} are expected to be bad{_behind(known, 'rating')}"


def pace(row: Row) -> str:
    """Say how soon the seller hands parcels over, and how many come late."""
    parts = []
    if (handed := row.get("seller_handover_days")) is not None:
        parts.append(f"hand parcels over after about {days(handed)}")
    if (late := row.get("seller_late_rate")) is not None:
        parts.append(f"be late with about {percent(late)} of them")
    if not parts:
        return "Nothing is known yet of this seller's pace"
    return f"This seller is expected to {' and to '.join(parts)}{_behind(row.get('seller_orders_log'), 'order')}"


def lateness(row: Row, history: str) -> str:
    """Say how many parcels are to be expected late on a route or into a region, judging by the last weeks."""
    way = {"route": "on this route", "region": "into this region"}[history]
    rate = row.get(f"{history}_recent_late_rate")
    if rate is None:
        return f"Nothing is known yet of parcels {way}"
    return f"Judging by the last 30 days, about {percent(rate)} of the parcels {way} come late"


def buyer(row: Row) -> str:
    """Say whether the customer is new, or what their earlier ratings let expect."""
    before = row.get("buyer_orders_log")
    if before is None:
        return "Nothing is known of this customer's earlier orders"
    orders = math.expm1(before)
    if round(orders) == 0:
        return "This is the customer's first order"
    rate = row.get("buyer_bad_rate")
    expected = "" if rate is None else f"; about {percent(rate)} of the ratings are expected to be bad"
    return f"The customer has ordered {_times(orders)} before{expected}"


def purchases(row: Row) -> str:
    """Say when a customer bought last, and how often in how long."""
    often, known, quiet = row.get("frequency"), row.get("age_weeks"), row.get("quiet_weeks")
    if often is None:
        return "No purchase is on record"
    bought = counted(often + 1, "purchase")
    last = "" if quiet is None else "Last bought " + (f"{counted(quiet, 'week')} ago" if round(quiet) else "this week")
    since = bought if known is None or round(known) == 0 else f"{bought} in {counted(known, 'week')}"
    return f"{last}, {since}" if last else f"Made {since}"


def spend(row: Row) -> str:
    """Say what a customer's purchases are worth, in the shop's currency."""
    mean, last = row.get("order_value_log"), row.get("last_value_log")
    if mean is None:
        return "What this customer's purchases were worth is not recorded"
    latest = "" if last is None else f", the last one {math.expm1(last):.2f}"
    return f"A purchase of this customer is worth {math.expm1(mean):.2f} on average{latest}"


def experience(row: Row) -> str:
    """Say how often a customer had trouble, and how often they rated."""
    trouble, rated = row.get("issues"), row.get("ratings")
    if not trouble:
        return "No trouble is on record" + ("" if not rated else f", with {counted(rated, 'rating')}")
    return f"Had trouble or gave a bad rating {_times(trouble)}" + (
        "" if not rated else f", with {counted(rated, 'rating')}"
    )


def placed_at(row: Row) -> str:
    """Say on which day of the week and at what hour the order was placed."""
    day, hour = row.get("weekday"), row.get("hour")
    on = "" if day is None else f" on a {_WEEKDAYS[int(day) - 1]}"
    at = "" if hour is None else f" at about {hour:.0f}:00 UTC"
    return f"The order was placed{on}{at}" if on or at else "When the order was placed is not recorded"


def _after(row: Row, name: str, what: str) -> str:
    number = row.get(name)
    return "" if number is None else f" {days(number)}{what}"


def _behind(logarithm: float | None, noun: str) -> str:
    """Say how many observations an expectation rests on; the feature holds log(1 + count)."""
    if logarithm is None:
        return ""
    number = math.expm1(logarithm)
    return " (none so far: as in the whole shop)" if round(number) == 0 else f" ({counted(number, noun)} so far)"


def _times(number: float) -> str:
    return {1: "once", 2: "twice"}.get(round(number), f"{number:.0f} times")
