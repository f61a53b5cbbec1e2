"""What was known, at each subject's moment, about its seller, product, category, route, region and customer.

Every fact counts from the instant at which it became available: a rating from the time it was recorded, a delay
from the end of the promised day, a delivery from its recording. The counts are running sums joined strictly
before the moment, so a subject never meets itself or its future. How an order ended counts as far as nobody was contacted
about it (`predictors.standing`). Which columns become features, and under which names, is decided here; what concerns the
order alone is in `predictors.features`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import polars as pl

from predictors.formulas import EXPRESSIONS, Formulas, Numbers
from predictors.labels import outcome_events
from predictors.running import Sums
from predictors.snapshot import INSTANT, Snapshot
from predictors.standing import standing, watched, with_standing

# Column of the subjects: short name of the history. `everything` is the shop as a whole.
KEYS: Mapping[str, str] = {
    "everything": "shop",
    "seller": "seller",
    "product_id": "product",
    "category": "category",
    "route": "route",
    "customer_region": "region",
    "seller_region": "origin",
    "customer_id": "buyer",
}
COUNTS = (
    "placed", "due", "late", "watched", "rated", "rated_for", "bad", "stars", "rated_late", "bad_late", "trouble",
    "delivered", "delivered_days", "overdue_days", "shipped", "shipped_days", "travelled", "transit_days",
    "transit_days_squared",
)  # fmt: skip
# Pseudo-observations of the shop's own rate that a history starts with, so that one bad rating condemns nobody.
PRIOR_STRENGTH = 20.0
# The same where the past fades: there is less of it, and it is fresher.
FADING_PRIOR_STRENGTH = 10.0
RECENT_DAYS = 30
HALF_LIFE_DAYS = 60.0
# A parcel that takes longer counts as lost after so many days: one of them must not decide a route's mean.
MAX_TRANSIT_DAYS = 60.0


def history_events(snapshot: Snapshot, described: pl.DataFrame, moments: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each fact about an order: its keys, when it became available, and what it adds, in that order.

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
        .sort("recorded_at", "touchpoint_id")
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
    base = base.with_columns(
        late=late.cast(pl.Float64),
        transit=_days("shipped_occurred", "delivered_occurred").clip(0, MAX_TRANSIT_DAYS),
        # A journey is known once both of its ends are recorded.
        travelled_at=pl.when(pl.col("shipped_recorded").is_not_null() & pl.col("delivered_at").is_not_null()).then(
            pl.max_horizontal("shipped_recorded", "delivered_at")
        ),
    )
    outcomes = outcome_events(snapshot).join(base, on="order_id")
    first_time = pl.col("recorded_at").rank("ordinal").over("order_id", "is_issue", "is_rating") == 1
    changes = standing(snapshot, moments, outcomes)
    outcomes = with_standing(outcomes.filter(first_time), changes, "recorded_at")
    # `rated` is how many ratings there are, `rated_for` how many they stand for.
    rating = pl.when("is_rating").then("stands_for").otherwise(0.0)
    bad = pl.when("is_issue").then(rating).otherwise(0.0)
    # Whether a parcel is late is known from the moment the order was due, and not to a rating before that.
    known_late = pl.when(pl.col("recorded_at") >= pl.col("due_moment")).then("late").otherwise(0.0)
    parts = [
        _facts(base, "placed_moment", placed=pl.lit(1.0)),
        _facts(
            with_standing(base, changes, "due_moment"),
            "due_moment",
            due=pl.lit(1.0),
            late=pl.col("late"),
            watched=pl.col("stands_for"),
        ),
        _facts(watched(changes, base), "at", watched=pl.col("weight") - pl.col("before")),
        _facts(base, "shipped_recorded", shipped=pl.lit(1.0), shipped_days=_days("placed_moment", "shipped_occurred")),
        _facts(
            base,
            "delivered_at",
            delivered=pl.lit(1.0),
            delivered_days=_days("placed_moment", "delivered_occurred"),
            overdue_days=_days("first_end", "delivered_occurred").fill_null(0.0),
        ),
        _facts(
            base,
            "travelled_at",
            travelled=pl.lit(1.0),
            transit_days=pl.col("transit"),
            transit_days_squared=pl.col("transit") ** 2,
        ),
        _facts(
            outcomes,
            "recorded_at",
            rated=(rating > 0).cast(pl.Float64),
            rated_for=rating,
            bad=bad,
            stars=rating * pl.col("stars").fill_null(0.0),
            rated_late=rating * known_late,
            bad_late=bad * known_late,
            trouble=pl.col("stands_for") - rating,
        ),
    ]
    facts = pl.concat(parts, how="diagonal").with_columns(pl.col(COUNTS).fill_null(0.0))
    # What became available at the same instant is always added in the same order, whatever else is in the shop.
    return facts.sort("available_at", "order_id", maintain_order=True)


# Rate: the counts it is made of.
_RATES = {
    "bad_rate": ("bad", "rated_for"),
    "stars": ("stars", "rated_for"),
    "late_rate": ("late", "due"),
    "trouble_rate": ("trouble", "watched"),
    "delivery_days": ("delivered_days", "delivered"),
    "overdue_days": ("overdue_days", "delivered"),
    "handover_days": ("shipped_days", "shipped"),
    "transit_days": ("transit_days", "travelled"),
    "transit_days_squared": ("transit_days_squared", "travelled"),
}
# History: its rates. The shop's own level is only what others are shrunk to: as a feature it is time in disguise.
# On Olist's orders of 2017-08 to 2018-01 its fading rates cost .007 of ROC-AUC at purchase (and gave .001 when due).
_RATES_OF: Mapping[str, tuple[str, ...]] = {
    "seller": ("bad_rate", "stars", "late_rate", "trouble_rate", "delivery_days", "overdue_days", "handover_days"),
    "product": ("bad_rate", "stars", "trouble_rate", "late_rate"),
    "category": ("bad_rate", "stars", "trouble_rate", "late_rate", "delivery_days", "handover_days"),
    "route": ("bad_rate", "stars", "late_rate", "delivery_days", "overdue_days"),
    "region": ("bad_rate", "stars", "late_rate", "delivery_days", "overdue_days"),
    "origin": ("bad_rate", "stars"),
    "buyer": ("bad_rate", "trouble_rate"),
}
# History: its rates of which half is forgotten after `HALF_LIFE_DAYS`.
_FADING_OF: Mapping[str, tuple[str, ...]] = {
    "seller": ("late_rate", "handover_days", "overdue_days"),
    "category": ("late_rate",),
    "route": ("late_rate", "overdue_days", "transit_days", "transit_days_squared"),
    "region": ("late_rate",),
    "origin": ("late_rate",),
}
_WINDOWED = ("seller", "route", "region")
_BUSY = ("seller", "route")


# Adds the sums of one history to the subjects, whatever holds them.
Summing = Callable[[pl.DataFrame, Sums], pl.DataFrame]


def join_histories(subjects: pl.DataFrame, summing: Summing) -> pl.DataFrame:
    """Add the features of every history to the subjects.

    Parameters
    ----------
    subjects : polars.DataFrame
        `moment` and the columns of `KEYS`, each row one subject.
    summing : callable
        Over the rows of `history_events`, as `predictors.running.join_sums` reads them.
    """
    result = subjects.with_row_index("_row").sort("moment")
    for column, name in KEYS.items():
        result = summing(result, wanted_sums(column, name))
        if name != "shop":
            # Each history's sums go as soon as they are used: of a million orders all of them would be a gigabyte.
            result = result.with_columns(_history_expressions(name)).select(
                pl.exclude(rf"^_{name}_.*$", rf"^_recent_{name}_.*$", rf"^_fading_{name}_.*$")
            )
    return result.sort("_row").select(pl.exclude("^_.*$"))


@cache
def wanted_sums(column: str, name: str) -> Sums:
    """Return which sums a history is made of: `column` and `name` are those of `KEYS`."""
    if name == "shop":
        rates, fading = tuple(_RATES), ("late_rate", *_FADING_OF["seller"], *_FADING_OF["route"])
    else:
        rates, fading = _RATES_OF[name], _FADING_OF.get(name, ())
    whole = {"placed", "rated", *_counts(rates)}
    if "bad_rate" in rates:
        whole |= {"rated_late", "bad_late"}
    if name in _BUSY:
        whole.add("shipped")
    return Sums(
        column=column,
        prefix=f"_{name}_",
        whole=sorted(whole),
        recent_days=RECENT_DAYS if name in _WINDOWED else None,
        fading=sorted(_counts(fading)),
        half_life_days=HALF_LIFE_DAYS,
    )


def _counts(rates: tuple[str, ...]) -> set[str]:
    return {count for rate in rates for count in _RATES[rate]}


def histories_of_one(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the features of every history of one subject from its sums, as `join_histories` does of many."""
    columns = Numbers(sums)
    features: dict[str, float] = {}
    for name in KEYS.values():
        if name != "shop":
            features |= history_features(name, columns)
    return features


def history_features(name: str, columns: Formulas) -> dict[str, Any]:
    """Shrink the counts of one history to rates, and keep how much stands behind them: feature and value."""
    features: dict[str, Any] = {}

    def shrunk(rate: str, window: str = "", *, shop: str = "", strength: float = PRIOR_STRENGTH) -> Any:
        # The shop's own rate is what a history is shrunk to; with neither there is nothing to say.
        top, bottom = _RATES[rate]
        prior = columns.ratio(columns.of(f"{shop}_shop_{top}"), columns.of(f"{shop}_shop_{bottom}"))
        return (columns.of(f"{window}_{name}_{top}") + strength * prior) / (
            columns.of(f"{window}_{name}_{bottom}") + strength
        )

    for rate in _RATES_OF[name]:
        features[f"{name}_{rate}"] = shrunk(rate)
        if name in _WINDOWED and rate in ("late_rate", "bad_rate"):
            features[f"{name}_recent_{rate}"] = shrunk(rate, "_recent")
    for rate in _FADING_OF.get(name, ()):
        features[f"{name}_fading_{rate}"] = shrunk(rate, "_fading", shop="_fading", strength=FADING_PRIOR_STRENGTH)
    if name != "buyer":
        features[f"{name}_bad_beyond_late"] = _beyond_lateness(name, columns)
    features[f"{name}_ratings_log"] = columns.log1p(columns.of(f"_{name}_rated"))
    features[f"{name}_orders_log"] = columns.log1p(columns.of(f"_{name}_placed"))
    if name in _BUSY:
        busy = columns.of(f"_recent_{name}_placed")
        waiting = columns.of(f"_{name}_placed") - columns.of(f"_{name}_shipped")
        features[f"{name}_backlog_log"] = columns.log1p(columns.least(columns.at_least(waiting, 0.0), busy))
        features[f"{name}_recent_orders_log"] = columns.log1p(busy)
    return features


@cache
def _history_expressions(name: str) -> list[pl.Expr]:
    return [value.alias(feature) for feature, value in history_features(name, EXPRESSIONS).items()]


def _beyond_lateness(name: str, columns: Formulas) -> Any:
    """Bad ratings beyond what the shop's own late and punctual orders would have got, for each rating.

    Late parcels are rated badly whoever sold the goods; what is left speaks of the goods.
    """
    rated, late = (columns.of(f"_{name}_{count}") for count in ("rated_for", "rated_late"))
    shop_rated, shop_late = columns.of("_shop_rated_for"), columns.of("_shop_rated_late")
    of_late = (columns.of("_shop_bad_late") + 1.0) / (shop_late + 2.0)
    of_punctual = (columns.of("_shop_bad") - columns.of("_shop_bad_late") + 1.0) / (shop_rated - shop_late + 2.0)
    expected = late * of_late + (rated - late) * of_punctual
    return (columns.of(f"_{name}_bad") - expected) / (rated + PRIOR_STRENGTH)


def _facts(frame: pl.DataFrame, at: str, **adds: pl.Expr) -> pl.DataFrame:
    # A fact recorded before the order itself was known becomes available with the order.
    available = pl.max_horizontal(at, "placed_moment").cast(INSTANT)
    return frame.filter(pl.col(at).is_not_null()).select(*KEYS, "order_id", available_at=available, **adds)


def _days(start: str, end: str) -> pl.Expr:
    return (pl.col(end) - pl.col(start)).dt.total_seconds() / 86400.0
