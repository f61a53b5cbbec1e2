"""Churn predictions for every customer with an order, with reasons and shocks."""

from __future__ import annotations

import polars as pl

from predictors import sentences
from predictors.churn import ChurnBlend
from predictors.churn_training import IDENTITY, purchases_at
from predictors.customers import customer_features
from predictors.explain import Fact, explain
from predictors.fragility import Shock, fragilities
from predictors.frames import feature_columns
from predictors.model import Stage, TrainedModel, reference_values
from predictors.rescoring import predicted
from predictors.scoring import ScoredRows
from predictors.snapshot import INSTANT, Snapshot

FACTS: tuple[Fact, ...] = (
    Fact(
        name="purchases",
        features=(
            "frequency", "recency_weeks", "age_weeks", "quiet_weeks", "quiet_against_gap", "quiet_share", "pace_log",
            "frequency_log", "quiet_log", "gap_mean_weeks", "gap_spread_weeks", "recent_purchases",
        ),
        text=sentences.purchases,
    ),
    Fact(
        name="spend",
        features=("spend_log", "order_value_log", "last_value_log"),
        text=sentences.spend,
    ),
    Fact(
        name="experience",
        features=("issues", "ratings"),
        text=sentences.experience,
    ),
)  # fmt: skip
_GAPS, _GAP = pl.col("frequency"), pl.col("gap_mean_weeks")
# A purchase now ends a gap of its own; the mean and the spread of the gaps follow from theirs so far.
_NEW_GAP = (pl.col("recency_weeks") + pl.col("quiet_weeks")) / (_GAPS + 1)
_NEW_SQUARES = (
    (_GAPS - 1).clip(0) * pl.col("gap_spread_weeks").fill_null(0.0) ** 2
    + _GAPS * (_GAP - _NEW_GAP) ** 2
    + (pl.col("quiet_weeks") - _NEW_GAP) ** 2
)
# It is worth what the customer's purchases are worth on average.
_LATER_PURCHASE = {
    "gap_mean_weeks": _NEW_GAP,
    "gap_spread_weeks": pl.when(_GAPS >= 1).then((_NEW_SQUARES / _GAPS).sqrt()),
    "spend_log": (pl.col("spend_log").exp() + pl.col("order_value_log").exp() - 1).log(),
    "last_value_log": pl.col("order_value_log"),
    "recency_weeks": pl.col("recency_weeks") + pl.col("quiet_weeks"),
    "frequency": pl.col("frequency") + 1,
    "frequency_log": (pl.col("frequency") + 2).log(),
    "quiet_weeks": pl.lit(0.0),
    "quiet_log": pl.lit(0.0),
    "quiet_share": pl.lit(0.0),
    "quiet_against_gap": pl.lit(0.0),
    "recent_purchases": pl.col("recent_purchases") + 1,
    "pace_log": ((pl.col("frequency") + 2) / (pl.col("age_weeks") + 1)).log(),
}
SHOCKS = (
    Shock(
        name="four more silent weeks",
        changes={
            "quiet_weeks": pl.col("quiet_weeks") + 4,
            "age_weeks": pl.col("age_weeks") + 4,
            "quiet_log": (pl.col("quiet_weeks") + 5).log(),
            # What was bought within 90 days is no longer once the silence is longer.
            "recent_purchases": pl.when(pl.col("quiet_weeks") + 4 < 90 / 7)
            .then(pl.col("recent_purchases"))
            .otherwise(0.0),
            "quiet_share": (pl.col("quiet_weeks") + 4) / (pl.col("age_weeks") + 4),
            "quiet_against_gap": (pl.col("quiet_weeks") + 4) / (pl.col("gap_mean_weeks") + 1),
            "pace_log": ((pl.col("frequency") + 1) / (pl.col("age_weeks") + 5)).log(),
        },
    ),
    Shock(name="one purchase now", changes=_LATER_PURCHASE),
    Shock(name="one more bad experience", changes={"issues": pl.col("issues") + 1}),
)


def purchases_model(snapshot: Snapshot, *, horizon_days: int) -> TrainedModel:
    """Return BG/NBD alone, fitted to the snapshot: what scores before anything was trained."""
    present = customer_features(snapshot, snapshot.until)
    features = tuple(feature_columns(present, IDENTITY))
    return TrainedModel(
        kind="churn",
        moment="now",
        horizon_days=horizon_days,
        stage=Stage.BGNBD,
        estimator=ChurnBlend(purchases_at(snapshot, snapshot.until), horizon_days),
        features=features,
        reference=reference_values(present.select(features)),
        trained_as_of=snapshot.until,
        rows=present.height,
        positives=0,
    )


def score_churn(model: TrainedModel, snapshot: Snapshot, customers: tuple[int, int] | None = None) -> ScoredRows:
    """Score every customer with an order by the snapshot's end, or those with ids in a range (both ends included)."""
    frame = customer_features(snapshot, snapshot.until)
    if customers is not None:
        frame = frame.filter(pl.col("customer_id").is_between(*customers))
    features = frame.select(model.features)
    again = predicted(model, features)
    identity = frame.select(
        "customer_id", order_id=pl.lit(None, dtype=pl.Int64), as_of=pl.lit(snapshot.until).cast(INSTANT)
    )
    return ScoredRows(
        "now",
        identity,
        again.probabilities,
        explain(model, features, again.probabilities, FACTS, again),
        fragilities(model, features, again.probabilities, SHOCKS, again),
    )
