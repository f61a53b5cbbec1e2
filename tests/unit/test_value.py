"""Whose turn it is when a day holds only so many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.decide.playbook import Band, Goal, Window
from bot.decide.value import is_urgent, worth

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WIDE = Window(opens=NOW - DAY, closes=NOW + 10 * DAY)
shares = st.floats(0, 1)


@given(st.sampled_from(Goal), shares, st.floats(-5, 30))
def test_worth_stays_in_its_range(goal: Goal, probability: float, days: float) -> None:
    span = Window(opens=NOW - 30 * DAY, closes=NOW + timedelta(days=days))
    assert 0 <= worth(goal, probability, NOW, span) <= 1.5


@given(shares, shares)
def test_surer_trouble_comes_first(left: float, right: float) -> None:
    low, high = sorted((left, right))
    assert worth(Goal.PREVENT_ISSUE, low, NOW, WIDE) <= worth(Goal.PREVENT_ISSUE, high, NOW, WIDE)


def test_who_has_as_good_as_left_does_not_crowd_out_a_late_parcel() -> None:
    assert worth(Goal.KEEP_CUSTOMER, 0.995, NOW, WIDE) < worth(Goal.PREVENT_ISSUE, 0.16, NOW, WIDE)
    assert worth(Goal.KEEP_CUSTOMER, 0.995, NOW, WIDE) < worth(Goal.KEEP_CUSTOMER, 0.7, NOW, WIDE)


def test_a_chance_that_ends_tomorrow_comes_before_one_that_ends_next_week() -> None:
    soon = Window(opens=NOW - DAY, closes=NOW + DAY)
    assert worth(Goal.PREVENT_ISSUE, 0.5, NOW, soon) > worth(Goal.PREVENT_ISSUE, 0.5, NOW, WIDE)


def test_only_grave_trouble_with_an_order_is_urgent() -> None:
    urgent = {(goal, band) for goal in Goal for band in Band if is_urgent(goal, band)}
    assert urgent == {(Goal.PREVENT_ISSUE, Band.HIGH)}
