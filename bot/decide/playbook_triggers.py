"""When a playbook begins: the event that it counts from, and at which instants of a customer's time it comes round.

Which events there are to be found of a customer is `bot.store.triggers`' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

__all__ = ["CUSTOMER_EVENTS", "RECORDED", "Trigger", "TriggerEvent", "occurrence", "reach", "yearly"]

# An event that comes round again is looked for so often at most.
MOST_ROUNDS = 24


class TriggerEvent(StrEnum):
    """The instant that a playbook counts from."""

    PLACED = "placed"  # the order was placed
    PROMISED = "promised"  # the end of the promised day
    DELIVERED = "delivered"  # the order was delivered
    LATE_DELIVERY = "late_delivery"  # the order was delivered after the promised day
    LAST_ORDER = "last_order"  # the customer's latest order
    FIRST_ORDER = "first_order"  # the day of the year on which the customer first ordered
    BIRTHDAY = "birthday"  # the customer's own day, from the attribute `birthday` (YYYY-MM-DD or MM-DD)
    REPLENISHMENT = "replenishment"  # the day by which what was ordered is usually ordered again
    PAID = "paid"
    SHIPPED = "shipped"
    OUT_FOR_DELIVERY = "out_for_delivery"
    EXCEPTION = "exception"
    CANCELLED = "cancelled"
    TICKET_OPENED = "ticket_opened"
    TICKET_CLOSED = "ticket_closed"
    COMPLAINT = "complaint"
    RETURN_REQUESTED = "return_requested"
    RETURNED = "returned"
    REFUNDED = "refunded"
    REVIEW = "review"
    CSAT = "csat"
    NPS = "nps"
    GOAL = "goal"
    ACTIVATED = "activated"
    USED = "used"
    REPLY = "reply"


_E = TriggerEvent
# About the customer as a whole, not about one order.
CUSTOMER_EVENTS = frozenset({_E.LAST_ORDER, _E.FIRST_ORDER, _E.BIRTHDAY})
# Those that are touchpoints of the same name.
RECORDED = frozenset(_E) - CUSTOMER_EVENTS - {_E.PLACED, _E.PROMISED, _E.LATE_DELIVERY, _E.REPLENISHMENT}


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """When: from `after` the event (negative: before it) until `within` it.

    Attributes
    ----------
    without : frozenset of str
        Kinds of touchpoint none of which may have happened since the event: 'nothing happened by'.
    every : timedelta or None
        It comes round again each time so much has passed since the event.
    days : float or None
        With REPLENISHMENT, for a product whose usual interval is not known.
    value_at_least, value_at_most : float or None
        With an event that bears a value, such as a review: only those.
    """

    event: TriggerEvent
    after: timedelta
    within: timedelta
    without: frozenset[str] = frozenset()
    every: timedelta | None = None
    days: float | None = None
    value_at_least: float | None = None
    value_at_most: float | None = None


def reach(trigger: Trigger, now: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """Return in which spans an event must lie for its window to be open now: after the first, up to the second instant."""
    once = (now - trigger.within, now - trigger.after)
    if trigger.every is None:
        return (once,)
    return tuple((once[0] - trigger.every * turn, once[1] - trigger.every * turn) for turn in range(1, MOST_ROUNDS + 1))


def occurrence(trigger: Trigger, event_at: datetime, now: datetime) -> datetime:
    """Return the instant that counts now: of an event that comes round, the turn whose window is open, else the next."""
    if trigger.every is None:
        return event_at
    turn = max((now - trigger.after - event_at) // trigger.every, 1)
    return event_at + trigger.every * turn


def yearly(day: date, trigger: Trigger, now: datetime, zone: tzinfo) -> datetime | None:
    """Return the midnight in `zone` at which a day of the year comes round and whose window is open now; None: none is.

    Who was born on 29 February has the 1 March of other years.
    """
    for year in range(now.year - 1, now.year + 2):
        try:
            there = day.replace(year=year)
        except ValueError:
            there = date(year, 3, 1)
        at = datetime.combine(there, time(0), tzinfo=zone).astimezone(UTC)
        if there.year > day.year and at + trigger.after <= now < at + trigger.within:
            return at
    return None
