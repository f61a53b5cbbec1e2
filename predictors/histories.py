"""What was known, at each subject's moment, about its seller, product, category, route, region and customer.

Every fact counts from the instant at which it became available: a rating from the time it was recorded, a delay
from the end of the promised day, a delivery from its recording. The counts are running sums joined strictly
before the moment, so a subject never meets itself or its future. Which columns become features, and under
which names, is decided here; what concerns the order alone is in `predictors.features`.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from predictors.labels import outcome_events
from predictors.snapshot import INSTANT, Snapshot

# Column of the subjects: short name of the history. `everything` is the shop as a whole.
KEYS: Mapping[str, str] = {
    "everything": "shop",
    "seller": "seller",
    "product_id": "product",
    "category": "category",
    "route": "route",
    "customer_region": "region",
    "customer_id": "buyer",
}
COUNTS = (
    "placed", "due", "late", "rated", "bad", "trouble", "delivered", "delivered_days", "shipped", "shipped_days",
    "overdue_days",
)  # fmt: skip
# Pseudo-observations of the shop's own rate that a history starts with, so that one bad rating condemns nobody.
PRIOR_STRENGTH = 20.0
RECENT_DAYS = 30


def history_events(snapshot: Snapshot, described: pl.DataFrame, moments: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each fact about an order: its keys, when it became available, and what it adds.

    Parameters
    ----------
    snapshot : Snapshot
    described : polars.DataFrame
        order_id and the columns of `KEYS`, as known when each order was placed.
    moments : polars.DataFrame
        From `predictors.moments.order_moments`.
    """
    base = moments.join(
        described.select("order_id", *KEYS, first_end="promised_end"), on="order_id", suffix="_described"
    )
    firsts = (
        snapshot.touchpoints.filter(pl.col("kind").is_in(["shipped", "delivered"]))
        .sort("recorded_at")
        .group_by("order_id")
        .agg(
            shipped_recorded=pl.col("recorded_at").filter(pl.col("kind") == "shipped").first(),
            shipped_occurred=pl.col("occurred_at").filter(pl.col("kind") == "shipped").first(),
            delivered_occurred=pl.col("occurred_at").filter(pl.col("kind") == "delivered").first(),
        )
    )
    base = base.join(firsts, on="order_id", how="left")
    late = (
        pl.col("promised_end").is_not_null()
        & (pl.col("delivered_at").is_null() | (pl.col("delivered_at") > pl.col("due_moment")))
        & (pl.col("promised_end") <= pl.col("due_moment"))
    )
    outcomes = outcome_events(snapshot).join(base, on="order_id")
    first_time = pl.col("recorded_at").rank("ordinal").over("order_id", "is_issue", "is_rating") == 1
    outcomes = outcomes.filter(first_time)
    rating, issue = pl.col("is_rating"), pl.col("is_issue")
    parts = [
        _facts(base, "placed_moment", placed=pl.lit(1.0)),
        _facts(base, "due_moment", due=pl.lit(1.0), late=late.cast(pl.Float64)),
        _facts(base, "shipped_recorded", shipped=pl.lit(1.0), shipped_days=_days("placed_moment", "shipped_occurred")),
        _facts(
            base,
            "delivered_at",
            delivered=pl.lit(1.0),
            delivered_days=_days("placed_moment", "delivered_occurred"),
            overdue_days=_days("first_end", "delivered_occurred").fill_null(0.0),
        ),
        _facts(
            outcomes,
            "recorded_at",
            rated=rating.cast(pl.Float64),
            bad=(rating & issue).cast(pl.Float64),
            trouble=(~rating).cast(pl.Float64),
        ),
    ]
    return pl.concat(parts, how="diagonal").with_columns(pl.col(COUNTS).fill_null(0.0)).sort("available_at")


def join_histories(subjects: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Add the features of every history to the subjects.

    Parameters
    ----------
    subjects : polars.DataFrame
        `moment` and the columns of `KEYS`, each row one subject.
    events : polars.DataFrame
        From `history_events`.
    """
    result = subjects.with_row_index("_row").sort("moment")
    for column, name in KEYS.items():
        result = _join_running(result, events, column, name)
    shop = {
        rate: pl.when(pl.col(f"_shop_{bottom}") > 0).then(pl.col(f"_shop_{top}") / pl.col(f"_shop_{bottom}"))
        for rate, (top, bottom) in _RATES.items()
    }
    features = [expression for name in _RATES_OF for expression in _features(name, shop)]
    result = result.with_columns(features).sort("_row")
    return result.select(pl.exclude("^_.*$"))


# Rate: the counts it is made of.
_RATES = {
    "bad_rate": ("bad", "rated"),
    "late_rate": ("late", "due"),
    "trouble_rate": ("trouble", "due"),
    "delivery_days": ("delivered_days", "delivered"),
    "overdue_days": ("overdue_days", "delivered"),
    "handover_days": ("shipped_days", "shipped"),
}
# History: its rates. The shop's own level is only what others are shrunk to: as a feature it is time in disguise.
# Leaving it out changed ROC-AUC on Olist 2018-02 to 2018-05 by +.013 at purchase and -.001 when due, one seed each.
_RATES_OF: Mapping[str, tuple[str, ...]] = {
    "seller": ("bad_rate", "late_rate", "trouble_rate", "delivery_days", "overdue_days", "handover_days"),
    "product": ("bad_rate", "trouble_rate", "late_rate"),
    "category": ("bad_rate", "trouble_rate", "late_rate", "delivery_days", "handover_days"),
    "route": ("bad_rate", "late_rate", "delivery_days", "overdue_days"),
    "region": ("bad_rate", "late_rate", "delivery_days", "overdue_days"),
    "buyer": ("bad_rate", "trouble_rate"),
}
_WINDOWED = ("seller", "route", "region")


def _features(name: str, shop: Mapping[str, pl.Expr]) -> list[pl.Expr]:
    """Shrink the counts of one history to rates, and keep how much stands behind them."""
    features: list[pl.Expr] = []
    for rate in _RATES_OF[name]:
        top, bottom = _RATES[rate]
        # With neither a history nor a shop-wide rate there is nothing to say, hence null.
        prior = shop[rate]
        windows = ("", "recent_") if name in _WINDOWED and rate in ("late_rate", "bad_rate") else ("",)
        for window in windows:
            n, total = pl.col(f"_{window}{name}_{bottom}"), pl.col(f"_{window}{name}_{top}")
            shrunk = (total + PRIOR_STRENGTH * prior) / (n + PRIOR_STRENGTH)
            features.append(shrunk.alias(f"{name}_{window}{rate}"))
    features.append(pl.col(f"_{name}_rated").log1p().alias(f"{name}_ratings_log"))
    features.append(pl.col(f"_{name}_placed").log1p().alias(f"{name}_orders_log"))
    if name in ("seller", "route"):
        busy = pl.col(f"_recent_{name}_placed")
        waiting = pl.col(f"_{name}_placed") - pl.col(f"_{name}_shipped")
        features.append(pl.min_horizontal(waiting.clip(0), busy).log1p().alias(f"{name}_backlog_log"))
        features.append(busy.log1p().alias(f"{name}_recent_orders_log"))
    return features


def _join_running(subjects: pl.DataFrame, events: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    prefix = f"_{name}_"
    running = (
        events.filter(pl.col(column).is_not_null())
        .select(column, "available_at", pl.col(COUNTS).cum_sum().over(column))
        .group_by(column, "available_at", maintain_order=True)
        .last()
        .rename({count: f"{prefix}{count}" for count in COUNTS})
    )
    counts = [f"{prefix}{count}" for count in COUNTS]
    subjects = subjects.join_asof(
        running,
        left_on="moment",
        right_on="available_at",
        by=column,
        allow_exact_matches=False,
        check_sortedness=False,
    ).drop("available_at")
    subjects = subjects.with_columns(pl.col(counts).fill_null(0.0))
    if name not in _WINDOWED:
        return subjects
    before = subjects.with_columns(_since=pl.col("moment") - pl.duration(days=RECENT_DAYS)).select(
        "_row", "_since", column
    )
    before = before.join_asof(
        running, left_on="_since", right_on="available_at", by=column, allow_exact_matches=False, check_sortedness=False
    )
    subjects = subjects.join(
        before.select("_row", *[pl.col(c).alias(f"{c}_before") for c in counts]), on="_row", maintain_order="left"
    )
    recents = [(pl.col(c) - pl.col(f"{c}_before").fill_null(0.0)).alias(f"_recent{c}") for c in counts]
    return subjects.with_columns(recents).drop([f"{c}_before" for c in counts])


def _facts(frame: pl.DataFrame, at: str, **adds: pl.Expr) -> pl.DataFrame:
    # A fact recorded before the order itself was known becomes available with the order.
    available = pl.max_horizontal(at, "placed_moment").cast(INSTANT)
    return frame.filter(pl.col(at).is_not_null()).select(*KEYS, available_at=available, **adds)


def _days(start: str, end: str) -> pl.Expr:
    return (pl.col(end) - pl.col(start)).dt.total_seconds() / 86400.0
