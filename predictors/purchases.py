"""BG/NBD: how often a customer buys while active, and when they left, from purchase times alone.

After Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2). Times are in
weeks, as in the paper. What a shop knows besides purchases belongs in `predictors.churn`, what purchases are worth
in `predictors.spend`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import minimize
from scipy.special import digamma, gammaln
from sklearn.base import BaseEstimator

from predictors.errors import FrameError, NotEnoughDataError
from predictors.frames import Array, as_polars, expit

COLUMNS = ("frequency", "recency_weeks", "age_weeks")
# Points of the quadrature over who leaves: expected purchases of the published model are then exact to six digits.
_NODES = 24


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
        FrameError
            A value is missing, infinite or negative, or a last purchase lies after the observation's end.
        """
        x, tx, age = _columns(X)
        _check_purchases(x, tx, age)
        if not len(x) or not (x > 0).any():
            raise NotEnoughDataError("nobody has bought twice yet; purchases alone cannot tell who left")
        # Orders of one day are one purchase, so a finer time says nothing; whole days let most customers share a row.
        table, counts = np.unique(np.column_stack([x, np.rint(7 * tx), np.rint(7 * age)]), axis=0, return_counts=True)
        x, tx, age = table[:, 0], table[:, 1] / 7, table[:, 2] / 7

        def loss(logs: Array) -> tuple[float, Array]:
            parameters = np.exp(np.clip(logs, -12, 12))
            likelihood, slopes = _log_likelihood(parameters, x, tx, age)
            value = self.penalty * float((parameters**2).sum()) - float((counts * likelihood).sum()) / counts.sum()
            slope = 2 * self.penalty * parameters - (counts * slopes).sum(axis=1) / counts.sum()
            return value, slope * parameters  # by the logarithms

        best = min(
            (
                minimize(loss, np.log(start), method="L-BFGS-B", jac=True)
                for start in ((0.3, 4.0, 0.8, 2.5), (1.0, 10.0, 0.3, 3.0))
            ),
            key=lambda found: float(found.fun),
        )
        self.r_, self.alpha_, self.a_, self.b_ = (float(value) for value in np.exp(best.x))
        self.log_likelihood_ = float((counts * _log_likelihood(np.exp(best.x), x, tx, age)[0]).sum())
        return self

    def alive(self, X: Any) -> Array:
        """Return P(still active at the end of the observation), (n,)."""
        x, tx, age = _columns(X)
        again = np.maximum(x, 1)
        # In logarithms: the odds of somebody who bought hundreds of times and then never again overflow.
        left = np.log(self.a_ / (self.b_ + again - 1)) + (self.r_ + x) * np.log(
            (self.alpha_ + age) / (self.alpha_ + tx)
        )
        return np.where(x > 0, expit(-left), 1.0)

    def silent(self, X: Any, weeks: float) -> Array:
        """Return P(no purchase in the next `weeks`), (n,).

        Who is active has λ ~ Gamma(r + x, α + T), hence ((α + T) / (α + T + t))^(r + x); who left is silent.
        """
        x, _, age = _columns(X)
        quiet = ((self.alpha_ + age) / (self.alpha_ + age + weeks)) ** (self.r_ + x)
        result: Array = 1 - self.alive(X) * (1 - quiet)
        return result

    def expected_purchases(self, X: Any, weeks: float) -> Array:
        """Return the expected number of purchases in the next `weeks`, (n,), never below 0 nor falling with `weeks`.

        The paper's E[X(t) | λ, p] = (1 − e^(−λpt)) / p, over what is known of an active customer: λ ~ Gamma(r + x, α + T)
        in closed form, p ~ Beta(a, b + x) by Gauss–Jacobi quadrature. The closed form over both (equation 10) is the
        same, but its hypergeometric function overflows where hardly anybody leaves or somebody buys daily.
        """
        x, _, age = _columns(X)
        share = weeks / (self.alpha_ + age)
        if_active = np.zeros(len(x))
        for frequency in np.unique(x):
            rows = x == frequency
            p, weight = _beta_nodes(self.a_, self.b_ + frequency)
            bought = -np.expm1(-(self.r_ + frequency) * np.log1p(np.outer(share[rows], p))) / p
            if_active[rows] = bought @ weight
        result: Array = self.alive(X) * if_active
        return result

    def next_purchase_weeks(self, X: Any, probability: float = 0.5) -> Array:
        """Return after how many weeks the next purchase has come with a probability, (n,); infinite where it never does.

        `silent`, solved for the time: P(active) · (1 − ((α + T) / (α + T + t))^(r + x)) = probability. At one half it
        is the median of the time to the next purchase. A mean would not do: with those who have left it is infinite.
        """
        x, _, age = _columns(X)
        alive = self.alive(X)
        with np.errstate(divide="ignore", over="ignore"):
            needed = -np.log1p(-np.minimum(probability / alive, 1.0)) / (self.r_ + x)
            result: Array = (self.alpha_ + age) * np.expm1(needed)
        return result


def _columns(X: Any) -> tuple[Array, Array, Array]:
    matrix = as_polars(X).select(COLUMNS).to_numpy().astype(np.float64)
    return matrix[:, 0], matrix[:, 1], matrix[:, 2]


def _check_purchases(x: Array, tx: Array, age: Array) -> None:
    for name, values in zip(COLUMNS, (x, tx, age), strict=True):
        if not np.isfinite(values).all() or (values < 0).any():
            raise FrameError(f"{name} must be filled, finite and not below 0")
    if (tx > age + 1e-9).any():
        raise FrameError("a last purchase lies after the end of the observation; leave later purchases out")


def _beta_nodes(a: float, b: float) -> tuple[Array, Array]:
    """Return points in (0, 1) and weights that sum to 1, for means over Beta(a, b).

    After Golub & Welsch (1969), "Calculation of Gauss Quadrature Rules", Mathematics of Computation 23: the eigenvalues
    of the Jacobi polynomials' recurrence. Here, not by `scipy.special.roots_jacobi`, whose weights overflow for large b.
    """
    n = np.arange(1, _NODES)
    near, far = b - 1, a - 1  # exponents at p = 1 and at p = 0
    both = near + far
    diagonal = np.empty(_NODES)
    diagonal[0] = (far - near) / (both + 2)
    diagonal[1:] = (far - near) * both / ((2 * n + both) * (2 * n + both + 2))
    middle = np.ones(_NODES - 1)
    # (n + both) / (2n + both - 1) is 1 at n = 1, where both may vanish when both = -1.
    middle[1:] = (n[1:] + both) / (2 * n[1:] + both - 1)
    squared = 4 * n * (n + near) * (n + far) * middle / ((2 * n + both) ** 2 * (2 * n + both + 1))
    points, vectors = eigh_tridiagonal(diagonal, np.sqrt(squared))
    # Below the rounding of the eigenvalues what is averaged has long reached its limit.
    return np.clip((1 + points) / 2, 1e-15, 1.0), vectors[0] ** 2


def _log_likelihood(parameters: Array, x: Array, tx: Array, age: Array) -> tuple[Array, Array]:
    """Return the logarithm of equation 6 for each row, (n,), and its derivatives by r, α, a and b, (4, n)."""
    r, alpha, a, b = parameters
    log_age, log_tx = np.log(alpha + age), np.log(alpha + tx)
    again = np.maximum(x, 1)
    buying = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    staying = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    active = -(r + x) * log_age
    left = np.where(x > 0, np.log(a) - np.log(b + again - 1) - (r + x) * log_tx, -np.inf)
    either = np.logaddexp(active, left)
    was_active = np.exp(active - either)
    had_left = 1 - was_active
    slopes = np.stack(
        [
            digamma(r + x) - digamma(r) + np.log(alpha) - was_active * log_age - had_left * log_tx,
            r / alpha - (r + x) * (was_active / (alpha + age) + had_left / (alpha + tx)),
            digamma(a + b) - digamma(a + b + x) + had_left / a,
            digamma(a + b) + digamma(b + x) - digamma(b) - digamma(a + b + x) - had_left / (b + again - 1),
        ]
    )
    return buying + staying + either, slopes
