"""BG/NBD: the published estimate, a simulation with known truth, and what must hold for every customer."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import hyp2f1

from predictors.errors import FrameError, NotEnoughDataError
from predictors.purchases import COLUMNS, BetaGeoModel
from tests.peers import shared_data


def customers(*rows: tuple[float, float, float]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict.fromkeys(COLUMNS, pl.Float64), orient="row")


def model(r: float = 0.243, alpha: float = 4.414, a: float = 0.793, b: float = 2.426) -> BetaGeoModel:
    """The model with the paper's parameters, or others."""
    fitted = BetaGeoModel()
    fitted.r_, fitted.alpha_, fitted.a_, fitted.b_ = r, alpha, a, b
    return fitted


PARAMETERS = st.builds(
    model,
    r=st.floats(0.05, 5),
    alpha=st.floats(0.5, 50),
    a=st.floats(0.05, 5),
    b=st.floats(0.05, 10),
)


@st.composite
def histories(draw: Any) -> tuple[float, float, float]:
    age = draw(st.floats(0.2, 400))
    frequency = draw(st.integers(0, 400))
    return float(frequency), draw(st.floats(0, 1)) * age if frequency else 0.0, age


@pytest.mark.shared_data
def test_the_published_estimate_is_found_on_the_published_data() -> None:
    summary = pl.read_csv(shared_data() / "cdnow" / "summary_2357.csv").select(
        frequency=pl.col("frequency").cast(pl.Float64), recency_weeks="recency", age_weeks="T"
    )
    fitted = BetaGeoModel().fit(summary)
    # Table 2 of the paper.
    assert (fitted.r_, fitted.alpha_) == (pytest.approx(0.243, abs=5e-4), pytest.approx(4.414, abs=5e-3))
    assert (fitted.a_, fitted.b_) == (pytest.approx(0.793, abs=5e-3), pytest.approx(2.426, abs=1e-2))
    assert fitted.log_likelihood_ == pytest.approx(-9582.4, abs=0.1)


def test_the_published_expectation_of_one_customer() -> None:
    # Fader & Hardie's note on BG/NBD in Excel: customer 1 of the sample is expected to buy 1.226 times in 39 weeks.
    assert model().expected_purchases(customers((2, 30.43, 38.86)), 39.0)[0] == pytest.approx(1.226, abs=5e-4)


def test_the_truth_of_a_simulation_is_found_again() -> None:
    rng = np.random.default_rng(5)
    rows = []
    for rate, leaving in zip(rng.gamma(0.8, 1 / 6.0, 6000), rng.beta(1.2, 3.0, 6000), strict=True):
        age = float(rng.uniform(20, 80))
        time, bought, last = 0.0, 0, 0.0
        while (time := time + rng.exponential(1 / rate)) < age:
            bought, last = bought + 1, time
            if rng.random() < leaving:
                break
        rows.append((float(bought), last, age))
    fitted = BetaGeoModel().fit(customers(*rows))
    assert fitted.r_ == pytest.approx(0.8, rel=0.1)
    assert fitted.alpha_ == pytest.approx(6.0, rel=0.15)
    assert fitted.a_ / (fitted.a_ + fitted.b_) == pytest.approx(1.2 / 4.2, rel=0.1)


@given(PARAMETERS, histories(), st.floats(0, 300), st.floats(0, 300))
@settings(max_examples=40)
def test_probabilities_and_expectations_stay_within_their_bounds(
    fitted: BetaGeoModel, history: tuple[float, float, float], weeks: float, more: float
) -> None:
    X = customers(history)
    assert 0 <= fitted.alive(X)[0] <= 1
    assert 0 <= fitted.silent(X, weeks)[0] <= 1
    assert fitted.silent(X, 0.0)[0] == pytest.approx(1.0)
    now, later = (fitted.expected_purchases(X, t)[0] for t in (weeks, weeks + more))
    assert 0 <= now <= later * (1 + 1e-9) + 1e-9
    # Nobody is expected to buy less than the probability that they buy at all (Markov's inequality).
    assert now >= 1 - fitted.silent(X, weeks)[0] - 1e-6


@given(PARAMETERS, st.integers(1, 60), st.floats(0.1, 100), st.floats(0.1, 200), st.floats(0, 200))
@settings(max_examples=40)
def test_the_probability_to_be_active_falls_as_silence_grows(
    fitted: BetaGeoModel, frequency: int, recency: float, quiet: float, more: float
) -> None:
    rows = [(float(frequency), recency, recency + silence) for silence in (quiet, quiet + more)]
    sooner, later = fitted.alive(customers(*rows))
    assert later <= sooner + 1e-12


@given(PARAMETERS, histories(), st.floats(0.05, 0.95))
@settings(max_examples=40)
def test_the_next_purchase_has_come_by_its_date_with_the_probability_that_was_asked_for(
    fitted: BetaGeoModel, history: tuple[float, float, float], probability: float
) -> None:
    X = customers(history)
    weeks = fitted.next_purchase_weeks(X, probability)[0]
    assert weeks > 0
    if np.isfinite(weeks) and weeks < 1e9:
        assert 1 - fitted.silent(X, weeks)[0] == pytest.approx(probability, abs=1e-6)
    elif np.isinf(weeks):
        assert fitted.alive(X)[0] <= probability + 1e-9 or 1 - fitted.silent(X, 1e12)[0] <= probability


def closed_form(fitted: BetaGeoModel, x: float, age: float, weeks: float) -> float:
    """Equation 10 of the paper, for a customer who is active for sure."""
    r, alpha, a, b = fitted.r_, fitted.alpha_, fitted.a_, fitted.b_
    gone = weeks / (alpha + age + weeks)
    series = hyp2f1(r + x, b + x, a + b + x - 1, gone)
    return float((a + b + x - 1) / (a - 1) * (1 - (1 - gone) ** (r + x) * series))


@given(histories(), st.floats(0.1, 150))
@settings(max_examples=40)
def test_expected_purchases_equal_the_paper_s_closed_form(history: tuple[float, float, float], weeks: float) -> None:
    x, recency, age = min(history[0], 60), history[1], max(history[2], 4.0)
    fitted = model()
    expected = fitted.expected_purchases(customers((x, recency, age)), weeks)[0]
    alive = fitted.alive(customers((x, recency, age)))[0]
    assert expected == pytest.approx(alive * closed_form(fitted, x, age, weeks), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("a", [1e-5, 1.0, 1e5], ids=["nobody leaves", "the closed form is 0 / 0", "all are alike"])
def test_expected_purchases_are_finite_where_the_closed_form_is_not(a: float) -> None:
    X = customers((0, 0, 10), (3, 8, 10), (300, 9.9, 10))
    found = model(a=a, b=1e5).expected_purchases(X, 20.0)
    assert np.isfinite(found).all()
    if a < 1:  # who never leaves buys on at the rate that is expected of them
        np.testing.assert_allclose(found, (0.243 + X["frequency"].to_numpy()) / 14.414 * 20, rtol=1e-3)


def test_expected_purchases_are_finite_for_a_customer_who_buys_daily_for_years() -> None:
    assert model().expected_purchases(customers((5000, 713.9, 714)), 52.0)[0] == pytest.approx(350, rel=0.05)


def test_times_finer_than_a_day_change_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = [
        (float(n), float(n), 20.0 + d / 7) for n, d in zip(rng.poisson(0.8, 500), rng.integers(0, 60, 500), strict=True)
    ]
    whole, finer = customers(*rows), customers(*[(x, tx, age + 0.05) for x, tx, age in rows])
    assert BetaGeoModel().fit(whole).get_params() == BetaGeoModel().fit(finer).get_params()
    assert BetaGeoModel().fit(whole).r_ == BetaGeoModel().fit(finer).r_


@pytest.mark.parametrize("rows", [[], [(0, 0, 10)] * 50], ids=["nobody", "everybody bought once"])
def test_where_nobody_bought_twice_there_is_nothing_to_learn(rows: list[tuple[float, float, float]]) -> None:
    with pytest.raises(NotEnoughDataError, match="bought twice"):
        BetaGeoModel().fit(customers(*rows))


@pytest.mark.parametrize(
    "row", [(1, np.nan, 10), (1, 5, np.inf), (-1, 5, 10), (1, -5, 10)], ids=["missing", "infinite", "count", "time"]
)
def test_impossible_times_are_a_named_error(row: tuple[float, float, float]) -> None:
    with pytest.raises(FrameError, match="finite and not below 0"):
        BetaGeoModel().fit(customers((1, 2, 10), row))


def test_a_purchase_after_the_observation_is_a_named_error() -> None:
    with pytest.raises(FrameError, match="after the end"):
        BetaGeoModel().fit(customers((1, 2, 10), (1, 12, 10)))


def test_a_single_customer_who_came_back_can_be_fitted() -> None:
    fitted = BetaGeoModel().fit(customers((3, 10, 12)))
    assert 0 <= fitted.alive(customers((3, 10, 12)))[0] <= 1
