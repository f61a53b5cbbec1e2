"""Reasons read like sentences, are true of their row, and agree with the model that they explain."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors import sentences
from predictors.churn_scoring import FACTS as CHURN_FACTS
from predictors.churn_scoring import SHOCKS as CHURN_SHOCKS
from predictors.customers import customer_features
from predictors.explain import FACTS, MAX_REASONS, MIN_EFFECT, Fact, clearing, counted, explain
from predictors.features import IDENTITY, issue_features
from predictors.frames import feature_columns, logit
from predictors.gain import GAIN_FACTS
from predictors.issue import BoostingModel, LogisticModel
from predictors.model import Stage, TrainedModel, reference_values
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.scoring import rules_model
from tests.unit.shops import START, invented_shop, snapshot

SHOP = snapshot(invented_shop(400, seed=5))
MOMENTS = order_moments(SHOP, due_days=14)
FRAMES = {
    moment: issue_features(SHOP, MOMENTS, issue_subjects(MOMENTS, moment), moment)
    for moment in (Moment.PLACED, Moment.DUE)
}
TEXTS = [(fact.name, fact) for fact in (*FACTS, *CHURN_FACTS)]


@pytest.mark.parametrize(("number", "text"), [(0, "0 sellers"), (1, "1 seller"), (1.2, "1 seller"), (2, "2 sellers")])
def test_a_number_and_its_noun_agree(number: float, text: str) -> None:
    assert counted(number, "seller") == text


# --- every feature has a text ------------------------------------------------------------------------


@pytest.mark.parametrize("moment", FRAMES)
@pytest.mark.parametrize("facts", [FACTS, GAIN_FACTS])
def test_every_feature_of_an_issue_belongs_to_exactly_one_fact(moment: Moment, facts: tuple[Fact, ...]) -> None:
    told = [name for fact in facts for name in fact.features]
    assert len(told) == len(set(told))
    assert set(feature_columns(FRAMES[moment], IDENTITY)) <= set(told)
    assert set(rules_model(moment, horizon_days=45, since=START).features) <= set(told)


def test_a_customers_new_purchase_leaves_the_gaps_that_the_purchases_would_have() -> None:
    before = pl.DataFrame(
        {"frequency": 3.0, "recency_weeks": 6.0, "quiet_weeks": 4.0, "age_weeks": 10.0, "gap_mean_weeks": 2.0,
         "gap_spread_weeks": float(np.std([1, 2, 3], ddof=1)), "recent_purchases": 2.0,
         "spend_log": float(np.log1p(40)), "order_value_log": float(np.log1p(10)), "last_value_log": float(np.log1p(30))}
    )  # fmt: skip
    shock = next(one for one in CHURN_SHOCKS if one.name == "one purchase now")
    after = before.with_columns(value.alias(name) for name, value in shock.changes.items()).row(0, named=True)
    gaps = [1, 2, 3, 4]
    assert (after["frequency"], after["recency_weeks"], after["quiet_weeks"]) == (4.0, 10.0, 0.0)
    assert after["gap_mean_weeks"] == pytest.approx(np.mean(gaps))
    assert after["gap_spread_weeks"] == pytest.approx(np.std(gaps, ddof=1))
    assert after["spend_log"] == pytest.approx(np.log1p(50))


def test_every_feature_of_a_customer_belongs_to_exactly_one_fact() -> None:
    told = [name for fact in CHURN_FACTS for name in fact.features]
    assert len(told) == len(set(told))
    features = feature_columns(customer_features(SHOP, SHOP.until), ("customer_id", "moment"))
    assert set(features) <= set(told)


# --- what is said is known ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "row", "text"),
    [
        ("arrival", {"not_delivered": 1.0, "elapsed_days": 25.3}, "The parcel had not arrived by the end of the promised day, 25 days after the order"),
        ("arrival", {"not_delivered": 0.0, "elapsed_days": 9.2, "days_early": 2.04}, "The parcel arrived 9 days after the order, 2 days before the promise ran out"),
        ("arrival", {"not_delivered": 0.0, "elapsed_days": 9.2, "days_early": 2.0, "exceptions": 2.0}, "The parcel arrived 9 days after the order, 2 days before the promise ran out; the carrier reported trouble twice"),
        ("arrival", {"not_delivered": None, "elapsed_days": 14.0}, "The parcel had not arrived 14 days after the order"),
        ("handover", {"shipped": 0.0}, "The parcel has not been handed to the carrier"),
        ("handover", {"shipped": 1.0, "handover_late_days": 1.04}, "The parcel was handed to the carrier 1 day later than agreed"),
        ("handover", {"shipped": 1.0, "handover_late_days": -0.01}, "The parcel was handed to the carrier just when it was agreed"),
        ("handover", {"shipped": 1.0, "handover_days": 2.5}, "The parcel was handed to the carrier 2.5 days after the order"),
        ("complaints", {"complaints": 1.0}, "The customer has already complained once about this order"),
        ("payment", {"paid": 1.0, "payment_type": "credit_card", "installments": 8.0, "paid_hours": 30.2}, "The order was paid by credit card in 8 instalments 30 hours after it was placed"),
        ("payment", {"payment_type": "unknown"}, "How this order is paid is not recorded"),
        ("payment", {"paid": 0.0, "payment_type": "boleto"}, "No payment has been recorded for this order"),
        ("basket", {"items": 3.0, "sellers": 1.0, "weight_log": 0.0}, "The order has 3 items from 1 seller"),
        ("basket", {"items": 1.0, "sellers": 1.0, "weight_log": float(np.log1p(12_400))}, "The order has 1 item from 1 seller, 12.4 kg in all"),
        ("seller", {"seller_bad_rate": 0.178, "seller_ratings_log": float(np.log1p(41))}, "About 18 % of the ratings of this seller are expected to be bad (41 ratings so far)"),
        ("seller", {"seller_bad_rate": 0.15, "seller_ratings_log": 0.0}, "About 15 % of the ratings of this seller are expected to be bad (none so far: as in the whole shop)"),
        ("seller_pace", {"seller_handover_days": 3.1, "seller_late_rate": 0.12, "seller_orders_log": float(np.log1p(60))}, "This seller is expected to hand parcels over after about 3 days and to be late with about 12 % of them (60 orders so far)"),
        ("promise", {"promise_days": 12.0, "route_delivery_days": 14.2}, "Delivery was promised within 12 days; on this route about 14 days are expected"),
        ("promise", {}, "No delivery date was promised"),
        ("buyer", {"buyer_orders_log": 0.0, "buyer_bad_rate": 0.3}, "This is the customer's first order"),
        ("buyer", {"buyer_orders_log": float(np.log1p(2)), "buyer_bad_rate": 0.3}, "The customer has ordered twice before; about 30 % of the ratings are expected to be bad"),
        ("time", {"weekday": 7.0, "hour": 3.0}, "The order was placed on a Sunday at about 3:00 UTC"),
    ],
)  # fmt: skip
def test_a_reason_says_what_is_known_of_its_row(fact: str, row: dict[str, Any], text: str) -> None:
    assert next(one for one in FACTS if one.name == fact).text(row) == text


@pytest.mark.parametrize("fact", [fact for _, fact in TEXTS], ids=[name for name, _ in TEXTS])
def test_of_nothing_known_no_number_is_said(fact: Fact) -> None:
    text = fact.text(dict.fromkeys(fact.features))
    assert re.sub(r"\b30 days\b", "", text) == re.sub(r"\d", "", text)
    assert "None" not in text
    assert fact.text({}) == text


@pytest.mark.parametrize("moment", FRAMES)
@pytest.mark.parametrize("fact", [fact for _, fact in TEXTS], ids=[name for name, _ in TEXTS])
def test_every_row_gets_one_plain_sentence(fact: Fact, moment: Moment) -> None:
    rows = FRAMES[moment] if fact in FACTS else customer_features(SHOP, SHOP.until)
    for row in rows.head(40).iter_rows(named=True):
        text = fact.text(row)
        assert text[0].isupper()
        assert not text.endswith(".")
        for wrong in ("None", "nan", "inf", "_", "  ", " ,", "unknown", "-"):
            assert wrong not in text, text
        assert not re.search(r"(?<![\d.])1 (days|items|sellers|orders|ratings|photos|hours)\b", text), text
        assert not re.search(r"(?<![\d.])([02-9]|\d\d+) (day|item|seller|order|rating|photo|hour)\b", text), text


@given(st.floats(0, 400))
def test_days_are_one_day_or_several(number: float) -> None:
    text = sentences.days(number)
    assert text.endswith(" day") == (text.split()[0] == "1")


# --- effects agree with the model --------------------------------------------------------------------


def _model(estimator: Any, seed: int = 2) -> tuple[TrainedModel, pl.DataFrame]:
    frame = FRAMES[Moment.DUE]
    columns = feature_columns(frame, IDENTITY)
    frame = frame.select(columns)
    late = frame["not_delivered"].fill_null(0.0).to_numpy()
    target = (np.random.default_rng(seed).random(frame.height) < 0.1 + 0.6 * late).astype(np.int64)
    model = TrainedModel(
        kind="issue",
        moment="due",
        horizon_days=45,
        stage=Stage.LOGISTIC,
        estimator=estimator.fit(frame, target),
        features=tuple(columns),
        reference=reference_values(frame),
        trained_as_of=datetime(2026, 6, 1, tzinfo=UTC),
        rows=frame.height,
        positives=int(target.sum()),
    )
    return model, frame


LINEAR, TREES = _model(LogisticModel()), _model(BoostingModel(max_iter=12))


def _typical(model: TrainedModel, frame: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    return frame.with_columns(pl.lit(model.reference[name]).cast(frame.schema[name]).alias(name) for name in names)


def test_for_a_linear_model_the_effects_add_up_exactly_in_log_odds() -> None:
    model, frame = LINEAR
    start, end = (logit(model.probabilities(one)) for one in (_typical(model, frame, model.features), frame))
    parts = np.zeros(frame.height)
    for fact in FACTS:
        names = tuple(name for name in fact.features if name in model.features)
        if names:
            parts += end - logit(model.probabilities(_typical(model, frame, names)))
    assert start + parts == pytest.approx(end, abs=1e-6)


@pytest.mark.parametrize(("model", "frame"), [LINEAR, TREES], ids=["linear", "trees"])
def test_an_effect_is_what_the_model_itself_says_without_the_fact(model: TrainedModel, frame: pl.DataFrame) -> None:
    p = model.probabilities(frame)
    found = explain(model, frame, p)
    assert any(found)
    facts = {fact.name: fact for fact in FACTS}
    for index in np.flatnonzero([bool(one) for one in found])[:12].tolist():
        row = frame[index]
        values = {
            name: float(
                p[index] - model.probabilities(_typical(model, row, tuple(set(fact.features) & set(model.features))))[0]
            )
            for name, fact in facts.items()
            if set(fact.features) & set(model.features)
        }
        expected = sorted((value for value in values.values() if value >= MIN_EFFECT), reverse=True)[:MAX_REASONS]
        assert [one.effect for one in found[index]] == pytest.approx(expected, abs=1e-4)
        for one in found[index]:
            assert one.effect == pytest.approx(values[one.feature], abs=1e-4)
            assert one.without == pytest.approx(p[index] - values[one.feature])
            assert one.text == facts[one.feature].text(row.row(0, named=True))


def test_a_row_of_typical_values_has_no_reason() -> None:
    model, frame = TREES
    typical = _typical(model, frame.head(3), model.features)
    assert list(explain(model, typical, model.probabilities(typical))) == [[], [], []]


def test_a_row_is_explained_alone_as_among_others() -> None:
    model, frame = TREES
    together = explain(model, frame.head(6), model.probabilities(frame.head(6)))
    for index in range(6):
        alone = frame[index]
        assert list(explain(model, alone, model.probabilities(alone))) == [together[index]]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 399), st.floats(0.02, 0.98))
def test_the_fact_that_clears_a_flag_does_so_and_is_missing_only_where_none_does(index: int, threshold: float) -> None:
    model, frame = TREES
    row = frame[index % frame.height]
    p = float(model.probabilities(row)[0])
    found = clearing(explain(model, row, [p])[0], threshold)
    without = [
        float(model.probabilities(_typical(model, row, tuple(set(fact.features) & set(model.features))))[0])
        for fact in FACTS
        if set(fact.features) & set(model.features)
    ]
    told = [one for one in without if p - one >= MIN_EFFECT]
    if any(one < threshold for one in told):
        assert found is not None
        assert found.without == pytest.approx(min(told))
        assert found.without < threshold
    else:
        assert found is None
