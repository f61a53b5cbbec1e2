"""The value of a customer: horizons, currencies, and shops with hardly anything to learn from."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.customers import purchase_values
from predictors.errors import FrameError, NaiveFrameError
from predictors.purchases import BetaGeoModel
from predictors.snapshot import Snapshot
from predictors.value import customer_values, discounted_purchases
from tests.unit.buyers import UNTIL, order, repeat_orders, shop

ORDERS = repeat_orders()
SHOP = shop(ORDERS)


def test_every_customer_with_an_order_is_valued_once() -> None:
    values = customer_values(SHOP, horizon_days=365)
    assert values["customer_id"].to_list() == sorted({row["customer_id"] for row in ORDERS})
    assert values["lifetime_value"].null_count() == 0
    assert (values["alive"].is_between(0, 1) & (values["expected_purchases"] >= 0)).all()
    last = pl.DataFrame(ORDERS).group_by("customer_id").agg(pl.col("placed_at").max()).sort("customer_id")
    moved = (values["last_bought_at"] - last["placed_at"]).dt.total_seconds().abs().max()
    assert isinstance(moved, float | int)
    assert moved < 86_400  # orders of one day are one purchase


@given(st.integers(0, 1200), st.integers(0, 400), st.floats(0, 0.5))
@settings(max_examples=25)
def test_value_is_nothing_at_horizon_0_and_never_falls_with_the_horizon(days: int, more: int, discount: float) -> None:
    people = pl.DataFrame({"frequency": [0.0, 3, 30], "recency_weeks": [0.0, 9, 25], "age_weeks": [12.0, 12, 26]})
    fitted = BetaGeoModel()
    fitted.r_, fitted.alpha_, fitted.a_, fitted.b_ = 0.243, 4.414, 0.793, 2.426
    zero, sooner, later = (discounted_purchases(fitted, people, d / 7, discount) for d in (0, days, days + more))
    assert (zero == 0).all()
    assert (sooner >= 0).all()
    assert (later >= sooner).all()
    assert (later <= fitted.expected_purchases(people, (days + more) / 7) + 1e-9).all()


def test_a_discount_lowers_every_value_and_none_leaves_purchases_times_spend() -> None:
    plain = customer_values(SHOP, horizon_days=365, yearly_discount=0.0)
    product = plain["expected_purchases"] * plain["expected_order_value"]
    np.testing.assert_allclose(plain["lifetime_value"], product)
    assert (customer_values(SHOP, horizon_days=365, yearly_discount=0.2)["lifetime_value"] < product).all()


def test_a_horizon_of_0_gives_nobody_a_value_or_a_next_order() -> None:
    values = customer_values(SHOP, horizon_days=0)
    assert values["lifetime_value"].sum() == 0
    assert values["next_order_at"].null_count() == values.height


def test_the_next_order_is_named_only_where_it_is_likely_within_the_horizon() -> None:
    near, far = (customer_values(SHOP, horizon_days=days)["next_order_at"] for days in (40, 700))
    assert far.drop_nulls().len() > near.drop_nulls().len() > 0
    assert near.drop_nulls().is_between(UNTIL, UNTIL + timedelta(days=40)).all()


def test_orders_after_the_instant_and_orders_of_one_day_do_not_count_twice() -> None:
    later = [*ORDERS, order(9001, 0, 300, 1e6)]
    assert customer_values(shop(later), horizon_days=90).equals(customer_values(SHOP, horizon_days=90))
    twice = purchase_values(shop([order(1, 1, 5, 10.0), order(2, 1, 5.2, 20.0)]), UNTIL)
    assert twice.row(0) == (1, 1.0, 30.0)


def test_currencies_are_learned_apart_and_never_summed() -> None:
    yen = [row | {"customer_id": row["customer_id"] + 1000, "order_id": row["order_id"] + 10_000, "total": row["total"] * 150} for row in ORDERS]  # fmt: skip
    both = shop([*ORDERS, *yen])
    ids = customer_values(both, horizon_days=365)["customer_id"]
    named = pl.DataFrame({"customer_id": ids, "currency": ["EUR" if one < 1000 else "JPY" for one in ids]})
    values = customer_values(both, horizon_days=365, currencies=named)
    euro, japan = (values.filter(pl.col("currency") == code)["expected_order_value"] for code in ("EUR", "JPY"))
    np.testing.assert_allclose(japan, 150 * euro, rtol=1e-3)
    mixed = named.with_columns(pl.when(pl.col("customer_id") == 3).then(None).otherwise("currency").alias("currency"))
    torn = customer_values(both, horizon_days=365, currencies=mixed).filter(pl.col("customer_id") == 3)
    assert (torn["lifetime_value"][0], torn["currency"][0]) == (None, None)
    assert torn["expected_purchases"][0] > 0


@pytest.mark.parametrize("total", [None, 0.0, -4.0], ids=["missing", "free", "negative"])
def test_where_no_order_has_a_value_purchases_are_expected_but_no_value(total: float | None) -> None:
    values = customer_values(shop([row | {"total": total} for row in ORDERS]), horizon_days=365)
    assert values["lifetime_value"].null_count() == values.height
    assert values["expected_purchases"].min() > 0  # type: ignore[operator]


def test_where_everybody_bought_once_all_get_the_mean_order() -> None:
    values = customer_values(shop([order(n, n, n, 10.0 + n) for n in range(100)]), horizon_days=365)
    np.testing.assert_allclose(values["expected_order_value"], 59.5)
    assert (values["alive"] == 1).all()


def test_a_single_customer_and_an_empty_shop_are_valued() -> None:
    alone = customer_values(shop([order(1, 7, 20, 12.0), order(2, 7, 90, 18.0)]), horizon_days=365)
    assert (alone.height, alone["expected_order_value"][0]) == (1, 15.0)
    assert customer_values(shop([]), horizon_days=365).height == 0


def test_wrong_inputs_are_named_errors() -> None:
    with pytest.raises(FrameError, match="horizon_days"):
        customer_values(SHOP, horizon_days=-1)
    with pytest.raises(FrameError, match="discount"):
        customer_values(SHOP, horizon_days=90, yearly_discount=-1.0)
    with pytest.raises(FrameError, match="stands twice"):
        shop([order(1, 1, 5), order(1, 1, 5)])
    naive = pl.DataFrame([order(1, 1, 5)]).with_columns(pl.col("placed_at").dt.replace_time_zone(None))
    others = {name: getattr(SHOP, name) for name in ("customers", "products", "order_lines", "touchpoints")}
    with pytest.raises(NaiveFrameError, match="time zone"):
        Snapshot(**others, orders=naive, until=UNTIL)
