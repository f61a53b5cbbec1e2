"""What every customer will be worth over a horizon: expected purchases times expected spend, discounted.

Expected purchases are BG/NBD's (`predictors.purchases`), the value of one is Gamma-Gamma's (`predictors.spend`), and
both together are a lifetime value as in Fader, Hardie & Lee (2005), "RFM and CLV: Using Iso-Value Curves for Customer
Base Analysis", Journal of Marketing Research 42(4). Spend is learned for each currency by itself and never summed over
currencies. Revenue, not margin: what an order costs the shop is not known here. Whether the customer will leave, by
everything that is known of them, is `predictors.churn`'s business.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from predictors.churn_training import purchases_at
from predictors.customers import customer_features, purchase_values
from predictors.errors import FrameError, NotEnoughDataError
from predictors.frames import Array
from predictors.purchases import BetaGeoModel
from predictors.snapshot import INSTANT, Snapshot
from predictors.spend import GammaGammaModel

WEEKS_A_YEAR = 365.25 / 7
# Purchases are discounted by the middle of the four weeks in which they are expected. The steps begin now whatever the
# horizon, so that a longer horizon only adds to a value.
STEP_WEEKS = 4.0


def customer_values(
    snapshot: Snapshot, *, horizon_days: int, yearly_discount: float = 0.1, currencies: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Value every customer with an order by the snapshot's end.

    Parameters
    ----------
    horizon_days : int
        Purchases up to so many days ahead count.
    yearly_discount : float
        What a purchase a year ahead loses of its worth: 0.1 makes it 1 / 1.1.
    currencies : polars.DataFrame, optional
        `customer_id` and `currency`, null where a customer ordered in several: such a customer has no sum of values
        that means anything, and gets none. Without it all orders are of one currency.

    Returns
    -------
    polars.DataFrame
        One row a customer, sorted by `customer_id`: `purchases` so far, `last_bought_at`, `currency`, `alive`
        (probability), `expected_purchases` within the horizon, `expected_order_value`, `lifetime_value` (both null
        where no value was recorded or the currencies differ), and `next_order_at`: the day by which the next order is
        as likely as not to have come, null where that is not within the horizon.
    """
    if horizon_days < 0:
        raise FrameError("a horizon lies ahead; horizon_days must not be below 0")
    if yearly_discount <= -1:
        raise FrameError("a yearly discount of -1 or less leaves no worth to discount; use 0.1 for ten per cent")
    now = snapshot.until
    people = customer_features(snapshot, now)
    purchases = purchases_at(snapshot, now)
    weeks = horizon_days / 7
    values = people.select("customer_id").join(purchase_values(snapshot, now), on="customer_id", how="left")
    values = values.with_columns(pl.col("valued_purchases").fill_null(0.0))
    if currencies is None:
        values = values.with_columns(currency=pl.lit(""))
    else:
        values = values.join(currencies.select("customer_id", "currency"), on="customer_id", how="left")
    values = values.sort("customer_id").with_columns(expected_order_value=_order_values(values.sort("customer_id")))
    return people.select(
        "customer_id",
        purchases=(pl.col("frequency") + 1).cast(pl.Int64),
        last_bought_at=_after(now, -7 * people["quiet_weeks"].to_numpy()),
        currency=values["currency"],
        alive=pl.Series(purchases.alive(people)),
        expected_purchases=pl.Series(purchases.expected_purchases(people, weeks)),
        expected_order_value=values["expected_order_value"],
        lifetime_value=pl.Series(discounted_purchases(purchases, people, weeks, yearly_discount))
        * values["expected_order_value"],
        next_order_at=_after(now, _within(7 * purchases.next_purchase_weeks(people), horizon_days)),
    )


def discounted_purchases(purchases: BetaGeoModel, people: pl.DataFrame, weeks: float, yearly_discount: float) -> Array:
    """Return the expected purchases of the next `weeks`, each as its worth today, (n,).

    0 where `weeks` is 0, and never less for more weeks.
    """
    ends = np.append(np.arange(STEP_WEEKS, weeks, STEP_WEEKS), weeks)
    total = np.zeros(people.height)
    before = np.zeros(people.height)
    for step, end in enumerate(ends):
        # Rounding must not make a step negative.
        by_end = np.maximum(purchases.expected_purchases(people, float(end)), before)
        total += (by_end - before) * (1 + yearly_discount) ** (-(step + 0.5) * STEP_WEEKS / WEEKS_A_YEAR)
        before = by_end
    return total


def _order_values(values: pl.DataFrame) -> pl.Series:
    """Return the expected value of each customer's next purchase; null where the currency has none to learn from.

    Where too few customers bought twice to tell how they differ, everybody gets the mean over the currency.
    """
    expected = np.full(values.height, np.nan)
    for currency in values["currency"].drop_nulls().unique():
        rows = (values["currency"] == currency).fill_null(False).to_numpy()
        group = values.filter(pl.Series(rows))
        valued = group.filter(pl.col("valued_purchases") > 0)
        if not valued.height:
            continue
        try:
            expected[rows] = GammaGammaModel().fit(group).expected_value(group)
        except NotEnoughDataError:
            counts, means = (valued[name].to_numpy() for name in ("valued_purchases", "mean_value"))
            expected[rows] = np.average(means, weights=counts)
    return pl.Series(expected).fill_nan(None)


def _within(days: Array, horizon_days: int) -> Array:
    return np.where(days <= horizon_days, days, np.nan)


def _after(now: datetime, days: Array) -> pl.Series:
    """Return the instants so many days after `now`; null where the days are NaN."""
    microseconds = pl.Series(days * 86_400e6).fill_nan(None).round().cast(pl.Int64)
    start = pl.Series([now]).cast(INSTANT).to_physical()[0]
    result: pl.Series = (microseconds + start).cast(INSTANT)
    return result
