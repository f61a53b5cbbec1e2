"""Would the refit have been better? The recipe as it would have been fitted earlier, against the champion as it is.

A challenger has seen every outcome there is, so nothing is left to judge it by; and a champion whose recipe is fitted
again on the same rows differs from a challenger of the same recipe by nothing. So the recipe is replayed: fitted as of
an instant after the champion's own, by what had become known by then, and both are judged on outcomes that became known
later still. What the difference shows is what fresher data (or a new recipe) are worth. The decision is the gate's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from predictors.churn_training import left_alone_in, train_churn, window_rows
from predictors.errors import PredictorError
from predictors.frames import Array
from predictors.gates import MIN_EACH_CLASS, Target, Verdict, gate
from predictors.labels import LabelledBy
from predictors.learning_rows import labelled_rows
from predictors.model import TrainedModel
from predictors.moments import Moment
from predictors.snapshot import Snapshot
from predictors.training import train_issue


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What the replayed recipe and the champion said of outcomes that neither had seen."""

    fitted_as_of: datetime
    y: Target
    challenger: Array
    champion: Array
    weights: Array | None = None

    def verdict(self, seed: int) -> Verdict:
        """Let the gate decide."""
        return gate(self.y, self.challenger, self.champion, seed=seed, weights=self.weights)


def replay_issue(
    snapshot: Snapshot,
    moment: Moment,
    champion: TrainedModel,
    *,
    horizon_days: int,
    due_days: int,
    labelled_by: LabelledBy,
    seed: int,
    draws: pl.DataFrame | None = None,
) -> Replay | None:
    """Replay the issue recipe on the orders whose outcome became known after the champion was trained.

    The first half of these outcomes, in the order in which they became known, is what the replayed fit knows more
    than the champion; the second half judges both. Contacted orders neither teach nor judge (`draws`, as in
    `train_issue`).

    Returns
    -------
    Replay or None
        None where there are too few such outcomes, or the champion does not fit the present features.
    """
    rows = labelled_rows(snapshot, moment, horizon_days=horizon_days, due_days=due_days, mode=labelled_by, draws=draws)
    since = rows.where(pl.col("known_at") > champion.trained_as_of)
    cut = halfway(since.frame["known_at"])
    judged = since if cut is None else since.where(pl.col("known_at") > cut)
    y = judged.target
    if cut is None or not _enough(y):
        return None
    try:
        past = train_issue(
            snapshot.at(cut),
            moment,
            horizon_days=horizon_days,
            due_days=due_days,
            labelled_by=labelled_by,
            seed=seed,
            draws=draws,
        )
        return Replay(
            fitted_as_of=cut,
            y=y,
            challenger=past.model.probabilities(judged.frame),
            champion=champion.probabilities(judged.frame),
            weights=judged.weights,
        )
    except PredictorError:
        return None


def replay_churn(
    snapshot: Snapshot, champion: TrainedModel, *, horizon_days: int, seed: int, draws: pl.DataFrame | None = None
) -> Replay | None:
    """Replay the churn recipe as of one horizon ago, and judge by who was silent since without having been contacted.

    Returns
    -------
    Replay or None
        None where the champion was trained within that horizon (it knows who bought), or there is too little.
    """
    cut = snapshot.until - timedelta(days=horizon_days)
    if champion.trained_as_of > cut:
        return None
    window = left_alone_in(
        snapshot, window_rows(snapshot, horizon_days, snapshot.until), horizon_days, snapshot.until, draws
    )
    rows, y = window.rows, window.target
    if not _enough(y):
        return None
    try:
        past = train_churn(snapshot.at(cut), horizon_days=horizon_days, seed=seed, draws=draws)
        return Replay(
            fitted_as_of=cut,
            y=y,
            challenger=past.model.probabilities(rows),
            champion=champion.probabilities(rows),
            weights=window.weights,
        )
    except PredictorError:
        return None


def halfway(known_at: pl.Series) -> datetime | None:
    """Return the instant by which half of some outcomes were known; None where that halves nothing."""
    ordered = known_at.drop_nulls().sort()
    if not len(ordered):
        return None
    cut = ordered[(len(ordered) - 1) // 2]
    return cut if isinstance(cut, datetime) and cut < ordered[-1] else None


def _enough(y: Target) -> bool:
    return min(int(y.sum()), int(len(y) - y.sum())) >= MIN_EACH_CLASS
