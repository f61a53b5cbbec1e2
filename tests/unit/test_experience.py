"""What a customer has been through, in points: signs, fading, what was known when, and the fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.experience import invented
from predictors.errors import FrameError, NotEnoughDataError
from predictors.experience import (
    EXPERIENCES,
    STANDARD,
    bootstrap_weights,
    experience_points,
    experience_scores,
    fit_experience,
    points_now,
)
from tests.unit.shops import Rows, hours, snapshot

NAMES = [one.name for one in EXPERIENCES]
SIGN = {one.name: one.sign for one in EXPERIENCES}


def journey(*points: tuple[str, float, float | None], promised_day: int | None = 5) -> Rows:
    """One customer with one order and touchpoints (kind, day, value)."""
    placed = hours(0)
    return {
        "orders": [
            {
                "order_id": 1, "customer_id": 1, "placed_at": placed, "recorded_at": placed,
                "promised_at": None if promised_day is None else placed + timedelta(days=promised_day),
            }
        ],
        "touchpoints": [
            {
                "touchpoint_id": number, "customer_id": 1, "order_id": 1, "kind": kind, "value": value,
                "occurred_at": hours(24 * day), "recorded_at": hours(24 * day),
            }
            for number, (kind, day, value) in enumerate(points)
        ],
    }  # fmt: skip


def names(rows: Rows, day: float) -> list[str]:
    return experience_points(snapshot(rows, hours(24 * day)), due_days=14)["experience"].to_list()


@pytest.mark.parametrize(
    ("point", "name"),
    [
        (("ticket_opened", 7, None), "ticket"),
        (("refunded", 7, None), "return"),
        (("review", 7, 2.0), "bad_rating"),
        (("review", 7, 4.0), "good_rating"),
        (("csat", 7, 1.0), "bad_rating"),
        (("nps", 7, 6.0), "detractor"),
        (("nps", 7, 9.0), "promoter"),
        (("used", 7, None), "used"),
    ],
)
def test_a_touchpoint_is_what_its_kind_and_value_say(point: tuple[str, float, float | None], name: str) -> None:
    assert names(journey(("delivered", 2, None), point), 30) == ["in_time", name]


@pytest.mark.parametrize("point", [("review", 7, 3.0), ("review", 7, None), ("page_view", 7, None), ("nps", 7, 8.0)])
def test_the_rest_counts_for_nothing(point: tuple[str, float, float | None]) -> None:
    assert names(journey(("delivered", 2, None), point), 30) == ["in_time"]


def test_a_broken_promise_counts_from_the_end_of_the_promised_day() -> None:
    rows = journey(("delivered", 9, None))
    assert names(rows, 5) == []
    assert names(rows, 7) == ["late"]
    assert names(rows, 30) == ["late"]


def test_without_a_promise_nothing_is_late_or_in_time() -> None:
    assert names(journey(("delivered", 9, None), promised_day=None), 60) == []


def test_a_cancelled_order_is_not_late() -> None:
    assert names(journey(("cancelled", 1, None)), 30) == []


def test_half_is_left_after_the_half_life() -> None:
    now, later = points_now(STANDARD, ["ticket", "ticket"], np.array([0.0, STANDARD.bad_half_life_days]))
    assert now == -STANDARD.weights["ticket"]
    assert later == pytest.approx(now / 2)


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.floats(-5, 4000)), min_size=1, max_size=30), st.floats(0, 400))
def test_points_keep_their_sign_and_only_fade(points: list[tuple[str, float]], days: float) -> None:
    kinds, age = [name for name, _ in points], np.array([age for _, age in points])
    now, later = points_now(STANDARD, kinds, age), points_now(STANDARD, kinds, age + days)
    assert (np.sign(now) * np.array([SIGN[name] for name in kinds]) >= 0).all()
    assert (np.abs(later) <= np.abs(now) + 1e-12).all()


def test_the_score_is_the_sum_of_what_was_recorded_by_the_moment() -> None:
    rows = journey(("delivered", 2, None), ("ticket_opened", 7, None), ("review", 20, 5.0))
    points = experience_points(snapshot(rows, hours(24 * 60)), due_days=14)
    moments = pl.DataFrame({"customer_id": [1, 1, 2], "moment": [hours(24 * 10), hours(24 * 30), hours(24 * 30)]})
    scores = experience_scores(STANDARD, points, moments)
    assert scores[0] == pytest.approx(points_now(STANDARD, ["in_time", "ticket"], np.array([8.0, 3.0])).sum())
    assert scores[1] == pytest.approx(
        points_now(STANDARD, ["in_time", "ticket", "good_rating"], np.array([28.0, 23.0, 10.0])).sum()
    )
    assert scores[2] == 0.0


def test_the_fit_recovers_that_bad_weighs_more_than_good_and_both_fade() -> None:
    world = invented(bad=1.5, good=0.4, half_life_days=60.0, seed=11, customers=3000)
    rows = pl.concat([world.earlier, world.later])
    weights = fit_experience(world.points, rows, rows["issue"].to_numpy())
    assert weights.weights["late"] == pytest.approx(1.5, abs=0.5)
    assert weights.weights["in_time"] == pytest.approx(0.4, abs=0.3)
    assert 30 < weights.bad_half_life_days < 120
    assert weights.asymmetry is not None
    assert weights.asymmetry > 1.5
    assert all(weight >= 0 for weight in weights.weights.values())


def test_what_is_recorded_later_teaches_nothing() -> None:
    world = invented(bad=1.0, good=0.4, half_life_days=60.0, seed=12, customers=400)
    target = world.earlier["issue"].to_numpy()
    before = fit_experience(world.points, world.earlier, target)
    latest = world.earlier["moment"].max()
    changed = world.points.with_columns(
        experience=pl.when(pl.col("recorded_at") > latest).then(pl.lit("complaint")).otherwise("experience")
    )
    assert fit_experience(changed, world.earlier, target) == before


@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_the_order_of_points_and_customers_does_not_matter(seed: int) -> None:
    world = invented(bad=1.0, good=0.4, half_life_days=60.0, seed=12, customers=300)
    shuffled = world.earlier.sample(fraction=1.0, shuffle=True, seed=seed)
    one = fit_experience(world.points, world.earlier, world.earlier["issue"].to_numpy())
    other = fit_experience(
        world.points.sample(fraction=1.0, shuffle=True, seed=seed), shuffled, shuffled["issue"].to_numpy()
    )
    assert other.weights == pytest.approx(one.weights, abs=0.02)


def test_a_bootstrap_repeats_by_its_seed_and_spreads_around_the_fit() -> None:
    world = invented(bad=1.0, good=0.4, half_life_days=60.0, seed=13, customers=600)
    target = world.earlier["issue"].to_numpy()
    draws = bootstrap_weights(world.points, world.earlier, target, rounds=6, seed=5)
    assert draws == bootstrap_weights(world.points, world.earlier, target, rounds=6, seed=5)
    late = [draw.weights["late"] for draw in draws]
    assert min(late) < max(late)


def test_too_little_is_told() -> None:
    world = invented(bad=1.0, good=0.4, half_life_days=60.0, seed=14, customers=60)
    with pytest.raises(NotEnoughDataError, match="50"):
        fit_experience(world.points, world.earlier, world.earlier["issue"].to_numpy())
    with pytest.raises(NotEnoughDataError):
        fit_experience(world.points, world.earlier.clear(), np.array([], dtype=np.int64))
    with pytest.raises(FrameError):
        fit_experience(world.points, world.earlier, np.full(world.earlier.height, 2))


def test_asymmetry_is_unknown_where_one_side_weighs_nothing() -> None:
    assert replace(STANDARD, weights=dict.fromkeys(NAMES, 0.0)).asymmetry is None
    assert STANDARD.asymmetry is not None
