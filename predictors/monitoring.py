"""Which rows say whether a champion still fits: the newest it is asked about, and outcomes that it has not seen.

What is compared, and when that is an alarm, is in `predictors.drift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from predictors.churn_training import window_rows
from predictors.customers import customer_features
from predictors.drift import FeatureShift, Level, WeekLevel, feature_shifts, level, week_levels
from predictors.features import issue_features
from predictors.gates import Target
from predictors.labels import LabelledBy
from predictors.learning_rows import labelled_rows
from predictors.model import TrainedModel
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.snapshot import Snapshot

__all__ = ["Reading", "Thresholds", "read_churn", "read_issue"]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """From where on a difference matters.

    Parameters
    ----------
    psi : float
        Of one feature.
    level : float
        By what share the number of outcomes may differ from the sum of the probabilities.
    recent_days : int
        The features of so many days are compared.
    weeks : int
        The level is judged on so many of the newest matured weeks.
    """

    psi: float = 0.25
    level: float = 0.25
    recent_days: int = 28
    weeks: int = 8


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one look at a champion found; None where there was not enough to look at."""

    recent_rows: int
    features: list[FeatureShift] | None
    weeks: list[WeekLevel]
    level: Level | None

    @property
    def alarms(self) -> list[str]:
        """What moved too far, as sentences."""
        found = [
            f"{one.feature} has moved: PSI {one.psi:.2f}, above {one.bound:.2f}"
            for one in self.features or []
            if one.alarm
        ]
        if self.level is not None and self.level.alarm:
            found.append(
                f"the level is off: {self.level.observed} outcomes where {self.level.expected:.0f} were expected, "
                f"of {self.level.rows}"
            )
        return found

    @property
    def not_enough(self) -> list[str]:
        """What could not be judged, as sentences."""
        found = []
        if self.features is None:
            found.append(
                f"not enough to compare features: {self.recent_rows} recent rows, or no reference in the model"
            )
        if self.level is None:
            rows = sum(week.rows for week in self.weeks)
            found.append(f"not enough matured outcomes that the model has not seen: {rows}")
        return found


def read_issue(
    snapshot: Snapshot,
    moment: Moment,
    champion: TrainedModel,
    learned: Mapping[str, Any],
    thresholds: Thresholds,
    *,
    horizon_days: int,
    due_days: int,
    labelled_by: LabelledBy,
    draws: pl.DataFrame | None = None,
) -> Reading:
    """Look at an issue model as of the snapshot's end.

    Parameters
    ----------
    learned : mapping
        The reference in the model's manifest; empty for a model of before there was one.
    draws : polars.DataFrame, optional
        Who was drawn to be contacted, as in `train_issue`: contacted orders say nothing of the level.
    """
    moments = order_moments(snapshot, due_days=due_days)
    since = snapshot.until - timedelta(days=thresholds.recent_days)
    asked = issue_subjects(moments, moment).filter((pl.col("moment") > since) & (pl.col("moment") <= snapshot.until))
    recent = issue_features(snapshot, moments, asked, moment)
    rows = labelled_rows(
        snapshot, moment, horizon_days=horizon_days, due_days=due_days, mode=labelled_by, draws=draws
    ).frame
    unseen = rows.filter(pl.col("known_at") > champion.trained_as_of)
    matured = unseen.filter(pl.col("moment") > pl.col("moment").max() - timedelta(weeks=thresholds.weeks))
    return _reading(champion, learned, thresholds, recent, matured, "issue")


def read_churn(
    snapshot: Snapshot,
    champion: TrainedModel,
    learned: Mapping[str, Any],
    thresholds: Thresholds,
    *,
    horizon_days: int,
) -> Reading:
    """Look at a churn model as of the snapshot's end; its level once it is older than its horizon."""
    recent = customer_features(snapshot, snapshot.until)
    start = snapshot.until - timedelta(days=horizon_days)
    rows = window_rows(snapshot, horizon_days, snapshot.until)
    matured = rows if champion.trained_as_of <= start else rows.head(0)
    return _reading(champion, learned, thresholds, recent, matured, "silent")


def _reading(
    champion: TrainedModel,
    learned: Mapping[str, Any],
    thresholds: Thresholds,
    recent: pl.DataFrame,
    matured: pl.DataFrame,
    outcome: str,
) -> Reading:
    y: Target = matured[outcome].to_numpy().astype(np.int64)
    p = champion.probabilities(matured) if matured.height else np.empty(0)
    return Reading(
        recent_rows=recent.height,
        features=feature_shifts(learned, recent, bound=thresholds.psi),
        weeks=week_levels(matured["moment"], y, p) if matured.height else [],
        level=level(y, p, tolerance=thresholds.level),
    )
