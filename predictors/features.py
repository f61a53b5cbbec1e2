"""One code path from a snapshot to the features of every order at its own moment, for training and scoring alike.

Nothing recorded after an order's moment reaches its row: versions of entities are chosen by their times,
touchpoints by `recorded_at`, histories by strictly earlier running sums (`predictors.histories`). The status of
an order, which changes later, is not even in the snapshot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl

from predictors.formulas import EXPRESSIONS, Formulas, Numbers
from predictors.histories import Summing, histories_of_one, history_events, join_histories
from predictors.moments import Moment, end_of_day
from predictors.running import join_sums
from predictors.snapshot import Snapshot

# Columns of the feature frame that name the subject and are no features.
IDENTITY = ("order_id", "customer_id", "moment")
_DAY = 86400.0


def issue_features(snapshot: Snapshot, moments: pl.DataFrame, subjects: pl.DataFrame, moment: Moment) -> pl.DataFrame:
    """Build the feature frame.

    Parameters
    ----------
    snapshot : Snapshot
    moments : polars.DataFrame
        From `predictors.moments.order_moments`, of all orders of the snapshot.
    subjects : polars.DataFrame
        From `predictors.moments.issue_subjects`, those to build features for.
    moment : Moment
        Which of the two moments the subjects stand at.

    Returns
    -------
    polars.DataFrame
        `IDENTITY` and the features, all numbers but `payment_type`; rows sorted by moment and order.
        Subjects whose order was not on record at its moment are left out.
    """
    facts = order_facts(snapshot, moments)
    described = describe(snapshot, subjects.select("order_id", "moment"))
    return with_histories(described, lambda rows, wanted: join_sums(rows, facts, wanted), moment)


def order_facts(snapshot: Snapshot, moments: pl.DataFrame) -> pl.DataFrame:
    """Return what histories are made of: all facts about the orders of `moments`, sorted as they became available."""
    everyone = describe(snapshot, moments.select("order_id", moment="placed_moment"))
    return history_events(snapshot, everyone, moments)


def with_histories(described: pl.DataFrame, summing: Summing, moment: Moment) -> pl.DataFrame:
    """Finish the feature frame of `issue_features` from described subjects and the sums of their histories.

    Parameters
    ----------
    described : polars.DataFrame
        From `describe`.
    summing : callable
        Adds the sums of one history to subjects, as `predictors.running.join_sums` does.
    """
    return finished(join_histories(described, summing), described.columns, moment)


def finished(rows: pl.DataFrame, described: Sequence[str], moment: Moment) -> pl.DataFrame:
    """Make features of described subjects with their histories.

    Parameters
    ----------
    rows : polars.DataFrame
        From `predictors.histories.join_histories`.
    described : sequence of str
        The columns that were there before the histories.
    """
    # The mean square is there for the spread only.
    histories = [c for c in rows.columns if c not in described and not c.endswith("_squared")]
    columns = [*IDENTITY, *_order_columns(moment), *histories]
    against = [value.alias(name) for name, value in _against_history(EXPRESSIONS).items()]
    rows = with_order_features(rows).with_columns(against)
    return rows.select(columns + _AGAINST[moment]).sort("moment", "order_id")


def finished_few(rows: pl.DataFrame, sums: Sequence[Mapping[str, float]], moment: Moment) -> pl.DataFrame:
    """Do what `with_histories` does for few subjects, row by row.

    Parameters
    ----------
    rows : polars.DataFrame
        Of `with_order_features`.
    sums : sequence of mappings
        The sums of the histories of each row, under the names of `predictors.histories.wanted_sums`.
    """
    found = []
    for row, of_row in zip(rows[_DAYS_AGAINST].rows(), sums, strict=True):
        days = {name: math.nan if value is None else value for name, value in zip(_DAYS_AGAINST, row, strict=True)}
        features = histories_of_one(of_row)
        against = _against_history(Numbers({**days, **features}))
        features |= {name: against[name] for name in _AGAINST[moment]}
        found.append({name: None if math.isnan(value) else value for name, value in features.items()})
    names = [name for name in (found[0] if found else ()) if not name.endswith("_squared")]
    histories = pl.from_dicts(found, schema=dict.fromkeys(names, pl.Float64)) if found else pl.DataFrame()
    return rows[[*IDENTITY, *_order_columns(moment)]].hstack(histories).sort("moment", "order_id")


def describe(snapshot: Snapshot, subjects: pl.DataFrame) -> pl.DataFrame:
    """Describe orders by what was on record at each one's moment: order, customer, lines, products, handling.

    Parameters
    ----------
    snapshot : Snapshot
    subjects : polars.DataFrame
        order_id, moment.
    """
    rows = _valid(
        subjects,
        snapshot.orders.select(
            "order_id", "customer_id", "placed_at", "promised_at", "total", "recorded_at", "superseded_at"
        ),
        "order_id",
    )
    # The promise as it stood at the moment: a shop may have changed it since.
    rows = rows.with_columns(promised_end=end_of_day("promised_at", snapshot.timezone))
    customers = snapshot.customers.select(
        "customer_id",
        customer_region=pl.coalesce("region", "country"),
        recorded_at="recorded_at",
        superseded_at="superseded_at",
    )
    people = _valid(rows.select("order_id", "customer_id", "moment"), customers, "customer_id")
    rows = rows.join(people.select("order_id", "customer_region"), on="order_id", how="left")
    rows = rows.join(_baskets(snapshot, rows), on="order_id", how="left")
    rows = rows.join(_handling(snapshot, rows), on="order_id", how="left")
    route = pl.concat_str("seller_region", pl.lit(">"), "customer_region")
    return rows.with_columns(everything=pl.lit("all"), route=route)


def _valid(subjects: pl.DataFrame, versions: pl.DataFrame, key: str) -> pl.DataFrame:
    """Join each subject with the versions that were valid at its moment."""
    valid = (pl.col("recorded_at") <= pl.col("moment")) & (
        pl.col("superseded_at").is_null() | (pl.col("superseded_at") > pl.col("moment"))
    )
    return subjects.join(versions, on=key).filter(valid).drop("recorded_at", "superseded_at")


def _baskets(snapshot: Snapshot, rows: pl.DataFrame) -> pl.DataFrame:
    lines = _valid(rows.select("order_id", "moment"), snapshot.order_lines, "order_id")
    of_lines = lines.select("order_id", "line_no", "product_id", "moment")
    lines = lines.join(
        _valid(of_lines, snapshot.products, "product_id").drop("product_id", "moment"),
        on=["order_id", "line_no"],
        how="left",
    )
    value = pl.col("unit_price") * pl.col("quantity").fill_null(1.0)
    lines = lines.with_columns(value=value).sort("order_id", pl.col("value").fill_null(0.0), "line_no")
    main = {
        "seller": "seller_id", "product_id": "product_id", "category": "category", "seller_region": "seller_region",
        "photos": "photos", "description_length": "description_length",
    }  # fmt: skip
    quantity = pl.col("quantity").fill_null(1.0)
    return lines.group_by("order_id").agg(
        pl.len().cast(pl.Float64).alias("lines"),
        pl.col("quantity").fill_null(1.0).sum().alias("items"),
        pl.col("seller_id").n_unique().cast(pl.Float64).alias("sellers"),
        _sum("value").alias("goods_value"),
        _sum("shipping_price").alias("shipping_price"),
        (pl.col("weight_g") * quantity).sum().log1p().alias("weight_log"),
        (pl.col("volume_cm3") * quantity).sum().log1p().alias("volume_log"),
        pl.col("ship_by").max(),
        *[pl.col(source).last().alias(name) for name, source in main.items()],
    )


def _handling(snapshot: Snapshot, rows: pl.DataFrame) -> pl.DataFrame:
    seen = snapshot.touchpoints.join(rows.select("order_id", "moment"), on="order_id").filter(
        pl.col("recorded_at") <= pl.col("moment")
    )

    def first(kind: str) -> pl.Expr:
        return pl.col("occurred_at").filter(pl.col("kind") == kind).min()

    paid = pl.col("kind") == "paid"
    return (
        seen.sort("recorded_at", "touchpoint_id")
        .group_by("order_id", maintain_order=True)
        .agg(
            first("paid").alias("paid_at"),
            first("shipped").alias("shipped_at"),
            first("delivered").alias("delivered_at"),
            (pl.col("kind") == "exception").sum().cast(pl.Float64).alias("exceptions"),
            pl.col("kind").is_in(["ticket_opened", "complaint"]).sum().cast(pl.Float64).alias("complaints"),
            pl.col("payment_type").filter(paid & pl.col("payment_type").is_not_null()).first().alias("payment_type"),
            pl.col("installments").filter(paid).max().alias("installments"),
        )
    )


def with_order_features(rows: pl.DataFrame) -> pl.DataFrame:
    """Add to described subjects the features of the order itself."""
    return rows.with_columns(_order_features())


@cache
def _order_features() -> list[pl.Expr]:
    moment, late = pl.col("moment"), pl.col("delivered_at").is_null() & (pl.col("promised_end") <= pl.col("moment"))
    return [
        pl.col("goods_value").log1p().alias("value_log"),
        (pl.col("shipping_price") / (pl.col("goods_value") + pl.col("shipping_price")))
        .fill_nan(None)
        .alias("shipping_share"),
        pl.col("shipping_price").log1p().alias("shipping_log"),
        _days("placed_at", "promised_end").alias("promise_days"),
        _days("placed_at", "ship_by").alias("ship_by_days"),
        pl.col("placed_at").dt.weekday().cast(pl.Float64).alias("weekday"),
        pl.col("placed_at").dt.hour().cast(pl.Float64).alias("hour"),
        (_days("placed_at", "paid_at") * 24).alias("paid_hours"),
        pl.col("paid_at").is_not_null().cast(pl.Float64).alias("paid"),
        late.cast(pl.Float64).alias("not_delivered"),
        ((moment - pl.col("placed_at")).dt.total_seconds() / _DAY).alias("elapsed_days"),
        ((pl.col("promised_end") - moment).dt.total_seconds() / _DAY).alias("days_early"),
        pl.col("shipped_at").is_not_null().cast(pl.Float64).alias("shipped"),
        _days("placed_at", "shipped_at").alias("handover_days"),
        _days("ship_by", "shipped_at").alias("handover_late_days"),
        ((pl.coalesce("delivered_at", "moment") - pl.col("shipped_at")).dt.total_seconds() / _DAY).alias(
            "transit_days"
        ),
        ((pl.col("moment") - pl.coalesce("shipped_at", "moment")).dt.total_seconds() / _DAY).alias(
            "since_shipped_days"
        ),
        pl.col("exceptions").fill_null(0.0),
        pl.col("complaints").fill_null(0.0),
        pl.col("payment_type").fill_null("unknown"),
    ]


def _against_history(columns: Formulas) -> dict[str, Any]:
    # Days that the promise leaves beyond the seller's usual hand-over and the route's usual transit, also in units of
    # the transit's own spread (at least half a day, so that a route seen once does not divide by nothing).
    transit, promise = columns.of("route_fading_transit_days"), columns.of("promise_days")
    usual = columns.of("route_delivery_days")
    slack = promise - transit - columns.of("seller_fading_handover_days")
    variance = columns.of("route_fading_transit_days_squared") - transit**2
    spread = columns.root(columns.at_least(variance, 0.25))
    return {
        "promise_slack_days": slack,
        "route_transit_spread_days": spread,
        "promise_slack_spreads": slack / spread,
        "promise_margin_days": promise - usual,
        "elapsed_against_usual_days": columns.of("elapsed_days") - usual,
        "handover_against_usual_days": columns.of("handover_days") - columns.of("seller_handover_days"),
    }


# What of an order itself is held against its histories.
_DAYS_AGAINST = ["promise_days", "elapsed_days", "handover_days"]
_BASKET = (
    "lines", "items", "sellers", "value_log", "shipping_log", "shipping_share", "weight_log", "volume_log", "photos",
    "description_length", "promise_days", "ship_by_days", "weekday", "hour",
)  # fmt: skip
_HANDLING = (
    "paid_hours", "paid", "not_delivered", "elapsed_days", "days_early", "shipped", "handover_days",
    "handover_late_days", "transit_days", "exceptions", "complaints", "payment_type", "installments",
)  # fmt: skip
_PROMISE = ("promise_margin_days", "promise_slack_days", "route_transit_spread_days", "promise_slack_spreads")
_AGAINST = {
    Moment.PLACED: [*_PROMISE],
    Moment.DUE: [*_PROMISE, "elapsed_against_usual_days", "handover_against_usual_days"],
}


def _order_columns(moment: Moment) -> list[str]:
    return [*_BASKET, *(_HANDLING if moment is Moment.DUE else ("payment_type", "installments"))]


def _sum(column: str) -> pl.Expr:
    # The sum of nothing known is unknown, not zero.
    return pl.when(pl.col(column).is_not_null().any()).then(pl.col(column).sum())


def _days(start: str, end: str) -> pl.Expr:
    return (pl.col(end) - pl.col(start)).dt.total_seconds() / _DAY
