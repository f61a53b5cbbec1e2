"""The daily round is due exactly once per local date, in every zone and at every change of its clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from bot.decide.daily import date_due, due_at

TIMES = (time(0, 0), time(0, 30), time(1, 30), time(2, 30), time(8, 0), time(23, 30))
HALF_HOUR = timedelta(minutes=30)


def changes(zone: ZoneInfo, first: int = 2026, last: int = 2026) -> Iterator[datetime]:
    """Yield, to the day, the instants around which the zone's offset changes."""
    day = datetime(first, 1, 1, tzinfo=UTC)
    offset = day.astimezone(zone).utcoffset()
    while day.year <= last:
        day += timedelta(days=1)
        new = day.astimezone(zone).utcoffset()
        if new != offset:
            yield day
        offset = new


def dates_run(zone: ZoneInfo, at: time, start: datetime, end: datetime, step: timedelta = HALF_HOUR) -> list[date]:
    """Walk a clock that asks at every step and remembers what was done, as the daily round does."""
    done: list[date] = []
    now = start
    while now < end:
        day = date_due(now, at, zone)
        if day is not None and day not in done:
            done.append(day)
        now += step
    return done


def test_every_zone_with_a_change_runs_once_per_local_date() -> None:
    walked = 0
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for around in changes(zone):
            start, end = around - timedelta(days=3), around + timedelta(days=3)
            for at in TIMES:
                days = dates_run(zone, at, start, end)
                # The first and the last date are cut by the walk; each one between them is there once.
                first, last = days[0], days[-1]
                assert days == [first + timedelta(days=number) for number in range((last - first).days + 1)], name
                assert (last - first).days >= 4, name
            walked += 1
    assert walked > 200


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_walking_a_year_by_the_hour_runs_each_date_once(zone: str) -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 2, 12, tzinfo=UTC)
    days = dates_run(ZoneInfo(zone), time(2, 30), start, end, timedelta(hours=1))
    wanted = {date(2026, 1, 1) + timedelta(days=number) for number in range(366)}
    assert wanted <= set(days)
    assert len(days) == len(set(days))


def test_a_time_that_never_comes_shifts_forward() -> None:
    assert due_at(date(2026, 3, 29), time(2, 30), ZoneInfo("Europe/Berlin")) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_time_that_comes_twice_means_the_first() -> None:
    assert due_at(date(2026, 10, 25), time(2, 30), ZoneInfo("Europe/Berlin")) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )


def test_a_time_in_a_gap_that_ends_the_date_stays_on_its_date() -> None:
    # Godthab springs forward on a Saturday at 23:00 local time since 2024: 23:30 does not come, 00:30 is Sunday.
    zone = ZoneInfo("America/Nuuk")
    due = due_at(date(2026, 3, 28), time(23, 30), zone)
    assert due.astimezone(zone).date() == date(2026, 3, 28)


def test_before_its_time_of_day_nothing_is_due() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert date_due(datetime(2026, 3, 10, 6, 59, tzinfo=UTC), time(8, 0), berlin) is None
    assert date_due(datetime(2026, 3, 10, 7, 0, tzinfo=UTC), time(8, 0), berlin) == date(2026, 3, 10)
