"""Whose turn it is when a day holds only so many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.decide.playbook import Band, Goal, Window
from bot.decide.value import Gain, is_urgent, worth

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


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.05, 1))
def test_who_gains_more_comes_first_whatever_the_risk(left: float, right: float, averted: float) -> None:
    low, high = (Gain(probability=one, averted_share=averted) for one in sorted((left, right)))
    assert worth(Goal.PREVENT_ISSUE, 0.9, NOW, WIDE, low) <= worth(Goal.PREVENT_ISSUE, 0.1, NOW, WIDE, high)


@given(shares, st.floats(0.05, 1), st.sampled_from([Goal.PREVENT_ISSUE, Goal.FIRST_USE]))
def test_an_average_check_in_is_worth_the_same_by_gain_as_by_risk(risk: float, averted: float, goal: Goal) -> None:
    average = Gain(probability=risk * averted, averted_share=averted)
    assert worth(goal, risk, NOW, WIDE, average) == pytest.approx(worth(goal, risk, NOW, WIDE))


def test_a_gain_that_does_not_pay_for_its_message_comes_last() -> None:
    pays = Gain(probability=0.05, averted_share=0.2, stake=2.0, message=0.02)
    not_here = Gain(probability=0.05, averted_share=0.2, stake=0.3, message=0.02)
    assert worth(Goal.PREVENT_ISSUE, 0.9, NOW, WIDE, pays) == pytest.approx(0.4)
    assert worth(Goal.PREVENT_ISSUE, 0.9, NOW, WIDE, not_here) < 0


def test_where_a_check_in_is_expected_to_do_harm_it_comes_last() -> None:
    harm = Gain(probability=-0.01, averted_share=0.2)
    assert worth(Goal.PREVENT_ISSUE, 0.99, NOW, WIDE, harm) < 0 == worth(Goal.PREVENT_ISSUE, 0.0, NOW, WIDE)
