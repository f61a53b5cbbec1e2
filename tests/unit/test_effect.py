"""The measured effect: published intervals are met, the truth is covered, and little is called little."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.decide.effect import Observation, Reading, measure, rate, wilson


def arm(bad: int, n: int, propensity: float = 0.5) -> list[Observation]:
    return [Observation(value=float(number < bad), propensity=propensity) for number in range(n)]


@pytest.mark.parametrize(
    ("bad", "n", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3 (score without continuity correction).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(bad: int, n: int, low: float, high: float) -> None:
    assert wilson(bad / n, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10.
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((10, 10), (0, 10), 0.6075, 1.0)],
)
def test_differences_have_newcombes_intervals(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = measure(arm(*first), arm(*second))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_covers_the_truth_in_nineteen_of_twenty_experiments() -> None:
    dice = random.Random("aftercare")
    covered = false_wins = 0
    for _ in range(1000):
        treated = [Observation(value=float(dice.random() < 0.15), propensity=0.8) for _ in range(240)]
        holdout = [Observation(value=float(dice.random() < 0.25), propensity=0.2) for _ in range(60)]
        found = measure(treated, holdout)
        covered += found.low <= -0.10 <= found.high
        null = measure(treated, [Observation(value=float(dice.random() < 0.15), propensity=0.2) for _ in range(60)])
        false_wins += null.reading in (Reading.HELPS, Reading.HARMS)
    assert covered >= 930
    assert false_wins <= 65


@pytest.mark.parametrize(
    ("treated", "holdout", "reading"),
    [
        ((20, 400), (40, 200), Reading.HELPS),
        ((100, 400), (10, 200), Reading.HARMS),
        ((40, 400), (20, 200), Reading.UNDECIDED),
        ((0, 400), (10, 29), Reading.TOO_FEW),
        ((1, 400), (3, 200), Reading.TOO_FEW),
        ((0, 0), (0, 0), Reading.TOO_FEW),
    ],
)
def test_only_what_may_be_said_is_said(treated: tuple[int, int], holdout: tuple[int, int], reading: Reading) -> None:
    assert measure(arm(*treated), arm(*holdout)).reading is reading


def test_customers_drawn_with_several_probabilities_are_weighted() -> None:
    # Half of the customers were rarely drawn, and all of theirs went badly: unweighted 1 in 10, weighted half.
    mixed = [*arm(0, 90, propensity=0.9), *arm(10, 10, propensity=0.1)]
    found = rate(mixed)
    assert found.value == pytest.approx(0.5)
    assert found.effective_n == pytest.approx(200**2 / (90 / 0.81 + 10 / 0.01))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_interval_holds_the_difference_and_stays_in_range(a: int, b: int, c: int, d: int) -> None:
    found = measure(arm(a, a + b), arm(c, c + d))
    assert -1 <= found.low <= found.difference + 1e-12
    assert found.difference - 1e-12 <= found.high <= 1
