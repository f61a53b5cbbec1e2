"""Metrics with intervals, paired differences, clusters, and what the baselines answer."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.backtest import Refit, origins
from predictors.baselines import ISSUE_BASELINES, Lesson, base_rate, hist_gradient_boosting, late_by_due, logistic
from predictors.evaluation import METRICS, compare, measure

RNG = np.random.default_rng(11)
Y = (RNG.random(400) < 0.25).astype(np.int64)
GOOD = np.clip(0.2 + 0.25 * Y + RNG.normal(0, 0.15, 400), 0.01, 0.99)
POOR = np.clip(0.2 + 0.05 * Y + RNG.normal(0, 0.15, 400), 0.01, 0.99)


def test_a_model_compared_with_itself_differs_by_nothing_in_any_draw() -> None:
    found = compare(Y, {"aftercare": GOOD, "same": GOOD.copy()}, seed=1).differences["same"]
    assert set(found) == set(METRICS)
    assert all(value == {"value": 0.0, "low": 0.0, "high": 0.0} for value in found.values())


def test_a_better_model_stands_above_noise_and_the_difference_is_that_of_the_values() -> None:
    found = compare(Y, {"aftercare": GOOD, "poor": POOR}, seed=1)
    gain = found.differences["poor"]["auc"]
    assert gain["low"] is not None
    assert gain["low"] > 0
    values = [found.models[name]["auc"]["value"] for name in ("aftercare", "poor")]
    assert gain["value"] == pytest.approx(values[0] - values[1])


def test_paired_differences_are_surer_than_what_the_two_intervals_say() -> None:
    nearly = np.clip(GOOD + RNG.normal(0, 0.01, 400), 0.01, 0.99)
    found = compare(Y, {"aftercare": GOOD, "nearly": nearly}, seed=1)
    width = found.differences["nearly"]["auc"]["high"] - found.differences["nearly"]["auc"]["low"]
    alone = found.models["nearly"]["auc"]["high"] - found.models["nearly"]["auc"]["low"]
    assert width < alone / 3


def test_rows_of_one_cluster_are_drawn_together() -> None:
    # Each row five times over says no more than it does once: clustered, the interval stays as wide.
    five = [np.repeat(values, 5) for values in (Y, GOOD)]
    once = measure(Y, GOOD, seed=3)["auc"]
    naive = compare(five[0], {"aftercare": five[1]}, seed=3).models["aftercare"]["auc"]
    clustered = compare(five[0], {"aftercare": five[1]}, seed=3, clusters=np.repeat(np.arange(400), 5)).models[
        "aftercare"
    ]["auc"]
    assert clustered == pytest.approx(once)
    assert naive["high"] - naive["low"] < 0.6 * (once["high"] - once["low"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 100))
def test_clusters_of_any_sizes_lie_within_the_rows(labels: list[int], seed: int) -> None:
    y = np.arange(len(labels)) % 2
    p = np.linspace(0.1, 0.9, len(labels))
    found = compare(y, {"a": p}, seed=seed, resamples=5, clusters=np.array(labels)).models["a"]["brier"]
    errors = (p - y) ** 2
    assert errors.min() - 1e-12 <= found["low"] <= found["high"] <= errors.max() + 1e-12


def test_one_class_and_no_rows_are_undefined_not_wrong() -> None:
    assert measure(np.zeros(5, dtype=np.int64), np.full(5, 0.2), seed=0)["auc"] == {
        "value": None,
        "low": None,
        "high": None,
    }
    empty = measure(np.empty(0, dtype=np.int64), np.empty(0), seed=0)
    assert all(value["value"] is None for value in empty.values())


# --- baselines ---------------------------------------------------------------------------------------


def _lesson(target: list[int], late: list[float], asked: list[float | None]) -> Lesson:
    return Lesson(
        earlier=pl.DataFrame({"not_delivered": late}),
        target=np.array(target, dtype=np.int64),
        later=pl.DataFrame({"not_delivered": asked}, schema={"not_delivered": pl.Float64}),
        features=("not_delivered",),
        horizon_days=45,
        seed=0,
    )


def test_the_rule_gives_late_parcels_the_earlier_share_of_late_ones() -> None:
    lesson = _lesson([1, 1, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 0, 0, 0], [1.0, 0.0, None])
    assert late_by_due(lesson) == pytest.approx([3 / 5, 2 / 7, 2 / 7])
    assert base_rate(lesson) == pytest.approx([3 / 8] * 3)


def test_a_baseline_that_cannot_say_anything_says_nothing() -> None:
    nothing = _lesson([], [], [1.0])
    assert [baseline(nothing) is None for baseline in (base_rate, late_by_due, logistic, hist_gradient_boosting)] == [
        True
    ] * 4
    one_class = _lesson([0] * 30, [0.0] * 30, [1.0])
    assert logistic(one_class) is None
    assert hist_gradient_boosting(one_class) is None


@pytest.mark.parametrize("name", ISSUE_BASELINES)
def test_baselines_bear_missing_values_and_columns_without_any(name: str) -> None:
    late = (RNG.random(300) < 0.3).astype(float)
    target = (RNG.random(300) < 0.1 + 0.6 * late).astype(np.int64)
    frame = pl.DataFrame({"not_delivered": late, "empty": [None] * 300, "kind": ["a", "b", None] * 100})
    frame = frame.with_columns(pl.col("empty").cast(pl.Float64))
    lesson = Lesson(earlier=frame, target=target, later=frame, features=tuple(frame.columns), horizon_days=45, seed=0)
    p = ISSUE_BASELINES[name](lesson)
    assert p is not None
    assert p.shape == (300,)
    assert ((p > 0) & (p < 1)).all()
    if name != "base_rate":
        assert p[late == 1].mean() > p[late == 0].mean()


# --- origins -----------------------------------------------------------------------------------------


def test_origins_are_the_start_and_each_local_first_of_a_month_before_the_end() -> None:
    start, end = datetime(2018, 11, 20, 12, tzinfo=UTC), datetime(2019, 2, 1, 2, tzinfo=UTC)
    # São Paulo was two hours behind UTC in that summer; February's midnight there is the end itself.
    assert origins(start, end, "America/Sao_Paulo", Refit.MONTHLY) == [
        start,
        datetime(2018, 12, 1, 2, tzinfo=UTC),
        datetime(2019, 1, 1, 2, tzinfo=UTC),
    ]
    assert origins(start, end, "America/Sao_Paulo", Refit.ONCE) == [start]
    first = datetime(2019, 1, 1, tzinfo=UTC)
    assert origins(first, datetime(2019, 1, 31, tzinfo=UTC), "UTC", Refit.MONTHLY) == [first]
