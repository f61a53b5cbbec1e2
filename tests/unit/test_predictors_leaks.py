"""Each leak that Olist invites: an order's own rating, its date, its delivery at purchase, a random split."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from predictors.features import issue_features
from predictors.labels import LabelledBy
from predictors.learning_rows import labelled_rows
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.training import _split
from tests.unit.shops import START, Rows, invented_shop, snapshot

ORDERS = 80
Row = dict[str, Any]


def features(rows: Rows, moment: Moment) -> pl.DataFrame:
    seen = snapshot(rows)
    moments = order_moments(seen, due_days=14)
    return issue_features(seen, moments, issue_subjects(moments, moment), moment)


def changed(rows: Rows, kind: str, change: Callable[[Row], None]) -> Rows:
    """Change what is told of the order in the middle, and of all later ones."""
    other = copy.deepcopy(rows)
    for row in other["touchpoints"]:
        if row["kind"] == kind and row["order_id"] >= ORDERS // 2:
            change(row)
    return other


def worst(row: Row) -> None:
    row["value"] = 1.0 if row["value"] == 5.0 else 5.0


def later(row: Row) -> None:
    row["occurred_at"] += timedelta(days=30)
    row["recorded_at"] += timedelta(days=30)


@pytest.mark.parametrize("moment", [Moment.PLACED, Moment.DUE])
@pytest.mark.parametrize("change", [worst, later])
def test_neither_the_rating_of_an_order_nor_its_date_reaches_the_order_or_an_earlier_one(
    moment: Moment, change: Callable[[Row], None]
) -> None:
    rows = invented_shop(ORDERS, seed=8)
    for one in rows["order_lines"]:
        one["seller_id"], one["product_id"] = "only", 0
    mine = pl.col("order_id") <= ORDERS // 2
    before, after = (features(each, moment) for each in (rows, changed(rows, "review", change)))
    assert_frame_equal(before.filter(mine), after.filter(mine))
    # The change is no trifle: orders after it, of the same seller and product, see another history.
    names = ["seller_bad_rate", "product_stars", "product_bad_beyond_late"]
    assert not before.filter(~mine).select(names).equals(after.filter(~mine).select(names))


def test_the_delivery_of_an_order_does_not_reach_it_at_purchase() -> None:
    rows = invented_shop(ORDERS, seed=8)
    mine = pl.col("order_id") <= ORDERS // 2
    before, after = (features(each, Moment.PLACED) for each in (rows, changed(rows, "delivered", later)))
    assert_frame_equal(before.filter(mine), after.filter(mine))
    handled = {"not_delivered", "elapsed_days", "days_early", "handover_days", "transit_days", "shipped", "paid_hours"}
    assert not handled & set(before.columns)
    assert handled <= set(features(rows, Moment.DUE).columns)


@pytest.mark.parametrize("moment", [Moment.PLACED, Moment.DUE])
def test_what_judges_lies_later_than_all_that_was_learned_and_its_labels(moment: Moment) -> None:
    seen = snapshot(invented_shop(400, seed=8), START + timedelta(days=220))
    rows = labelled_rows(seen, moment, horizon_days=20, due_days=14, mode=LabelledBy.RATED)
    fit, judged = _split(rows)
    assert min(fit.frame.height, judged.frame.height) > 50
    assert fit.frame["known_at"].max() < judged.frame["moment"].min()  # type: ignore[operator]
