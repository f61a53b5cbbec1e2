"""One conformance suite for every estimator of `predictors`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from predictors.churn import SILENCE, ChurnModel, PurchasesModel
from predictors.errors import FeatureMismatchError, FrameError, NotEnoughDataError, PredictorError
from predictors.evaluation import roc_auc
from predictors.issue import BlendModel, BoostingModel, LogisticModel
from predictors.rules import RulesModel
from predictors.uplift import UpliftModel

CLASSIFIERS = [
    RulesModel(),
    LogisticModel(),
    BoostingModel(max_iter=10, seed=1),
    BlendModel(seed=1),
    PurchasesModel(),
    ChurnModel(),
    ChurnModel(boosting_from=20, stretched=True),
]
ALL = [*CLASSIFIERS, UpliftModel()]
LEARNING = [one for one in CLASSIFIERS if not isinstance(one, RulesModel | PurchasesModel)]


def name(estimator: Any) -> str:
    return type(estimator).__name__


def frame(rows: int = 300, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "not_delivered": rng.integers(0, 2, rows).astype(float),
            "elapsed_days": rng.uniform(1, 30, rows),
            SILENCE: rng.normal(0, 1, rows),
            "payment_type": rng.choice(["card", "invoice", "voucher"], rows),
        }
    )


def outcome(X: pl.DataFrame, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z = 2 * X["not_delivered"].to_numpy() + X[SILENCE].to_numpy() - 1
    return (rng.random(X.height) < 1 / (1 + np.exp(-z))).astype(int)


def arm(rows: int) -> np.ndarray:
    return np.arange(rows) % 2


def fit(estimator: Any, X: Any, y: Any) -> Any:
    fresh = clone(estimator)
    return fresh.fit(X, arm(len(X)), y) if isinstance(fresh, UpliftModel) else fresh.fit(X, y)


def predict(estimator: Any, X: Any) -> np.ndarray:
    return estimator.predict(X) if isinstance(estimator, UpliftModel) else estimator.predict_proba(X)


@pytest.mark.parametrize("estimator", ALL, ids=name)
class TestEveryEstimator:
    def test_clone_carries_the_parameters_and_nothing_learned(self, estimator: Any) -> None:
        fitted = fit(estimator, frame(), outcome(frame()))
        again = clone(fitted)
        assert again.get_params() == estimator.get_params()
        assert not [key for key in vars(again) if key.endswith("_")]

    def test_set_params_takes_what_get_params_gives(self, estimator: Any) -> None:
        fresh = clone(estimator)
        assert fresh.set_params(**fresh.get_params()).get_params() == estimator.get_params()

    def test_equal_seeds_give_equal_predictions(self, estimator: Any) -> None:
        X, y = frame(), outcome(frame())
        np.testing.assert_array_equal(predict(fit(estimator, X, y), X), predict(fit(estimator, X, y), X))

    def test_unseen_categories_are_borne(self, estimator: Any) -> None:
        fitted = fit(estimator, frame(), outcome(frame()))
        unseen = frame(20, seed=9).with_columns(payment_type=pl.lit("pigeon"))
        assert np.isfinite(predict(fitted, unseen)).all()

    @pytest.mark.parametrize("column", ["not_delivered", "elapsed_days", "payment_type"])
    def test_missing_values_are_borne_in_training_and_after(self, estimator: Any, column: str) -> None:
        X = frame()
        holes = X.with_columns(
            pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise(pl.col(column)).alias(column)
        )
        nothing = X.with_columns(pl.lit(None, dtype=X.schema[column]).alias(column))
        fitted = fit(estimator, holes, outcome(X))
        assert np.isfinite(predict(fitted, nothing)).all()
        assert np.isfinite(predict(fit(estimator, nothing, outcome(X)), X)).all()

    def test_no_rows_to_learn_from_is_a_named_error(self, estimator: Any) -> None:
        with pytest.raises(NotEnoughDataError, match="no rows"):
            fit(estimator, frame(0), np.empty(0, int))

    def test_one_class_is_a_named_error(self, estimator: Any) -> None:
        with pytest.raises(NotEnoughDataError, match="one class"):
            fit(estimator, frame(), np.ones(300, int))

    def test_a_target_that_is_no_outcome_is_a_named_error(self, estimator: Any) -> None:
        with pytest.raises(FrameError, match="0 or 1"):
            fit(estimator, frame(), np.arange(300))

    def test_another_number_of_targets_is_a_named_error(self, estimator: Any) -> None:
        with pytest.raises(FrameError, match="shape"):
            fit(estimator, frame(), np.tile([0, 1], 7))

    def test_something_that_is_no_frame_is_a_named_error(self, estimator: Any) -> None:
        with pytest.raises(FrameError, match="DataFrame"):
            fit(estimator, [[1.0, 2.0]] * 300, outcome(frame()))

    def test_no_rows_to_predict_give_no_predictions(self, estimator: Any) -> None:
        assert len(predict(fit(estimator, frame(), outcome(frame())), frame(0))) == 0

    def test_pandas_and_polars_frames_mean_the_same(self, estimator: Any) -> None:
        X, y = frame(), outcome(frame())
        as_pandas = pd.DataFrame({column: X[column].to_list() for column in X.columns})
        np.testing.assert_allclose(predict(fit(estimator, as_pandas, y), as_pandas), predict(fit(estimator, X, y), X))


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=name)
def test_classifiers_give_probabilities_of_both_classes(estimator: Any) -> None:
    X = frame()
    p = fit(estimator, X, outcome(X)).predict_proba(X)
    assert p.shape == (300, 2)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)


@pytest.mark.parametrize("estimator", LEARNING, ids=name)
def test_learning_classifiers_rank_better_than_chance_on_new_rows(estimator: Any) -> None:
    X, later = frame(600), frame(600, seed=4)
    p = fit(estimator, X, outcome(X)).predict_proba(later)[:, 1]
    y = outcome(later, seed=4)
    assert roc_auc(y, p) > 0.7


@pytest.mark.parametrize("estimator", [*LEARNING, UpliftModel()], ids=name)
def test_a_column_that_is_gone_or_infinite_is_a_named_error(estimator: Any) -> None:
    fitted = fit(estimator, frame(), outcome(frame()))
    with pytest.raises(FeatureMismatchError, match="elapsed_days"):
        predict(fitted, frame().drop("elapsed_days"))
    with pytest.raises(PredictorError, match="elapsed_days"):
        predict(fitted, frame().with_columns(elapsed_days=pl.lit(float("inf"))))


def test_uplift_finds_who_gains() -> None:
    rng = np.random.default_rng(3)
    X = pl.DataFrame({"recent": rng.integers(0, 2, 8000).astype(float), "zip": rng.choice(["a", "b"], 8000)})
    t = arm(8000)
    y = (rng.random(8000) < 0.2 + 0.3 * t * X["recent"].to_numpy()).astype(int)
    gain = UpliftModel().fit(X, t, y).predict(X)
    recent = X["recent"].to_numpy() == 1
    assert gain[recent].mean() > 0.2
    assert abs(gain[~recent].mean()) < 0.1


def test_uplift_needs_both_arms() -> None:
    with pytest.raises(NotEnoughDataError, match="arm"):
        UpliftModel().fit(frame(), np.ones(300), outcome(frame()))
