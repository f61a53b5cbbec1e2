"""The draw into arms is fair, repeatable, and says how probable it was."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare, kstest

from bot.decide.assignment import HOLDOUT, TREATMENT, Arm, arms, draw, uniform

CUSTOMERS = [f"files:c{number}" for number in range(20_000)]


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=40))
def test_the_same_customer_always_lands_in_the_same_arm(salt: str, experiment: str, customer: str) -> None:
    choices = arms(0.3)
    assert 0 <= uniform(salt, experiment, customer) < 1
    assert draw(salt, experiment, customer, choices) == draw(salt, experiment, customer, choices)


@given(st.text(max_size=10), st.floats(0, 0.9), st.lists(st.floats(0.01, 10), max_size=4))
def test_propensities_add_up_and_belong_to_the_arm_drawn(
    customer: str, holdout_share: float, weights: list[float]
) -> None:
    choices = arms(holdout_share, [Arm(name=f"v{number}", share=weight) for number, weight in enumerate(weights)])
    assert sum(arm.share for arm in choices) == pytest.approx(1)
    drawn = draw("salt", "experiment", customer, choices)
    assert drawn.propensity == {arm.name: arm.share for arm in choices}[drawn.arm]
    assert drawn.propensity > 0


def test_draws_are_uniform() -> None:
    numbers = [uniform("aftercare", "delivery_at_risk", customer) for customer in CUSTOMERS]
    assert kstest(numbers, "uniform").pvalue > 0.01


def test_arms_come_in_their_shares() -> None:
    choices = arms(0.2, [Arm(name="short", share=3), Arm(name="long", share=1)])
    found = Counter(draw("aftercare", "how_to_start", customer, choices).arm for customer in CUSTOMERS)
    expected = [arm.share * len(CUSTOMERS) for arm in choices]
    assert chisquare([found[arm.name] for arm in choices], expected).pvalue > 0.01


def test_draws_of_two_experiments_and_of_two_salts_are_independent() -> None:
    choices = arms(0.5)
    for other in (("aftercare", "quiet_customer"), ("another salt", "delivery_at_risk")):
        table = Counter(
            (draw("aftercare", "delivery_at_risk", customer, choices).holdout, draw(*other, customer, choices).holdout)
            for customer in CUSTOMERS
        )
        matrix = [[table[left, right] for right in (False, True)] for left in (False, True)]
        assert chi2_contingency(matrix).pvalue > 0.01


def test_without_a_holdout_everybody_is_treated_with_certainty() -> None:
    drawn = {draw("s", "e", customer, arms(0.0)) for customer in CUSTOMERS[:500]}
    assert {(one.arm, one.propensity, one.holdout) for one in drawn} == {(TREATMENT, 1.0, False)}


def test_salt_experiment_and_customer_do_not_run_together() -> None:
    assert uniform("a", "bc", "d") != uniform("ab", "c", "d")
    assert uniform("a", "b", "cd") != uniform("a", "bc", "d")


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_holdout_share_outside_its_range_is_an_error(share: float) -> None:
    with pytest.raises(ValueError, match="holdout share"):
        arms(share)


def test_the_holdout_is_told_apart_by_name() -> None:
    assert draw("s", "e", "c", (Arm(name=HOLDOUT, share=1.0),)).holdout
