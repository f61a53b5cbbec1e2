"""Learning the weights of experiences from a shop's own past, and keeping them only where they helped.

Moments are cut every four weeks; what followed within the horizon teaches. The latest moments judge: weights that do not
foresee them better than a plain average of good and bad are not worth having.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.linear_model import LogisticRegression

from predictors.calibration import mean_log_loss
from predictors.errors import NotEnoughDataError
from predictors.experience import (
    EXPERIENCES,
    ExperienceWeights,
    bootstrap_weights,
    experience_points,
    experience_scores,
    fit_experience,
)
from predictors.frames import Array, expit
from predictors.labels import outcome_events
from predictors.snapshot import INSTANT, Snapshot

__all__ = ["KINDS_READ", "TrainedExperience", "plain_average", "plain_chances", "train_experience"]

# The kinds of touchpoint that experiences are made of.
KINDS_READ = tuple(sorted({kind for one in EXPERIENCES for kind in one.kinds}))
STEP_DAYS = 28
MOMENTS = 12
JUDGING = 3
# Customers with an order within so many days before a moment are asked about.
RECENT_DAYS = 365
# More moments than this change no weight in its second digit, and cost time.
MOST_ROWS = 20_000
FITS = 30


@dataclass(frozen=True, kw_only=True)
class TrainedExperience:
    """Weights, with 95 % intervals from customers drawn with replacement, and what they gain.

    Attributes
    ----------
    intervals : mapping
        Experience: low and high.
    gain : float
        By how much the log loss of later moments was lower than the plain average's.
    """

    weights: ExperienceWeights
    intervals: Mapping[str, tuple[float, float]]
    gain: float


def train_experience(snapshot: Snapshot, *, horizon_days: int, due_days: int, seed: int) -> TrainedExperience:
    """Fit on moments whose horizon has passed by the snapshot's end.

    Raises
    ------
    NotEnoughDataError
        Too few moments with or without an issue, or the weights foresee no better than a plain average.
    """
    points = experience_points(snapshot, due_days=due_days)
    rows = _moments(snapshot, horizon_days, seed)
    judged_from = snapshot.until - timedelta(days=horizon_days + STEP_DAYS * (JUDGING - 1))
    # What follows the moments that teach must be over when those that judge begin.
    earlier = rows.filter(pl.col("moment") <= judged_from - timedelta(days=horizon_days))
    later = rows.filter(pl.col("moment") >= judged_from)
    gain = _gain(points, earlier, later)
    if gain <= 0:
        raise NotEnoughDataError("the weights of experiences foresee no better than a plain average of good and bad")
    target = rows["issue"].to_numpy()
    weights = fit_experience(points, rows, target)
    draws = bootstrap_weights(points, rows, target, rounds=FITS, seed=seed)
    intervals = {}
    for one in EXPERIENCES:
        low, high = np.quantile([draw.weights[one.name] for draw in draws], [0.025, 0.975])
        intervals[one.name] = (float(low), float(high))
    return TrainedExperience(weights=weights, intervals=intervals, gain=gain)


def plain_average(points: pl.DataFrame, subjects: pl.DataFrame) -> Array:
    """Return the mean sign of all that was experienced by each moment, (n,), 0 where nothing was."""
    unfading = ExperienceWeights(
        weights={one.name: 1.0 for one in EXPERIENCES}, bad_half_life_days=1e9, good_half_life_days=1e9, level=0.0
    )
    total = experience_scores(unfading, points, subjects)
    seen = (
        subjects.with_row_index("row")
        .join(points, on="customer_id")
        .filter(pl.col("recorded_at") <= pl.col("moment"))["row"]
        .to_numpy()
    )
    average: Array = total / np.maximum(np.bincount(seen, minlength=subjects.height), 1)
    return average


def plain_chances(
    points: pl.DataFrame, earlier: pl.DataFrame, issue: npt.NDArray[np.int64], later: pl.DataFrame
) -> Array:
    """Return P(issue) of later moments by a logistic regression on the plain average of earlier ones, (n,)."""
    model = LogisticRegression(C=1e6).fit(plain_average(points, earlier)[:, None], issue)
    chances: Array = model.predict_proba(plain_average(points, later)[:, None])[:, 1]
    return chances


def _gain(points: pl.DataFrame, earlier: pl.DataFrame, later: pl.DataFrame) -> float:
    if not later.height:
        raise NotEnoughDataError("no moment has passed its horizon yet that could judge the weights of experiences")
    target, truth = earlier["issue"].to_numpy(), later["issue"].to_numpy()
    weights = fit_experience(points, earlier, target)
    ours = expit(weights.level - experience_scores(weights, points, later))
    return mean_log_loss(plain_chances(points, earlier, target, later), truth) - mean_log_loss(ours, truth)


def _moments(snapshot: Snapshot, horizon_days: int, seed: int) -> pl.DataFrame:
    """Return customer_id, moment and issue of past moments, of whole customers up to `MOST_ROWS` rows."""
    orders = snapshot.orders.group_by("order_id").agg(
        pl.col("customer_id").first(), known=pl.max_horizontal("placed_at", "recorded_at").min()
    )
    issues = (
        outcome_events(snapshot)
        .filter("is_issue")
        .join(orders.select("order_id", "customer_id"), on="order_id")
        .select("customer_id", at="recorded_at")
    )
    parts = []
    for back in range(MOMENTS):
        at = snapshot.until - timedelta(days=horizon_days + STEP_DAYS * back)
        recent = orders.filter(pl.col("known") <= at, pl.col("known") > at - timedelta(days=RECENT_DAYS))
        followed = issues.filter(pl.col("at") > at, pl.col("at") <= at + timedelta(days=horizon_days))
        parts.append(
            recent.select("customer_id")
            .unique()
            .with_columns(
                moment=pl.lit(at).cast(INSTANT),
                issue=pl.col("customer_id").is_in(followed["customer_id"].implode()).cast(pl.Int64),
            )
        )
    rows = pl.concat(parts).sort("customer_id", "moment")
    if rows.height <= MOST_ROWS:
        return rows
    people = rows["customer_id"].unique().sort()
    chosen = people.sample(n=max(people.len() * MOST_ROWS // rows.height, 1), seed=seed)
    return rows.filter(pl.col("customer_id").is_in(chosen.implode()))
