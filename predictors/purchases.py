"""BG/NBD: how often a customer buys while active, and when they left, from purchase times alone.

After Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2). Times are in
weeks, as in the paper. What a shop knows besides purchases belongs in `predictors.churn`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln
from sklearn.base import BaseEstimator

from predictors.errors import NotEnoughDataError
from predictors.frames import Array, as_polars

COLUMNS = ("frequency", "recency_weeks", "age_weeks")


class BetaGeoModel(BaseEstimator):
    """The beta-geometric/negative-binomial model, fitted by maximum likelihood.

    While active a customer buys at rate λ ~ Gamma(r, α) per week; after each purchase they leave with probability
    p ~ Beta(a, b).

    Parameters
    ----------
    penalty : float
        Weight of the sum of squared parameters, per customer; 0 is plain maximum likelihood.

    Attributes
    ----------
    r_, alpha_, a_, b_ : float
    log_likelihood_ : float
        Summed over the customers (equation 6 of the paper).
    """

    def __init__(self, penalty: float = 0.0) -> None:
        self.penalty = penalty

    def fit(self, X: Any, y: Any = None) -> BetaGeoModel:
        """Fit to a frame of `frequency` (repeat purchases), `recency_weeks` (first to last) and `age_weeks`.

        Raises
        ------
        NotEnoughDataError
            Nobody bought twice.
        """
        x, tx, age = _columns(X)
        if not len(x) or not (x > 0).any():
            raise NotEnoughDataError("nobody has bought twice yet; purchases alone cannot tell who left")
        table, counts = np.unique(np.column_stack([x, tx, age]), axis=0, return_counts=True)
        x, tx, age = table.T

        def loss(logs: Array) -> float:
            parameters = np.exp(np.clip(logs, -12, 12))
            likelihood = float((counts * _log_likelihood(parameters, x, tx, age)).sum()) / counts.sum()
            return self.penalty * float((parameters**2).sum()) - float(likelihood)

        best = min(
            (
                minimize(loss, np.log(start), method="L-BFGS-B")
                for start in ((0.3, 4.0, 0.8, 2.5), (1.0, 10.0, 0.3, 3.0))
            ),
            key=lambda found: float(found.fun),
        )
        self.r_, self.alpha_, self.a_, self.b_ = (float(value) for value in np.exp(best.x))
        self.log_likelihood_ = float((counts * _log_likelihood(np.exp(best.x), x, tx, age)).sum())
        return self

    def alive(self, X: Any) -> Array:
        """Return P(still active at the end of the observation), (n,)."""
        x, tx, age = _columns(X)
        odds = (self.a_ / (self.b_ + np.maximum(x, 1) - 1)) * ((self.alpha_ + age) / (self.alpha_ + tx)) ** (
            self.r_ + x
        )
        return np.where(x > 0, 1 / (1 + odds), 1.0)

    def silent(self, X: Any, weeks: float) -> Array:
        """Return P(no purchase in the next `weeks`), (n,).

        Who is active has λ ~ Gamma(r + x, α + T), hence ((α + T) / (α + T + t))^(r + x); who left is silent.
        """
        x, _, age = _columns(X)
        quiet = ((self.alpha_ + age) / (self.alpha_ + age + weeks)) ** (self.r_ + x)
        result: Array = 1 - self.alive(X) * (1 - quiet)
        return result


def _columns(X: Any) -> tuple[Array, Array, Array]:
    matrix = as_polars(X).select(COLUMNS).to_numpy().astype(np.float64)
    return matrix[:, 0], matrix[:, 1], matrix[:, 2]


def _log_likelihood(parameters: Array, x: Array, tx: Array, age: Array) -> Array:
    r, alpha, a, b = parameters
    buying = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    staying = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    active = -(r + x) * np.log(alpha + age)
    with np.errstate(divide="ignore"):
        left = np.where(x > 0, np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + tx), -np.inf)
    result: Array = buying + staying + np.logaddexp(active, left)
    return result
