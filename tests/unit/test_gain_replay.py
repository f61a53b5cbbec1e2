"""A newer model of the gain: kept out where outcomes that neither model had seen show that it is worse."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from predictors.frames import Array
from predictors.gain import OUTCOMES, GainModel, train_uplift
from predictors.gain_replay import gain_errors, gate_gain
from predictors.gates import Verdict
from predictors.snapshot import Snapshot
from tests.unit.shops import START, invented_shop, snapshot

HORIZON, ORDERS = 20, 1500
MORE = Verdict(passed=True, reason="the same recipe on 900 outcomes, against the champion's 500", rows=900)


class Always:
    """An estimator that expects the same gain of everybody, or what it is told of the late ones."""

    def __init__(self, of_punctual: float, of_late: float) -> None:
        self.gains = (of_punctual, of_late)

    def predict(self, X: pl.DataFrame) -> Array:
        return np.where(X["not_delivered"].to_numpy() == 1, self.gains[1], self.gains[0])


@pytest.fixture(scope="module")
def experiment() -> tuple[Snapshot, pl.DataFrame, GainModel]:
    """A shop, the outcomes of an experiment in which a check-in helps late parcels by .9, and a champion of its half."""
    rows = invented_shop(ORDERS, seed=3)
    rng = np.random.default_rng(4)
    delivered = {row["order_id"]: row["occurred_at"] for row in rows["touchpoints"] if row["kind"] == "delivered"}
    made = []
    for order in rows["orders"]:
        moment = order["promised_at"] + timedelta(days=1)
        contacted = bool(rng.random() < 0.5)
        late = delivered[order["order_id"]] > moment
        bad = rng.random() < (0.95 if late and not contacted else 0.05)
        made.append((order["order_id"], moment, int(contacted), int(bad), 0.5))
    outcomes = pl.DataFrame(made, schema=dict(OUTCOMES), orient="row").sort("moment")
    seen = snapshot(rows, START + timedelta(days=260))
    half = outcomes["moment"][ORDERS // 2]
    known = outcomes.filter(pl.col("moment") <= half - timedelta(days=HORIZON))
    champion = train_uplift(seen.at(half), known, horizon_days=HORIZON, due_days=14, champion=None).model
    assert isinstance(champion, GainModel)
    return seen, outcomes, champion


def judged(
    experiment: tuple[Snapshot, pl.DataFrame, GainModel], champion: GainModel, by_count: Verdict = MORE
) -> Verdict:
    seen, outcomes, _ = experiment
    return gate_gain(by_count, seen, outcomes, champion, horizon_days=HORIZON, due_days=14, seed=0)


def test_more_outcomes_of_the_same_recipe_pass(experiment: tuple[Snapshot, pl.DataFrame, GainModel]) -> None:
    verdict = judged(experiment, experiment[2])
    assert verdict.passed
    assert "unseen outcomes: not worse beyond noise" in verdict.reason
    assert verdict.rows < ORDERS / 2


def test_what_unseen_outcomes_show_to_be_worse_is_kept_out_whatever_the_counts(
    experiment: tuple[Snapshot, pl.DataFrame, GainModel],
) -> None:
    """For a while the arms were written down the wrong way round; the champion knows better."""
    seen, outcomes, champion = experiment
    knowing = replace(champion, estimator=Always(0.0, 0.9))
    wrong = pl.col("moment") <= outcomes["moment"][ORDERS * 3 // 4]
    misled = outcomes.with_columns(
        contacted=pl.when(wrong).then(1 - pl.col("contacted")).otherwise(pl.col("contacted"))
    )
    verdict = judged((seen, misled.cast({"contacted": pl.Int8}), champion), knowing)
    assert not verdict.passed
    assert "worse beyond noise" in verdict.reason
    assert (verdict.low or 0.0) > 0


def test_fewer_outcomes_or_too_little_unseen_leave_the_verdict_of_the_counts(
    experiment: tuple[Snapshot, pl.DataFrame, GainModel],
) -> None:
    seen, _, champion = experiment
    fewer = replace(MORE, passed=False)
    assert judged(experiment, champion, fewer) is fewer
    assert judged(experiment, replace(champion, trained_as_of=seen.until)) is MORE
    unknown = replace(champion, features=(*champion.features, "moon_phase"))
    assert judged(experiment, unknown) is MORE


def test_the_error_is_least_on_average_for_the_true_gain() -> None:
    rng = np.random.default_rng(0)
    late = rng.integers(0, 2, 20_000)
    p = np.where(rng.random(20_000) < 0.5, 0.3, 0.7)
    contacted = (rng.random(20_000) < p).astype(int)
    issue = (rng.random(20_000) < np.where((late == 1) & (contacted == 0), 0.8, 0.2)).astype(int)
    rows = pl.DataFrame({"contacted": contacted, "issue": issue, "propensity": p})
    true = np.where(late == 1, 0.6, 0.0)
    for other in (np.full(20_000, 0.3), np.where(late == 1, 0.9, 0.0), true[::-1].copy()):
        off = float(np.mean((other - true) ** 2))
        assert np.mean(gain_errors(rows, other) - gain_errors(rows, true)) == pytest.approx(off, abs=0.05)
