"""How surprising a count is: over-dispersed Poisson tails, their dispersion, and many of them at once.

Counts and expectations come in as arrays; what was counted is not known here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from scipy.stats import nbinom, poisson

from predictors.frames import Array

__all__ = ["SMALLEST_DISPERSION", "discoveries", "fit_dispersion", "tail_probability"]

# Below this a negative binomial cannot be told from a Poisson count.
SMALLEST_DISPERSION = 1e-4
LARGEST_DISPERSION = 4.0


def fit_dispersion(observed: Array, expected: Array) -> float:
    """Estimate by maximum likelihood how much counts vary beyond Poisson.

    Parameters
    ----------
    observed, expected : array (n,)
        Counts and their means; rows that expect nothing say nothing.

    Returns
    -------
    float
        The dispersion of a negative binomial with variance m + dispersion * m² (Lawless 1987, Canadian Journal of
        Statistics 15); 0 where Poisson is at least as likely.
    """
    said = expected > 0
    x, m = observed[said], expected[said]
    if not len(x):
        return 0.0

    def loss(log_dispersion: float) -> float:
        return -_log_likelihood(x, m, float(np.exp(log_dispersion)))

    bounds = (np.log(SMALLEST_DISPERSION), np.log(LARGEST_DISPERSION))
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    at_poisson = _log_likelihood(x, m, SMALLEST_DISPERSION)
    return float(np.exp(found.x)) if -float(found.fun) > at_poisson + 1e-9 else 0.0


def tail_probability(observed: Array, expected: Array, dispersion: Array) -> Array:
    """Return P(count >= observed) for each row, (n,): the one-sided p-value.

    Parameters
    ----------
    observed, expected : array (n,)
    dispersion : array (n,)
        As of `fit_dispersion`; Poisson where it is below `SMALLEST_DISPERSION`.
    """
    size = 1.0 / np.maximum(dispersion, SMALLEST_DISPERSION)
    spread = nbinom.sf(observed - 1, size, size / (size + expected))
    plain = poisson.sf(observed - 1, expected)
    tail: Array = np.where(dispersion < SMALLEST_DISPERSION, plain, spread)
    result: Array = np.where(observed <= 0, 1.0, tail)
    return result


def discoveries(p_values: Array, rate: float) -> npt.NDArray[np.bool_]:
    """Choose among many tests with a bounded share of false choices (Benjamini & Hochberg 1995).

    Parameters
    ----------
    p_values : array (n,)
        Of all tests that were made, not only of promising ones.
    rate : float
        The largest expected share of false ones among those chosen.

    Returns
    -------
    array (n,)
        True where the null hypothesis is rejected.
    """
    n = len(p_values)
    chosen: npt.NDArray[np.bool_] = np.zeros(n, dtype=bool)
    if not n:
        return chosen
    order = np.argsort(p_values, kind="stable")
    passed = np.flatnonzero(p_values[order] <= rate * np.arange(1, n + 1) / n)
    if len(passed):
        chosen[p_values <= p_values[order[passed[-1]]]] = True
    return chosen


def _log_likelihood(x: Array, m: Array, dispersion: float) -> float:
    size = 1.0 / dispersion
    terms = gammaln(x + size) - gammaln(size) + size * np.log(size / (size + m)) + x * np.log(m / (size + m))
    return float(terms.sum())
