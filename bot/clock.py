"""Where Aftercare reads the time. Everything due is due by this clock, never by the database's `now()`.

Real time stays real where the outside world counts it: signatures, TLS, Retry-After, tick intervals.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from bot.errors import ConfigurationError, NaiveTimeError


class Clock(Protocol):
    """Anything that can say what time it is."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class StartedClock:
    """A clock set to an instant when the process starts, which then runs on."""

    def __init__(self, start: datetime, *, system: Clock | None = None) -> None:
        self._system = system or SystemClock()
        self._offset = as_utc(start) - self._system.now()

    def now(self) -> datetime:
        return self._system.now() + self._offset


class FileClock:
    """A clock kept in a file: the instant in it, running on since the file was last written.

    It is read again at every reading, so that all processes agree and a test moves time by rewriting it.
    """

    def __init__(self, path: Path, *, system: Clock | None = None) -> None:
        self._path = path
        self._system = system or SystemClock()
        self._last: datetime | None = None
        self.now()  # a missing or broken file is an error at the start, not at the first tick

    def now(self) -> datetime:
        try:
            modified = datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
            start = parse_instant(self._path.read_text(encoding="utf-8").strip())
        except (OSError, ValueError) as error:
            # A writer that truncates before it writes leaves the file empty for a moment.
            if self._last is not None:
                return self._last
            advice = (
                f"the clock file {self._path} must hold one ISO 8601 instant such as 2018-04-01T06:00:00Z ({error})"
            )
            raise ConfigurationError([("AFTERCARE_NOW", advice)]) from error
        self._last = start + max(self._system.now() - modified, timedelta(0))
        return self._last


class ManualClock:
    """A clock that stands still until it is told otherwise; for tests and simulations."""

    def __init__(self, start: datetime) -> None:
        self._now = as_utc(start)

    def now(self) -> datetime:
        return self._now

    def set(self, instant: datetime) -> None:
        self._now = as_utc(instant)

    def advance(self, step: timedelta) -> None:
        self._now += step


def clock_from(setting: str | None) -> Clock:
    """Choose the clock that `AFTERCARE_NOW` asks for.

    Parameters
    ----------
    setting : str or None
        `None` or empty: system time; `@FILE`: a file clock; else an ISO 8601 instant.
    """
    if not setting:
        return SystemClock()
    if setting.startswith("@"):
        return FileClock(Path(setting[1:]))
    try:
        return StartedClock(parse_instant(setting))
    except ValueError as error:
        advice = f"{setting!r} is no ISO 8601 instant; write 2018-04-01T06:00:00Z or @FILE"
        raise ConfigurationError([("AFTERCARE_NOW", advice)]) from error


def clock_from_environment() -> Clock:
    """Return the clock that this process's environment asks for."""
    return clock_from(os.environ.get("AFTERCARE_NOW"))


def as_utc(value: datetime) -> datetime:
    """Return an aware datetime in UTC; a naive one is an error."""
    if value.tzinfo is None:
        raise NaiveTimeError(value)
    return value.astimezone(UTC)


def parse_instant(text: str, zone: ZoneInfo | None = None) -> datetime:
    """Read an ISO 8601 time; a naive one is taken in `zone` (UTC where none is given).

    Ambiguous local times take the first reading (`fold=0`), nonexistent ones shift forward, because the
    offset before the gap is applied. A bare date is midnight.

    Raises
    ------
    ValueError
        The text is no ISO 8601 time.
    """
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        value = value.replace(tzinfo=zone or UTC)
    return value.astimezone(UTC)


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which a local date begins, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """Return the calendar date that an instant falls on in a zone."""
    return as_utc(instant).astimezone(zone).date()
