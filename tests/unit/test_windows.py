"""Chunks of orders, windows of time, and kept facts give the very features that the whole shop in memory gives."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from predictors.facets import FACETS
from predictors.features import IDENTITY, issue_features, order_facts
from predictors.frames import feature_columns
from predictors.histories import COUNTS
from predictors.issue import BlendModel
from predictors.kept import KeptHistories, features_from_kept
from predictors.model import Stage, TrainedModel, reference_values
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.scoring import recent_subjects, score_features
from predictors.snapshot import FRAMES, Snapshot
from predictors.windows import OrdersByTime
from tests.unit.shops import START, invented_shop, snapshot, with_contacts

UNTIL = START + timedelta(days=200)
SHOP = snapshot(with_contacts(invented_shop(500, seed=11), seed=4), UNTIL)


def _some(seen: Snapshot, number: int, of: int) -> Snapshot:
    """Take the orders whose id leaves a remainder, so that every chunk reaches over all of time."""
    mine = {"orders", "order_lines", "touchpoints"}
    which = pl.col("order_id") % of == number
    frames = {
        # What names no order is about any of its customer's.
        name: frame.filter(which.fill_null(True)) if name in mine else frame
        for name in FRAMES
        if (frame := getattr(seen, name)) is not None
    }
    return Snapshot(**frames, until=seen.until, timezone=seen.timezone, draws=seen.draws.filter(which))


@pytest.mark.parametrize("facts_a_window", [64, 700, 10**6])
@pytest.mark.parametrize(("recent_days", "filed"), [(None, True), (20, False)])
def test_windows_change_no_bit_of_any_feature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts_a_window: int, recent_days: int | None, filed: bool
) -> None:
    monkeypatch.setattr("predictors.windows.ROWS_A_READ", 40)
    moments = order_moments(SHOP, due_days=14)
    laid_by = OrdersByTime(tmp_path if filed else None, facts_a_window=facts_a_window)
    for number in range(3):
        part = _some(SHOP, number, 3)
        of_part = order_moments(part, due_days=14)
        laid_by.add(part, of_part, recent_subjects(part, of_part, None, recent_days=recent_days))
    found: dict[Moment, list[pl.DataFrame]] = {Moment.PLACED: [], Moment.DUE: []}
    for moment, frame in laid_by.frames():
        found[moment].append(frame)
    for moment, subjects in recent_subjects(SHOP, moments, None, recent_days=recent_days).items():
        whole = issue_features(SHOP, moments, subjects, moment)
        assert whole.height
        assert_frame_equal(pl.concat(found[moment]), whole, check_exact=True)
    if facts_a_window == 64 and recent_days is None:
        assert len(found[Moment.DUE]) > 10


@pytest.mark.parametrize("few_facts", [0, 20_000])
@pytest.mark.parametrize("moment", list(Moment)[:2])
def test_kept_facts_give_one_order_the_features_that_it_has_among_all(
    monkeypatch: pytest.MonkeyPatch, moment: Moment, few_facts: int
) -> None:
    monkeypatch.setattr("predictors.facets.FEW_FACTS", few_facts)
    monkeypatch.setattr("predictors.facets.BLOCK", 7)
    moments = order_moments(SHOP, due_days=14)
    subjects = issue_subjects(moments, moment)
    whole = issue_features(SHOP, moments, subjects, moment)
    histories = KeptHistories([order_facts(SHOP, moments)])
    for order_id in (0, 3, 250, 251, 477, 499):
        alone = _some(SHOP, order_id, 10**6)
        chosen = subjects.filter(pl.col("order_id") == order_id)
        found = features_from_kept(alone, chosen, histories, moment)
        assert found.height == 1
        assert_frame_equal(found, whole.filter(pl.col("order_id") == order_id), rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize("moment", list(Moment)[:2])
def test_facts_that_were_put_in_place_of_older_ones_count_as_if_read_with_all_others(moment: Moment) -> None:
    moments = order_moments(SHOP, due_days=14)
    subjects = issue_subjects(moments, moment)
    whole = issue_features(SHOP, moments, subjects, moment)
    # Of every third order nothing was known but its purchase, and every sixth not even that.
    some = (pl.col("order_id") % 3 == 0).fill_null(False)
    early = replace(
        SHOP,
        orders=SHOP.orders.filter(pl.col("order_id") % 6 != 0),
        touchpoints=SHOP.touchpoints.filter(~some | (pl.col("kind") == "paid")),
    )
    histories = KeptHistories([order_facts(early, order_moments(early, due_days=14))])
    for number in (0, 3):  # in two steps
        news = _some(SHOP, number, 6)
        ids = news.orders["order_id"].to_list()
        histories.renew(ids, order_facts(news, order_moments(news, due_days=14)))
    assert histories.renewed == sum(1 for order in range(500) if order % 3 == 0)
    found = features_from_kept(SHOP, subjects, histories, moment)
    assert_frame_equal(found, whole, rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize("moment", list(Moment)[:2])
def test_one_order_alone_is_predicted_explained_and_shaken_as_among_all(moment: Moment) -> None:
    moments = order_moments(SHOP, due_days=14)
    subjects = issue_subjects(moments, moment)
    frame = issue_features(SHOP, moments, subjects, moment)
    model = _blend(frame, moment)
    whole = score_features(model, frame)
    assert whole.reasons.chosen.max() >= 0
    histories = KeptHistories([order_facts(SHOP, moments)])
    for place in range(0, frame.height, 23):
        order_id = frame["order_id"][place]
        chosen = subjects.filter(pl.col("order_id") == order_id)
        alone = score_features(model, features_from_kept(_some(SHOP, order_id, 10**6), chosen, histories, moment))
        assert alone.identity.rows() == whole.identity[place].rows()
        assert alone.reasons.chosen[:, 0].tolist() == whole.reasons.chosen[:, place].tolist()
        for found, among_all in (
            (alone.probability[0], whole.probability[place]),
            (alone.reasons.effects[:, 0], whole.reasons.effects[:, place]),
            (alone.reasons.without[:, 0], whole.reasons.without[:, place]),
            (alone.fragility.shocked[:, 0], whole.fragility.shocked[:, place]),
        ):
            assert found == pytest.approx(among_all, rel=1e-12, abs=1e-12)


def _blend(frame: pl.DataFrame, moment: Moment) -> TrainedModel:
    features = tuple(feature_columns(frame, IDENTITY))
    issue = (frame["seller_bad_rate"].fill_null(0.0) + frame["promise_days"] * 0.01 + frame["hour"] * 0.01).to_numpy()
    target = (issue > np.median(issue)).astype(np.int64)
    return TrainedModel(
        kind="issue", moment=moment.value, horizon_days=45, stage=Stage.BOOSTING, features=features,
        estimator=BlendModel().fit(frame.select(features), target), reference=reference_values(frame.select(features)),
        trained_as_of=UNTIL, rows=frame.height, positives=int(target.sum()),
    )  # fmt: skip


def test_every_count_of_the_histories_is_kept() -> None:
    assert sorted(count for facet in FACETS for count in facet) == sorted(COUNTS)


def test_a_shop_without_orders_has_no_features() -> None:
    assert list(OrdersByTime().frames()) == []
