"""Times that agents write behind `/aftercare snooze`, in their own zone."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels.slack.times import read_time
from bot.errors import InputError

BERLIN, LISBON = ZoneInfo("Europe/Berlin"), ZoneInfo("Europe/Lisbon")
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)  # a Tuesday; 13:00 in Berlin


@pytest.mark.parametrize(
    ("words", "local"),
    [
        ("", "2026-03-10 14:00"),
        ("1h", "2026-03-10 14:00"),
        ("for 90m", "2026-03-10 14:30"),
        ("3 hours", "2026-03-10 16:00"),
        ("2d", "2026-03-12 09:00"),
        ("14:30", "2026-03-10 14:30"),
        ("until 14", "2026-03-10 14:00"),
        ("09:00", "2026-03-11 09:00"),  # over for today
        ("tomorrow", "2026-03-11 09:00"),
        ("Tomorrow at 14:30", "2026-03-11 14:30"),
        ("monday", "2026-03-16 09:00"),
        ("tue", "2026-03-17 09:00"),  # not today
        ("fri 8:15", "2026-03-13 08:15"),
    ],
)
def test_what_people_write_is_their_own_local_time(words: str, local: str) -> None:
    assert f"{read_time(words, NOW, BERLIN).astimezone(BERLIN):%Y-%m-%d %H:%M}" == local


def test_the_same_words_mean_another_instant_in_another_zone() -> None:
    assert read_time("tomorrow", NOW, LISBON) - read_time("tomorrow", NOW, BERLIN) == timedelta(hours=1)


def test_a_morning_after_the_clocks_changed_is_still_at_nine() -> None:
    saturday = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    assert read_time("tomorrow", saturday, BERLIN) == datetime(2026, 3, 29, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize("words", ["soon", "25:00", "1w", "tomorrow soon", "14:30 monday", "-1h", "9:7", "1h 30m"])
def test_what_is_no_time_is_answered_with_examples(words: str) -> None:
    with pytest.raises(InputError, match="tomorrow 14:30"):
        read_time(words, NOW, BERLIN)


@given(st.text(max_size=20))
def test_any_words_are_a_time_to_come_or_an_error(words: str) -> None:
    with suppress(InputError):
        assert read_time(words, NOW, BERLIN) >= NOW
