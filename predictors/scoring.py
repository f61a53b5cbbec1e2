"""From a snapshot and a model to explained predictions, subject by subject; where they are kept is not known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from predictors.explain import Reason, Reasons, explain
from predictors.features import IDENTITY, issue_features
from predictors.fragility import Fragilities, Fragility, fragilities
from predictors.frames import Array, feature_columns
from predictors.kinds import shares_of
from predictors.lazy_rows import LazyRows
from predictors.model import Stage, TrainedModel
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.rescoring import kind_shares, predicted
from predictors.rules import REFERENCE, untrained_rules
from predictors.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One prediction with what is said about it."""

    customer_id: int
    order_id: int | None
    moment: str
    as_of: datetime
    probability: float
    reasons: Sequence[Reason]
    fragility: Fragility
    # Of issues: the share of each kind, if there is an issue; empty until a model has learned it.
    issue_kinds: Mapping[str, float] = field(default_factory=dict)


def rules_model(moment: Moment, *, horizon_days: int, since: datetime) -> TrainedModel:
    """Return the model of the first day, which nobody trained."""
    return TrainedModel(
        kind="issue",
        moment=moment.value,
        horizon_days=horizon_days,
        stage=Stage.RULES,
        estimator=untrained_rules(),
        features=tuple(name for name, moments in REFERENCE_MOMENTS.items() if moment in moments),
        reference=REFERENCE,
        trained_as_of=since,
        rows=0,
        positives=0,
    )


# At purchase nothing is known of the handling.
_DUE_ONLY = {"not_delivered", "elapsed_days", "shipped", "handover_late_days", "exceptions", "complaints"}
REFERENCE_MOMENTS = {name: (Moment.DUE,) if name in _DUE_ONLY else (Moment.PLACED, Moment.DUE) for name in REFERENCE}


def spanned(subjects: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """Choose the subjects of a backtest: their own moment lies in the half-open span, whenever they were placed."""
    return subjects.filter((pl.col("moment") >= start) & (pl.col("moment") < end))


def recent_subjects(
    snapshot: Snapshot, moments: pl.DataFrame, moment: Moment | None, *, recent_days: int | None
) -> dict[Moment, pl.DataFrame]:
    """Choose what is recent at the snapshot's end, at `due` where that has passed, else at `placed`.

    What was cancelled by then is left out; so is, at `due`, what was rated before it.
    """
    open_ = moments.filter(pl.col("cancelled_at").is_null())
    if recent_days is not None:
        open_ = open_.filter(pl.col("placed_moment") >= snapshot.until - timedelta(days=recent_days))
    passed = pl.col("due_moment") <= snapshot.until
    chosen: dict[Moment, pl.DataFrame] = {}
    if moment is not Moment.PLACED:
        chosen[Moment.DUE] = issue_subjects(open_.filter(passed), Moment.DUE)
    if moment is not Moment.DUE:
        placed = open_ if moment is Moment.PLACED else open_.filter(~passed)
        chosen[Moment.PLACED] = issue_subjects(placed.filter(pl.col("placed_moment") <= snapshot.until), Moment.PLACED)
    return chosen


class ScoredRows(LazyRows[Scored]):
    """Predictions of one model with all that is said about them; kept as columns, since most are only stored.

    Attributes
    ----------
    moment : str
    identity : polars.DataFrame
        customer_id, order_id (null of a customer), as_of
    probability : array, (n,)
    reasons, fragility
        Of the same rows.
    kinds : array (n, 4), optional
        The share of each of `predictors.kinds.KINDS`.
    """

    def __init__(
        self,
        moment: str,
        identity: pl.DataFrame,
        probability: Array,
        reasons: Reasons,
        fragility: Fragilities,
        kinds: Array | None = None,
    ) -> None:
        self.moment = moment
        self.identity = identity
        self.probability = probability
        self.reasons = reasons
        self.fragility = fragility
        self.kinds = kinds

    def __len__(self) -> int:
        return self.identity.height

    def row(self, index: int) -> Scored:
        customer_id, order_id, as_of = self.identity.row(index)
        return Scored(
            customer_id=customer_id,
            order_id=order_id,
            moment=self.moment,
            as_of=as_of,
            probability=float(self.probability[index]),
            reasons=self.reasons[index],
            fragility=self.fragility[index],
            issue_kinds={} if self.kinds is None else shares_of(self.kinds[index : index + 1])[0],
        )


def score_issue(model: TrainedModel, snapshot: Snapshot, moments: pl.DataFrame, subjects: pl.DataFrame) -> ScoredRows:
    """Predict, explain and shock the subjects at their own moments.

    Parameters
    ----------
    moments : polars.DataFrame
        From `order_moments`, of all orders of the snapshot.
    subjects : polars.DataFrame
        From `issue_subjects`.
    """
    return score_features(model, issue_features(snapshot, moments, subjects, Moment(model.moment)))


def score_features(model: TrainedModel, frame: pl.DataFrame) -> ScoredRows:
    """Predict, explain and shock the rows of a feature frame (`predictors.features.issue_features`)."""
    features = frame[feature_columns(frame, IDENTITY)]
    again = predicted(model, features)
    return ScoredRows(
        model.moment,
        frame.select("customer_id", "order_id", as_of="moment"),
        np.clip(again.probabilities, 0.0, 1.0),
        explain(model, features, again.probabilities, again=again),
        fragilities(model, features, again.probabilities, again=again),
        None if model.kinds is None else kind_shares(model.kinds, model.taken(features), again),
    )


__all__ = [
    "Scored", "ScoredRows", "order_moments", "recent_subjects", "rules_model", "score_features", "score_issue", "spanned",
]  # fmt: skip
