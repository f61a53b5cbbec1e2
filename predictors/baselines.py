"""What our model has to beat, each learned from the same earlier rows: no skill, plain rules, plain learners.

A baseline takes what a `Lesson` holds and returns probabilities, or None where it cannot say anything (nothing to
learn from, or a fact that is not known at this moment). How they are compared belongs in `predictors.backtest`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from predictors.evaluation import Target
from predictors.frames import Array, FrameEncoder
from predictors.issue import LogisticModel
from predictors.rules import untrained_rules

# Fewer earlier outcomes of either class than this teach a learner nothing.
MIN_EACH_CLASS = 10


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Earlier rows with their outcomes, and the later rows to predict; both frames hold `features`."""

    earlier: pl.DataFrame
    target: Target
    later: pl.DataFrame
    features: tuple[str, ...]
    horizon_days: int
    seed: int

    @property
    def teaches(self) -> bool:
        """Whether there is enough of both classes for a learner."""
        positives = int(self.target.sum())
        return min(positives, len(self.target) - positives) >= MIN_EACH_CLASS


Baseline = Callable[[Lesson], Array | None]


def base_rate(lesson: Lesson) -> Array | None:
    """Give every row the share of the earlier ones: the prior, which knows nothing of the row."""
    return np.full(lesson.later.height, float(lesson.target.mean())) if len(lesson.target) else None


def late_by_due(lesson: Lesson) -> Array | None:
    """Ask only whether the parcel was not delivered by the promised day; each answer gets its earlier share."""
    if not len(lesson.target) or "not_delivered" not in lesson.features:
        return None
    earlier, later = (
        (frame["not_delivered"].fill_null(0.0) > 0).to_numpy() for frame in (lesson.earlier, lesson.later)
    )
    # Laplace's rule of succession, so that an answer never seen before is no certainty.
    shares = [
        float((lesson.target[earlier == late].sum() + 1) / ((earlier == late).sum() + 2)) for late in (False, True)
    ]
    return np.where(later, shares[1], shares[0])


def untrained(lesson: Lesson) -> Array | None:
    """Score by the rules that Aftercare uses before it has learned anything."""
    result: Array = untrained_rules().predict_proba(lesson.later.select(lesson.features))[:, 1]
    return result


def logistic(lesson: Lesson) -> Array | None:
    """Fit scikit-learn's logistic regression with its usual penalty to the same features, standardised."""
    if not lesson.teaches:
        return None
    model = LogisticModel(C=1.0).fit(lesson.earlier.select(lesson.features), lesson.target)
    return model.predict_proba(lesson.later.select(lesson.features))[:, 1]


def hist_gradient_boosting(lesson: Lesson) -> Array | None:
    """Fit scikit-learn's histogram gradient boosting, all settings as they come, to the same features."""
    if not lesson.teaches:
        return None
    encoder = FrameEncoder().fit(lesson.earlier.select(lesson.features))
    matrix = encoder.transform(lesson.earlier)
    # The binning fails on a column without any value; a constant one is never split on.
    matrix[:, np.isnan(matrix).all(axis=0)] = 0.0
    with threadpool_limits(limits=1):
        model = HistGradientBoostingClassifier(random_state=lesson.seed).fit(matrix, lesson.target)
        result: Array = model.predict_proba(encoder.transform(lesson.later))[:, 1]
    return result


def recency(lesson: Lesson) -> Array | None:
    """Ask only how long a customer has been silent: a ranking by weeks, squeezed into probabilities."""
    quiet = lesson.later["quiet_weeks"].fill_null(0.0).to_numpy()
    result: Array = quiet / (quiet + lesson.horizon_days / 7)
    return result


ISSUE_BASELINES: Mapping[str, Baseline] = {
    "base_rate": base_rate,
    "rules": untrained,
    "late_by_due": late_by_due,
    "logistic": logistic,
    "hist_gradient_boosting": hist_gradient_boosting,
}
CHURN_BASELINES: Mapping[str, Baseline] = {
    "base_rate": base_rate,
    "recency": recency,
    "logistic": logistic,
    "hist_gradient_boosting": hist_gradient_boosting,
}
