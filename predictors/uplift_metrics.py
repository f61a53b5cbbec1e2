"""How good a ranking by expected gain was: Qini, area under the uplift curve, uplift in the top share.

All of them compare treated and untreated rows of an experiment among those ranked first; the gain of a single row is never
observed. Rows of unequal propensity are weighted by what `propensity_weights` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.errors import FrameError, NotEnoughDataError
from predictors.frames import Array

# Zeros and ones.
Binary = npt.NDArray[np.float64] | npt.NDArray[np.int64]
RESAMPLES = 200
# Areas are tiny as shares; the field reports outcomes per 10,000 rows.
PER = 10_000.0
TOP_SHARE = 0.10


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A metric with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Sums over the rows ranked first, one entry a step down the ranking; rows of equal score are one step.

    Attributes
    ----------
    share : array, (s,)
        Share of the rows reached, in (0, 1]; the last is 1.
    treated, untreated : array, (s,)
        Sum of weights in each arm.
    treated_outcomes, untreated_outcomes : array, (s,)
        Sum of weights of the rows with the outcome.
    """

    share: Array
    treated: Array
    untreated: Array
    treated_outcomes: Array
    untreated_outcomes: Array

    @property
    def difference(self) -> Array:
        """Rate with treatment less the rate without, (s,); 0 while an arm is empty."""
        return _ratio(self.treated_outcomes, self.treated) - _ratio(self.untreated_outcomes, self.untreated)


class Ranking:
    """Rows of an experiment in the order of a score, highest first.

    Parameters
    ----------
    score : array, (n,)
        Expected gain, or whatever else the rows are ranked by.
    treatment, y : array, (n,)
        Zeros and ones.
    weights : array, (n,), optional
        Inverse-propensity weights; without them every row counts once.

    Raises
    ------
    FrameError
        Lengths differ, or a score is not finite.
    NotEnoughDataError
        One arm is empty.
    """

    def __init__(self, score: Array, treatment: Binary, y: Binary, weights: Array | None = None) -> None:
        score = np.asarray(score, dtype=np.float64)
        if not len(score) == len(treatment) == len(y):
            raise FrameError(f"{len(score)} scores, {len(treatment)} arms and {len(y)} outcomes; each row needs all")
        if not np.isfinite(score).all():
            raise FrameError("a score is not finite; leave the row out")
        order = np.argsort(-score, kind="stable")
        self.treatment = np.asarray(treatment, dtype=np.float64)[order]
        if not len(order) or self.treatment.min() == self.treatment.max():
            raise NotEnoughDataError("only one arm was observed; a gain needs treated and untreated rows")
        self.y = np.asarray(y, dtype=np.float64)[order]
        self.weights = np.ones(len(order)) if weights is None else np.asarray(weights, dtype=np.float64)[order]
        self.order = order
        self._ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)

    def walk(self, counts: Array | None = None) -> Walk:
        """Sum down the ranking; `counts`, (n,) in the order of the rows given, is how often each row was drawn."""
        counted = self.weights if counts is None else self.weights * counts[self.order]
        drawn = np.ones(len(self.order)) if counts is None else counts[self.order]

        def reached(values: Array) -> Array:
            sums: Array = np.cumsum(values)[self._ends]
            return sums

        treated, untreated = counted * self.treatment, counted * (1 - self.treatment)
        return Walk(
            share=reached(drawn) / drawn.sum(),
            treated=reached(treated),
            untreated=reached(untreated),
            treated_outcomes=reached(treated * self.y),
            untreated_outcomes=reached(untreated * self.y),
        )


def qini(walk: Walk) -> float:
    """Return the area between the Qini curve and the line of a random ranking, per 10,000 rows.

    The curve is (Y_t(k) - Y_c(k) N_t(k) / N_c(k)) / N over the share k (Radcliffe 2007, "Using control groups to target on
    predicted lift"); 0 for a random ranking, below it for a harmful one.
    """
    total = walk.treated[-1] + walk.untreated[-1]
    caught = walk.treated_outcomes - walk.treated * _ratio(walk.untreated_outcomes, walk.untreated)
    return PER * _area(walk.share, caught / total - walk.share * caught[-1] / total)


def auuc(walk: Walk) -> float:
    """Return the area under the uplift curve (ȳ_t(k) - ȳ_c(k)) k, per 10,000 rows.

    Gutierrez & Gérardy 2017, "Causal inference and uplift modelling: a review of the literature". A random ranking has half of
    the average effect.
    """
    return PER * _area(walk.share, walk.difference * walk.share)


def uplift_at(walk: Walk, share: float = TOP_SHARE) -> float:
    """Return the rate with treatment less the rate without among the share of the rows that is ranked first."""
    return float(walk.difference[min(int(np.searchsorted(walk.share, share)), len(walk.share) - 1)])


METRICS: Mapping[str, Callable[[Walk], float]] = {"qini": qini, "auuc": auuc, "uplift_at_10": uplift_at}


def measure_ranking(ranking: Ranking, *, seed: int, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """Return every metric with its 95 % bootstrap interval; equal seeds draw equal rows, whatever the ranking."""
    walks = [ranking.walk(counts) for counts in bootstrap_counts(len(ranking.y), seed=seed, resamples=resamples)]
    found: dict[str, Interval] = {}
    for name, metric in METRICS.items():
        low, high = (float(q) for q in np.quantile([metric(walk) for walk in walks], (0.025, 0.975)))
        found[name] = Interval(value=metric(ranking.walk()), low=low, high=high)
    return found


def bootstrap_counts(rows: int, *, seed: int, resamples: int = RESAMPLES) -> list[Array]:
    """Return how often each row is drawn, (n,), in each of some resamples with replacement."""
    rng = np.random.default_rng(seed)
    return [np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(np.float64) for _ in range(resamples)]


def propensity_weights(treatment: Binary, propensity: Array | None) -> Array:
    """Return stabilised inverse-propensity weights with which both arms look like the whole, (n,).

    Weight (p̄ / p if treated, (1 - p̄) / (1 - p) if not), p̄ the mean propensity (Robins, Hernán & Brumback 2000). Equal
    propensities, or none, give 1 for every row.
    """
    if propensity is None:
        return np.ones(len(treatment))
    mean = float(np.mean(propensity))
    weights: Array = np.where(treatment == 1, mean / propensity, (1 - mean) / (1 - propensity))
    return weights


def _ratio(top: Array, bottom: Array) -> Array:
    return np.divide(top, bottom, out=np.zeros(len(top)), where=bottom > 0)


def _area(share: Array, height: Array) -> float:
    # The curve starts at nothing reached, nothing gained; within rows of equal score it is straight.
    return float(np.trapezoid(np.append(0.0, height), np.append(0.0, share)))
