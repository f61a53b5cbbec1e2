"""What contacts do to a risk model, where the truth is known.

    python -m benchmarks.contacted [--orders 6000] [--repeats 10]

An invented shop whose orders end badly with a known probability if left alone; a contact prevents seven in ten of the issues that
would have come after it. Three ways of learning from it: from all orders as they ended, from those that were left alone, and
from those weighted (`predictors.treatment`). Printed is the mean predicted risk of the orders of high signal beside the true one.

Then what contacts do to the histories of poor sellers, whose check-ins make them look safe (`predictors.standing`), beside the same
histories had nobody been contacted; and to BG/NBD, where customers are contacted when they fall silent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from benchmarks.shops.contacted import POOR, SellersShop, buyers_shop, sellers_shop, true_buying
from predictors.churn_training import purchases_at
from predictors.customers import customer_features
from predictors.features import issue_features
from predictors.frames import Array, expit
from predictors.issue import LogisticModel
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.purchases import BetaGeoModel
from predictors.snapshot import INSTANT, Snapshot, empty
from predictors.treatment import CONTACT, DRAWS, WEIGHT, left_alone

HORIZON_DAYS = 45
PLACED = datetime(2026, 1, 1, tzinfo=UTC)
PREVENTED = 0.7
HELD_OUT = 0.2
HIGH = 0.5


@dataclass(frozen=True, kw_only=True)
class ContactedShop:
    """Orders, some of them contacted, and how they would have ended if nobody had been.

    Attributes
    ----------
    risk : array, (n,)
        P(issue | signal) of an order that is left alone.
    """

    snapshot: Snapshot
    subjects: pl.DataFrame
    X: pl.DataFrame
    issue: Array
    risk: Array
    draws: pl.DataFrame | None


def drawn_by_chance(seed: int, orders: int) -> ContactedShop:
    """Contacts drawn by the product: whom the planner meant also hung on something that the model does not see."""
    rng = np.random.default_rng(seed)
    signal, hidden = rng.normal(0, 1, orders), rng.integers(0, 2, orders)
    chances = [expit(-1.5 + signal + 1.5 * value) for value in (0, 1)]
    issue_day = _issue_days(rng, np.where(hidden == 1, chances[1], chances[0]))
    day = np.full(orders, 2.0)
    meant = (signal + 1.5 * hidden > 0.5) & ~(issue_day <= day)
    contacted = meant & (rng.random(orders) > HELD_OUT)
    return _shop(
        rng, signal, issue_day, np.where(contacted, day, np.nan), (chances[0] + chances[1]) / 2,
        pl.DataFrame({"order_id": np.flatnonzero(meant), "at": [PLACED + timedelta(days=2)] * int(meant.sum()),
                      "propensity": np.full(int(meant.sum()), 1 - HELD_OUT), "contacted": contacted[meant].astype(np.int8)},
                     schema=dict(DRAWS)),
    )  # fmt: skip


def chosen_by_people(seed: int, orders: int) -> ContactedShop:
    """Contacts without a draw, on any day: the likelier the higher the signal, whose risk is no straight line."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(0, 1, orders)
    risk = expit(-2.5 + 1.5 * np.maximum(signal, 0.0) ** 2)
    issue_day = _issue_days(rng, risk)
    day = rng.exponential(1.0 / (0.06 * expit(2.5 * signal - 1)), orders)
    reached = (day < HORIZON_DAYS) & ~(issue_day <= day)
    return _shop(rng, signal, issue_day, np.where(reached, day, np.nan), risk, None)


def predicted(shop: ContactedShop, way: str) -> Array:
    """Return the risk that a model predicts, (n,), learned in one of `WAYS`."""
    kept, weights = np.ones(len(shop.issue), dtype=bool), None
    if way != "all orders":
        found = left_alone(shop.snapshot, shop.subjects, shop.X, horizon_days=HORIZON_DAYS, draws=shop.draws)
        if found is not None:
            kept = shop.subjects["order_id"].is_in(found.weights["order_id"].implode()).to_numpy()
            weights = found.weights[WEIGHT].to_numpy() if way == "left alone, weighted" else None
    model = LogisticModel(C=1.0).fit(shop.X.filter(pl.Series(kept)), shop.issue[kept].astype(int), weights)
    return model.predict_proba(shop.X)[:, 1]


WAYS = ("all orders", "left alone", "left alone, weighted")
SHOPS: dict[str, Callable[[int, int], ContactedShop]] = {
    "drawn by the product": drawn_by_chance,
    "chosen by people": chosen_by_people,
}


HISTORY_WAYS = ("as they ended", "left alone", "left alone, weighted")
HISTORIES = ("seller_bad_rate", "seller_trouble_rate")
# Of a customer who buys for the first time: their next year.
YEAR_WEEKS = 52.0
NEW = pl.DataFrame({"frequency": [0.0], "recency_weeks": [0.0], "age_weeks": [0.0]})


@dataclass(frozen=True, kw_only=True)
class Missed:
    """By how much a feature misses what it would be had nobody been contacted."""

    truth: float
    bias: float
    error: float  # root of the mean square


def history_bias(contacts: str, way: str, *, orders: int, repeats: int) -> dict[str, Missed]:
    """Measure the histories of poor sellers, in one of `HISTORY_WAYS`, at the purchases of the last fifth of the orders."""
    truths, found = [], []
    for seed in range(repeats):
        shop = sellers_shop(seed, orders, drawn=contacts == "drawn by the product")
        truths.append(_histories(shop.left_alone, orders))
        found.append(_histories(_seen(shop, way), orders))
    truth, seen = pl.concat(truths), pl.concat(found)
    missed = {name: (seen[name] - truth[name]).to_numpy() for name in HISTORIES}
    return {
        name: Missed(
            truth=float(np.mean(truth[name].to_numpy())),
            bias=float(by.mean()),
            error=float(np.sqrt((by**2).mean())),
        )
        for name, by in missed.items()
    }


def _seen(shop: SellersShop, way: str) -> Snapshot:
    if way == "left alone, weighted":
        return shop.snapshot
    points = shop.snapshot.touchpoints
    if way == "as they ended":
        points = points.filter(pl.col("kind") != CONTACT)
    return replace(shop.snapshot, touchpoints=points, draws=pl.DataFrame(schema=dict(DRAWS)))


def _histories(snapshot: Snapshot, orders: int) -> pl.DataFrame:
    moments = order_moments(snapshot, due_days=14)
    features = issue_features(snapshot, moments, issue_subjects(moments, Moment.PLACED), Moment.PLACED)
    poor = snapshot.order_lines.filter(pl.col("seller_id").cast(pl.Int64) < POOR)["order_id"]
    return features.filter(pl.col("order_id") >= 0.8 * orders, pl.col("order_id").is_in(poor.implode()))


def fitted_buying(seed: int, customers: int) -> dict[str, BetaGeoModel]:
    """Fit BG/NBD to what customers bought in all, and to what they bought until they were contacted."""
    shop = buyers_shop(seed, customers)
    return {
        "all purchases": BetaGeoModel().fit(customer_features(shop, shop.until)),
        "until the first contact": purchases_at(shop, shop.until),
    }


def _print_histories(orders: int, repeats: int) -> None:
    for contacts in SHOPS:
        print(f"histories of poor sellers, contacts {contacts}:")
        for way in HISTORY_WAYS:
            missed = history_bias(contacts, way, orders=orders, repeats=repeats)
            said = (
                f"{name} {one.truth + one.bias:.3f} (truth {one.truth:.3f}, bias {one.bias:+.3f}, error {one.error:.3f})"
                for name, one in missed.items()
            )
            print(f"  {way:22s} {'; '.join(said)}")


def _print_buying(customers: int, repeats: int) -> None:
    truth = true_buying()
    bought, silent = truth.expected_purchases(NEW, YEAR_WEEKS)[0], truth.silent(NEW, YEAR_WEEKS)[0]
    print(f"BG/NBD of a new customer's next year: {bought:.3f} purchases, silent {silent:.3f}")
    fits = [fitted_buying(seed, customers) for seed in range(repeats)]
    for way in fits[0]:
        found = [(fit[way].expected_purchases(NEW, YEAR_WEEKS)[0], fit[way].silent(NEW, YEAR_WEEKS)[0]) for fit in fits]
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
        print(
            f"  {way:24s} {mean[0]:.3f} purchases (bias {mean[0] - bought:+.3f}, sd {spread[0]:.3f}), "
            f"silent {mean[1]:.3f} (bias {mean[1] - silent:+.3f}, sd {spread[1]:.3f})"
        )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What contacts do to a risk model.")
    parser.add_argument("--orders", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    for name, invented in SHOPS.items():
        shops = [invented(seed, given.orders) for seed in range(given.repeats)]
        high = [shop.X["signal"].to_numpy() > HIGH for shop in shops]
        truth = np.mean([shop.risk[rows].mean() for shop, rows in zip(shops, high, strict=True)])
        print(f"contacts {name}: true risk of the orders of high signal {truth:.3f}")
        for way in WAYS:
            means = [predicted(shop, way)[rows].mean() for shop, rows in zip(shops, high, strict=True)]
            print(f"  {way:22s} {np.mean(means):.3f} (bias {np.mean(means) - truth:+.3f}, sd {np.std(means):.3f})")
    _print_histories(given.orders, given.repeats)
    _print_buying(given.orders, given.repeats)
    return 0


def _issue_days(rng: np.random.Generator, chance: Array) -> Array:
    return np.where(rng.random(len(chance)) < chance, rng.uniform(0, HORIZON_DAYS, len(chance)), np.nan)


def _shop(
    rng: np.random.Generator,
    signal: Array,
    issue_day: Array,
    contact_day: Array,
    risk: Array,
    draws: pl.DataFrame | None,
) -> ContactedShop:
    prevented = (contact_day < issue_day) & (rng.random(len(signal)) < PREVENTED)
    seen_day = np.where(prevented, np.nan, issue_day)
    ids = np.arange(len(signal))
    points = pl.concat([_points(ids, contact_day, CONTACT), _points(ids, seen_day, "complaint")])
    frames = {name: empty(name) for name in ("customers", "products", "orders", "order_lines")}
    snapshot = Snapshot(
        **frames,
        touchpoints=points.with_columns(touchpoint_id=pl.int_range(pl.len(), dtype=pl.Int64)),
        until=PLACED + timedelta(days=HORIZON_DAYS + 1),
    )
    subjects = pl.DataFrame({"order_id": ids, "customer_id": ids}).with_columns(moment=pl.lit(PLACED).cast(INSTANT))
    return ContactedShop(
        snapshot=snapshot,
        subjects=subjects,
        X=pl.DataFrame({"signal": signal}),
        issue=(~np.isnan(seen_day)).astype(np.float64),
        risk=risk,
        draws=draws,
    )


def _points(ids: Array, days: Array, kind: str) -> pl.DataFrame:
    rows = ~np.isnan(days)
    at = [PLACED + timedelta(days=float(day)) for day in days[rows]]
    return pl.DataFrame(
        {"customer_id": ids[rows], "order_id": ids[rows], "occurred_at": at, "recorded_at": at},
        schema={"customer_id": pl.Int64, "order_id": pl.Int64, "occurred_at": INSTANT, "recorded_at": INSTANT},
    ).with_columns(kind=pl.lit(kind))


if __name__ == "__main__":
    sys.exit(main())
