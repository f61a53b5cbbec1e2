"""The team's hours, by the shop's settings, and how a time is said to a customer."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bot.clock import local_date
from bot.config import Settings
from bot.decide.opening import Hours
from bot.services.conversation.order_news import spoken_day
from bot.services.review.wording import Wording

__all__ = ["TeamHours", "hours_of", "spoken_time"]

_WEEKDAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "de": ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
}
_A_WEEK = 7


def hours_of(settings: Settings) -> Hours:
    """Return when the team answers."""
    support = settings.support
    return Hours(zone=settings.shop.zone, week=support.hours.week, holidays=frozenset(support.holidays))


def spoken_time(instant: datetime, now: datetime, zone: ZoneInfo, locale: str) -> str:
    """Return a time as people say it: `today at 9:00`, `on Monday at 9:00`, `am Montag, 5. Januar, um 9:00 Uhr`."""
    german = locale.lower().startswith("de")
    wall = instant.astimezone(zone)
    clock = f"{wall.hour}:{wall.minute:02d}"
    days = (local_date(instant, zone) - local_date(now, zone)) // timedelta(days=1)
    weekday = _WEEKDAYS["de" if german else "en"][wall.weekday()]
    date = spoken_day(instant, zone, locale)
    if german:
        day = {0: "heute", 1: "morgen"}.get(days, f"am {weekday}" if days < _A_WEEK else f"am {weekday}, {date},")
        return f"{day} um {clock} Uhr"
    day = {0: "today", 1: "tomorrow"}.get(days, f"on {weekday}" if days < _A_WEEK else f"on {weekday}, {date},")
    return f"{day} at {clock}"


class TeamHours:
    """Says when the team is there."""

    def __init__(self, settings: Settings, wording: Wording) -> None:
        self._hours = hours_of(settings)
        self._wording = wording

    def closed(
        self, question: str, channel: str, urgent: bool, zone: ZoneInfo, locale: str | None, now: datetime
    ) -> str:
        """Return what stands below a hand-over while nobody is there; empty where somebody is, or no hours are told."""
        opens = self._hours.next_opening(now)
        if opens is None or opens == now:
            return ""
        back = spoken_time(opens, now, zone, self._wording.locale(question, locale))
        template = "out_of_hours_safety" if urgent else "out_of_hours"
        said = self._wording.say(template, question=question, locale=locale, channel=channel, values={"back": back})
        return f"\n\n{said}"
