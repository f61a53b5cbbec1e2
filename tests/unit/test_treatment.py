"""Contacted orders and the risk model: the bias that they bring, and its absence, where the truth is known."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.contacted import HIGH, HORIZON_DAYS, PLACED, ContactedShop, chosen_by_people, drawn_by_chance, predicted
from predictors import learning_rows
from predictors.errors import FrameError
from predictors.issue import LogisticModel
from predictors.labels import TROUBLE_KINDS, LabelledBy
from predictors.learning_rows import LabelledRows, age_weights, labelled_rows
from predictors.moments import Moment
from predictors.snapshot import INSTANT, Snapshot, empty
from predictors.training import TrainingResult, train_issue
from predictors.treatment import CONTACT, DRAWS, MAX_WEIGHT, left_alone
from tests.unit.shops import START, invented_shop
from tests.unit.shops import snapshot as shop_snapshot


def bias(shops: list[ContactedShop], way: str) -> float:
    """Return the mean predicted less the mean true risk of the orders of high signal."""
    return float(np.mean([
        (predicted(shop, way) - shop.risk)[shop.X["signal"].to_numpy() > HIGH].mean() for shop in shops
    ]))  # fmt: skip


@pytest.mark.parametrize("invented", [drawn_by_chance, chosen_by_people])
def test_without_weights_contacts_hide_the_risk_and_with_them_they_do_not(invented: object) -> None:
    shops = [invented(seed, 4000) for seed in (1, 2)]  # type: ignore[operator]
    naive, left, weighted = (bias(shops, way) for way in ("all orders", "left alone", "left alone, weighted"))
    assert naive < -0.15  # contacted customers teach that they were safe
    assert abs(left) > 0.03  # leaving them out is not enough: those who remain are others
    assert abs(weighted) < min(0.03, abs(left) / 2)


def snapshot(contacts: list[tuple[int | None, int, float]] = (), issues: list[tuple[int, float]] = ()) -> Snapshot:  # type: ignore[assignment]
    rows = [(order, customer, day, CONTACT) for order, customer, day in contacts]
    rows += [(order, order, day, "complaint") for order, day in issues]
    points = pl.DataFrame(
        [
            {"touchpoint_id": number, "order_id": order, "customer_id": customer, "kind": kind,
             "occurred_at": PLACED + timedelta(days=day), "recorded_at": PLACED + timedelta(days=day)}
            for number, (order, customer, day, kind) in enumerate(rows)
        ],
        schema={"touchpoint_id": pl.Int64, "order_id": pl.Int64, "customer_id": pl.Int64, "kind": pl.String,
                "occurred_at": INSTANT, "recorded_at": INSTANT},
    )  # fmt: skip
    frames = {name: empty(name) for name in ("customers", "products", "orders", "order_lines")}
    return Snapshot(**frames, touchpoints=points, until=PLACED + timedelta(days=60))


SUBJECTS = pl.DataFrame({"order_id": [1, 2, 3, 4], "customer_id": [1, 2, 3, 4]}).with_columns(
    moment=pl.lit(PLACED + timedelta(days=5)).cast(INSTANT)
)
X = pl.DataFrame({"signal": [0.1, 0.2, 0.3, 0.4]})


def drawn(*rows: tuple[int, float, float, int]) -> pl.DataFrame:
    """Return draws: order, day, propensity, contacted."""
    return pl.DataFrame(
        [(order, PLACED + timedelta(days=day), p, contacted) for order, day, p, contacted in rows],
        schema=dict(DRAWS),
        orient="row",
    )


def weights(found_in: Snapshot, draws: pl.DataFrame | None) -> dict[int, float]:
    found = left_alone(found_in, SUBJECTS, X, horizon_days=HORIZON_DAYS, draws=draws)
    assert found is not None
    return dict(found.weights.iter_rows())


def test_a_shop_without_any_contact_or_draw_is_left_as_it_is() -> None:
    assert left_alone(snapshot(issues=[(1, 9)]), SUBJECTS, X, horizon_days=HORIZON_DAYS, draws=None) is None
    assert left_alone(snapshot(), SUBJECTS, X, horizon_days=HORIZON_DAYS, draws=drawn()) is None
    others = drawn((99, 6, 0.5, 1))
    assert left_alone(snapshot(contacts=[(98, 98, 7)]), SUBJECTS, X, horizon_days=HORIZON_DAYS, draws=others) is None


def test_who_was_held_out_stands_for_those_who_were_drawn_to_be_contacted() -> None:
    found = weights(snapshot(), drawn((1, 6, 0.75, 1), (2, 6, 0.75, 0)))
    assert set(found) == {2, 3, 4}
    assert found[2] / found[3] == pytest.approx(4.0)
    assert np.mean(list(found.values())) == pytest.approx(1.0)


def test_two_draws_of_one_order_multiply() -> None:
    found = weights(snapshot(), drawn((2, 6, 0.5, 0), (2, 9, 0.75, 0), (1, 9, 0.75, 0)))
    assert found[2] / found[3] == pytest.approx(8.0)
    assert found[1] / found[3] == pytest.approx(4.0)


def test_a_contact_before_the_moment_counts_and_one_after_the_first_issue_does_not() -> None:
    early, late = drawn((1, 1, 0.5, 1), (2, 1, 0.5, 0)), drawn((1, 20, 0.5, 1), (3, 20, 0.5, 0))
    assert set(weights(snapshot(), early)) == {2, 3, 4}
    found = weights(snapshot(issues=[(1, 12)]), late)
    assert set(found) == {1, 2, 3, 4}
    assert found[3] / found[1] == pytest.approx(2.0)


def test_contacts_that_nobody_drew_leave_the_contacted_out() -> None:
    assert set(weights(snapshot(contacts=[(1, 1, 8)]), None)) == {2, 3, 4}
    # One that names no order is about what the customer had bought by then; one after the horizon about nothing here.
    assert set(weights(snapshot(contacts=[(None, 2, 8), (None, 3, 2), (4, 4, 55)]), None)) == {1, 3, 4}


def test_contacts_before_the_moment_alone_leave_the_others_equal() -> None:
    found = weights(snapshot(contacts=[(1, 1, 2), (2, 2, 3)]), None)
    assert found == {3: pytest.approx(1.0), 4: pytest.approx(1.0)}


def test_a_certain_contact_has_nobody_to_stand_for_it_and_is_read_from_what_was_sent() -> None:
    certain = drawn((1, 6, 1.0, 1), (2, 6, 1.0, 1))
    found = weights(snapshot(contacts=[(1, 1, 6)]), certain)
    assert set(found) == {2, 3, 4}  # order 2 was drawn, but an agent rejected it
    assert len(set(found.values())) == 1


def test_draws_recorded_after_the_snapshot_are_not_known() -> None:
    assert left_alone(snapshot(), SUBJECTS, X, horizon_days=HORIZON_DAYS, draws=drawn((1, 61, 0.5, 1))) is None


def test_no_weight_grows_beyond_its_bound_and_the_effective_number_says_what_it_costs() -> None:
    found = left_alone(
        snapshot(), SUBJECTS, X, horizon_days=HORIZON_DAYS, draws=drawn((1, 6, 0.999, 0), (2, 6, 0.5, 1))
    )
    assert found is not None
    known = dict(found.weights.iter_rows())
    assert known[1] / known[3] == pytest.approx(MAX_WEIGHT)
    assert found.left_out == 1
    assert found.effective == pytest.approx(22.0**2 / (20.0**2 + 2))


def test_draws_without_a_column_are_a_named_error() -> None:
    with pytest.raises(FrameError, match="propensity is missing"):
        left_alone(snapshot(), SUBJECTS, X, horizon_days=9, draws=drawn((1, 6, 0.5, 1)).drop("propensity"))


def test_no_subjects_give_no_weights() -> None:
    found = left_alone(snapshot(contacts=[(1, 1, 8)]), SUBJECTS[:0], X[:0], horizon_days=9, draws=None)
    assert found is None


# --- In the training of the risk --------------------------------------------------------------------------


def trained(rows: dict[str, list[dict[str, Any]]], draws: pl.DataFrame | None = None) -> TrainingResult:
    return train_issue(shop_snapshot(rows, START + timedelta(days=200)), Moment.DUE, horizon_days=20, draws=draws)


def test_a_shop_without_any_contact_trains_exactly_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = invented_shop(500, seed=3)
    found = trained(rows, draws=drawn())
    monkeypatch.setattr(learning_rows, "left_alone", lambda *_, **__: None)
    before = trained(rows)
    frame = before.learned_from
    assert frame is not None
    assert found.metrics == before.metrics
    np.testing.assert_array_equal(found.model.probabilities(frame), before.model.probabilities(frame))


def test_contacted_orders_that_ended_well_do_not_lower_the_risk_of_late_parcels() -> None:
    rows = invented_shop(1200, seed=3)
    helped, draws = contact_the_late(rows)
    honest, naive, corrected = learned(rows, None), learned(helped, None), learned(helped, draws)
    assert (honest.left_out, naive.left_out) == (0, 0)
    assert corrected.left_out > 50
    # Each model scores the late orders as its own shop knows them: the histories of sellers differ.
    truth = risk(honest, honest.frame)
    without, with_weights = risk(naive, naive.frame), risk(corrected, naive.frame)
    assert without < truth - 0.2
    assert abs(with_weights - truth) < 0.06


def learned(rows: dict[str, list[dict[str, Any]]], draws: pl.DataFrame | None) -> LabelledRows:
    known = shop_snapshot(rows, START + timedelta(days=200))
    return labelled_rows(known, Moment.DUE, horizon_days=20, due_days=14, mode=LabelledBy.RATED, draws=draws)


def risk(rows: LabelledRows, scored: pl.DataFrame) -> float:
    """Return the mean risk of the late ones of some orders, as a model sees it that learns from rows."""
    late = scored.filter(pl.col("not_delivered") == 1)
    weights = age_weights(rows.frame, START + timedelta(days=200))
    model = LogisticModel(C=0.1).fit(rows.X, rows.target, sample_weight=weights)
    return float(model.predict_proba(late.select(rows.features))[:, 1].mean())


def contact_the_late(rows: dict[str, list[dict[str, Any]]]) -> tuple[dict[str, list[dict[str, Any]]], pl.DataFrame]:
    """Draw three in four of the orders that are late to be contacted a day later: their trouble never comes.

    What was sent is not among the touchpoints, so that the draws alone can tell.
    """
    rng = np.random.default_rng(8)
    delivered = {row["order_id"]: row["occurred_at"] for row in rows["touchpoints"] if row["kind"] == "delivered"}
    made, quiet = [], set()
    for order in rows["orders"]:
        due = order["promised_at"] + timedelta(days=1)
        if delivered[order["order_id"]] > due:
            contacted = bool(rng.random() < 0.75)
            made.append((order["order_id"], due + timedelta(hours=1), 0.75, int(contacted)))
            quiet |= {order["order_id"]} if contacted else set()
    touchpoints = [
        {**row, "value": 5.0} if row["kind"] == "review" and row["order_id"] in quiet else row
        for row in rows["touchpoints"]
        if row["kind"] not in TROUBLE_KINDS or row["order_id"] not in quiet
    ]
    return {**rows, "touchpoints": touchpoints}, pl.DataFrame(made, schema=dict(DRAWS), orient="row")
