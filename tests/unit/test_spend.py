"""Gamma-Gamma: a simulation with known truth, and what must hold for every customer."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.errors import FrameError, NotEnoughDataError
from predictors.spend import COLUMNS, MIN_CUSTOMERS, GammaGammaModel


def spenders(*rows: tuple[float, float | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict.fromkeys(COLUMNS, pl.Float64), orient="row")


def simulated(p: float, q: float, v: float, customers: int, seed: int = 1) -> pl.DataFrame:
    """Return customers with 1 to 8 purchases, drawn from the model."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, customers).astype(float)
    means = rng.gamma(p * counts, 1 / (counts * rng.gamma(q, 1 / v, customers)))
    return pl.DataFrame({"valued_purchases": counts, "mean_value": means})


def test_the_truth_of_a_simulation_is_found_again() -> None:
    # What Fader & Hardie estimated on CDNOW's repeat customers, as the truth.
    p, q, v = 6.25, 3.74, 15.45
    fitted = GammaGammaModel().fit(simulated(p, q, v, 20_000))
    assert (fitted.p_, fitted.q_) == (pytest.approx(p, rel=0.05), pytest.approx(q, rel=0.05))
    assert fitted.v_ == pytest.approx(v, rel=0.08)
    assert fitted.mean_value_ == pytest.approx(p * v / (q - 1), rel=0.02)


def test_the_estimate_is_the_best_near_it() -> None:
    X = simulated(6.25, 3.74, 15.45, 500)
    fitted = GammaGammaModel().fit(X)
    other = GammaGammaModel().fit(simulated(6.25, 3.74, 15.45, 500, seed=2))
    assert fitted.log_likelihood_ < 0
    assert GammaGammaModel().fit(X.sample(fraction=1, shuffle=True, seed=3)).p_ == pytest.approx(fitted.p_, rel=1e-3)
    assert other.p_ != fitted.p_


def test_the_currency_is_only_a_unit() -> None:
    X = simulated(3.0, 2.5, 40.0, 400)
    dear = X.with_columns(pl.col("mean_value") * 1000)
    cheap, expensive = GammaGammaModel().fit(X), GammaGammaModel().fit(dear)
    np.testing.assert_allclose(expensive.expected_value(dear), 1000 * cheap.expected_value(X), rtol=1e-4)


MODEL = GammaGammaModel().fit(simulated(6.25, 3.74, 15.45, 2000))


@given(st.integers(0, 500), st.floats(0.01, 1e6))
def test_an_expected_value_lies_between_everybody_s_mean_and_the_customer_s_own(count: int, mean: float) -> None:
    expected = MODEL.expected_value(spenders((float(count), mean)))[0]
    low, high = sorted((MODEL.mean_value_, mean if count else MODEL.mean_value_))
    assert low * (1 - 1e-9) <= expected <= high * (1 + 1e-9)


@given(st.floats(0.01, 1e4), st.integers(1, 50), st.integers(0, 50))
def test_more_purchases_say_more_about_the_customer(mean: float, count: int, more: int) -> None:
    few, many = MODEL.expected_value(spenders((float(count), mean), (float(count + more), mean)))
    assert abs(many - mean) <= abs(few - mean) + 1e-9


def test_customers_without_a_value_get_everybody_s_mean_and_teach_nothing() -> None:
    X = simulated(6.25, 3.74, 15.45, 300)
    nobody = pl.concat([X, spenders((0.0, None), (0.0, None))])
    assert GammaGammaModel().fit(nobody).p_ == GammaGammaModel().fit(X).p_
    assert MODEL.expected_value(spenders((0.0, None)))[0] == pytest.approx(MODEL.mean_value_)


@pytest.mark.parametrize(
    "X",
    [spenders(), spenders((0.0, None)), spenders(*[(1.0, 20.0)] * 500), spenders(*[(3.0, 20.0)] * (MIN_CUSTOMERS - 1))],
    ids=["nobody", "no value at all", "everybody bought once", "too few bought twice"],
)
def test_too_little_spend_is_a_named_error(X: pl.DataFrame) -> None:
    with pytest.raises(NotEnoughDataError, match="two purchases with a value"):
        GammaGammaModel().fit(X)


def test_everybody_spending_the_same_is_borne() -> None:
    X = spenders(*[(float(n % 4 + 1), 25.0) for n in range(200)])
    np.testing.assert_allclose(GammaGammaModel().fit(X).expected_value(X), 25.0, rtol=0.02)


@pytest.mark.parametrize("row", [(2.0, -5.0), (2.0, None), (2.0, np.inf), (np.nan, 5.0), (-1.0, 5.0)])
def test_an_impossible_spend_is_a_named_error(row: tuple[float, float | None]) -> None:
    with pytest.raises(FrameError, match=r"valued_purchases|mean_value"):
        GammaGammaModel().fit(pl.concat([simulated(6, 3, 10, 100), spenders(row)]))


def test_a_missing_column_is_a_named_error() -> None:
    with pytest.raises(FrameError, match="mean_value is missing"):
        GammaGammaModel().fit(spenders().drop("mean_value"))
