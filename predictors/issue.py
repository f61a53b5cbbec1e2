"""The learned stages of issue prediction: logistic regression, then gradient boosting.

Both take a frame of numbers and strings, bear missing values and unseen categories, and are deterministic by
seed. When to choose which belongs in `predictors.training`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from predictors.bins import BINS, snapped
from predictors.frames import Array, FrameEncoder, as_polars, check_target, expit, logit


class LogisticModel(ClassifierMixin, BaseEstimator):
    """L2-penalised logistic regression on standardised features; missing numbers take the median and a flag.

    Parameters
    ----------
    C : float
        Inverse penalty; strong, because histories by seller, product and route are correlated.
    """

    def __init__(self, C: float = 0.01) -> None:
        self.C = C

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LogisticModel:
        frame = as_polars(X)
        target = check_target(y, frame.height)
        self.encoder_ = FrameEncoder().fit(frame)
        self.pipeline_: Pipeline = make_pipeline(
            SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(C=self.C, max_iter=2000),
        )
        weight = None if sample_weight is None else np.asarray(sample_weight)
        with threadpool_limits(limits=1):
            self.pipeline_.fit(self.encoder_.transform(frame), target, logisticregression__sample_weight=weight)
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return (n, 2) probabilities of no issue and issue."""
        matrix = self.encoder_.transform(X)
        if not len(matrix):
            return np.empty((0, 2))
        result: Array = self.pipeline_.predict_proba(matrix)
        return result

    def predict(self, X: Any) -> Any:
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int64)


class BoostingModel(ClassifierMixin, BaseEstimator):
    """Histogram gradient boosting with small trees and a random share of the features at each split.

    Parameters
    ----------
    seed : int
        Decides the shares of features.
    learning_rate, max_iter, max_leaf_nodes, min_samples_leaf, l2_regularization, max_features
        As in scikit-learn. Very small trees: on Olist's orders of 2017-08 to 2018-01, refitted before each month, four
        leaves in place of eight (with leaves of 100 in place of 40 and a fifth in place of .3 of the features) raised
        ROC-AUC from .646 to .654 at purchase and from .784 to .790 when due.
    """

    def __init__(
        self,
        seed: int = 0,
        learning_rate: float = 0.05,
        max_iter: int = 120,
        max_leaf_nodes: int = 4,
        min_samples_leaf: int = 100,
        l2_regularization: float = 20.0,
        max_features: float = 0.2,
    ) -> None:
        self.seed = seed
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> BoostingModel:
        frame = as_polars(X)
        target = check_target(y, frame.height)
        self.encoder_ = FrameEncoder().fit(frame)
        self.model_ = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.max_iter,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=self.min_samples_leaf,
            l2_regularization=self.l2_regularization,
            max_features=self.max_features,
            max_bins=BINS,
            early_stopping=False,
            random_state=self.seed,
        )
        matrix = self.encoder_.transform(frame)
        # The binning fails on a column without any value; a constant one is never split on.
        matrix[:, np.isnan(matrix).all(axis=0)] = 0.0
        # One thread: on shared cores the threads of OpenMP wait for each other far longer than they save.
        with threadpool_limits(limits=1):
            self.model_.fit(snapped(matrix, BINS), target, sample_weight=sample_weight)
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return (n, 2) probabilities of no issue and issue."""
        matrix = self.encoder_.transform(X)
        if not len(matrix):
            return np.empty((0, 2))
        with threadpool_limits(limits=1):
            result: Array = self.model_.predict_proba(matrix)
        return result

    def predict(self, X: Any) -> Any:
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int64)


class BlendModel(ClassifierMixin, BaseEstimator):
    """The mean log-odds of boosting and logistic regression.

    The two err differently: on Olist's orders of 2017-08 to 2018-01, refitted before each month, the blend's ROC-AUC was
    .008 [.003, .013] above the better of the two at purchase. Extra trees as a third part gave no gain at
    purchase and .002 when due, and would triple the time of scoring; they were left out.

    Parameters
    ----------
    seed : int
        Of the boosting part.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> BlendModel:
        parts = (LogisticModel(), BoostingModel(seed=self.seed))
        self.parts_ = [part.fit(X, y, sample_weight=sample_weight) for part in parts]
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return (n, 2) probabilities of no issue and issue."""
        p = expit(np.mean([logit(part.predict_proba(X)[:, 1]) for part in self.parts_], axis=0))
        return np.column_stack([1 - p, p])

    def predict(self, X: Any) -> Any:
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int64)
