"""Learners of the gain from being treated: S, T, X and DR, all with one contract and one design matrix.

Künzel, Sekhon, Bickel & Yu 2019 ("Metalearners for estimating heterogeneous treatment effects") for S, T and X; Kennedy 2023
("Towards optimal doubly robust estimation of heterogeneous causal effects") for DR. Which of them the product uses is decided
in `predictors.uplift`, by `benchmarks/uplift.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from predictors.bins import BINS, snapped
from predictors.errors import FrameError, NotEnoughDataError
from predictors.frames import Array, FrameEncoder, as_polars, check_target, expit
from predictors.uplift_metrics import propensity_weights

# Folds in which the outcome of each row is predicted by models that have not seen it.
FOLDS = 5
# The noise of a single effect is many times the effect: strong shrinkage, small steps, leaves with many rows.
RIDGE = 1000.0
LEARNING_RATE = 0.05
LEAF_SHARE, FEWEST_IN_LEAF = 0.04, 20
# The column of the average effect: ten times as large, it is penalised a hundred times less.
AVERAGE_SCALE = 10.0


class GainLearner(BaseEstimator):
    """What all learners share: the checks, the design matrix, and a gain between -1 and 1.

    Numbers are standardised, long-tailed amounts after a logarithm, and missing ones take the median; strings become one
    column for each frequent category.
    """

    def fit(self, X: Any, treatment: Any, y: Any, propensity: Any = None) -> Self:
        """Fit to an experiment.

        Parameters
        ----------
        X : polars.DataFrame or pandas.DataFrame, (n, k)
            Numbers and strings.
        treatment : array, (n,)
            1 where treated.
        y : array, (n,)
            1 where the outcome was observed.
        propensity : array, (n,), optional
            How probable it was that the row would be treated, in (0, 1), whichever arm it came into. Without it, treatment is
            taken to have been equally probable for all rows: where it was not, the gain is biased.

        Raises
        ------
        NotEnoughDataError
            No rows, one class, or one arm only.
        FrameError
            A length or value that cannot be, a propensity of 0 or 1 among them: where only one arm was possible, nothing can
            be compared.
        """
        frame = as_polars(X)
        target = check_target(y, frame.height).astype(np.float64)
        arm = _arm(treatment, frame.height)
        known = None if propensity is None else _propensity(propensity, frame.height)
        self.encoder_ = FrameEncoder().fit(frame)
        plain = self.encoder_.transform(frame)
        self.skewed_ = np.array([_is_skewed(column) for column in plain.T], dtype=bool)
        tamed = self._tamed(plain)
        self.medians_ = np.array([_median(column) for column in tamed.T])
        self.scaler_ = StandardScaler().fit(self._filled(tamed))
        with threadpool_limits(limits=1):
            self.learn(self.scaler_.transform(self._filled(tamed)), arm, target, known)
        return self

    def predict(self, X: Any) -> Array:
        """Return the expected gain in probability from treating, (n,), between -1 and 1."""
        matrix = self.encoder_.transform(X)
        if not len(matrix):
            return np.empty(0)
        with threadpool_limits(limits=1):
            gain = self.gain(self.scaler_.transform(self._filled(self._tamed(matrix))))
        result: Array = np.clip(gain, -1.0, 1.0)
        return result

    @abstractmethod
    def learn(self, matrix: Array, arm: Array, target: Array, propensity: Array | None) -> None:
        """Learn from standardised features (n, k)."""

    @abstractmethod
    def gain(self, matrix: Array) -> Array:
        """Return the gain of rows of standardised features, (n,)."""

    def _tamed(self, matrix: Array) -> Array:
        """Take logarithms of amounts, whose few large values would otherwise decide the slope."""
        result: Array = np.where(self.skewed_, np.log1p(np.maximum(matrix, 0.0)), matrix)
        return result

    def _filled(self, matrix: Array) -> Array:
        return np.where(np.isnan(matrix), self.medians_, matrix)


class SLearner(GainLearner):
    """One model of the outcome with the treatment among its features: logistic, with interactions.

    logit P(y = 1 | x, t) = a + b'x + t (c + d'x), an L2 penalty on b and d, the treatment coded -1/2 and +1/2 so that the
    penalty favours neither arm, rows weighted by stabilised inverse propensities. The average effect c is as good as free of
    the penalty: with few rows it would be shrunk to half.

    Parameters
    ----------
    C : float
        Inverse penalty. The interactions are weak against the noise, hence strong shrinkage.
    """

    def __init__(self, C: float = 0.02) -> None:
        self.C = C

    def learn(self, matrix: Array, arm: Array, target: Array, propensity: Array | None) -> None:
        weights = propensity_weights(arm, propensity)
        model = LogisticRegression(C=self.C, max_iter=1000)
        self.model_ = model.fit(_with_interactions(matrix, arm - 0.5), target, sample_weight=weights)

    def gain(self, matrix: Array) -> Array:
        slopes, intercept = self.model_.coef_[0], float(self.model_.intercept_[0])
        treated, untreated = (
            expit(_with_interactions(matrix, np.full(len(matrix), side)) @ slopes + intercept) for side in (0.5, -0.5)
        )
        return treated - untreated


class TLearner(GainLearner):
    """Two logistic models of the outcome, one an arm; the gain is their difference.

    Parameters
    ----------
    C : float
        Inverse penalty of each.
    """

    def __init__(self, C: float = 0.02) -> None:
        self.C = C

    def learn(self, matrix: Array, arm: Array, target: Array, propensity: Array | None) -> None:
        weights = propensity_weights(arm, propensity)
        self.untreated_, self.treated_ = (
            ArmOutcome(self.C).fit(matrix[arm == side], target[arm == side], weights[arm == side]) for side in (0, 1)
        )

    def gain(self, matrix: Array) -> Array:
        return self.treated_.predict(matrix) - self.untreated_.predict(matrix)


class XLearner(GainLearner):
    """Effects imputed by the other arm's model, regressed on the features in each arm, and mixed by the propensity.

    tau(x) = p tau_0(x) + (1 - p) tau_1(x), p the mean propensity (Künzel et al. 2019, section 2).

    Parameters
    ----------
    C : float
        Inverse penalty of the models of the outcome.
    rounds : int
        Boosted stumps that the effects are regressed by; 0: a ridge.
    seed : int
        Carried for scikit-learn's conventions: nothing is drawn by it, stumps see all rows and features.
    """

    def __init__(self, C: float = 0.02, rounds: int = 0, seed: int = 0) -> None:
        self.C = C
        self.rounds = rounds
        self.seed = seed

    def learn(self, matrix: Array, arm: Array, target: Array, propensity: Array | None) -> None:
        weights = propensity_weights(arm, propensity)
        treated, untreated = arm == 1, arm == 0
        self.propensity_ = float(arm.mean() if propensity is None else propensity.mean())
        with_treatment = ArmOutcome(self.C).fit(matrix[treated], target[treated], weights[treated])
        without = ArmOutcome(self.C).fit(matrix[untreated], target[untreated], weights[untreated])
        gained = target[treated] - without.predict(matrix[treated])
        missed = with_treatment.predict(matrix[untreated]) - target[untreated]
        self.of_treated_, self.of_untreated_ = (
            _regressed(matrix[rows], effects, None if propensity is None else weights[rows], self.rounds, self.seed)
            for rows, effects in ((treated, gained), (untreated, missed))
        )

    def gain(self, matrix: Array) -> Array:
        of_treated, of_untreated = (model.predict(matrix) for model in (self.of_treated_, self.of_untreated_))
        result: Array = self.propensity_ * of_untreated + (1 - self.propensity_) * of_treated
        return result


class DRLearner(GainLearner):
    """A doubly robust pseudo-outcome for each row, regressed on the features by a ridge or by boosted stumps.

    phi = m_1(x) - m_0(x) + t (y - m_1(x)) / p - (1 - t) (y - m_0(x)) / (1 - p), with m_t the models of the outcome from folds
    that do not hold the row. Its mean given x is the gain where either p or m is right (Kennedy 2023, eq. 2).

    Parameters
    ----------
    C : float
        Inverse penalty of the models of the outcome.
    rounds : int
        Boosted stumps that phi is regressed by, so that the gain is a sum of steps in single features; 0: a ridge.
    seed : int
        Decides the folds.
    """

    def __init__(self, C: float = 0.02, rounds: int = 0, seed: int = 0) -> None:
        self.C = C
        self.rounds = rounds
        self.seed = seed

    def learn(self, matrix: Array, arm: Array, target: Array, propensity: Array | None) -> None:
        p = np.full(len(arm), arm.mean()) if propensity is None else propensity
        weights = propensity_weights(arm, propensity)
        without, treated = out_of_fold(matrix, arm, target, weights, C=self.C, seed=self.seed)
        phi = treated - without + arm * (target - treated) / p - (1 - arm) * (target - without) / (1 - p)
        self.model_ = _regressed(matrix, phi, None, self.rounds, self.seed)

    def gain(self, matrix: Array) -> Array:
        result: Array = self.model_.predict(matrix)
        return result


class ArmOutcome:
    """P(y = 1 | x) in one arm: logistic regression, or the arm's share of outcomes where all its rows ended alike."""

    def __init__(self, C: float) -> None:
        self._C = C

    def fit(self, matrix: Array, target: Array, weights: Array) -> ArmOutcome:
        self._share = float(np.average(target, weights=weights))
        self._model = (
            LogisticRegression(C=self._C, max_iter=1000).fit(matrix, target, sample_weight=weights)
            if 0 < self._share < 1
            else None
        )
        return self

    def predict(self, matrix: Array) -> Array:
        if self._model is None:
            return np.full(len(matrix), self._share)
        result: Array = self._model.predict_proba(matrix)[:, 1]
        return result


def out_of_fold(
    matrix: Array, arm: Array, target: Array, weights: Array, *, C: float, seed: int
) -> tuple[Array, Array]:
    """Return P(y = 1) without and with treatment of each row, (n,) each, by models that have not seen the row."""
    found = np.empty((2, len(arm)))
    smallest = int(min(arm.sum(), (1 - arm).sum()))
    if smallest < 2:  # no fold could hold both arms
        for side in (0, 1):
            of_arm = arm == side
            found[side] = ArmOutcome(C).fit(matrix[of_arm], target[of_arm], weights[of_arm]).predict(matrix)
        return found[0], found[1]
    folds = StratifiedKFold(n_splits=min(FOLDS, smallest), shuffle=True, random_state=seed)
    for seen, unseen in folds.split(matrix, arm):
        for side in (0, 1):
            rows = seen[arm[seen] == side]
            model = ArmOutcome(C).fit(matrix[rows], target[rows], weights[rows])
            found[side, unseen] = model.predict(matrix[unseen])
    return found[0], found[1]


def _regressed(matrix: Array, effects: Array, weights: Array | None, rounds: int, seed: int) -> Any:
    """Regress effects on features by a ridge, or by boosted stumps whose leaves hold a good share of the rows."""
    if not rounds:
        return Ridge(alpha=RIDGE).fit(matrix, effects, sample_weight=weights)
    return HistGradientBoostingRegressor(
        max_iter=rounds,
        learning_rate=LEARNING_RATE,
        max_leaf_nodes=2,
        min_samples_leaf=max(FEWEST_IN_LEAF, int(LEAF_SHARE * len(effects))),
        max_bins=BINS,
        early_stopping=False,
        random_state=seed,
    ).fit(snapped(matrix, BINS), effects, sample_weight=weights)


def _with_interactions(matrix: Array, arm: Array) -> Array:
    return np.column_stack([matrix, AVERAGE_SCALE * arm, matrix * arm[:, None]])


def _arm(treatment: Any, rows: int) -> Array:
    arm = np.asarray(treatment, dtype=np.float64)
    if arm.shape != (rows,) or not np.isin(arm, (0, 1)).all():
        raise FrameError(f"the treatment must be 0 or 1 for each of the {rows} rows")
    if arm.min() == arm.max():
        raise NotEnoughDataError("only one arm was observed; the gain needs treated and untreated rows")
    return arm


def _propensity(propensity: Any, rows: int) -> Array:
    given = np.asarray(propensity, dtype=np.float64)
    if given.shape != (rows,):
        raise FrameError(f"the propensity has shape {given.shape}; it needs one value for each of the {rows} rows")
    if not ((given > 0) & (given < 1)).all():  # NaN is neither
        raise FrameError(
            "a propensity lies strictly between 0 and 1; leave out rows that could only come into one arm, "
            "they compare nothing"
        )
    return given


def _median(column: Array) -> float:
    known = column[~np.isnan(column)]
    return float(np.median(known)) if len(known) else 0.0


def _is_skewed(column: Array) -> bool:
    """Say whether a column is an amount with a long tail: never negative, its largest value far beyond its mean."""
    known = column[~np.isnan(column)]
    return bool(len(known) and known.min() >= 0 and known.max() > 50 and known.max() > 5 * known.mean())
