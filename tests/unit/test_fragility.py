"""Shocks leave rows that could be: what hangs together moves together, and a larger shock never moves less."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.features import IDENTITY, issue_features
from predictors.fragility import SHOCKS, Shock, _handed_over_later, _parcel_later, fragilities, shaken
from predictors.frames import Array, feature_columns
from predictors.model import Stage, TrainedModel
from predictors.moments import Moment, issue_subjects, order_moments
from tests.unit.shops import START, invented_shop, snapshot

SHOP = snapshot(invented_shop(200, seed=9))
MOMENTS = order_moments(SHOP, due_days=14)
FRAMES = {
    moment: issue_features(SHOP, MOMENTS, issue_subjects(MOMENTS, moment), moment)
    for moment in (Moment.PLACED, Moment.DUE)
}
CLOSE = 1e-6


def _shocked(moment: Moment, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    frame = FRAMES[moment]
    return frame, shaken(frame, next(shock for shock in SHOCKS[moment] if shock.name == name))


@pytest.mark.parametrize("moment", FRAMES)
def test_every_shock_of_the_table_moves_features_that_exist_and_no_other_column(moment: Moment) -> None:
    frame = FRAMES[moment]
    for shock in SHOCKS[moment]:
        assert set(shock.changes) <= set(feature_columns(frame, IDENTITY)), shock.name
        after = shaken(frame, shock)
        assert after.schema == frame.schema
        same = [name for name in frame.columns if name not in shock.changes]
        assert after.select(same).equals(frame.select(same))
        assert not after.equals(frame), shock.name


@pytest.mark.parametrize("days", [0.5, 2.0, 5.0, 40.0])
def test_a_later_parcel_is_seen_until_the_promise_ends_and_no_longer(days: float) -> None:
    frame = FRAMES[Moment.DUE]
    after = shaken(frame, Shock(name="later", changes=_parcel_later(days)))
    total = frame["elapsed_days"] + frame["days_early"]
    # Placed plus elapsed plus what is left of the promise is the promised end, before and after.
    assert (after["elapsed_days"] + after["days_early"] - total).abs().max() < CLOSE
    assert after["days_early"].min() >= -CLOSE
    late = after.filter(pl.col("not_delivered") == 1)
    assert late["days_early"].abs().max() < CLOSE
    waited = after["elapsed_days"] - frame["elapsed_days"]
    assert waited.max() <= days + CLOSE
    for name in ("transit_days", "elapsed_against_usual_days"):
        assert ((after[name] - frame[name]) - waited).abs().max() < CLOSE
    already = frame["not_delivered"] == 1
    assert after.filter(already).equals(frame.filter(already))


@pytest.mark.parametrize("days", [0.5, 2.0, 10.0])
def test_a_parcel_handed_over_later_arrives_later_and_is_never_handed_over_after_the_moment(days: float) -> None:
    frame = FRAMES[Moment.DUE]
    after = shaken(frame, Shock(name="handed over", changes=_handed_over_later(days)))
    shipped = after.filter(pl.col("shipped") == 1)
    gap = ((shipped["handover_days"] + shipped["transit_days"]) - shipped["elapsed_days"]).abs()
    # Ten days later than these parcels were handed over, none is before the promise runs out.
    assert (gap < CLOSE).all()
    assert (shipped["transit_days"] >= -CLOSE).all()
    assert shipped.height > 0 or days == 10.0
    waiting = after.filter(pl.col("shipped") == 0)
    assert waiting.height == 0 or waiting["handover_days", "transit_days", "handover_late_days"].null_count().row(
        0
    ) == ((waiting.height,) * 3)
    # Delivered in time means handed over.
    assert after.filter((pl.col("not_delivered") == 0) & (pl.col("shipped") == 0)).height == 0


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 20), st.floats(0.1, 20))
def test_a_larger_delay_never_moves_a_parcel_less(one: float, other: float) -> None:
    small, large = (
        shaken(FRAMES[Moment.DUE], Shock(name="later", changes=_parcel_later(days))) for days in sorted((one, other))
    )
    for name in ("elapsed_days", "transit_days", "elapsed_against_usual_days", "not_delivered"):
        assert (large[name] - small[name]).min() >= -CLOSE
    assert (small["days_early"] - large["days_early"]).min() >= -CLOSE


def test_a_shorter_promise_leaves_less_of_every_margin_and_never_ends_before_the_order() -> None:
    frame, after = _shocked(Moment.PLACED, "promise two days shorter")
    shortened = frame["promise_days"] - after["promise_days"]
    assert after["promise_days"].min() >= 0
    assert shortened.max() == pytest.approx(2.0)
    for name in ("promise_margin_days", "promise_slack_days"):
        assert ((frame[name] - after[name]) - shortened).abs().max() < CLOSE
    spreads = (after["promise_slack_days"] / after["route_transit_spread_days"] - after["promise_slack_spreads"]).abs()
    assert spreads.max() is None or spreads.max() < CLOSE


def test_a_doubled_backlog_is_never_more_than_was_placed_lately() -> None:
    frame, after = _shocked(Moment.PLACED, "seller's backlog doubled")
    assert (after["seller_recent_orders_log"] - after["seller_backlog_log"]).min() >= -CLOSE
    assert (after["seller_backlog_log"] - frame["seller_backlog_log"]).min() >= -CLOSE


class _OfDays:
    """A model that looks at nothing but how long the order has taken."""

    def predict_proba(self, X: pl.DataFrame) -> Array:
        p = (X["elapsed_days"] / 40).clip(0, 1).to_numpy()
        return np.column_stack([1 - p, p])


def _model(features: tuple[str, ...]) -> TrainedModel:
    return TrainedModel(
        kind="issue", moment="due", horizon_days=45, stage=Stage.RULES, estimator=_OfDays(), features=features,
        reference={}, trained_as_of=START, rows=0, positives=0,
    )  # fmt: skip


def test_the_level_is_the_largest_move_and_the_sentence_names_its_shock() -> None:
    frame = FRAMES[Moment.DUE].filter(pl.col("not_delivered") == 0)
    model = _model(("elapsed_days",))
    found = fragilities(model, frame, model.probabilities(frame))
    for one, elapsed, early in zip(found, frame["elapsed_days"], frame["days_early"], strict=True):
        moved = dict(one.shocks)
        assert set(moved) == {shock.name for shock in SHOCKS[Moment.DUE]}
        waited = min(5.0, early)
        assert moved["parcel five days later"] == pytest.approx((elapsed + waited) / 40, abs=1e-5)
        move = waited / 40
        assert one.level == ("low" if move < 0.05 else "medium" if move < 0.15 else "high")
        if move > 0.011:
            before, after = (f"{100 * p / 40:.0f} %" for p in (elapsed, elapsed + waited))
            assert one.text.startswith(f"{before} now; ")
            assert one.text.endswith(after)


def test_a_shock_that_the_model_does_not_look_at_is_left_out() -> None:
    frame = FRAMES[Moment.DUE].head(3)
    (first, *_) = fragilities(_model(("weekday",)), frame, np.full(3, 0.2))
    assert (first.level, first.shocks, first.text) == ("low", (), "")
    assert not len(fragilities(_model(("elapsed_days",)), frame.clear(), np.empty(0)))
