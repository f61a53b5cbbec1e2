"""Gamma-Gamma: what a customer's next purchase will be worth, from what their purchases were worth so far.

After Fader & Hardie (2013), "The Gamma-Gamma Model of Monetary Value" (brucehardie.com, note 025). The value of a
purchase varies about the customer's own mean, and the means vary among customers; neither depends on how often the
customer buys. How often is `predictors.purchases`' business. All values are of one currency.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import digamma, gammaln
from sklearn.base import BaseEstimator

from predictors.errors import FrameError, NotEnoughDataError
from predictors.frames import Array, as_polars

COLUMNS = ("valued_purchases", "mean_value")
# Fewer customers with several valued purchases than this cannot say how customers differ.
MIN_CUSTOMERS = 30


class GammaGammaModel(BaseEstimator):
    """The Gamma-Gamma model of spend, fitted by maximum likelihood.

    A purchase of a customer is worth z ~ Gamma(p, ν), and ν ~ Gamma(q, γ) among customers.

    Attributes
    ----------
    p_, q_, v_ : float
        The paper's p, q and γ; γ is in units of the currency. q is above 1, else no mean spend would exist.
    mean_value_ : float
        The mean over all customers, p γ / (q − 1).
    log_likelihood_ : float
        Summed over the customers (equation 3 of the note).
    """

    def fit(self, X: Any, y: Any = None) -> GammaGammaModel:
        """Fit to a frame of `valued_purchases` (how many have a value above 0) and their `mean_value`.

        Customers without a valued purchase teach nothing and are left out.

        Raises
        ------
        NotEnoughDataError
            Fewer than `MIN_CUSTOMERS` have two valued purchases: how much one customer varies cannot be told from how
            much customers differ.
        FrameError
            A value is infinite or below 0, or a mean is missing where there are purchases.
        """
        x, mean = _columns(X)
        valued = x > 0
        if (several := int((x > 1).sum())) < MIN_CUSTOMERS:
            raise NotEnoughDataError(
                f"{several} customers have two purchases with a value; {MIN_CUSTOMERS} are needed to learn what "
                "customers spend"
            )
        x, mean = x[valued], mean[valued]
        # In units of the typical purchase, so that the search starts near in any currency.
        unit = float(np.median(mean))

        def loss(logs: Array) -> tuple[float, Array]:
            p, q, v = _parameters(logs)
            likelihood, slopes = _log_likelihood(p, q, v, x, mean / unit)
            return -float(likelihood.mean()), -slopes.mean(axis=1) * (p, q - 1, v)  # by the logarithms

        best = min(
            (
                minimize(loss, np.log(start), method="L-BFGS-B", jac=True)
                for start in ((6.0, 3.0, 0.5), (1.5, 1.0, 1.0))
            ),
            key=lambda found: float(found.fun),
        )
        self.p_, self.q_, v = _parameters(best.x)
        self.v_ = v * unit
        self.mean_value_ = self.p_ * self.v_ / (self.q_ - 1)
        self.log_likelihood_ = float(_log_likelihood(self.p_, self.q_, self.v_, x, mean)[0].sum())
        return self

    def expected_value(self, X: Any) -> Array:
        """Return the expected value of a purchase, (n,); who has no valued purchase gets the mean over all customers.

        Equation 5 of the note: p (γ + x z̄) / (p x + q − 1), the mean over all customers and the customer's own,
        weighted by how much is known of the customer.
        """
        x, mean = _columns(X)
        total = x * np.where(x > 0, mean, 0.0)
        result: Array = self.p_ * (self.v_ + total) / (self.p_ * x + self.q_ - 1)
        return result


def _columns(X: Any) -> tuple[Array, Array]:
    frame = as_polars(X)
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise FrameError(f"the column {missing[0]} is missing; spend needs {' and '.join(COLUMNS)}")
    matrix = frame.select(COLUMNS).to_numpy().astype(np.float64)
    x, mean = matrix[:, 0], matrix[:, 1]
    if not np.isfinite(x).all() or (x < 0).any():
        raise FrameError("valued_purchases must be filled, finite and not below 0")
    if not np.isfinite(mean[x > 0]).all() or (mean[x > 0] <= 0).any():
        raise FrameError("mean_value must be finite and above 0 where there are valued purchases")
    return x, mean


def _parameters(logs: Array) -> tuple[float, float, float]:
    """Return p, q and γ of an unbounded search; q − 1 is positive so that a mean exists."""
    p, above_one, v = (float(value) for value in np.exp(np.clip(logs, -12, 12)))
    return p, 1 + above_one, v


def _log_likelihood(p: float, q: float, v: float, x: Array, mean: Array) -> tuple[Array, Array]:
    """Return the logarithm of equation 3 for each row, (n,), and its derivatives by p, q and γ, (3, n)."""
    px, total = p * x, v + x * mean
    log_total = np.log(total)
    log_likelihood = (
        gammaln(px + q)
        - gammaln(px)
        - gammaln(q)
        + q * np.log(v)
        + (px - 1) * np.log(mean)
        + px * np.log(x)
        - (px + q) * log_total
    )
    slopes = np.stack(
        [
            x * (digamma(px + q) - digamma(px) + np.log(mean) + np.log(x) - log_total),
            digamma(px + q) - digamma(q) + np.log(v) - log_total,
            q / v - (px + q) / total,
        ]
    )
    return log_likelihood, slopes
