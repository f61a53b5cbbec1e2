"""What contacting earned is lift times worth less costs, and what surely does not pay is proposed for retirement."""

from __future__ import annotations

from typing import Any

import pytest

from bot.decide.effect import Reading
from bot.decide.payoff import Costs, Payoff, payoff

COSTS = Costs(contact=0.5, fatigue=0.5)


def paid(**given: Any) -> Payoff:
    usual = {
        "drawn": 1000,
        "sent_share": 0.8,
        "difference": -0.05,
        "low": -0.09,
        "high": -0.01,
        "reading": Reading.HELPS,
    }
    return payoff(**{**usual, "worth": 40.0, "costs": COSTS, **given})


def test_the_sum_is_lift_times_worth_less_costs() -> None:
    found = paid()
    assert (found.averted, found.gain, found.cost, found.value) == pytest.approx((50, 2000, 800, 1200))
    assert (found.low, found.high) == pytest.approx((-400, 2800))
    assert found.per_message == pytest.approx(1.5)
    assert not found.retire


def test_what_does_harm_is_to_be_retired() -> None:
    assert paid(difference=0.05, low=0.01, high=0.09, reading=Reading.HARMS).retire


def test_what_helps_too_little_to_pay_for_itself_is_to_be_retired() -> None:
    assert paid(difference=-0.01, low=-0.015, high=-0.005).retire
    assert not paid(difference=-0.01, low=-0.025, high=0.005, reading=Reading.UNDECIDED).retire


@pytest.mark.parametrize("reading", [Reading.TOO_FEW, Reading.MISMATCH])
def test_nothing_is_proposed_where_nothing_may_be_said(reading: Reading) -> None:
    assert not paid(difference=0.5, low=0.3, high=0.7, reading=reading).retire


def test_what_was_never_sent_cost_nothing_and_is_left_alone() -> None:
    found = paid(sent_share=0.0, difference=0.0, low=-0.001, high=0.001, reading=Reading.UNDECIDED)
    assert (found.cost, found.per_message, found.retire) == (0, None, False)
