"""The clocks, and reading times as people and shops write them."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bot.clock import (
    FileClock,
    ManualClock,
    StartedClock,
    SystemClock,
    as_utc,
    clock_from,
    local_date,
    local_midnight,
    parse_instant,
)
from bot.errors import ConfigurationError, NaiveTimeError

START = datetime(2018, 4, 1, 6, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def test_a_started_clock_begins_there_and_runs_on() -> None:
    real = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    clock = StartedClock(START, system=real)
    assert clock.now() == START
    real.advance(timedelta(minutes=5))
    assert clock.now() == START + timedelta(minutes=5)


def test_a_file_clock_runs_on_from_when_the_file_was_written(tmp_path: Path) -> None:
    file = tmp_path / "now"
    file.write_text("2018-04-01T06:00:00Z\n", encoding="utf-8")
    written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    real = ManualClock(written)
    clock = FileClock(file, system=real)
    real.advance(timedelta(hours=2))
    assert clock.now() == START + timedelta(hours=2)
    file.write_text("2018-05-01T00:00:00Z", encoding="utf-8")
    os.utime(file, (real.now().timestamp(), real.now().timestamp()))
    assert clock.now() == datetime(2018, 5, 1, tzinfo=UTC)


def test_a_file_that_is_being_rewritten_keeps_the_last_reading(tmp_path: Path) -> None:
    file = tmp_path / "now"
    file.write_text("2018-04-01T06:00:00Z", encoding="utf-8")
    clock = FileClock(file, system=ManualClock(START))
    before = clock.now()
    file.write_text("", encoding="utf-8")
    assert clock.now() == before


@pytest.mark.parametrize("setting", ["tomorrow", "@/no/such/file"])
def test_a_clock_that_cannot_be_read_is_a_configuration_error(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="AFTERCARE_NOW"):
        clock_from(setting)


def test_without_a_setting_the_machines_time_is_used() -> None:
    assert isinstance(clock_from(None), SystemClock)
    assert isinstance(clock_from(""), SystemClock)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2018-10-28T02:30:00", "2018-10-28T00:30:00+00:00"),  # twice in Berlin: the first
        ("2018-03-25T02:30:00", "2018-03-25T01:30:00+00:00"),  # never in Berlin: shifted forward
        ("2018-02-01", "2018-01-31T23:00:00+00:00"),
        ("2018-02-01 09:00", "2018-02-01T08:00:00+00:00"),
        ("2018-02-01T09:00:00+05:30", "2018-02-01T03:30:00+00:00"),
        ("2018-02-01T09:00:00Z", "2018-02-01T09:00:00+00:00"),
    ],
)
def test_naive_times_are_local_and_aware_ones_are_kept(text: str, utc: str) -> None:
    assert parse_instant(text, BERLIN).isoformat() == utc


def test_local_days_begin_at_local_midnight() -> None:
    assert local_midnight(date(2018, 7, 1), BERLIN) == datetime(2018, 6, 30, 22, tzinfo=UTC)
    assert local_date(datetime(2018, 6, 30, 23, tzinfo=UTC), BERLIN) == date(2018, 7, 1)


def test_naive_times_are_refused_where_instants_are_taken() -> None:
    with pytest.raises(NaiveTimeError, match="time zone"):
        as_utc(datetime(2018, 1, 1))
    with pytest.raises(NaiveTimeError):
        ManualClock(datetime(2018, 1, 1))
