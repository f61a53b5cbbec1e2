"""Where a customer stands after buying: one Stage, read off what is known by an instant.

The first of these rules that holds decides; each looks at nothing that was known later than `now`.

1. `at_risk`: a ticket, complaint or return is open; the parcel of the current order met an exception and has not moved
   since, or its promise is broken (both for `unclosed` at most, then nobody is waiting any more); the latest rating was bad
   and is younger than `word_days`; a prediction raised an alarm; or all that was ever ordered was cancelled or returned.
2. `awaiting`: nothing was ordered yet, or the current order has not come.
3. `advocate`: the latest rating was the best there is and is younger than `advocate_days`.
4. `using`: the customer used or activated something since the current order came, or it came `settling_days` ago.
5. `setting_up`: the customer looked around or named a goal since then, or it came `received_days` ago.
6. `received`: it has just come.

The current order is the latest that was neither cancelled nor returned. What names no order is about the current one.
Reading touchpoints is the store's business, and what is done about a stage the playbooks'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bot.decide.open_issues import UNCLOSED, open_issues

__all__ = ["STAGE_KINDS", "Bounds", "Happening", "Position", "Purchase", "Stage", "position", "stage"]


class Stage(StrEnum):
    """Where a customer stands, in the order in which it goes well; being at risk can come at any time."""

    AWAITING = "awaiting"  # the order has not come yet
    RECEIVED = "received"  # it has just come
    SETTING_UP = "setting_up"  # it is there, and not known to be in use
    USING = "using"  # it is in use
    AT_RISK = "at_risk"  # something went wrong or is about to
    ADVOCATE = "advocate"  # the customer said that it could not be better


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """An order.

    Attributes
    ----------
    due_at : datetime
        When it should have come: the end of the promised day, or what the shop takes for it.
    """

    id: int
    placed_at: datetime
    due_at: datetime


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One touchpoint, without its words; `recorded_at` None: known when it happened."""

    kind: str
    occurred_at: datetime
    order_id: int | None = None
    value: float | None = None
    recorded_at: datetime | None = None

    @property
    def known_at(self) -> datetime:
        """From when on it may be looked at."""
        return self.occurred_at if self.recorded_at is None else max(self.occurred_at, self.recorded_at)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How long things count, in days.

    Attributes
    ----------
    received_days : int
        An order that came so long ago is being set up.
    settling_days : int
        An order that came so long ago without trouble is taken to be in use: most shops record no use.
    word_days, advocate_days : int
        How long a bad rating, or the best one, says where the customer stands.
    """

    received_days: int = 3
    settling_days: int = 30
    word_days: int = 90
    advocate_days: int = 365


@dataclass(frozen=True, kw_only=True)
class Position:
    """A stage, and since when the customer has stood there without a break; None: nothing is known of them."""

    stage: Stage
    since: datetime | None


# The ratings: up to which value one is bad, and from which on it is the best there is.
_RATINGS = {"review": (2.0, 5.0), "csat": (2.0, 5.0), "nps": (6.0, 9.0)}
_USE = frozenset({"activated", "used"})
_LOOKING_AROUND = frozenset({"goal", "page_view"})
_ISSUES = frozenset({"ticket_opened", "ticket_closed", "complaint", "return_requested", "returned", "refunded"})
_HANDLING = frozenset({"exception", "out_for_delivery", "delivered", "cancelled"})
# The kinds of touchpoint that any rule reads; the others need not be handed over.
STAGE_KINDS = frozenset(_RATINGS) | _USE | _LOOKING_AROUND | _ISSUES | _HANDLING
_STANDARD = Bounds()


def stage(
    events: Iterable[Happening],
    now: datetime,
    *,
    orders: Iterable[Purchase],
    alarmed_at: datetime | None = None,
    deliveries_recorded: bool = True,
    bounds: Bounds = _STANDARD,
) -> Stage:
    """Return where a customer stands at `now`.

    Parameters
    ----------
    events, orders : iterable of Happening, of Purchase
        The customer's, in any order; those known after `now` are not looked at.
    alarmed_at : datetime, optional
        Since when a prediction that is still in force says that trouble, or leaving, is probable.
    deliveries_recorded : bool
        Whether the shop records deliveries at all; if not, an order counts as come when it is due.
    """
    seen = _known(events)
    return _stage(seen, now, _placed(orders), alarmed_at, deliveries_recorded, bounds)


def position(
    events: Iterable[Happening],
    now: datetime,
    *,
    orders: Iterable[Purchase],
    alarmed_at: datetime | None = None,
    deliveries_recorded: bool = True,
    bounds: Bounds = _STANDARD,
) -> Position:
    """Return where a customer stands at `now`, and since when; the parameters are those of `stage`."""
    seen, bought = _known(events), _placed(orders)

    def at(instant: datetime) -> Stage:
        return _stage(seen, instant, bought, alarmed_at, deliveries_recorded, bounds)

    found, since = at(now), None
    # Between two of these instants nothing becomes known and nothing gets too old, so no rule can change its mind.
    for instant in _turns(seen, bought, alarmed_at, bounds, now):
        if at(instant) is not found:
            return Position(stage=found, since=since)
        since = instant
    return Position(stage=found, since=since)


def _known(events: Iterable[Happening]) -> list[Happening]:
    # One order among the same instants, so that it does not matter in which they were handed over.
    return sorted(
        events, key=lambda one: (one.occurred_at, one.known_at, one.kind, one.order_id or -1, one.value or 0.0)
    )


def _placed(orders: Iterable[Purchase]) -> list[Purchase]:
    return sorted(orders, key=lambda one: (one.placed_at, one.id))


def _turns(
    events: Sequence[Happening],
    orders: Sequence[Purchase],
    alarmed_at: datetime | None,
    bounds: Bounds,
    now: datetime,
) -> list[datetime]:
    """Return the instants up to `now` at which a rule may change its mind, the latest first."""
    begins = {one.known_at for one in events} | {one.occurred_at for one in events}
    begins |= {instant for one in orders for instant in (one.placed_at, one.due_at, one.due_at + UNCLOSED)}
    if alarmed_at is not None:
        begins.add(alarmed_at)
    lengths = [timedelta(0), UNCLOSED]
    lengths += [
        timedelta(days=days)
        for days in (bounds.received_days, bounds.settling_days, bounds.word_days, bounds.advocate_days)
    ]
    # Before anything is known there is no customer who could stand anywhere.
    known = [*(one.placed_at for one in orders), *(one.known_at for one in events)]
    first = min([*known, *([] if alarmed_at is None else [alarmed_at])], default=now)
    found = {begin + length for begin in begins for length in lengths}
    return sorted((one for one in found if first <= one <= now), reverse=True)


def _stage(
    events: Sequence[Happening],
    now: datetime,
    orders: Sequence[Purchase],
    alarmed_at: datetime | None,
    deliveries_recorded: bool,
    bounds: Bounds,
) -> Stage:
    seen = [one for one in events if one.known_at <= now]
    bought = [one for one in orders if one.placed_at <= now]
    over = {one.order_id for one in seen if one.kind in ("cancelled", "returned") and one.order_id is not None}
    current = next((one for one in reversed(bought) if one.id not in over), None)
    about = [one for one in seen if current is not None and one.order_id in (None, current.id)]
    came_at = None if current is None else _came_at(current, about, now, deliveries_recorded)
    word = next((one for one in reversed(seen) if _rates(one)), None)
    if (
        open_issues(seen, now)
        or (alarmed_at is not None and alarmed_at <= now)
        or (word is not None and _is_bad(word) and word.occurred_at + timedelta(days=bounds.word_days) > now)
        or (bool(bought) and current is None)
        or (current is not None and came_at is None and (current.due_at <= now or _is_stuck(current, about, now)))
    ):
        return Stage.AT_RISK
    if came_at is None:
        return Stage.AWAITING
    if word is not None and _is_best(word) and word.occurred_at + timedelta(days=bounds.advocate_days) > now:
        return Stage.ADVOCATE
    since = {one.kind for one in about if one.occurred_at >= came_at}
    if since & _USE or came_at + timedelta(days=bounds.settling_days) <= now:
        return Stage.USING
    if since & _LOOKING_AROUND or came_at + timedelta(days=bounds.received_days) <= now:
        return Stage.SETTING_UP
    return Stage.RECEIVED


def _came_at(
    current: Purchase, about: Iterable[Happening], now: datetime, deliveries_recorded: bool
) -> datetime | None:
    """Return when an order came, None where it has not."""
    delivered = (one.occurred_at for one in about if one.kind == "delivered" and one.occurred_at >= current.placed_at)
    first = next(delivered, None)
    if first is not None:
        return first
    # Nobody waits in silence for ever: what is overdue for so long came without being recorded.
    silent = timedelta(0) if not deliveries_recorded else UNCLOSED
    return current.due_at if current.due_at + silent <= now else None


def _is_stuck(current: Purchase, about: Iterable[Happening], now: datetime) -> bool:
    """Say whether the parcel last met an exception, and not too long ago."""
    moves = [
        one for one in about if one.kind in ("exception", "out_for_delivery") and one.occurred_at >= current.placed_at
    ]
    return bool(moves) and moves[-1].kind == "exception" and moves[-1].occurred_at + UNCLOSED > now


def _rates(one: Happening) -> bool:
    return one.kind in _RATINGS and one.value is not None


def _is_bad(word: Happening) -> bool:
    return word.value is not None and word.value <= _RATINGS[word.kind][0]


def _is_best(word: Happening) -> bool:
    return word.value is not None and word.value >= _RATINGS[word.kind][1]
