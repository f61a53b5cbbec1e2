"""Buckets outlive a clock that was wrong: an instant far ahead neither silences a channel nor empties its bucket."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bot.store import buckets
from bot.store.database import Database
from tests.conftest import NOW

RATE = 5.0
FAR_AHEAD = NOW + timedelta(days=30)


def messages(database: Database, rate: float, now: datetime) -> int | None:
    with database.write() as connection:
        return buckets.level(connection, "slack", rate, now).messages


def empty_at(database: Database, now: datetime) -> None:
    with database.write() as connection:
        buckets.spend(connection, buckets.level(connection, "slack", RATE, now), int(RATE))


def test_a_bucket_that_a_clock_far_ahead_emptied_fills_again(database: Database) -> None:
    empty_at(database, FAR_AHEAD)
    messages(database, RATE, NOW)
    assert messages(database, RATE, NOW + timedelta(seconds=1)) == RATE


@pytest.mark.parametrize("rate", [0.0, RATE])
def test_a_pause_by_a_clock_far_ahead_silences_nobody(database: Database, rate: float) -> None:
    with database.write() as connection:
        buckets.pause(connection, "slack", timedelta(seconds=30), FAR_AHEAD)
    messages(database, rate, NOW)
    assert messages(database, rate, NOW + timedelta(seconds=1)) != 0


@pytest.mark.parametrize("rate", [0.0, RATE])
def test_the_longest_pause_that_a_channel_may_ask_for_is_kept_to_its_end(database: Database, rate: float) -> None:
    with database.write() as connection:
        buckets.pause(connection, "slack", buckets.LONGEST_PAUSE, NOW)
    assert messages(database, rate, NOW) == 0
    assert messages(database, rate, NOW + buckets.LONGEST_PAUSE - timedelta(seconds=1)) == 0
    assert messages(database, rate, NOW + buckets.LONGEST_PAUSE) != 0


def test_a_clock_that_is_a_little_ahead_neither_fills_nor_empties(database: Database) -> None:
    empty_at(database, NOW + timedelta(seconds=2))
    assert messages(database, RATE, NOW) == 0
    assert messages(database, RATE, NOW + timedelta(seconds=2)) == 0
    assert messages(database, RATE, NOW + timedelta(seconds=3)) == RATE
