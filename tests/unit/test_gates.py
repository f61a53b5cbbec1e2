"""The promotion gate: what passes, what never may, and that its rates are those it is built for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.errors import FrameError
from predictors.frames import Array, expit
from predictors.gates import MIN_EACH_CLASS, Target, calibration_loss, gate, log_losses

ROWS = 1500


def drawn(seed: int, rows: int = ROWS) -> tuple[Array, Target]:
    """Return true log-odds and outcomes drawn from them."""
    rng = np.random.default_rng(seed)
    z = -1.5 + rng.normal(0, 1, rows)
    return z, (rng.random(rows) < expit(z)).astype(np.int64)


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_a_model_never_replaces_itself(seed: int) -> None:
    z, y = drawn(seed)
    assert not gate(y, expit(z), expit(z), seed=seed).passed


@settings(max_examples=5, deadline=None)
@given(seed=seeds, spread=st.floats(0.1, 2.0), shift=st.floats(-1.0, 1.0))
def test_of_two_models_at_most_one_passes_against_the_other(seed: int, spread: float, shift: float) -> None:
    z, y = drawn(seed)
    other = expit(z * spread + shift)
    verdicts = [gate(y, expit(z), other, seed=seed), gate(y, other, expit(z), seed=seed)]
    assert sum(verdict.passed for verdict in verdicts) <= 1
    assert verdicts[0].difference == pytest.approx(-(verdicts[1].difference or 0.0))


@settings(max_examples=5, deadline=None)
@given(seed=seeds, spread=st.floats(0.0, 2.0))
def test_whatever_passes_is_better_or_equal_within_the_margin(seed: int, spread: float) -> None:
    z, y = drawn(seed)
    rng = np.random.default_rng((seed, 1))
    challenger, champion = expit(z + rng.normal(0, spread, ROWS)), expit(z + rng.normal(0, 0.5, ROWS))
    verdict = gate(y, challenger, champion, seed=seed)
    assert verdict.low is not None
    assert verdict.high is not None
    margin = 0.02 * log_losses(y, champion).mean()
    if verdict.passed:
        assert verdict.high < margin
        assert verdict.high < 0 or (verdict.calibration is not None and verdict.calibration.high < 0)
    assert verdict.low <= (verdict.difference or 0.0) <= verdict.high


def test_a_better_ranking_passes_and_a_worse_one_is_told_so() -> None:
    z, y = drawn(1)
    guess = np.full(ROWS, y.mean())
    assert gate(y, expit(z), guess, seed=0).passed
    worse = gate(y, guess, expit(z), seed=0)
    assert not worse.passed
    assert "worse beyond noise" in worse.reason


def test_an_equal_model_can_pass_by_its_calibration_alone() -> None:
    """A champion whose level is off, and a challenger that ranks a little worse: the losses are equal."""
    by_calibration = 0
    for seed in range(8):
        z, y = drawn(seed, 3000)
        rng = np.random.default_rng((seed, 1))
        verdict = gate(y, expit(z + rng.normal(0, 0.25, 3000)), expit(z + 0.25), seed=seed)
        if verdict.passed and (verdict.high or 0.0) >= 0:
            assert "better calibrated" in verdict.reason
            by_calibration += 1
    assert by_calibration >= 1  # the others are better beyond noise, or not shown to be equal


def test_an_equal_model_with_errors_of_its_own_seldom_passes() -> None:
    """Equal models pass by the better leg in 2.5 % of draws, and by calibration in no more."""
    passed = 0
    for seed in range(20):
        z, y = drawn(seed, 800)
        rng = np.random.default_rng((seed, 1))
        one, other = (expit(z + rng.normal(0, 0.3, 800)) for _ in range(2))
        passed += gate(y, one, other, seed=seed).passed
    assert passed <= 4  # P(more of 20 | 5 %) < .01


def test_no_proof_of_harm_is_no_proof_of_use() -> None:
    """On few rows nearly everything is within noise; the old gate let it through."""
    z, y = drawn(3, 80)
    verdict = gate(y, expit(z + np.random.default_rng(33).normal(0, 0.6, 80)), expit(z), seed=0)
    assert not verdict.passed


@pytest.mark.parametrize("positives", [0, MIN_EACH_CLASS - 1])
def test_too_few_outcomes_judge_nothing(positives: int) -> None:
    y = np.zeros(500, dtype=np.int64)
    y[:positives] = 1
    verdict = gate(y, np.where(y == 1, 0.9, 0.1), np.full(500, 0.5), seed=0)
    assert not verdict.passed
    assert "too few" in verdict.reason


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_probability_is_a_named_error(bad: float) -> None:
    _, y = drawn(0)
    p = np.full(ROWS, 0.5)
    q = p.copy()
    q[7] = bad
    for pair in ((p, q), (q, p), (p, p[:-1])):
        with pytest.raises(FrameError, match="probability"):
            gate(y, *pair, seed=0)


def test_the_same_numbers_give_the_same_verdict() -> None:
    z, y = drawn(5)
    assert gate(y, expit(z), expit(z + 0.2), seed=9) == gate(y, expit(z), expit(z + 0.2), seed=9)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, slope=st.floats(0.5, 1.6), shift=st.floats(-0.8, 0.8))
def test_calibration_loss_is_what_recalibration_takes_off(seed: int, slope: float, shift: float) -> None:
    z, y = drawn(seed, 4000)
    found = calibration_loss(y, expit((z - shift) / slope))
    assert found >= 0
    # The truth is one of the recalibrations, so the best takes off at least what the truth does.
    gained = float((log_losses(y, expit((z - shift) / slope)) - log_losses(y, expit(z))).mean())
    assert found >= gained - 1e-6
    assert calibration_loss(y, expit(z)) < 0.003


def test_calibration_loss_of_certain_answers_is_finite() -> None:
    y = np.array([0, 1] * 50)
    assert np.isfinite(calibration_loss(y, y.astype(np.float64)))
    assert np.isfinite(calibration_loss(y, 1.0 - y))


def test_rows_that_stand_for_many_decide_by_as_many() -> None:
    """Half of the issues that the champion had foreseen were prevented by contacts and are left out; weights put them back."""
    z, y = drawn(5, 4000)
    risky = z > -1.0
    kept = ~(risky & (np.arange(4000) % 4 != 0))  # three in four of the risky ones were contacted
    weights = np.where(risky, 4.0, 1.0)[kept]
    # The challenger would deny the risk: nearly right of those who are left, badly wrong of all.
    denying, champion = expit(np.where(risky, -2.2, z))[kept], expit(np.where(risky, z, z + 0.35))[kept]
    plain, weighted = (gate(y[kept], denying, champion, seed=0, weights=w) for w in (None, weights))
    assert weighted.difference is not None
    assert plain.difference is not None
    assert weighted.difference > plain.difference + 0.02
    assert "worse beyond noise" in weighted.reason


def test_equal_weights_are_none() -> None:
    z, y = drawn(4)
    other = expit(z * 0.8 + 0.1)
    assert gate(y, expit(z), other, seed=0, weights=np.full(ROWS, 3.0)) == gate(y, expit(z), other, seed=0)


def test_a_row_twice_is_a_row_of_weight_two() -> None:
    z, y = drawn(6)
    twice = np.concatenate([np.arange(ROWS), np.arange(ROWS // 3)])
    weights = np.where(np.arange(ROWS) < ROWS // 3, 2.0, 1.0)
    p, q = expit(z), expit(z * 0.8 + 0.1)
    copied, weighted = gate(y[twice], p[twice], q[twice], seed=0), gate(y, p, q, seed=0, weights=weights)
    assert weighted.difference == pytest.approx(copied.difference)
