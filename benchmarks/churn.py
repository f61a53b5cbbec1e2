"""Churn and value on CDNOW: what each part adds inside the history, and the span after it, by halves of the customers.

    python -m benchmarks.churn [FOLDER with orders.csv.gz]

The parts are compared on windows that end by 1997-10-01 (every figure: difference in mean log loss or absolute error
to the row named first, with a 95 % paired bootstrap interval over customers; below zero is better). The
span from 1997-10-01 is measured last: all customers, and each half scored by what the other half taught. The penalty of
the regression, the windows and the correction of the level were once chosen with a view of it; the rest was not.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from predictors.calibration import shifted_to
from predictors.churn import SILENCE, ChurnModel, with_silence
from predictors.churn_training import IDENTITY, purchases_at, train_churn, window_rows
from predictors.customers import purchase_values
from predictors.evaluation import Target, brier, roc_auc
from predictors.frames import Array, expit, feature_columns, logit
from predictors.gates import log_losses
from predictors.snapshot import INSTANT, Snapshot, empty
from predictors.spend import GammaGammaModel
from predictors.value import customer_values

DEFAULT = Path(__file__).parents[2] / "shared" / "data" / "cdnow"
END = datetime(1997, 10, 1, tzinfo=UTC)
SPAN_DAYS = 273
# As of when, and how many days ahead: all end by END, and all have a window of the same length before them.
INSIDE = (((6, 15), 30), ((7, 1), 30), ((7, 1), 60), ((7, 15), 60), ((8, 1), 30), ((8, 1), 60), ((9, 1), 30))
RESAMPLES = 500


def read_shop(folder: Path) -> Snapshot:
    """Read the orders of a canonical folder as they were known in the end."""
    with gzip.open(folder / "orders.csv.gz", "rb") as file:
        rows = pl.read_csv(file.read(), schema_overrides={"customer_id": pl.String})
    placed = pl.col("placed_at").str.to_datetime(time_unit="us").dt.replace_time_zone("UTC")
    orders = rows.select(
        order_id=pl.int_range(pl.len()).cast(pl.Int64),
        customer_id=pl.col("customer_id").cast(pl.Int64),
        placed_at=placed,
        total=pl.col("total").cast(pl.Float64),
        recorded_at=placed,
        superseded_at=pl.lit(None, dtype=INSTANT),
    )
    others = {name: empty(name) for name in ("customers", "products", "order_lines", "touchpoints")}
    return Snapshot(**others, orders=orders, until=END + timedelta(days=SPAN_DAYS))


def of_customers(shop: Snapshot, half: int) -> Snapshot:
    """Return the shop with the customers of even or of odd numbers only."""
    frames = {name: getattr(shop, name) for name in ("customers", "products", "order_lines", "touchpoints")}
    orders = shop.orders.filter(pl.col("customer_id") % 2 == half)
    return Snapshot(**frames, orders=orders, until=shop.until, timezone=shop.timezone)


def recipes(shop: Snapshot, at: datetime, days: int) -> tuple[Target, dict[str, Array]]:
    """Fit each recipe before `at`; return the outcomes of the days after it, and each recipe's probabilities."""
    start, end = at - timedelta(days=days), at + timedelta(days=days)
    taught = with_silence(window_rows(shop, days, at), purchases_at(shop, start), days)
    asked = with_silence(window_rows(shop, days, end), purchases_at(shop, at), days)
    y, target = (frame["silent"].to_numpy().astype(np.int64) for frame in (asked, taught))
    alone = expit(asked[SILENCE].to_numpy())
    error = shifted_to(expit(taught[SILENCE].to_numpy()), float(target.mean()))
    columns = feature_columns(taught, IDENTITY)
    raw = {
        name: ChurnModel(boosting_from=least).fit(taught.select(columns), target).predict_proba(asked)[:, 1]
        for name, least in (("regression", None), ("regression and boosting", 200))
    }
    found = {f"{name}, BG/NBD's level": expit(logit(p) + shifted_to(p, float(alone.mean()))) for name, p in raw.items()}
    corrected = float(expit(logit(alone) + error).mean())
    found["BG/NBD alone"] = alone
    found["regression, the window's level"] = raw["regression"]
    found["regression, BG/NBD's level, corrected"] = expit(
        logit(raw["regression"]) + shifted_to(raw["regression"], corrected)
    )
    return y, found


def spend(shop: Snapshot, at: datetime, end: datetime) -> dict[str, Array]:
    """Return the absolute error of each forecast of what a customer's purchases after `at` were worth."""
    all_, after = purchase_values(shop, at), purchase_values(shop, end)
    gone = after.join(all_, on="customer_id", suffix="_before")
    count = pl.col("valued_purchases") - pl.col("valued_purchases_before")
    total = pl.col("valued_purchases") * pl.col("mean_value")
    before = pl.col("valued_purchases_before") * pl.col("mean_value_before")
    came = gone.filter(count > 0).with_columns(actual=(total - before) / count).sort("customer_id")
    known = came.select("customer_id").join(all_, on="customer_id", how="left", maintain_order="left")
    fitted = GammaGammaModel().fit(all_)
    days = shop.at(at).orders.group_by("customer_id", day=pl.col("placed_at").dt.date()).agg(pl.col("total").sum())
    again = days.filter((pl.col("day") > pl.col("day").min().over("customer_id")) & (pl.col("total") > 0))
    repeats = again.group_by("customer_id").agg(
        valued_purchases=pl.len().cast(pl.Float64), mean_value=pl.col("total").mean()
    )
    of_repeats = came.select("customer_id").join(repeats, on="customer_id", how="left", maintain_order="left")
    of_repeats = of_repeats.with_columns(pl.col("valued_purchases").fill_null(0.0))
    everybody = float(np.average(all_["mean_value"].to_numpy(), weights=all_["valued_purchases"].to_numpy()))
    actual = came["actual"].to_numpy()
    return {
        "Gamma-Gamma": np.abs(fitted.expected_value(known) - actual),
        "Gamma-Gamma without first purchases": np.abs(
            GammaGammaModel().fit(repeats).expected_value(of_repeats) - actual
        ),
        "the customer's own mean": np.abs(known["mean_value"].to_numpy() - actual),
        "everybody's mean": np.abs(everybody - actual),
    }


def paired(losses: Mapping[str, Array]) -> Iterator[str]:
    """Say each loss, and its difference to the first with a 95 % bootstrap interval."""
    first = next(iter(losses.values()))
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(first), len(first)) for _ in range(RESAMPLES)]
    for name, loss in losses.items():
        gap = loss - first
        low, high = np.quantile([gap[draw].mean() for draw in draws], (0.025, 0.975))
        yield f"  {name:40} {loss.mean():9.4f}  {gap.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def spread(y: Target, p: Array) -> str:
    """Say AUC and Brier with their bootstrap intervals over customers."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(y), len(y)) for _ in range(RESAMPLES)]
    parts = []
    for name, metric in (("AUC", roc_auc), ("Brier", brier)):
        low, high = np.quantile([metric(y[draw], p[draw]) for draw in draws], (0.025, 0.975))
        parts.append(f"{name} {metric(y, p):.4f} [{low:.4f}, {high:.4f}]")
    return f"{', '.join(parts)}, mean {p.mean():.4f} of {y.mean():.4f}, {len(y)} customers"


def judged(shop: Snapshot, taught: Snapshot) -> str:
    """Train on one shop as of END, and judge on the customers of another over the span after it."""
    result = train_churn(taught.at(END), horizon_days=SPAN_DAYS)
    rows = window_rows(shop, SPAN_DAYS, END + timedelta(days=SPAN_DAYS))
    y = rows["silent"].to_numpy().astype(np.int64)
    return f"{spread(y, result.model.probabilities(rows))} ({result.model.stage}, level {result.metrics['level']})"


def main() -> None:
    """Print all figures."""
    shop = read_shop(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
    past = shop.at(END)
    for (month, day), days in INSIDE:
        at = datetime(1997, month, day, tzinfo=UTC)
        y, found = recipes(past, at, days)
        print(f"log loss, {days} days from {at.date()}:")
        ours = "regression, BG/NBD's level"
        order = [ours, *(name for name in found if name != ours)]
        print("\n".join(paired({name: log_losses(y, found[name]) for name in order})), flush=True)
    for month in (6, 7, 8):
        at = datetime(1997, month, 1, tzinfo=UTC)
        print(f"value of a purchase between {at.date()} and {END.date()}, mean absolute error:")
        print("\n".join(paired(spend(past, at, END))), flush=True)
    print(f"silence in {SPAN_DAYS} days from {END.date()}, development figures:")
    print(f"  all customers: {judged(shop, shop)}", flush=True)
    for half in (0, 1):
        print(f"  half {half}, taught by the other: {judged(of_customers(shop, half), of_customers(shop, 1 - half))}")
    values = customer_values(past, horizon_days=SPAN_DAYS, yearly_discount=0.0)
    spent = shop.orders.filter(pl.col("placed_at") > END)["total"].sum()
    print(f"value of those days, undiscounted: expected {values['lifetime_value'].sum():,.0f}, spent {spent:,.0f}")


if __name__ == "__main__":
    main()
