"""Tails, dispersion and many tests at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nbinom, poisson

from predictors.surprise import discoveries, fit_dispersion, tail_probability

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def test_without_dispersion_the_tail_is_that_of_poisson() -> None:
    tail = tail_probability(np.array([0.0, 1.0, 9.0]), np.array([2.0, 2.0, 2.0]), np.zeros(3))
    assert tail == pytest.approx([1.0, 1 - np.exp(-2), poisson.sf(8, 2)])


def test_dispersion_makes_the_same_count_less_surprising() -> None:
    tail = tail_probability(np.full(3, 9.0), np.full(3, 2.0), np.array([0.0, 0.3, 1.0]))
    assert tail[0] < tail[1] < tail[2]
    assert tail[1] == pytest.approx(nbinom.sf(8, 1 / 0.3, 1 / (1 + 0.3 * 2)))


def test_the_dispersion_of_poisson_counts_is_found_to_be_none() -> None:
    rng = np.random.default_rng(3)
    expected = rng.uniform(0.5, 6, 2000)
    assert fit_dispersion(rng.poisson(expected).astype(float), expected) < 0.03


def test_the_dispersion_of_varying_cells_is_recovered() -> None:
    rng = np.random.default_rng(4)
    expected = rng.uniform(0.5, 6, 2000)
    observed = rng.poisson(expected * rng.gamma(1 / 0.4, 0.4, 2000)).astype(float)
    assert fit_dispersion(observed, expected) == pytest.approx(0.4, abs=0.08)


def test_nothing_expected_says_nothing_of_dispersion() -> None:
    assert fit_dispersion(np.array([3.0]), np.array([0.0])) == 0.0


def test_the_published_example_of_benjamini_and_hochberg() -> None:
    # Benjamini & Hochberg 1995, section 4.1: of these fifteen at .05 four are rejected; Bonferroni rejects three.
    p = [.0001, .0004, .0019, .0095, .0201, .0278, .0298, .0344, .0459, .3240, .4262, .5719, .6528, .7590, 1.0]  # fmt: skip
    assert discoveries(np.array(p), 0.05).tolist() == [True] * 4 + [False] * 11


@given(P_VALUES)
def test_the_order_of_the_tests_does_not_matter(p: list[float]) -> None:
    order = np.random.default_rng(len(p)).permutation(len(p))
    values = np.array(p)
    assert (discoveries(values[order], 0.1) == discoveries(values, 0.1)[order]).all()


@given(P_VALUES, st.integers(0, 59), st.floats(0, 1))
def test_a_smaller_p_value_loses_no_discovery(p: list[float], which: int, factor: float) -> None:
    values = np.array(p)
    smaller = values.copy()
    smaller[which % len(p)] *= factor
    assert (discoveries(smaller, 0.1) >= discoveries(values, 0.1)).all()


@given(P_VALUES, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_rate_loses_no_discovery(p: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert (discoveries(np.array(p), high) >= discoveries(np.array(p), low)).all()


@given(P_VALUES)
def test_a_discovery_is_never_more_surprising_than_what_is_left(p: list[float]) -> None:
    values = np.array(p)
    chosen = discoveries(values, 0.2)
    if chosen.any() and not chosen.all():
        assert values[chosen].max() < values[~chosen].min()
