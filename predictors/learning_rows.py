"""The rows that an issue model learns from: features and labels of the orders whose outcome is known, and their weights.

What is learned from them is decided in `predictors.training`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from predictors.features import IDENTITY, issue_features
from predictors.frames import Array, feature_columns
from predictors.gates import Target
from predictors.labels import LabelledBy, label_issues, settled_after
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.snapshot import Snapshot
from predictors.treatment import WEIGHT, left_alone

__all__ = ["HALF_LIFE_DAYS", "LabelledRows", "age_weights", "labelled_rows"]

# After a year an order weighs half; at purchase this gained about .005 of ROC-AUC on Olist 2018-02 to 2018-05.
HALF_LIFE_DAYS = 360.0


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Features of subjects with their labels, in the order of their moments."""

    frame: pl.DataFrame
    features: list[str]
    left_out: int = 0  # because they were contacted, or drawn to be

    @property
    def target(self) -> Target:
        return self.frame["issue"].to_numpy().astype(np.int64)

    def where(self, condition: pl.Expr) -> LabelledRows:
        return LabelledRows(frame=self.frame.filter(condition), features=self.features)

    @property
    def weights(self) -> Array:
        """How many each row stands for, because others like it were contacted, (n,) with mean 1; all 1 without contacts."""
        if WEIGHT not in self.frame.columns or not self.frame.height:
            return np.ones(self.frame.height)
        weights = self.frame[WEIGHT].to_numpy()
        result: Array = weights / weights.mean()
        return result

    @property
    def X(self) -> pl.DataFrame:  # noqa: N802 - the field's name for a feature matrix
        return self.frame.select(self.features)

    @property
    def each_class(self) -> int:
        """Rows of the rarer class."""
        positives = int(self.frame["issue"].sum() or 0)
        return min(positives, self.frame.height - positives)


def labelled_rows(
    snapshot: Snapshot,
    moment: Moment,
    *,
    horizon_days: int,
    due_days: int,
    mode: LabelledBy,
    draws: pl.DataFrame | None = None,
) -> LabelledRows:
    """Build the features and labels of every order whose outcome is known by the snapshot and not changed by a contact.

    At purchase the wait for ratings begins at the end of the promised day, which does not depend on how the order
    went: counting from the delivery would favour what came fast.
    """
    moments = order_moments(snapshot, due_days=due_days)
    subjects = issue_subjects(moments, moment).filter(pl.col("moment") <= snapshot.until)
    wait = settled_after(snapshot, moments, horizon_days=horizon_days, mode=mode)
    settling = subjects.with_columns(settles_from="promised_end" if moment is Moment.PLACED else "moment")
    labels = label_issues(snapshot, settling, horizon_days=horizon_days, mode=mode, settle_days=wait)
    observed = subjects.join(labels.select("order_id"), on="order_id", how="semi")
    frame = issue_features(snapshot, moments, observed, moment).join(labels, on="order_id", maintain_order="left")
    features = feature_columns(frame, [*IDENTITY, "issue", "known_at"])
    alone = left_alone(snapshot, frame, frame.select(features), horizon_days=horizon_days, draws=draws)
    if alone is not None:
        frame = frame.join(alone.weights, on="order_id", maintain_order="left")
    return LabelledRows(frame=frame, features=features, left_out=0 if alone is None else alone.left_out)


def age_weights(frame: pl.DataFrame, until: datetime) -> Array:
    """Return weights that halve every `HALF_LIFE_DAYS`, times those of who was left alone, if any; with mean 1."""
    ages = frame.select((pl.lit(until) - pl.col("moment")).dt.total_seconds() / 86400.0).to_series().to_numpy()
    weights = 0.5 ** (ages / HALF_LIFE_DAYS)
    if WEIGHT in frame.columns:
        weights = weights * frame[WEIGHT].to_numpy()
    result: Array = weights / weights.mean() if len(weights) else weights
    return result
