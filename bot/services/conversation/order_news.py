"""What we know about a customer's own order, as values for the words that say it.

Only orders of the customer given are ever looked at; who that customer is must have been authenticated by the
channel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bot.clock import local_date
from bot.store.database import Connection
from bot.store.shop import Order, Touchpoint, orders_of, touchpoints_of

__all__ = ["OrderNews", "order_news", "says_not_received"]

# No word from the carrier for so long is worth saying.
QUIET = timedelta(days=2)
# So long past the promise a human looks for the parcel, as the shipped article on late parcels says.
OVERDUE = timedelta(days=3)
# An order from so long ago is not what somebody asks about who names none.
RECENT = timedelta(days=120)
# So many orders are told at once to somebody who names none.
MOST = 3
_ENDED = {"delivered", "cancelled", "returned", "refunded"}
_NOT_THERE = re.compile(
    r"(?i)\b(?:never|not|nothing|(?:has|have|had|did|was|is)n['’]?t)\s+(?:\w+\s+){0,2}?"
    r"(?:got|get|received?|arrived?|came|come|here|there|delivered)\b|\bnowhere\b"
    r"|\b(?:nie|nicht|nichts)\s+(?:\w+\s+){0,2}?(?:angekommen|erhalten|bekommen|gekommen|da|zugestellt)\b"
)
_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
}


@dataclass(frozen=True, kw_only=True)
class OrderNews:
    """The state of one order.

    Attributes
    ----------
    values : dict
        For the template `order_status`.
    overdue : bool
        Neither delivered nor cancelled, and long past its promise: a human should look for it.
    delivered : bool
        Recorded as delivered.
    """

    order_id: int
    values: dict[str, str | None]
    overdue: bool
    delivered: bool


def order_news(
    connection: Connection, customer_id: int, text: str, *, now: datetime, zone: ZoneInfo, locale: str
) -> tuple[OrderNews, ...]:
    """Return the news of the orders that a customer means: the one named, else those still on their way, else the newest.

    Empty where the customer has no such order; naming an order of somebody else is no different from naming none
    that exists. Of many on their way, the newest three, oldest first.
    """
    orders = [order for order in orders_of(connection, customer_id, now) if order.recorded_at <= now]
    known = {order.external_id.casefold(): order for order in orders}
    named = [token for token in re.findall(r"[\w-]+", text.casefold()[:4_000]) if token in known]
    points = touchpoints_of(connection, customer_id, now)
    if named:
        meant = [known[named[0]]]
    elif _names_another(text):
        return ()
    else:
        recent = [order for order in orders if now - order.placed_at <= RECENT]
        waiting = [order for order in recent if not _ENDED & {p.kind for p in points if p.order_id == order.id}]
        meant = waiting[-MOST:] or recent[-1:]
    return tuple(_news(one, [p for p in points if p.order_id == one.id], now, zone, locale) for one in meant)


def says_not_received(text: str) -> bool:
    """Return whether somebody says that a parcel is not there, whatever was recorded about it."""
    return _NOT_THERE.search(text[:4_000]) is not None


def spoken_day(instant: datetime, zone: ZoneInfo, locale: str) -> str:
    """Return a day as people say it: `3 May`, `3. Mai`."""
    day = local_date(instant, zone)
    language = "de" if locale.lower().startswith("de") else "en"
    month = _MONTHS[language].split()[day.month - 1]
    return f"{day.day}. {month}" if language == "de" else f"{day.day} {month}"


def _names_another(text: str) -> bool:
    """Say whether a text names an order by number: then only that order may be meant."""
    return bool(
        re.search(
            r"(?i)\b(?:order|bestellung|bestellnummer)\W{0,3}(?:no\W|nr\W|number|nummer|id)?\W{0,3}\w*\d{3,}", text
        )
    )


def _news(order: Order, points: list[Touchpoint], now: datetime, zone: ZoneInfo, locale: str) -> OrderNews:
    last: dict[str, datetime] = {}
    for point in points:
        last[point.kind] = point.occurred_at

    def day(kind: str) -> str | None:
        return spoken_day(last[kind], zone, locale) if kind in last else None

    moved = max((last[kind] for kind in ("shipped", "exception") if kind in last), default=None)
    ended = bool(_ENDED & set(last))
    return OrderNews(
        order_id=order.id,
        values={
            "order_id": order.external_id,
            "placed_on": spoken_day(order.placed_at, zone, locale),
            "shipped_on": day("shipped"),
            "out_on": day("out_for_delivery"),
            "delivered_on": day("delivered"),
            "exception_on": day("exception"),
            "cancelled_on": day("cancelled"),
            "promised_on": spoken_day(order.promised_at, zone, locale) if order.promised_at else None,
            "quiet": "yes" if moved is not None and now - moved >= QUIET else None,
        },
        delivered="delivered" in last,
        overdue=not ended and order.promised_at is not None and now - order.promised_at >= OVERDUE,
    )
