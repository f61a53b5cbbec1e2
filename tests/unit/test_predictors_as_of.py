"""Nothing recorded after an order's moment reaches any feature or prediction of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from predictors.features import issue_features
from predictors.issue import BlendModel
from predictors.labels import CONTACT, LabelledBy, label_issues
from predictors.learning_rows import labelled_rows
from predictors.model import Stage, TrainedModel
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.training import train_issue
from tests.unit.shops import START, Rows, hours, invented_shop, snapshot

KINDS = [
    "paid", "shipped", "delivered", "exception", "cancelled", "review", "csat", "ticket_opened", "refunded", CONTACT,
]  # fmt: skip
HOURS = st.integers(0, 24 * 40)


@cache
def trained(moment: Moment) -> TrainedModel:
    seen = snapshot(invented_shop(600, seed=3), START + timedelta(days=200))
    model = train_issue(seen, moment, horizon_days=20).model
    # Rules look at a dozen features; this is to be about all of them, whichever stage judged best here.
    rows = labelled_rows(seen, moment, horizon_days=20, due_days=14, mode=LabelledBy.RATED)
    return replace(model, stage=Stage.BOOSTING, estimator=BlendModel().fit(rows.X, rows.target))


@st.composite
def shops(draw: st.DrawFn) -> Rows:
    """Draw a shop whose every entity may have several versions, and whose facts may be recorded late."""
    rows: Rows = {"customers": [], "products": [], "orders": [], "order_lines": [], "touchpoints": [], "draws": []}

    def versions(first: int, content: Any) -> list[dict[str, Any]]:
        times = sorted({first, *draw(st.lists(st.integers(first, 24 * 40), max_size=2))})
        ends = [*[hours(one) for one in times[1:]], None]
        return [
            {**content(), "recorded_at": hours(one), "superseded_at": end} for one, end in zip(times, ends, strict=True)
        ]

    for number in range(3):
        rows["customers"] += versions(
            0, lambda n=number: {"customer_id": n, "region": draw(st.sampled_from(["north", "south", None]))}
        )
        rows["products"] += versions(
            0,
            lambda n=number: {
                "product_id": n,
                "category": draw(st.sampled_from(["lamp", "chair", None])),
                "weight_g": draw(st.sampled_from([1.0, 500.0, None])),
            },
        )
    for order in range(draw(st.integers(2, 6))):
        placed = draw(st.integers(0, 24 * 20))
        customer = draw(st.integers(0, 2))
        rows["orders"] += versions(
            placed,
            lambda o=order, c=customer, p=placed: {
                "order_id": o,
                "customer_id": c,
                "placed_at": hours(p),
                "promised_at": draw(st.sampled_from([None, hours(p + 50), hours(p + 200)])),
                "total": draw(st.sampled_from([10.0, 99.0])),
            },
        )
        for line in range(draw(st.integers(1, 2))):
            rows["order_lines"] += versions(
                placed,
                lambda o=order, n=line, p=placed: {
                    "order_id": o,
                    "line_no": n,
                    "product_id": draw(st.integers(0, 2)),
                    "seller_id": draw(st.sampled_from(["x", "y"])),
                    "quantity": draw(st.sampled_from([1.0, 3.0])),
                    "unit_price": draw(st.sampled_from([5.0, 50.0])),
                    "shipping_price": 3.0,
                    "ship_by": hours(p + 30),
                    "seller_region": draw(st.sampled_from(["north", "south"])),
                },
            )
        for kind in draw(st.lists(st.sampled_from(KINDS), max_size=5)):
            occurred = placed + draw(st.integers(0, 24 * 15))
            rows["touchpoints"].append(
                {
                    "touchpoint_id": len(rows["touchpoints"]),
                    "customer_id": customer,
                    "order_id": order,
                    "kind": kind,
                    "occurred_at": hours(occurred),
                    "recorded_at": hours(occurred + draw(st.sampled_from([0, 0, 1, 60]))),
                    "value": draw(st.sampled_from([1.0, 5.0])),
                }
            )
            if kind == CONTACT and draw(st.booleans()):
                rows["touchpoints"][-1]["order_id"] = None
        for _ in range(draw(st.integers(0, 2))):
            rows["draws"].append(draws_of(draw, order, hours(placed + draw(st.integers(0, 24 * 15)))))
    return rows


def draws_of(draw: st.DrawFn, order: int, at: datetime) -> dict[str, Any]:
    """Draw an order to be contacted or held out."""
    share, contacted = draw(st.sampled_from([0.2, 0.9])), draw(st.integers(0, 1))
    return {"order_id": order, "at": at, "propensity": share, "contacted": contacted}


@st.composite
def tampered(draw: st.DrawFn, rows: Rows, moment: datetime) -> Rows:
    """Change, delete and add whatever was recorded after an instant; end versions and begin others after it."""
    later: Rows = {name: [] for name in rows}
    for name, of_table in rows.items():
        for row in copy.deepcopy(of_table):
            if name == "draws":
                if row["at"] > moment:
                    row["contacted"] = draw(st.integers(0, 1))
            elif row["recorded_at"] > moment:
                if draw(st.booleans()):
                    continue
                if "value" in row:
                    row["value"], row["kind"] = 1.0, draw(st.sampled_from(KINDS))
                for amount in ("total", "unit_price", "weight_g"):
                    if amount in row:
                        row[amount] = 7777.0
                if row.get("promised_at"):
                    row["promised_at"] += timedelta(days=9)
                if "seller_id" in row:
                    row["seller_id"] = "z"
                if "region" in row:
                    row["region"] = "elsewhere"
            elif row.get("superseded_at") is not None and row["superseded_at"] > moment:
                row["superseded_at"] = draw(st.sampled_from([None, moment + timedelta(seconds=1)]))
            later[name].append(row)
    after = moment + timedelta(seconds=draw(st.integers(1, 10**6)))
    orders = {row["order_id"]: row for row in rows["orders"]}
    for number, order in enumerate(sorted(orders)):
        kind = draw(st.sampled_from(KINDS))
        later["draws"].append(draws_of(draw, order, after))
        later["touchpoints"].append(
            {
                "touchpoint_id": 10_000 + number,
                "customer_id": orders[order]["customer_id"],
                "order_id": order,
                "kind": kind,
                "occurred_at": draw(st.sampled_from([START, moment, after])),
                "recorded_at": after,
                "value": 1.0,
            }
        )
    later["orders"].append(
        {
            "order_id": 999,
            "customer_id": 0,
            "placed_at": START,
            "promised_at": START,
            "total": 1.0,
            "recorded_at": after,
        }
    )
    later["order_lines"].append(
        {
            "order_id": min(orders),
            "line_no": 9,
            "product_id": 0,
            "seller_id": "x",
            "quantity": 9.0,
            "unit_price": 9999.0,
            "recorded_at": after,
        }
    )
    return later


@pytest.mark.parametrize("moment", [Moment.PLACED, Moment.DUE])
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_what_is_recorded_after_the_moment_changes_no_feature_and_no_prediction(
    moment: Moment, data: st.DataObject
) -> None:
    rows = data.draw(shops())
    before = snapshot(rows)
    moments = order_moments(before, due_days=14)
    subjects = issue_subjects(moments, moment)
    features = issue_features(before, moments, subjects, moment)
    if not features.height:
        return
    chosen = features.row(data.draw(st.integers(0, features.height - 1)), named=True)
    order, at = chosen["order_id"], chosen["moment"]
    mine = pl.col("order_id") == order
    model = trained(moment)

    after = snapshot(data.draw(tampered(rows, at)))
    moments_after = order_moments(after, due_days=14)
    subjects_after = issue_subjects(moments_after, moment)
    features_after = issue_features(after, moments_after, subjects_after, moment)

    # Polars divides by a constant one way in the middle of a column and another at its end: the last bit of a feature
    # hangs on its row's place, and a difference of two equal features is zero or such a bit (2e-16 days).
    assert_frame_equal(features.filter(mine), features_after.filter(mine), abs_tol=1e-12, rel_tol=1e-12)
    said, says = (model.probabilities(each.filter(mine)).tolist() for each in (features, features_after))
    assert says == pytest.approx(said, rel=0, abs=1e-12)


def test_what_is_recorded_after_train_as_of_changes_no_model() -> None:
    rows = invented_shop(900, seed=5)
    until = START + timedelta(days=150)
    later = copy.deepcopy(rows)
    for row in later["touchpoints"]:
        if row["recorded_at"] > until:
            row["value"], row["kind"] = 1.0, "complaint"
    frame = issue_features(
        snapshot(rows),
        moments := order_moments(snapshot(rows), due_days=14),
        issue_subjects(moments, Moment.DUE),
        Moment.DUE,
    )
    models = [train_issue(snapshot(each, until), Moment.DUE, horizon_days=20).model for each in (rows, later)]
    assert models[0].positives == models[1].positives > 0
    assert models[0].probabilities(frame).tolist() == models[1].probabilities(frame).tolist()


def test_a_fact_recorded_before_the_moment_does_change_a_prediction() -> None:
    """The counterpart of the property: the features are not blind."""
    rows = invented_shop(900, seed=5)
    worse = copy.deepcopy(rows)
    for row in worse["touchpoints"]:
        if row["kind"] == "review" and row["recorded_at"] < START + timedelta(days=100):
            row["value"] = 1.0
    found = []
    for each in (rows, worse):
        moments = order_moments(snapshot(each), due_days=14)
        features = issue_features(snapshot(each), moments, issue_subjects(moments, Moment.PLACED), Moment.PLACED)
        found.append(features.filter(pl.col("moment") > START + timedelta(days=110))["seller_bad_rate"].mean())
    assert found[1] > found[0] + 0.2


def test_a_rating_counts_for_others_only_from_when_it_was_recorded() -> None:
    rows = invented_shop(2, seed=1, days=40)
    rows["order_lines"][0]["seller_id"] = rows["order_lines"][1]["seller_id"] = "same"
    rows["touchpoints"] = [
        {"touchpoint_id": 1, "customer_id": 0, "order_id": 0, "kind": "review", "occurred_at": hours(48), "value": 1.0}
    ]
    second = rows["orders"][1]["placed_at"]
    rates = []
    for recorded in (second - timedelta(hours=1), second + timedelta(hours=1)):
        rows["touchpoints"][0]["recorded_at"] = recorded
        moments = order_moments(snapshot(rows), due_days=14)
        features = issue_features(snapshot(rows), moments, issue_subjects(moments, Moment.PLACED), Moment.PLACED)
        rates.append(features.filter(pl.col("order_id") == 1)["seller_ratings_log"].item())
    assert rates[0] > 0
    assert rates[1] == 0


def test_labels_wait_for_the_horizon_and_lateness_is_no_label() -> None:
    rows = invented_shop(40, seed=2, days=20)
    rows["touchpoints"] = [row for row in rows["touchpoints"] if row["kind"] not in ("review", "delivered")]
    rows["touchpoints"].append(
        {
            "touchpoint_id": 9000,
            "customer_id": 0,
            "order_id": 0,
            "kind": "refunded",
            "occurred_at": hours(24 * 9),
            "recorded_at": hours(24 * 9),
        }
    )
    until = START + timedelta(days=25)
    seen = snapshot(rows, until)
    subjects = issue_subjects(order_moments(seen, due_days=14), Moment.DUE)
    labels = label_issues(seen, subjects, horizon_days=10, mode=LabelledBy.AUTO)
    assert labels.filter(pl.col("issue") == 1)["order_id"].to_list() == [0]
    waited = subjects.filter(pl.col("moment") + pl.duration(days=10) <= until)["order_id"].to_list()
    assert sorted(labels["order_id"].to_list()) == sorted(waited)
    assert label_issues(seen, subjects, horizon_days=10, mode=LabelledBy.RATED)["order_id"].to_list() == [0]
