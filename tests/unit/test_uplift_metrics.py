"""Qini, AUUC and uplift in the top share: against counting by hand, and what must always hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.errors import FrameError, NotEnoughDataError
from predictors.uplift_metrics import (
    Ranking,
    auuc,
    bootstrap_counts,
    measure_ranking,
    propensity_weights,
    qini,
    uplift_at,
)


def experiment(seed: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gain = rng.uniform(-0.2, 0.5, rows)
    treatment = (np.arange(rows) % 2).astype(float)
    y = (rng.random(rows) < 0.3 + gain * treatment).astype(float)
    return gain, treatment, y


def qini_counted(score: np.ndarray, t: np.ndarray, y: np.ndarray) -> float:
    """Count step by step, as the definition says; scores must differ."""
    order = sorted(range(len(score)), key=lambda row: -score[row])
    heights, n1, n0, y1, y0 = [0.0], 0.0, 0.0, 0.0, 0.0
    for row in order:
        n1, n0 = n1 + t[row], n0 + 1 - t[row]
        y1, y0 = y1 + t[row] * y[row], y0 + (1 - t[row]) * y[row]
        heights.append((y1 - (y0 * n1 / n0 if n0 else 0.0)) / len(score))
    n = len(score)
    above = [height - step / n * heights[-1] for step, height in enumerate(heights)]
    return 1e4 * sum((a + b) / 2 / n for a, b in pairwise(above))


@pytest.mark.parametrize("seed", range(5))
def test_qini_is_what_counting_by_hand_gives(seed: int) -> None:
    score, t, y = experiment(seed, rows=60)
    assert qini(Ranking(score, t, y).walk()) == pytest.approx(qini_counted(score, t, y))


def test_uplift_at_a_share_is_the_difference_of_rates_among_those_ranked_first() -> None:
    score = np.arange(20, 0, -1, dtype=float)
    t = np.array([1, 0] * 10, dtype=float)
    y = np.array([1, 0, 1, 1] + [0] * 16, dtype=float)
    assert uplift_at(Ranking(score, t, y).walk(), 0.2) == pytest.approx(1.0 - 0.5)
    assert uplift_at(Ranking(score, t, y).walk(), 1.0) == pytest.approx(0.2 - 0.1)


@given(st.integers(0, 2**31), st.floats(0.1, 50.0), st.floats(-5.0, 5.0))
def test_only_the_order_of_the_scores_counts(seed: int, slope: float, shift: float) -> None:
    score, t, y = experiment(seed, rows=80)
    plain, moved = Ranking(score, t, y).walk(), Ranking(slope * score + shift, t, y).walk()
    assert (qini(moved), auuc(moved), uplift_at(moved)) == (qini(plain), auuc(plain), uplift_at(plain))


@given(st.integers(0, 2**31))
def test_rows_of_equal_score_may_stand_in_any_order(seed: int) -> None:
    score, t, y = experiment(seed, rows=80)
    coarse = np.round(score, 1)
    other = np.random.default_rng(seed).permutation(80)
    for metric in (qini, auuc, uplift_at):
        one, two = Ranking(coarse, t, y).walk(), Ranking(coarse[other], t[other], y[other]).walk()
        assert metric(one) == pytest.approx(metric(two))


def test_a_constant_score_has_no_qini_and_half_of_the_average_effect() -> None:
    _, t, y = experiment(2)
    walk = Ranking(np.zeros(400), t, y).walk()
    effect = y[t == 1].mean() - y[t == 0].mean()
    assert qini(walk) == pytest.approx(0.0)
    assert auuc(walk) == pytest.approx(1e4 * effect / 2)
    assert uplift_at(walk) == pytest.approx(effect)


def test_ranking_by_the_true_gain_beats_its_reverse() -> None:
    score, t, y = experiment(3, rows=4000)
    best, worst = Ranking(score, t, y).walk(), Ranking(-score, t, y).walk()
    assert qini(best) > 100 > -100 > qini(worst)
    assert uplift_at(best) > 0.3 > uplift_at(worst)


def test_intervals_hold_their_value_and_shrink_with_rows() -> None:
    few, many = (measure_ranking(Ranking(*experiment(4, rows)), seed=1, resamples=80) for rows in (400, 6400))
    for name in ("qini", "auuc", "uplift_at_10"):
        for found in (few[name], many[name]):
            assert found.low < found.value < found.high
        assert many[name].high - many[name].low < few[name].high - few[name].low


def test_a_row_that_is_drawn_twice_counts_like_two_rows() -> None:
    score, t, y = experiment(5, rows=50)
    (counts,) = bootstrap_counts(50, seed=0, resamples=1)
    rows = np.repeat(np.arange(50), counts.astype(int))
    drawn, repeated = Ranking(score, t, y).walk(counts), Ranking(score[rows], t[rows], y[rows]).walk()
    for metric in (qini, auuc):
        assert metric(drawn) == pytest.approx(metric(repeated))


def test_weights_make_up_for_unequal_shares() -> None:
    rng = np.random.default_rng(6)
    late = np.arange(40_000) >= 20_000
    p = np.where(late, 0.8, 0.2)
    t = (rng.random(40_000) < p).astype(float)
    # No effect at all, but more outcomes later, when more were treated.
    y = (rng.random(40_000) < np.where(late, 0.5, 0.2)).astype(float)
    score = rng.random(40_000)
    weighted = Ranking(score, t, y, propensity_weights(t, p)).walk()
    assert uplift_at(Ranking(score, t, y).walk(), 1.0) > 0.15
    assert abs(uplift_at(weighted, 1.0)) < 0.02


def test_what_cannot_be_ranked_is_a_named_error() -> None:
    score, t, y = experiment(7)
    with pytest.raises(FrameError, match="399 scores"):
        Ranking(score[:-1], t, y)
    with pytest.raises(FrameError, match="not finite"):
        Ranking(np.where(score > 0.4, np.nan, score), t, y)
    with pytest.raises(NotEnoughDataError, match="one arm"):
        Ranking(score, np.ones(400), y)
    with pytest.raises(NotEnoughDataError, match="one arm"):
        Ranking(np.empty(0), np.empty(0), np.empty(0))


def test_equal_propensities_weigh_every_row_the_same() -> None:
    t = (np.arange(10) % 3 == 0).astype(float)
    np.testing.assert_array_equal(propensity_weights(t, None), np.ones(10))
    np.testing.assert_allclose(propensity_weights(t, np.full(10, 0.35)), np.ones(10))
