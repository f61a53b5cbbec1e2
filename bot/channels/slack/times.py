"""Times to snooze until: those a modal offers, and those somebody writes behind a command, in the agent's own zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from bot.errors import InputError

__all__ = ["WHEN", "read_time", "snooze_times"]

# A day begins when people are at work.
MORNING = time(9)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SPAN = re.compile(r"(\d{1,3})\s*(m|min|minutes?|h|hours?|d|days?)")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2}))?")
WHEN = "`30m`, `1h`, `2d`, `14:30`, `tomorrow`, `tomorrow 14:30` or `monday`"


def snooze_times(now: datetime, zone: ZoneInfo, expires_at: datetime) -> list[tuple[str, datetime]]:
    """Return (label, UTC instant) of the times offered."""
    local = now.astimezone(zone)

    def morning(days: int) -> datetime:
        return datetime.combine(local.date() + timedelta(days=days), time(9), tzinfo=zone).astimezone(UTC)

    monday = 7 - local.weekday()
    offered = [
        ("In an hour", now + timedelta(hours=1)),
        ("In three hours", now + timedelta(hours=3)),
        ("Tomorrow at 09:00", morning(1)),
        ("In two days at 09:00", morning(2)),
        ("Next Monday at 09:00", morning(monday)),
    ]
    found: dict[datetime, str] = {}
    for label, instant in offered:
        if instant < expires_at:
            found.setdefault(instant, label)
    return [(label, instant) for instant, label in sorted(found.items())]


def read_time(words: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant that somebody means by `1h`, `tomorrow`, `monday 14:30` or `14:30`; by nothing, an hour.

    A time of day that is over today is tomorrow's; a day without a time begins at nine.

    Raises
    ------
    InputError
        The words are no time; it says which are.
    """
    said = " ".join(words.lower().removeprefix("for ").removeprefix("until ").split())
    if not said:
        return now + timedelta(hours=1)
    if span := _SPAN.fullmatch(said):
        unit = {"m": "minutes", "h": "hours", "d": "days"}[span[2][0]]
        if unit != "days":
            return now + timedelta(**{unit: int(span[1])})
        return _at(now.astimezone(zone).date() + timedelta(days=int(span[1])), MORNING, zone)
    first, _, rest = said.partition(" ")
    today = now.astimezone(zone).date()
    day = _day(first, today)
    at = _time_of_day(rest if day is not None else said)
    if (day is None and at is None) or (rest and day is not None and at is None):
        raise InputError(f"“{words}” is no time that I know; write {WHEN}")
    if day is not None:
        return _at(day, at or MORNING, zone)
    assert at is not None
    wanted = _at(today, at, zone)
    return wanted if wanted > now else _at(today + timedelta(days=1), at, zone)


def _day(word: str, today: date) -> date | None:
    if word == "tomorrow":
        return today + timedelta(days=1)
    found = next((at for at, name in enumerate(_DAYS) if word in (name, name[:3])), None)
    return None if found is None else today + timedelta(days=(found - today.weekday() - 1) % 7 + 1)


def _time_of_day(words: str) -> time | None:
    found = _CLOCK.fullmatch(words.removeprefix("at ").strip())
    if found is None or int(found[1]) > 23 or int(found[2] or 0) > 59:
        return None
    return time(int(found[1]), int(found[2] or 0))


def _at(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
