"""Contacted customers and the churn model: the bias that they bring, and its absence, where the truth is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from benchmarks.contacted import NEW, YEAR_WEEKS, fitted_buying
from benchmarks.shops.contacted import true_buying
from predictors.churn_training import purchases_at, train_churn
from predictors.churn_treatment import customers_left_alone
from predictors.customers import customer_features, purchases_left_alone
from predictors.frames import Array, expit
from predictors.issue import LogisticModel
from predictors.purchases import COLUMNS, BetaGeoModel
from predictors.snapshot import INSTANT, Snapshot, empty
from predictors.treatment import CONTACT, DRAWS

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, CUSTOMERS = 90, 4000
END = START + timedelta(days=DAYS)


def shop(bought: Array, contacted: Array) -> Snapshot:
    """Return customers with an order ten days before the window, one on a day in it (or NaN), and a contact (or NaN)."""
    ids = np.arange(len(bought))
    first = pl.DataFrame({"order_id": ids, "customer_id": ids, "placed_at": [START - timedelta(days=10)] * len(ids)})
    again = ids[~np.isnan(bought)]
    days = [START + timedelta(days=float(day)) for day in bought[again]]
    later = pl.DataFrame({"order_id": again + len(ids), "customer_id": again, "placed_at": days})
    orders = pl.concat([first, later.cast(dict(first.schema))]).with_columns(
        pl.col("placed_at").cast(INSTANT), recorded_at=pl.col("placed_at").cast(INSTANT)
    )
    reached = ids[~np.isnan(contacted)]
    at = [START + timedelta(days=float(day)) for day in contacted[reached]]
    points = pl.DataFrame(
        {"touchpoint_id": reached, "customer_id": reached, "occurred_at": at, "recorded_at": at},
        schema={"touchpoint_id": pl.Int64, "customer_id": pl.Int64, "occurred_at": INSTANT, "recorded_at": INSTANT},
    ).with_columns(kind=pl.lit(CONTACT))
    frames = {name: empty(name) for name in ("customers", "products", "order_lines")}
    return Snapshot(**frames, orders=orders, touchpoints=points, until=END + timedelta(days=1))


def weighed(snapshot: Snapshot, X: pl.DataFrame, draws: pl.DataFrame | None = None) -> Array | None:
    rows = pl.DataFrame({"customer_id": np.arange(X.height)}).with_columns(moment=pl.lit(START).cast(INSTANT))
    return customers_left_alone(snapshot, rows, X, days=DAYS, end=END, draws=draws)


def drawn(*rows: tuple[int, float, float, int]) -> pl.DataFrame:
    """Return draws: order, day, propensity, contacted."""
    return pl.DataFrame(
        [(order, START + timedelta(days=day), p, contacted) for order, day, p, contacted in rows],
        schema=dict(DRAWS),
        orient="row",
    )


@pytest.mark.parametrize("by_chance", [True, False], ids=["drawn by the product", "chosen by people"])
def test_without_weights_contacts_hide_who_leaves_and_with_them_they_do_not(by_chance: bool) -> None:
    """A contact brings back seven in ten of those who would not have bought again; the more likely to go are contacted."""
    rng = np.random.default_rng(2)
    signal, hidden = rng.normal(0, 1, CUSTOMERS), rng.integers(0, 2, CUSTOMERS)
    risks = [expit(signal + (1.5 * value if by_chance else 0.0)) for value in (0, 1)]
    silent = rng.random(CUSTOMERS) < np.where(hidden == 1, risks[1], risks[0])
    day = np.where(silent, np.nan, rng.uniform(0, DAYS, CUSTOMERS))
    contact = np.full(CUSTOMERS, np.nan)
    draws = None
    if by_chance:  # whom the planner meant also hung on what the model does not see
        meant = (signal + 1.5 * hidden > 0.5) & ~(day <= 2.0)
        held = rng.random(CUSTOMERS) < 0.2
        contact[meant & ~held] = 2.0
        draws = drawn(*[(int(one), 2.0, 0.8, int(not held[one])) for one in np.flatnonzero(meant)])
    else:
        when = rng.exponential(1.0 / (0.03 * expit(2.5 * signal - 0.5)))
        contact = np.where((when < DAYS) & ~(day <= when), when, np.nan)
    back = ~np.isnan(contact) & silent & (rng.random(CUSTOMERS) < 0.7)
    seen = np.where(back, contact + 1.0, day)
    X = pl.DataFrame({"signal": signal})
    weights = weighed(shop(seen, contact), X, draws)
    assert weights is not None
    assert (weights == 0).sum() == (~np.isnan(contact)).sum()
    likely = signal > 0.5
    truth = ((risks[0] + risks[1]) / 2)[likely].mean()

    def predicted(kept: Array, of: Array | None) -> float:
        model = LogisticModel(C=1.0).fit(X.filter(pl.Series(kept)), np.isnan(seen[kept]).astype(int), of)
        return float(model.predict_proba(X)[likely, 1].mean())

    alone = weights > 0
    naive, left, right = (
        predicted(np.full(CUSTOMERS, True), None),
        predicted(alone, None),
        predicted(alone, weights[alone]),
    )
    assert naive < truth - 0.15
    assert abs(left - truth) > 0.03
    assert abs(right - truth) < min(0.03, abs(left - truth) / 2)


SIGNAL = pl.DataFrame({"signal": [0.1, 0.2, 0.3, 0.4]})
NEVER = np.full(4, np.nan)


def test_a_shop_without_contacts_in_the_window_is_left_as_it_is() -> None:
    assert weighed(shop(NEVER, NEVER), SIGNAL) is None
    before, after = np.array([-5.0, np.nan, np.nan, np.nan]), np.array([DAYS + 0.5, np.nan, np.nan, np.nan])
    assert weighed(shop(NEVER, before), SIGNAL) is None
    assert weighed(shop(NEVER, after), SIGNAL) is None
    assert weighed(shop(NEVER, NEVER), SIGNAL, drawn((0, 91, 0.5, 1), (99, 3, 0.5, 1))) is None


def test_who_had_bought_before_the_contact_teaches() -> None:
    bought, contacted = np.array([3.0, 9.0, np.nan, np.nan]), np.array([7.0, 7.0, 7.0, np.nan])
    weights = weighed(shop(bought, contacted), SIGNAL)
    assert weights is not None
    np.testing.assert_array_equal(weights > 0, [True, False, False, True])


def test_who_was_held_out_stands_for_who_was_drawn() -> None:
    weights = weighed(shop(NEVER, NEVER), SIGNAL, drawn((0, 6, 0.75, 1), (1, 6, 0.75, 0)))
    assert weights is not None
    assert weights[0] == 0
    assert weights[1] / weights[2] == pytest.approx(4.0)
    assert weights[weights > 0].mean() == pytest.approx(1.0)


def test_a_training_leaves_out_whom_somebody_wrote_to_and_counts_them() -> None:
    """Half of those who would have stayed away for the last 30 days are written to, and all of these come back."""
    rng = np.random.default_rng(3)
    silent = rng.random(600) < 0.6
    contact = np.where(silent & (rng.random(600) < 0.5), 62.0, np.nan)
    bought = np.where(silent, np.where(np.isnan(contact), np.nan, 64.0), rng.uniform(63, 88, 600))
    draws = drawn(*[(int(one), 62.0, 0.5, int(not np.isnan(contact[one]))) for one in np.flatnonzero(silent)])
    reached = int((~np.isnan(contact)).sum())
    unsent, seen = (shop(bought, sent).at(END) for sent in (np.full(600, np.nan), contact))
    naive, by_draw, by_contact = (
        train_churn(known, horizon_days=30, draws=some).metrics
        for known, some in ((unsent, None), (unsent, draws), (seen, None))
    )
    assert [found["contacted_left_out"] for found in (naive, by_draw, by_contact)] == [0, reached, reached]
    assert by_draw["later_rows"] == naive["later_rows"] - reached


# --- In what BG/NBD learns from ---------------------------------------------------------------------------


def test_without_contacts_bgnbd_learns_from_the_very_purchases_that_are_asked_about() -> None:
    bought = np.random.default_rng(5).uniform(1, 80, 60)
    seen = shop(bought, np.full(60, np.nan))
    people = customer_features(seen, END)
    assert_frame_equal(purchases_left_alone(seen, END), people.select("customer_id", *COLUMNS), check_exact=True)


def test_bgnbd_watches_a_customer_until_the_first_contact_after_the_first_purchase() -> None:
    bought = np.array([30.0, 30.0, 30.0, np.nan])
    contacted = np.array([40.0, 20.0, -15.0, 60.0])  # the first purchase was on day -10
    found = purchases_left_alone(shop(bought, contacted), END)
    assert found["frequency"].to_list() == [1, 0, 1, 0]
    assert (7 * found["recency_weeks"]).to_list() == pytest.approx([40, 0, 40, 0])
    assert (7 * found["age_weeks"]).to_list() == pytest.approx([50, 30, DAYS + 10, 70])
    # Nothing is known yet of a contact that is to come.
    early = purchases_left_alone(shop(bought, contacted), START + timedelta(days=35))
    assert early["frequency"].to_list() == [1, 0, 1, 0]
    assert (7 * early["age_weeks"]).to_list() == pytest.approx([45, 30, 45, 45])


def test_where_nobody_came_back_by_themselves_all_purchases_teach_bgnbd() -> None:
    rng = np.random.default_rng(6)
    seen = shop(np.where(rng.random(80) < 0.5, rng.uniform(20, 80, 80), np.nan), np.full(80, 10.0))
    assert purchases_left_alone(seen, END)["frequency"].max() == 0
    assert purchases_at(seen, END).log_likelihood_ == BetaGeoModel().fit(customer_features(seen, END)).log_likelihood_


def test_purchases_that_a_contact_brought_do_not_hide_how_rarely_customers_buy() -> None:
    truth = true_buying().expected_purchases(NEW, YEAR_WEEKS)[0]
    found = {way: fit.expected_purchases(NEW, YEAR_WEEKS)[0] for way, fit in fitted_buying(1, 2500).items()}
    assert found["all purchases"] > truth + 0.25
    assert abs(found["until the first contact"] - truth) < 0.12
