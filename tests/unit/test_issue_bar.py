"""What the benchmark of issue prediction counts towards its exit status, and what it only shows."""

from __future__ import annotations

import pytest

from benchmarks.issue import BESIDE, FORMER, OURS, RIVALS, limits_missed
from predictors.baselines import ISSUE_BASELINES
from predictors.evaluation import METRICS, Comparison, Interval

# (low, high) of ours minus theirs.
AHEAD, LEVEL, BEHIND = (0.01, 0.03), (-0.01, 0.01), (-0.03, -0.01)


def _against(**said: dict[str, tuple[float, float]]) -> Comparison:
    """Compare ours: ahead of every baseline, level with the rivals and the former recipe, unless said otherwise."""
    usual = dict.fromkeys(ISSUE_BASELINES, AHEAD) | dict.fromkeys((FORMER, *RIVALS), LEVEL)
    differences = {name: {metric: _difference(metric, *ends) for metric in METRICS} for name, ends in usual.items()}
    for name, metrics in said.items():
        differences[name] |= {metric: _difference(metric, *ends) for metric, ends in metrics.items()}
    value: Interval = {"value": 0.02, "low": 0.02, "high": 0.02}
    return Comparison(models=dict.fromkeys((OURS, *usual), dict.fromkeys(METRICS, value)), differences=differences)


def _difference(metric: str, low: float, high: float) -> Interval:
    # Less of the Brier score is better.
    low, high = (-high, -low) if metric == "brier" else (low, high)
    return {"value": (low + high) / 2, "low": low, "high": high}


def test_ours_ahead_of_the_baselines_and_level_with_the_rivals_holds_the_bar() -> None:
    assert limits_missed(_against()) == []


@pytest.mark.parametrize("metric", ["auc", "average_precision", "brier"])
@pytest.mark.parametrize("name", [*ISSUE_BASELINES, *RIVALS])
def test_falling_behind_a_baseline_or_a_rival_beyond_noise_misses_it(name: str, metric: str) -> None:
    assert f"worse than {name} in {metric}" in limits_missed(_against(**{name: {metric: BEHIND}}))


def test_what_does_not_stand_above_noise_against_the_best_baseline_misses_it() -> None:
    level = dict.fromkeys(("auc", "average_precision"), LEVEL)
    (missed,) = limits_missed(_against(**dict.fromkeys(ISSUE_BASELINES, level)))
    assert missed.startswith("not better beyond noise than ")


def test_our_own_earlier_recipe_and_precision_are_shown_and_not_counted() -> None:
    ahead = dict.fromkeys(METRICS, BEHIND)
    assert limits_missed(_against(**{FORMER: ahead})) == []
    assert limits_missed(_against(catboost={"precision_at_10_percent": BEHIND})) == []
    assert set(BESIDE) == {FORMER}
    assert not set(BESIDE) & {*ISSUE_BASELINES, *RIVALS}


def test_a_calibration_error_above_three_points_misses_it() -> None:
    found = _against()
    found.models[OURS] = found.models[OURS] | {"ece": {"value": 0.031, "low": 0.03, "high": 0.04}}
    assert limits_missed(found) == ["calibration error 0.031"]
