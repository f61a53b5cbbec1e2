"""Wrong input for the issue model: a named error that says what is wrong, or a stated and sensible answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from predictors.errors import FeatureMismatchError, FrameError, NaiveFrameError
from predictors.features import issue_features
from predictors.issue import BlendModel
from predictors.labels import LabelledBy
from predictors.learning_rows import labelled_rows
from predictors.model import Stage
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.scoring import score_issue
from predictors.snapshot import FRAMES, Snapshot, empty
from predictors.training import train_issue
from tests.unit.shops import START, Rows, invented_shop, snapshot

UNTIL = START + timedelta(days=230)


def frames(rows: Rows | None = None) -> dict[str, pl.DataFrame]:
    seen = snapshot(rows or invented_shop(20, seed=1), UNTIL)
    return {name: getattr(seen, name) for name in FRAMES}


@pytest.mark.parametrize(("name", "column"), [(name, column) for name, (_, needed, _) in FRAMES.items() for column in needed])  # fmt: skip
def test_a_missing_or_empty_column_is_named_with_its_frame(name: str, column: str) -> None:
    whole = frames()
    with pytest.raises(FrameError, match=rf"{name}: the column {column} is missing"):
        Snapshot(**{**whole, name: whole[name].drop(column)}, until=UNTIL)
    holed = whole[name].with_columns(pl.when(pl.int_range(pl.len()) > 0).then(pl.col(column)).alias(column))
    with pytest.raises(FrameError, match=rf"{name}.{column}: 1 rows are empty"):
        Snapshot(**{**whole, name: holed}, until=UNTIL)


@pytest.mark.parametrize("name", FRAMES)
def test_a_naive_time_is_a_named_error_and_so_is_a_naive_until(name: str) -> None:
    whole = frames()
    naive = whole[name].with_columns(pl.col("recorded_at").dt.replace_time_zone(None))
    with pytest.raises(NaiveFrameError, match=rf"{name}.recorded_at has no time zone"):
        Snapshot(**{**whole, name: naive}, until=UNTIL)
    with pytest.raises(NaiveFrameError, match="until"):
        Snapshot(**whole, until=datetime(2026, 1, 1))


@pytest.mark.parametrize("name", FRAMES)
def test_a_key_that_stands_twice_is_a_named_error(name: str) -> None:
    whole = frames()
    with pytest.raises(FrameError, match=rf"{name}: a key .* stands twice"):
        Snapshot(**{**whole, name: pl.concat([whole[name], whole[name].head(1)])}, until=UNTIL)


def test_an_infinite_number_is_a_named_error_and_not_a_number_is_unknown() -> None:
    whole = frames()
    wrong = whole["order_lines"].with_columns(unit_price=pl.lit(float("inf")))
    with pytest.raises(FrameError, match=r"order_lines.unit_price: infinite"):
        Snapshot(**{**whole, "order_lines": wrong}, until=UNTIL)
    unknown = whole["order_lines"].with_columns(unit_price=pl.lit(float("nan")))
    assert Snapshot(**{**whole, "order_lines": unknown}, until=UNTIL).order_lines["unit_price"].null_count() == 20


def test_a_column_of_another_type_is_a_named_error() -> None:
    whole = frames()
    wrong = whole["orders"].with_columns(total=pl.lit("twelve"))
    with pytest.raises(FrameError, match=r"orders.total is String; it must be Float64"):
        Snapshot(**{**whole, "orders": wrong}, until=UNTIL)


def test_a_shop_without_rows_gets_rules_and_no_predictions() -> None:
    seen = Snapshot(**{name: empty(name) for name in FRAMES}, until=UNTIL)
    moments = order_moments(seen, due_days=14)
    for moment in (Moment.PLACED, Moment.DUE):
        result = train_issue(seen, moment, horizon_days=20)
        assert (result.model.stage, result.model.rows, result.model.kinds) == (Stage.RULES, 0, None)
        assert not len(score_issue(result.model, seen, moments, issue_subjects(moments, moment)))


@pytest.mark.parametrize("stars", [1.0, 5.0])
def test_outcomes_of_one_class_teach_nothing_so_the_rules_stay(stars: float) -> None:
    rows = invented_shop(300, seed=4)
    for row in rows["touchpoints"]:
        row["value"] = stars if row["kind"] == "review" else None
    model = train_issue(snapshot(rows, UNTIL), Moment.DUE, horizon_days=20).model
    assert model.stage is Stage.RULES
    assert model.positives == (model.rows if stars == 1.0 else 0)


def trained(rows: Rows) -> BlendModel:
    known = labelled_rows(snapshot(rows, UNTIL), Moment.DUE, horizon_days=20, due_days=14, mode=LabelledBy.RATED)
    return BlendModel().fit(known.X, known.target)


def risks(model: BlendModel, frame: pl.DataFrame) -> Any:
    p = model.predict_proba(frame)[:, 1]
    assert len(p) == frame.height > 0
    return p


def features(rows: Rows) -> pl.DataFrame:
    seen = snapshot(rows)
    moments = order_moments(seen, due_days=14)
    return issue_features(seen, moments, issue_subjects(moments, Moment.DUE), Moment.DUE)


@pytest.mark.parametrize(
    "table_and_column",
    [("order_lines", "unit_price"), ("order_lines", "seller_id"), ("order_lines", "seller_region"), ("order_lines", "ship_by"), ("products", "category"), ("customers", "region"), ("orders", "promised_at")],
)  # fmt: skip
def test_what_a_shop_never_records_is_unknown_and_harms_nothing(table_and_column: tuple[str, str]) -> None:
    table, column = table_and_column
    rows = invented_shop(300, seed=3)
    for row in rows[table]:
        row[column] = None
        if column == "region":
            row["country"] = None
    model = trained(rows)
    assert np.isfinite(risks(model, features(rows))).all()


def test_sellers_regions_and_ways_to_pay_never_seen_before_are_borne() -> None:
    rows = invented_shop(300, seed=3)
    model = trained(rows)
    for row in rows["order_lines"]:
        row["seller_id"] = row["seller_region"] = "new"
    for row in rows["touchpoints"]:
        row["payment_type"] = "pigeon"
    assert np.isfinite(risks(model, features(rows))).all()


def test_a_feature_that_is_gone_is_named() -> None:
    rows = invented_shop(300, seed=3)
    model = trained(rows)
    with pytest.raises(FeatureMismatchError, match="seller_stars"):
        risks(model, features(rows).drop("seller_stars"))


def test_every_feature_is_finite_or_unknown() -> None:
    rows = invented_shop(120, seed=6)
    # A parcel delivered before it was shipped, a promise before the order, no goods at all.
    rows["touchpoints"][1]["occurred_at"] += timedelta(days=50)
    rows["orders"][3]["promised_at"] -= timedelta(days=60)
    for row in rows["order_lines"]:
        row["unit_price"] = row["shipping_price"] = 0.0
    frame = features(rows)
    numbers = frame.select(pl.selectors.float())
    infinite: dict[str, Any] = numbers.select((pl.all().is_infinite() | pl.all().is_nan()).any()).row(0, named=True)
    assert not [name for name, wrong in infinite.items() if wrong]


def test_labelled_rows_of_a_shop_too_young_are_none() -> None:
    seen = snapshot(invented_shop(20, seed=1), START + timedelta(days=3))
    rows = labelled_rows(seen, Moment.DUE, horizon_days=20, due_days=14, mode=LabelledBy.ALL)
    assert rows.frame.height == rows.each_class == 0
