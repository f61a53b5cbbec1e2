"""Rows predicted again part by part get what a whole prediction gives, alone as among others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from predictors.additive import Trees
from predictors.calibration import SlopeCalibrator
from predictors.issue import BlendModel, BoostingModel, LogisticModel
from predictors.kinds import KINDS, KindModel
from predictors.model import Stage, TrainedModel, reference_values
from predictors.rescoring import _InParts, _Whole, kind_shares, predicted

ROWS = 400
CLOSE = 1e-12


def _frame() -> pl.DataFrame:
    rng = np.random.default_rng(5)
    frame = pl.DataFrame(
        {
            "days": rng.normal(8, 4, ROWS),
            "late": rng.integers(0, 2, ROWS).astype(float),
            "rate": rng.random(ROWS),
            "spread": rng.lognormal(1, 1, ROWS),
            "way": rng.choice(["card", "slip", "voucher"], ROWS),
        }
    )
    gone = pl.Series(rng.random(ROWS) < 0.2)
    return frame.with_columns(
        pl.when(~gone).then("rate").alias("rate"), pl.when(~gone.reverse()).then("way").alias("way")
    )


FRAME = _frame()
TARGET = (np.random.default_rng(6).random(ROWS) < 0.2 + 0.4 * FRAME["late"].to_numpy()).astype(int)
MODELS: dict[str, Any] = {
    "logistic": LogisticModel().fit(FRAME, TARGET),
    "boosting": BoostingModel(max_iter=15, min_samples_leaf=10, max_features=1.0).fit(FRAME, TARGET),
    "blend": BlendModel().fit(FRAME, TARGET),
}
CASES: list[dict[str, float | str | None]] = [
    {"days": 7.5, "late": 0.0}, {"rate": None}, {"way": "card", "rate": 0.5}, {"way": None}, {"way": "never seen"},
]  # fmt: skip


def _model(name: str) -> TrainedModel:
    return TrainedModel(
        kind="issue", moment="due", horizon_days=45, stage=Stage.BOOSTING, estimator=MODELS[name],
        features=tuple(FRAME.columns), reference=reference_values(FRAME), trained_as_of=datetime(2026, 6, 1, tzinfo=UTC),
        rows=ROWS, positives=int(TARGET.sum()), calibrator=SlopeCalibrator(slope=0.9, anchor=-1.0),
    )  # fmt: skip


# Days longer, and a rate that is halved or, where it is low, no longer known.
NUMBERS = FRAME.select(pl.col("days") + 2, rate=pl.when(pl.col("rate") > 0.2).then(pl.col("rate") / 2)).to_dict()


@pytest.mark.parametrize("name", MODELS)
def test_in_parts_is_what_whole_predictions_say(name: str) -> None:
    model = _model(name)
    p = model.probabilities(FRAME)
    parts, whole = predicted(model, FRAME), _Whole(model, FRAME, p)
    assert isinstance(parts, _InParts)
    assert parts.probabilities == pytest.approx(p, abs=CLOSE)
    assert parts.with_values(CASES) == pytest.approx(whole.with_values(CASES), abs=CLOSE)
    assert np.ptp(whole.with_values(CASES), axis=0).max() > 0.01
    for cases in ([NUMBERS, {"days": NUMBERS["days"]}], [NUMBERS, NUMBERS | {"way": pl.Series(["slip"] * ROWS)}]):
        assert parts.with_columns(cases) == pytest.approx(whole.with_columns(cases), abs=CLOSE)


@pytest.mark.parametrize("name", MODELS)
def test_a_row_alone_gets_the_very_same_numbers_as_among_others(name: str) -> None:
    model = _model(name)
    together = predicted(model, FRAME)
    for index in (0, 17, ROWS - 1):
        alone = predicted(model, FRAME[index])
        assert alone.probabilities[0] == together.probabilities[index]
        assert alone.with_values(CASES)[:, 0].tolist() == together.with_values(CASES)[:, index].tolist()
        one = {name: column[index : index + 1] for name, column in NUMBERS.items()}
        assert alone.with_columns([one])[0, 0] == together.with_columns([NUMBERS])[0, index]


@pytest.mark.parametrize("name", MODELS)
def test_no_change_at_all_predicts_nothing(name: str) -> None:
    for rows in (1, ROWS):
        again = predicted(_model(name), FRAME[:rows])
        assert again.with_values([]).shape == again.with_columns([]).shape == (0, rows)


@pytest.mark.parametrize("name", MODELS)
def test_a_feature_that_has_the_value_already_changes_nothing_at_all(name: str) -> None:
    model = _model(name)
    row = FRAME[3]
    again = predicted(model, row)
    assert again.with_values([row.row(0, named=True)])[0, 0] == again.probabilities[0]


def test_a_model_of_unknown_parts_is_predicted_as_a_whole() -> None:
    class Constant:
        def predict_proba(self, X: pl.DataFrame) -> Any:
            return np.full((X.height, 2), 0.5)

    model = _model("blend")
    object.__setattr__(model, "estimator", Constant())
    assert isinstance(predicted(model, FRAME), _Whole)


def test_trees_of_many_splits_are_left_to_whole_predictions() -> None:
    large = BoostingModel(max_iter=2, max_leaf_nodes=31, min_samples_leaf=2, max_features=1.0).fit(FRAME, TARGET)
    assert Trees.of(large.model_) is None


@pytest.mark.parametrize("known", [1, 2, 3])
def test_shares_of_kinds_are_those_of_the_model(known: int) -> None:
    kinds = np.array(KINDS[:known], dtype=object)[(FRAME["days"].to_numpy() > 8).astype(int) % known]
    kinds[::3] = KINDS[known - 1]
    model = KindModel().fit(FRAME, kinds)
    assert kind_shares(model, FRAME) == pytest.approx(model.predict_proba(FRAME), abs=CLOSE)
    assert kind_shares(model, FRAME[4])[0].tolist() == kind_shares(model, FRAME)[4].tolist()
