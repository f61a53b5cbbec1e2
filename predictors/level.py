"""How far the level of trouble runs ahead of refits, learned from what earlier refits would have said of the months after.

A refit learns the level of the past, weighted by age. Where trouble rises, every refit comes too late by about as much.
So the recipe is fitted as of the beginnings of the latest months, by what was known then, and asked about each month;
the mean error in level, shrunk, is added to the log-odds. Never unless that would have helped already: a level that
goes up and down is not foretold by its last turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from predictors.calibration import mean_log_loss, shifted_to
from predictors.frames import Array, expit, logit
from predictors.gates import Target
from predictors.issue import LogisticModel
from predictors.learning_rows import LabelledRows, age_weights

__all__ = ["ForwardMonth", "forward_months", "level_shift", "mean_shift"]

# So many months of so many days are asked about, the latest first. Six took turns of the level for its course.
MONTHS, MONTH_DAYS = 4, 30
# Outcomes of each class that a refit needs, and that a month needs to say anything.
MIN_TO_LEARN, MIN_TO_JUDGE = 200, 10
# The mean is shrunk towards 0 as if one more month had been right, and a month is a draw of this standard deviation
# about it: few outcomes say less of a month, but many do not say more than one month.
PRIOR_MONTHS, SPREAD = 1.0, 0.2


@dataclass(frozen=True, kw_only=True)
class ForwardMonth:
    """What a refit as of `start` would have said of the orders of the month after it.

    Attributes
    ----------
    z : (n,) array
        Log-odds.
    y : (n,) array of 0 and 1
    known_at : polars.Series
        From when each outcome was known.
    weights : (n,) array
        How many each row stands for.
    """

    start: datetime
    z: Array
    y: Target
    known_at: pl.Series
    weights: Array

    def known_by(self, until: datetime) -> ForwardMonth | None:
        """Return the part whose outcomes were known by an instant; None where they are too few."""
        known = (self.known_at <= until).to_numpy()
        y = self.y[known]
        if min(int(y.sum()), int(len(y) - y.sum())) < MIN_TO_JUDGE:
            return None
        return ForwardMonth(
            start=self.start,
            z=self.z[known],
            y=y,
            known_at=self.known_at.filter(pl.Series(known)),
            weights=self.weights[known],
        )


def forward_months(rows: LabelledRows) -> list[ForwardMonth]:
    """Refit by logistic regression as of the beginnings of the latest months that are labelled, and ask about each.

    The parts of a blend share their level, so the quickest one says how far it is off.

    Parameters
    ----------
    rows : LabelledRows
        Sorted by moment.

    Returns
    -------
    list of ForwardMonth
        The latest first; fewer where what was known at a month's beginning is too little to learn from.
    """
    months: list[ForwardMonth] = []
    end = rows.frame["moment"].max()
    if not isinstance(end, datetime):
        return months
    for number in range(MONTHS):
        start, stop = (end - timedelta(days=MONTH_DAYS * many) for many in (number + 1, number))
        fit = rows.where(pl.col("known_at") <= start)
        later = rows.where((pl.col("moment") > start) & (pl.col("moment") <= stop))
        if fit.each_class < MIN_TO_LEARN:
            break
        if later.each_class < MIN_TO_JUDGE:
            continue
        model = LogisticModel().fit(fit.X, fit.target, sample_weight=age_weights(fit.frame, start))
        z = logit(model.predict_proba(later.X)[:, 1])
        months.append(
            ForwardMonth(start=start, z=z, y=later.target, known_at=later.frame["known_at"], weights=later.weights)
        )
    return months


def level_shift(months: Sequence[ForwardMonth]) -> float:
    """Return what to add to the log-odds of a refit; 0 unless the same would have helped in the months before.

    Each month is shifted by what the earlier months, as far as they were known at its beginning, had told; the shift is
    used only where that lowers the log loss of all these months together.
    """
    gain = 0.0
    for month in months:
        earlier = [one.known_by(month.start) for one in months if one.start < month.start]
        shift = mean_shift([one for one in earlier if one is not None])
        plain, shifted = (mean_log_loss(expit(month.z + by), month.y, month.weights) for by in (0.0, shift))
        gain += len(month.y) * (plain - shifted)
    return mean_shift(months) if gain > 0 else 0.0


def mean_shift(months: Sequence[ForwardMonth]) -> float:
    """Return the shrunk mean over months of the shift in log-odds that would have given each its share of outcomes."""
    total, weights = 0.0, PRIOR_MONTHS
    for month in months:
        p = expit(month.z)
        shift = shifted_to(p, float(np.average(month.y, weights=month.weights)), month.weights)
        right = expit(month.z + shift)
        # The variance of the month's own shift (of weighted rows by the sandwich), beside how much months differ.
        information = right * (1 - right)
        variance = float(month.weights**2 @ information) / float(month.weights @ information) ** 2
        weight = SPREAD**2 / (SPREAD**2 + variance)
        total, weights = total + weight * shift, weights + weight
    return total / weights
