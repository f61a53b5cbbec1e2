"""Reading every day: no winner is called early, chances are the exact ones, arms and segments are judged as published."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, chi2, chisquare, false_discovery_control

from bot.decide.chance import Tally, beta_below, chances_of_lowest
from bot.decide.ratio import check_ratio, chi_square_above, expected_counts
from bot.decide.segments import Measured, discoveries, shrunken
from bot.decide.sequential import ENOUGH, Drawn, bets, interval, more_customers, wealth


def experiment(dice: random.Random, n: int, contacted: float, held: float, share: float) -> list[Drawn]:
    found = []
    for _ in range(n):
        arm = dice.random() < share
        found.append(Drawn(contacted=arm, bad=dice.random() < (contacted if arm else held), probability=share))
    return found


def test_who_looks_every_day_calls_no_winner_where_there_is_none() -> None:
    dice = random.Random("aftercare")
    ever = 0
    for _ in range(200):
        placed = bets(experiment(dice, 600, 0.1, 0.1, 0.9))
        ever += any(wealth(placed[:looks]) >= ENOUGH for looks in range(len(placed) + 1))
    assert ever <= 10  # at most one in twenty; 3 are expected to be found


def test_what_is_there_is_found() -> None:
    dice = random.Random("aftercare")
    found = [wealth(bets(experiment(dice, 1500, 0.15, 0.3, 0.8))) >= ENOUGH for _ in range(20)]
    assert sum(found) >= 18


def test_the_interval_holds_the_truth_at_all_looks_at_once() -> None:
    dice = random.Random("aftercare")
    held = 0
    for _ in range(60):
        drawn = experiment(dice, 800, 0.1, 0.2, 0.8)
        held += all(wealth(bets(drawn[:looks]), -0.1) < ENOUGH for looks in range(100, 801, 100))
    assert held >= 57


def test_the_interval_ends_where_the_bets_have_won_enough() -> None:
    placed = bets(experiment(random.Random(7), 2000, 0.1, 0.25, 0.5))
    low, high = interval(placed, -0.15)
    assert -0.25 < low < -0.15 < high < 0
    for end in (low, high):
        assert wealth(placed, end) == pytest.approx(ENOUGH, abs=0.1)


def test_shares_that_change_on_the_way_do_no_harm() -> None:
    # The base rate doubles as the share of the contacted falls: pooling both halves would show a difference that is not there.
    dice = random.Random("aftercare")
    ever = 0
    for _ in range(100):
        drawn = experiment(dice, 400, 0.1, 0.1, 0.9) + experiment(dice, 400, 0.3, 0.3, 0.3)
        ever += any(wealth(bets(drawn[:looks])) >= ENOUGH for looks in range(50, 801, 50))
    assert ever <= 5


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from([0.2, 0.5, 0.9])), max_size=60))
@settings(max_examples=30)
def test_the_interval_is_in_order_and_never_leaves_what_is_possible(rows: list[tuple[bool, bool, float]]) -> None:
    placed = bets([Drawn(contacted=arm, bad=bad, probability=share) for arm, bad, share in rows])
    low, high = interval(placed, 0.0)
    assert -1 <= low <= high <= 1


def test_without_outcomes_nothing_is_known() -> None:
    assert wealth([]) == 0
    assert interval([], 0.0) == (-1, 1)


def test_more_customers_are_what_is_missing_over_what_each_brings() -> None:
    gain = 0.5 * math.log(0.1 / 0.2) * 0.1 + 0.5 * math.log(0.9 / 0.8) * 0.9
    gain += 0.5 * math.log(0.3 / 0.2) * 0.3 + 0.5 * math.log(0.7 / 0.8) * 0.7
    assert more_customers([], 0.1, 0.3, 0.5) == math.ceil(ENOUGH / gain)
    assert more_customers([], 0.2, 0.2, 0.5) is None
    assert more_customers([], 0.2, 0.2001, 0.5) is None


@given(st.floats(1, 2000), st.floats(1, 2000), st.floats(0, 1))
@settings(max_examples=60)
def test_the_beta_distribution_is_scipys(a: float, b: float, x: float) -> None:
    assert beta_below(a, b, x) == pytest.approx(beta.cdf(x, a, b), abs=1e-9)


def test_the_chance_of_being_better_is_the_exact_one() -> None:
    a, b, c, d = 3, 9, 2, 4
    nodes = (np.arange(20_000) + 0.5) / 20_000
    numeric = np.mean(beta.pdf(nodes, a, b) * beta.sf(nodes, c, d))
    found = chances_of_lowest([Tally(bad=a - 1, n=a + b - 2), Tally(bad=c - 1, n=c + d - 2)])
    assert found[0] == pytest.approx(numeric, abs=1e-4)
    assert sum(found) == pytest.approx(1)


def test_equal_arms_have_equal_chances_and_a_far_better_one_has_all() -> None:
    assert chances_of_lowest([Tally(bad=3, n=20)] * 3) == pytest.approx([1 / 3] * 3)
    assert chances_of_lowest([Tally(bad=0, n=0)]) == [1.0]
    assert chances_of_lowest([Tally(bad=1, n=1000), Tally(bad=400, n=1000)]) == pytest.approx([1, 0], abs=1e-9)


@pytest.mark.parametrize(("statistic", "freedom"), [(3.0, 1), (12.5, 1), (10.0, 2), (7.0, 3), (20.0, 6), (0.0, 4)])
def test_chi_square_is_scipys(statistic: float, freedom: int) -> None:
    assert chi_square_above(statistic, freedom) == pytest.approx(chi2.sf(statistic, freedom), abs=1e-12)


def test_arms_as_large_as_they_were_meant_to_be_are_no_mismatch() -> None:
    drawn = [("holdout", 0.1, None)] * 95 + [("a", 0.45, None)] * 460 + [("b", 0.45, None)] * 445
    expected = expected_counts(drawn)
    assert expected == pytest.approx({"holdout": 100, "a": 450, "b": 450})
    found = check_ratio({"holdout": 95, "a": 460, "b": 445}, expected)
    assert found.p == pytest.approx(chisquare([95, 460, 445], [100, 450, 450]).pvalue)
    assert not found.mismatch


def test_an_arm_that_lost_customers_is_a_mismatch() -> None:
    drawn = [("holdout", 0.1, None)] * 40 + [("treatment", 0.9, None)] * 900
    assert check_ratio({"holdout": 40, "treatment": 900}, expected_counts(drawn)).mismatch


def test_an_arm_of_which_nobody_is_left_is_a_mismatch_too() -> None:
    found = check_ratio({"treatment": 300}, expected_counts([("treatment", 0.9, None)] * 300))
    assert found.expected[""] == pytest.approx(30)
    assert found.mismatch


def test_shares_that_changed_are_added_up_draw_by_draw() -> None:
    early, late = {"holdout": 0.1, "a": 0.45, "b": 0.45}, {"holdout": 0.1, "a": 0.8, "b": 0.1}
    drawn = [("a", 0.45, early)] * 100 + [("a", 0.8, late)] * 100
    assert expected_counts(drawn) == pytest.approx({"holdout": 20, "a": 125, "b": 55})


def test_too_few_to_ask_are_not_asked() -> None:
    assert check_ratio({"treatment": 3}, {"treatment": 2.7, "holdout": 0.3}).p is None


def test_discoveries_are_those_of_benjamini_and_hochberg_on_one_over_e() -> None:
    evidence = [6.5, 5.9, 4.0, 0.3, -1.0, 3.1]
    adjusted = false_discovery_control([min(1.0, math.exp(-one)) for one in evidence])
    assert discoveries(evidence) == [bool(one <= 0.05) for one in adjusted]
    assert discoveries([]) == []


def test_segments_that_differ_by_chance_alone_are_drawn_together() -> None:
    alike = shrunken([Measured(difference=-0.05, error=0.1), Measured(difference=0.05, error=0.1)])
    assert alike == pytest.approx([0, 0])
    apart = shrunken([Measured(difference=-0.3, error=0.01), Measured(difference=0.3, error=0.01)])
    assert apart == pytest.approx([-0.3, 0.3], abs=0.001)
