"""Instants as SQLite keeps them: the quick way for many rows writes what the column type writes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite import dialect

from bot.errors import NaiveTimeError
from bot.store.columns import Instant, sqlite_instant

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=zones))
def test_many_rows_are_written_like_one(value: datetime) -> None:
    write = Instant().dialect_impl(dialect()).bind_processor(dialect())
    assert write is not None
    assert sqlite_instant(value) == write(value)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(NaiveTimeError):
        sqlite_instant(datetime(2026, 3, 10))
