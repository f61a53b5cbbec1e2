"""Churn: who teaches, whose level counts, and shops with hardly anything to learn from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from predictors.churn import ChurnModel
from predictors.churn_scoring import score_churn
from predictors.churn_training import Level, learning_windows, train_churn, window_rows
from predictors.evaluation import roc_auc
from predictors.frames import logit
from predictors.model import Stage
from predictors.snapshot import Snapshot
from predictors.training import TrainingResult
from tests.unit.buyers import UNTIL, order, repeat_orders, shop

ORDERS = repeat_orders(700)


@pytest.fixture(scope="module")
def long_shop() -> Snapshot:
    return shop(repeat_orders(1600, seed=4, days=400), until=UNTIL + timedelta(days=150))


@pytest.fixture(scope="module")
def short() -> TrainingResult:
    """Trained for a horizon that has passed several times."""
    return train_churn(shop(ORDERS), horizon_days=40)


@pytest.fixture(scope="module")
def beyond() -> TrainingResult:
    """Trained for a horizon as long as the history."""
    return train_churn(shop(ORDERS), horizon_days=200)


def probabilities(result: TrainingResult, orders: list[dict[str, Any]]) -> dict[int, float]:
    return {one.customer_id: one.probability for one in score_churn(result.model, shop(orders))}


def test_a_horizon_that_has_passed_is_learned_and_a_longer_one_on_parts_of_the_history() -> None:
    past = shop(ORDERS)
    assert learning_windows(past, 40) == [40]
    third, half = learning_windows(past, 200)
    assert 60 <= third <= 66
    assert 95 <= half <= 100


@pytest.mark.parametrize("which", ["short", "beyond"])
def test_every_customer_gets_a_probability_and_the_metrics_say_what_judged(
    which: str, request: pytest.FixtureRequest
) -> None:
    result: TrainingResult = request.getfixturevalue(which)
    found = probabilities(result, ORDERS)
    assert set(found) == {row["customer_id"] for row in ORDERS}
    assert all(0 <= p <= 1 for p in found.values())
    assert list(result.metrics["log_loss_by_stage"]) == ["bgnbd", "logistic", "blend"]
    assert result.metrics["log_loss_by_stage"][result.model.stage] == min(result.metrics["log_loss_by_stage"].values())
    assert result.metrics["level"] in list(Level)


def test_the_longer_the_horizon_the_fewer_stay_away(short: TrainingResult, beyond: TrainingResult) -> None:
    assert np.mean(list(probabilities(beyond, ORDERS).values())) < np.mean(list(probabilities(short, ORDERS).values()))


def test_the_ranking_holds_on_a_span_that_nobody_saw(long_shop: Snapshot) -> None:
    until = UNTIL + timedelta(days=60)
    model = train_churn(long_shop.at(until), horizon_days=60).model
    rows = window_rows(long_shop, 60, until + timedelta(days=60))
    y = rows["silent"].to_numpy().astype(np.int64)
    p = model.probabilities(rows)
    assert roc_auc(y, p) > 0.65
    assert abs(p.mean() - y.mean()) < 0.06


def test_orders_recorded_later_or_placed_in_the_future_teach_nothing(short: TrainingResult) -> None:
    later = [order(90_000 + n, n, 230.0) for n in range(300)]
    # Recorded by now, but said to be placed only next month: a pre-order, or a wrong clock.
    dated_ahead = [row | {"order_id": row["order_id"] + 1000, "recorded_at": UNTIL} for row in later]
    tampered = [*ORDERS, *later, *dated_ahead]
    assert probabilities(train_churn(shop(tampered), horizon_days=40), tampered) == probabilities(short, ORDERS)


def test_training_is_the_same_twice(beyond: TrainingResult) -> None:
    again = train_churn(shop(ORDERS), horizon_days=200)
    assert probabilities(again, ORDERS) == probabilities(beyond, ORDERS)


@pytest.mark.parametrize(
    "orders",
    [
        [],
        [order(1, 7, 20, 12.0)],
        [order(1, 7, 20, 12.0), order(2, 7, 90, 18.0)],
        [order(n, n, n * 0.5, 10.0) for n in range(300)],
        [order(n, n % 100, (n // 100) * 5.0 + 0.01 * (n % 100), 10.0) for n in range(3900)],
        [row | {"total": None} for row in ORDERS],
    ],
    ids=[
        "0 rows",
        "one order",
        "one customer",
        "everybody bought once",
        "everybody buys always",
        "no order has a value",
    ],
)
@pytest.mark.parametrize("horizon_days", [30, 150])
def test_shops_that_teach_little_are_scored_by_purchases_alone(orders: list[dict[str, Any]], horizon_days: int) -> None:
    result = train_churn(shop(orders), horizon_days=horizon_days)
    found = probabilities(result, orders)
    assert set(found) == {row["customer_id"] for row in orders}
    assert all(0 <= p <= 1 for p in found.values())
    if len({row["customer_id"] for row in orders}) < 700:
        assert result.model.stage is Stage.BGNBD


def test_boosting_has_a_say_from_so_many_outcomes() -> None:
    rows = window_rows(shop(ORDERS), 60, UNTIL)
    X, y = rows.drop("customer_id", "moment", "silent"), rows["silent"].to_numpy().astype(np.int64)
    fewer = int(min(y.sum(), (1 - y).sum()))
    assert ChurnModel(boosting_from=fewer).fit(X, y).boosting_ is not None
    assert ChurnModel(boosting_from=fewer + 1).fit(X, y).boosting_ is None
    assert ChurnModel(boosting_from=None).fit(X, y).boosting_ is None


def test_stretched_trees_spread_as_the_regression_does() -> None:
    rows = window_rows(shop(ORDERS), 60, UNTIL)
    X, y = rows.drop("customer_id", "moment", "silent"), rows["silent"].to_numpy().astype(np.int64)
    fitted = ChurnModel(boosting_from=20, stretched=True).fit(X, y)
    assert fitted.boosting_ is not None
    trees, straight = (logit(part.predict_proba(X)[:, 1]) for part in (fitted.boosting_, fitted.regression_))
    both = logit(fitted.predict_proba(X)[:, 1])
    np.testing.assert_allclose(((2 * both - straight) - straight.mean()).std(), straight.std(), rtol=1e-6)
    assert trees.std() != pytest.approx(straight.std(), rel=1e-3)
