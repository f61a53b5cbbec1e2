"""Drift: silent while nothing changes, loud where something does, and honest where there is too little."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from predictors.drift import MIN_ROWS, feature_shifts, level, reference, week_levels
from predictors.frames import expit

START = datetime(2026, 1, 1, tzinfo=UTC)
TRAINED = START + timedelta(days=300)
PLAIN = [f"x{number}" for number in range(12)]


def rows(seed: int, number: int, *, first_day: float = 0.0, days: float = 300.0) -> pl.DataFrame:
    """Return features of a world that does not change."""
    rng = np.random.default_rng(seed)
    moments = [START + timedelta(days=first_day + days * place / number) for place in range(number)]
    columns = {name: rng.normal(0, 1, number) for name in PLAIN}
    kinds = rng.choice(["card", "voucher", "invoice"], number, p=[0.7, 0.2, 0.1])
    gaps = [
        None if missing else value
        for missing, value in zip(rng.random(number) < 0.3, rng.normal(0, 1, number), strict=True)
    ]
    return pl.DataFrame(
        {"moment": moments, **columns, "payment": kinds, "sometimes": pl.Series(gaps, dtype=pl.Float64)}
    ).with_columns(pl.col("moment").dt.cast_time_unit("us"), rare=pl.lit(1.0))


@pytest.fixture(scope="module")
def learned() -> dict[str, object]:
    # Through JSON, as it stands in a manifest.
    return json.loads(json.dumps(reference(rows(0, 4000), TRAINED)))  # type: ignore[no-any-return]


def recent(seed: int, number: int = 600) -> pl.DataFrame:
    return rows(1000 + seed, number, first_day=300, days=28)


def alarms(learned: dict[str, object], frame: pl.DataFrame, bound: float = 0.25) -> set[str]:
    found = feature_shifts(learned, frame, bound=bound)
    assert found is not None
    return {one.feature for one in found if one.alarm}


def test_a_world_that_does_not_change_alarms_no_more_often_than_stated(learned: dict[str, object]) -> None:
    """With a bound of nearly nothing only chance is left: at most .5 % of looks, over all features together."""
    looks = [alarms(learned, recent(seed, number), bound=1e-9) for seed in range(60) for number in (100, 600)]
    assert sum(bool(found) for found in looks) <= 4  # P(more of 120 | .5 %) < .001
    assert not any(alarms(learned, recent(seed)) for seed in range(60))


@pytest.mark.parametrize("shift", [0.8, -1.5])
def test_a_planted_shift_alarms_and_only_there(learned: dict[str, object], shift: float) -> None:
    moved = recent(1).with_columns(pl.col("x3") + shift)
    assert alarms(learned, moved) == {"x3"}


def test_a_feature_that_is_no_longer_filled_alarms(learned: dict[str, object]) -> None:
    empty = recent(2).with_columns(pl.lit(None, dtype=pl.Float64).alias("x0"))
    assert alarms(learned, empty) == {"x0"}
    assert alarms(learned, recent(2).drop("x0")) == {"x0"}
    assert alarms(learned, recent(2).with_columns(pl.lit("text").alias("x0"))) == {"x0"}


def test_categories_never_seen_alarm(learned: dict[str, object]) -> None:
    new = recent(3).with_columns(payment=pl.when(pl.col("x0") > 0).then(pl.lit("crypto")).otherwise("payment"))
    found = feature_shifts(learned, new, bound=0.25)
    assert found is not None
    assert (found[0].feature, found[0].alarm) == ("payment", True)
    assert found[0].unknown == pytest.approx(0.5, abs=0.06)
    few = recent(3).with_columns(payment=pl.when(pl.col("x0") > 2.5).then(pl.lit("crypto")).otherwise("payment"))
    assert alarms(learned, few) == set()


def test_a_running_history_that_always_wandered_alarms_only_where_it_becomes_unknown() -> None:
    def wandering(frame: pl.DataFrame) -> pl.DataFrame:
        days = (pl.col("moment") - START).dt.total_seconds() / 86400
        return frame.with_columns(history=days / 40 + pl.col("x0") * 0.1)

    learned = reference(wandering(rows(0, 4000)), TRAINED + timedelta(days=30))
    later = wandering(rows(1, 600, first_day=330, days=28))
    found = feature_shifts(learned, later, bound=0.25)
    assert found is not None
    (history,) = (one for one in found if one.feature == "history")
    assert history.psi > 1
    assert (history.wanders, history.alarm) == (True, False)
    gone = later.with_columns(pl.lit(None, dtype=pl.Float64).alias("history"))
    assert alarms(learned, gone) == {"history"}


@pytest.mark.parametrize("number", [0, 1, MIN_ROWS - 1])
def test_too_few_rows_are_not_compared(learned: dict[str, object], number: int) -> None:
    assert feature_shifts(learned, recent(0).head(number), bound=0.25) is None
    assert feature_shifts(reference(rows(0, 4000).head(number), TRAINED), recent(0), bound=0.25) is None


def test_a_model_without_a_reference_is_not_compared() -> None:
    assert feature_shifts({}, recent(0), bound=0.25) is None


def outcomes(seed: int, number: int = 1500, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = -1.8 + rng.normal(0, 0.8, number)
    return (rng.random(number) < expit(z + shift)).astype(np.int64), expit(z)


def test_a_true_level_alarms_no_more_often_than_stated() -> None:
    found = [level(*outcomes(seed), tolerance=1e-9) for seed in range(400)]
    assert sum(one is not None and one.alarm for one in found) <= 8  # P(more of 400 | .5 %) < .001


@pytest.mark.parametrize("shift", [0.6, -0.6])
def test_a_level_that_is_off_alarms(shift: float) -> None:
    found = level(*outcomes(0, shift=shift), tolerance=0.25)
    assert found is not None
    assert found.alarm
    assert (found.ratio > 1) == (shift > 0)


def test_a_small_gap_does_not_alarm_however_sure() -> None:
    found = level(*outcomes(0, 200_000, shift=0.1), tolerance=0.25)
    assert found is not None
    assert found.chance < 0.001
    assert not found.alarm


def test_too_few_outcomes_say_nothing_about_the_level() -> None:
    y, p = outcomes(0)
    assert level(y[:50], p[:50], tolerance=0.25) is None
    assert level(y[:200], np.full(200, 0.001), tolerance=0.25) is None
    assert level(y[:0], p[:0], tolerance=0.25) is None


def test_weeks_begin_on_monday_and_hold_every_row() -> None:
    moments = pl.Series("moment", [START + timedelta(days=day) for day in range(21)])
    y, p = np.array([1, 0, 0] * 7), np.full(21, 0.25)
    weeks = week_levels(moments, y, p)
    assert sum(week.rows for week in weeks) == 21
    assert [week.week.isoweekday() for week in weeks] == [1] * len(weeks)
    assert all(week.low <= week.observed <= week.high for week in weeks)
    assert {week.expected for week in weeks} == {0.25}
