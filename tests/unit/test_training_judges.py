"""Who is judged by what in a training: weighted rows, and a champion that this version cannot ask any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from predictors.calibration import SlopeCalibrator, guarded_calibrator, levelled, mean_log_loss
from predictors.frames import expit
from predictors.labels import LabelledBy
from predictors.learning_rows import LabelledRows, labelled_rows
from predictors.model import Stage, TrainedModel
from predictors.moments import Moment
from predictors.training import _judge, _scored, train_issue
from predictors.treatment import WEIGHT
from tests.unit.shops import START, invented_shop, snapshot


@pytest.fixture(scope="module")
def known() -> tuple[LabelledRows, TrainedModel]:
    """Rows of a shop, and its model of rules."""
    seen = snapshot(invented_shop(500, seed=3), START + timedelta(days=200))
    rows = labelled_rows(seen, Moment.DUE, horizon_days=20, due_days=14, mode=LabelledBy.RATED)
    model = train_issue(seen.at(START + timedelta(days=30)), Moment.DUE, horizon_days=20).model
    assert model.stage is Stage.RULES
    return rows, replace(model, features=(*rows.features, "moon_phase"))


def test_a_champion_that_this_version_cannot_ask_is_no_pass_for_what_is_worse_than_the_rules(
    known: tuple[LabelledRows, TrainedModel],
) -> None:
    rows, champion = known
    y = rows.target
    wrong, right = np.where(y == 1, 0.02, 0.6), np.where(y == 1, 0.6, 0.1)
    kept_out = _judge(rows, rows, wrong, champion, 0)
    assert not kept_out.passed
    assert "moon_phase" in kept_out.reason
    assert "worse beyond noise than these" in kept_out.reason
    passed = _judge(rows, rows, right, champion, 0)
    assert passed.passed
    assert passed.rows == len(y)


def test_with_nothing_to_judge_by_the_rules_take_over_from_a_champion_that_cannot_be_asked(
    known: tuple[LabelledRows, TrainedModel],
) -> None:
    rows, champion = known
    few = LabelledRows(frame=rows.frame[:5], features=rows.features)
    assert _judge(few, few, np.full(5, 0.5), champion, 0).passed
    able = replace(champion, stage=Stage.LOGISTIC, features=tuple(rows.features))
    assert not _judge(few, few, np.full(5, 0.5), able, 0).passed


def test_stages_are_compared_on_rows_that_stand_for_the_contacted(known: tuple[LabelledRows, TrainedModel]) -> None:
    rows, _ = known
    late = pl.col("not_delivered") == 1
    weighted = LabelledRows(
        frame=rows.frame.with_columns(pl.when(late).then(9.0).otherwise(1.0).alias(WEIGHT)), features=rows.features
    )
    twice = LabelledRows(frame=pl.concat([rows.frame, *[rows.frame.filter(late)] * 8]), features=rows.features)

    class Guess:
        def predict_proba(self, X: pl.DataFrame) -> object:
            p = np.where(X["not_delivered"].to_numpy() == 1, 0.3, 0.2)
            return np.column_stack([1 - p, p])

    losses = [_scored(Guess(), some)[1] for some in (weighted, twice, rows)]
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] != pytest.approx(losses[2], abs=1e-3)


def test_a_calibrator_learns_from_weighted_rows_as_from_rows_that_stand_there_as_often() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(-1, 1, 800)
    y = (rng.random(800) < expit(0.6 * z)).astype(np.int64)
    often = np.where(z > 0, 3, 1)
    place = np.repeat(np.arange(800), often)
    p = expit(z)
    weighted, repeated = SlopeCalibrator().fit(p, y, often), SlopeCalibrator().fit(p[place], y[place])
    assert (weighted.slope, weighted.anchor) == pytest.approx((repeated.slope, repeated.anchor), abs=1e-5)
    assert mean_log_loss(p, y, often) == pytest.approx(mean_log_loss(p[place], y[place]))
    np.testing.assert_allclose(levelled(p, y, often)[place], levelled(p[place], y[place]), atol=1e-9)
    assert guarded_calibrator(p, y, np.ones(800)).slope == guarded_calibrator(p, y).slope
