"""What training hands to scoring: one fitted model with all that it needs to predict, explain and be judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import polars as pl

from predictors.calibration import SlopeCalibrator
from predictors.errors import FeatureMismatchError
from predictors.frames import Array
from predictors.kinds import KindModel


class Stage(StrEnum):
    RULES = "rules"  # nothing learned yet
    LOGISTIC = "logistic"  # enough outcomes for a linear model
    BOOSTING = "boosting"  # enough for trees, and better than the linear model on later data
    BGNBD = "bgnbd"  # churn: purchases alone, by maximum likelihood
    BLEND = "blend"  # churn: BG/NBD corrected by what past snapshots taught
    UPLIFT = "uplift"  # gain: linear with interactions, from experiments


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A fitted estimator with its calibrator, features and reference values.

    Parameters
    ----------
    kind, moment, horizon_days
        What it predicts, and when.
    features : tuple of str
        The columns it takes, in their order.
    reference : mapping
        The typical value of each feature; a reason is the difference from it.
    labelled_by : str
        How the labels it learned from were observed.
    kinds : KindModel, optional
        Of issues: which kind an issue of such a subject would be; None where no issue taught it.
    """

    kind: str
    moment: str
    horizon_days: int
    stage: Stage
    estimator: Any
    features: tuple[str, ...]
    reference: Mapping[str, float | str | None]
    trained_as_of: datetime
    rows: int
    positives: int
    labelled_by: str = ""
    seed: int = 0
    calibrator: SlopeCalibrator = field(default_factory=SlopeCalibrator)
    kinds: KindModel | None = None

    def probabilities(self, frame: pl.DataFrame) -> Array:
        """Return P(outcome within the horizon) for each row, (n,)."""
        raw = self.estimator.predict_proba(self.taken(frame))[:, 1]
        return self.calibrator.transform(raw)

    def taken(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the columns that the model takes."""
        known = set(frame.columns)
        if missing := [name for name in self.features if name not in known]:
            raise FeatureMismatchError(f"the model needs the feature {missing[0]}; train it again with this version")
        return frame[list(self.features)]


def reference_values(frame: pl.DataFrame) -> dict[str, float | str | None]:
    """Return the median of each number and the most frequent category of each string."""
    values: dict[str, float | str | None] = {}
    for name, dtype in frame.schema.items():
        column = frame[name].drop_nulls()
        if dtype.is_numeric():
            middle = column.median()
            values[name] = float(middle) if isinstance(middle, int | float) else None
        else:
            ranked = column.value_counts(sort=True)
            values[name] = str(ranked[name][0]) if len(ranked) else None
    return values
