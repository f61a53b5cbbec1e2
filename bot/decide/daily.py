"""When the daily round is due: once per local date, at a local time of day, whatever the clock does.

Zones come in as arguments; remembering what was done is `bot.services.daily`'s business.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, tzinfo

__all__ = ["date_due", "due_at"]


def due_at(day: date, at: time, zone: tzinfo) -> datetime:
    """Return the instant at which the round of a local date is due, in UTC.

    A local time that comes twice means the first; one that never comes shifts forward by the gap, unless that
    would leave the date: then it shifts back.
    """
    wall = datetime.combine(day, at, tzinfo=zone)
    first, second = (wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    return first if first.astimezone(zone).date() == day else second


def date_due(now: datetime, at: time, zone: tzinfo) -> date | None:
    """Return the local date whose round is due by `now`, None before its time of day.

    What was missed on an earlier date is not made up for: yesterday's check-in is of no use today.
    """
    today = now.astimezone(zone).date()
    return today if due_at(today, at, zone) <= now else None
