"""Playbooks that no prediction is asked for: to whom what they count from has happened, as the planner wants it.

Found range by range, by indexed queries; what the audience and the policy make of each is
`bot.services.planning.audience`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from bot.clock import local_date
from bot.config import Settings
from bot.decide.playbook import EVENT, Band, Playbook
from bot.decide.playbook_triggers import RECORDED, Trigger, TriggerEvent, occurrence, yearly
from bot.services.review.cards import customer_zone
from bot.store.database import Connection
from bot.store.planning import Forecast
from bot.store.shop import customers_by_id
from bot.store.triggers import Occasion, People, birthdays, occasions, replenishments, usual_intervals

__all__ = ["UNPREDICTED", "Occasions", "counts_since"]

# Ranks a check-in that no prediction speaks for: behind those with a medium risk, and before those with hardly any.
UNPREDICTED = 0.1
_E = TriggerEvent
_BIRTHDAY = re.compile(r"(?:(\d{4})-|--)?(\d{2})-(\d{2})")
_SAID = {
    _E.PLACED: "The order was placed",
    _E.PROMISED: "The promised day ends",
    _E.LATE_DELIVERY: "The parcel arrived after the promised day,",
    _E.DELIVERED: "The parcel arrived",
    _E.LAST_ORDER: "The latest order was placed",
    _E.FIRST_ORDER: "The day of the first order comes round",
    _E.BIRTHDAY: "Their birthday is",
    _E.REPLENISHMENT: "What was ordered is usually ordered again",
    _E.TICKET_CLOSED: "A ticket was closed",
    _E.RETURN_REQUESTED: "A return was asked for",
    _E.RETURNED: "A return arrived",
    _E.REFUNDED: "Money was paid back",
    _E.REVIEW: "They wrote a review",
    _E.NPS: "They said how gladly they would recommend the shop",
    _E.ACTIVATED: "They put it to use",
}


class Occasions:
    """Finds what playbooks count from, by the shop's settings.

    Parameters
    ----------
    settings : Settings
        The zone of the shop stands in where a customer's own is unknown.
    """

    def __init__(self, settings: Settings) -> None:
        self._zone = settings.shop.zone
        self._intervals: tuple[str, dict[int, float]] | None = None

    def of(self, connection: Connection, playbook: Playbook, people: People, now: datetime) -> list[Forecast]:
        """Return whom the trigger of a playbook means now, with what happened in place of a prediction."""
        trigger = playbook.trigger
        match trigger.event:
            case TriggerEvent.BIRTHDAY:
                return self._birthdays(connection, trigger, people, now)
            case TriggerEvent.FIRST_ORDER:
                found = occasions(connection, trigger, people, now)
                return self._anniversaries(connection, trigger, found, now)
            case TriggerEvent.REPLENISHMENT:
                return [
                    _forecast(trigger, one, one.event_at + timedelta(days=one.days or 0), one.event_at, now)
                    for one in replenishments(connection, trigger, self._usual(connection, now), people, now)
                ]
        found = occasions(connection, trigger, people, now)
        return [_forecast(trigger, one, occurrence(trigger, one.event_at, now), one.event_at, now) for one in found]

    def _usual(self, connection: Connection, now: datetime) -> dict[int, float]:
        day = local_date(now, self._zone).isoformat()
        if self._intervals is None or self._intervals[0] != day:
            self._intervals = (day, usual_intervals(connection, now))
        return self._intervals[1]

    def _birthdays(self, connection: Connection, trigger: Trigger, people: People, now: datetime) -> list[Forecast]:
        found: list[Forecast] = []
        dates = {one: day for one, said in birthdays(connection, people).items() if (day := _day(said)) is not None}
        # A zone moves a day by one at most: only those are read whose day is near.
        near = {one: day for one, day in dates.items() if self._near(day, trigger, now)}
        people_near = customers_by_id(connection, near)
        for one, day in sorted(near.items()):
            zone = customer_zone(people_near[one].timezone, self._zone) if one in people_near else self._zone
            if (at := yearly(day, trigger, now, zone)) is not None:
                occasion = Occasion(customer_id=one, order_id=None, event_at=at)
                found.append(_forecast(trigger, occasion, at, at, now))
        return found

    def _anniversaries(
        self, connection: Connection, trigger: Trigger, found: Sequence[Occasion], now: datetime
    ) -> list[Forecast]:
        people = customers_by_id(connection, {one.customer_id for one in found})
        forecasts: list[Forecast] = []
        for one in found:
            zone = customer_zone(people[one.customer_id].timezone, self._zone)
            if (at := yearly(local_date(one.event_at, zone), trigger, now, zone)) is not None:
                forecasts.append(_forecast(trigger, one, at, at, now))
        return forecasts

    def _near(self, day: date, trigger: Trigger, now: datetime) -> bool:
        return any(
            yearly(day, trigger, now + shift, ZoneInfo("UTC")) is not None
            for shift in (timedelta(days=-1), timedelta(0), timedelta(days=1))
        )


def _forecast(trigger: Trigger, one: Occasion, at: datetime, event_at: datetime, now: datetime) -> Forecast:
    # What comes round asks what happened since it did so last.
    since = max(event_at, at - trigger.every) if trigger.every is not None else event_at
    return Forecast(
        prediction_id=None,
        kind=EVENT,
        moment="",
        customer_id=one.customer_id,
        order_id=one.order_id,
        as_of=at,
        probability=UNPREDICTED,
        band=Band.LOW.value,
        reasons=({"feature": EVENT, "text": _reason(trigger, at, now), "effect": None},),
        since=since,
    )


def _reason(trigger: Trigger, at: datetime, now: datetime) -> str:
    said = _SAID.get(trigger.event, f"There was a touchpoint {trigger.event.value.replace('_', ' ')}")
    days = round(abs(now - at) / timedelta(days=1))
    near = "today" if days == 0 else f"{days} {'day' if days == 1 else 'days'}"
    when = near if days == 0 else f"{near} ago" if at <= now else f"in {near}"
    turn = ", and it comes round again" if trigger.every is not None else ""
    return f"{said} {when}{turn}."


def _day(said: str) -> date | None:
    """Read `1980-05-17`, `05-17` or `--05-17`; None where it is no day."""
    found = _BIRTHDAY.match(str(said).strip())
    if found is None:
        return None
    try:
        # A leap year, so that 29 February can be kept.
        return date(int(found[1] or 1904), int(found[2]), int(found[3]))
    except ValueError:
        return None


def counts_since(playbook: Playbook, forecast: Forecast, placed_at: datetime | None) -> datetime:
    """Return from when on what happened counts for a playbook that an event begins."""
    if playbook.trigger.event in RECORDED or playbook.trigger.event is _E.LATE_DELIVERY or placed_at is None:
        return forecast.since or forecast.as_of
    return placed_at if playbook.per_order and playbook.trigger.every is None else forecast.since or forecast.as_of
