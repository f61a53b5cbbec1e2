"""The learners of the gain: what they find where the truth is known, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.base import clone

from benchmarks.shops.experiments import changing_shares, known_effects
from predictors.errors import FrameError, NotEnoughDataError
from predictors.learners import DRLearner, SLearner, TLearner, XLearner
from predictors.uplift import UpliftModel

LEARNERS = [
    SLearner(),
    TLearner(),
    XLearner(),
    XLearner(rounds=20),
    DRLearner(),
    DRLearner(rounds=20),
    UpliftModel(rounds=20),
]
every_learner = pytest.mark.parametrize(
    "learner", LEARNERS, ids=lambda one: f"{type(one).__name__}{getattr(one, 'rounds', '')}"
)


def small(rows: int = 200) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    found = known_effects(3, rows)
    return found.X, found.treatment, found.y


@every_learner
def test_each_finds_who_gains_where_the_truth_is_known(learner: Any) -> None:
    learned, judged = known_effects(1), known_effects(2)
    gain = clone(learner).fit(learned.X, learned.treatment, learned.y).predict(judged.X)
    assert spearmanr(gain, judged.gain).statistic > 0.5
    assert abs(gain.mean() - judged.gain.mean()) < 0.04


@every_learner
def test_shares_that_changed_midway_bias_it_unless_it_is_told_the_propensities(learner: Any) -> None:
    blind, told, truth = [], [], []
    for seed in (1, 2):
        learned, judged = changing_shares(seed, 3000), changing_shares(seed + 100, 3000)
        truth.append(judged.gain.mean())
        blind.append(clone(learner).fit(learned.X, learned.treatment, learned.y).predict(judged.X).mean())
        model = clone(learner).fit(learned.X, learned.treatment, learned.y, learned.propensity)
        told.append(model.predict(judged.X).mean())
    assert np.mean(blind) < np.mean(truth) - 0.08
    assert abs(np.mean(told) - np.mean(truth)) < 0.03


@every_learner
def test_equal_propensities_change_next_to_nothing(learner: Any) -> None:
    X, t, y = small()
    plain = clone(learner).fit(X, t, y).predict(X)
    told = clone(learner).fit(X, t, y, np.full(len(y), t.mean())).predict(X)
    np.testing.assert_allclose(told, plain, atol=1e-9)


@every_learner
@pytest.mark.parametrize(
    ("propensity", "why"),
    [(0.0, "between 0 and 1"), (1.0, "between 0 and 1"), (1.2, "between 0 and 1"), (-0.1, "between 0 and 1"),
     (float("nan"), "between 0 and 1"), (float("inf"), "between 0 and 1")],
)  # fmt: skip
def test_a_propensity_that_cannot_be_is_a_named_error(learner: Any, propensity: float, why: str) -> None:
    X, t, y = small()
    given = np.full(len(y), 0.5)
    given[7] = propensity
    with pytest.raises(FrameError, match=why):
        clone(learner).fit(X, t, y, given)


def test_a_propensity_of_another_length_is_a_named_error() -> None:
    X, t, y = small()
    with pytest.raises(FrameError, match=r"shape \(3,\)"):
        UpliftModel().fit(X, t, y, np.full(3, 0.5))
    with pytest.raises(FrameError, match="shape"):
        UpliftModel().fit(X, t, y, 0.5)


@every_learner
def test_what_cannot_be_learned_from_is_a_named_error(learner: Any) -> None:
    X, t, y = small()
    with pytest.raises(NotEnoughDataError, match="one arm"):
        clone(learner).fit(X, np.zeros(len(y)), y)
    with pytest.raises(NotEnoughDataError, match="one class"):
        clone(learner).fit(X, t, np.zeros(len(y)))
    with pytest.raises(NotEnoughDataError, match="no rows"):
        clone(learner).fit(X[:0], t[:0], y[:0])
    with pytest.raises(FrameError, match="treatment must be 0 or 1"):
        clone(learner).fit(X, np.where(t == 1, np.nan, t), y)
    with pytest.raises(FrameError, match="treatment must be 0 or 1"):
        clone(learner).fit(X, t[:-1], y)
    with pytest.raises(FrameError, match="target must be 0 or 1"):
        clone(learner).fit(X, t, np.where(y == 1, np.nan, y))
    with pytest.raises(FrameError, match="waited_days holds an infinite value"):
        clone(learner).fit(X.with_columns(waited_days=pl.lit(float("inf"))), t, y)


@every_learner
def test_nan_null_empty_columns_and_unseen_categories_are_borne(learner: Any) -> None:
    X, t, y = small()
    third = pl.int_range(pl.len()) % 3 == 0
    holes = X.with_columns(
        waited_days=pl.when(third).then(float("nan")).otherwise("waited_days"),
        channel=pl.when(third).then(None).otherwise("channel"),
        nothing=pl.lit(None, dtype=pl.Float64),
        never=pl.lit(None, dtype=pl.String),
    )
    model = clone(learner).fit(holes, t, y)
    unseen = holes.with_columns(channel=pl.lit("pigeon"), nothing=pl.lit(4.0), never=pl.lit("once"))
    for rows in (holes, unseen):
        gain = model.predict(rows)
        assert gain.shape == (X.height,)
        assert np.isfinite(gain).all()


@every_learner
def test_an_arm_in_which_all_ended_alike_is_borne(learner: Any) -> None:
    X, t, y = small()
    gain = clone(learner).fit(X, t, np.where(t == 1, y, 0.0)).predict(X)
    assert np.isfinite(gain).all()
    assert gain.mean() > 0.2


@every_learner
def test_one_row_an_arm_is_enough_not_to_fall_over(learner: Any) -> None:
    X, _, _ = small(2)
    gain = clone(learner).fit(X, np.array([0.0, 1.0]), np.array([0.0, 1.0])).predict(X)
    assert ((gain >= -1) & (gain <= 1)).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.02, 0.98), st.integers(12, 60))
def test_a_gain_is_always_finite_and_between_minus_one_and_one(seed: int, share: float, rows: int) -> None:
    rng = np.random.default_rng(seed)
    X = pl.DataFrame({"amount": rng.lognormal(3, 2, rows), "kind": rng.choice(["a", "b", "c"], rows)})
    t, y = rng.permutation(rows) % 2, rng.permutation(rows) % 2
    gain = UpliftModel(rounds=10).fit(X, t, y, np.full(rows, share)).predict(X)
    assert np.isfinite(gain).all()
    assert ((gain >= -1) & (gain <= 1)).all()


def test_the_products_model_sees_what_two_flags_do_together() -> None:
    rng = np.random.default_rng(5)
    X = pl.DataFrame({"men": rng.integers(0, 2, 6000), "women": rng.integers(0, 2, 6000), "recency": rng.random(6000)})
    both = (X["men"] * X["women"]).to_numpy() == 1
    t = rng.integers(0, 2, 6000)
    y = (rng.random(6000) < 0.2 + 0.3 * t * both).astype(float)
    ours, straight = (model.fit(X, t, y).predict(X) for model in (UpliftModel(), SLearner()))
    assert ours[both].mean() - ours[~both].mean() > 0.2
    assert straight[~both].std() > 2 * ours[~both].std()  # a sum of two slopes must put some of it elsewhere
