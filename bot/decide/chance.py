"""How probable it is that one share is lower than others, by what was counted: Beta posteriors, integrated exactly.

A share of bad ends of which nothing is known may be anything (a uniform prior); after `bad` bad ends and `good` good ones
it is Beta(1 + bad, 1 + good). What is made of these chances is `bot.decide.bandit`'s and `bot.decide.sequential`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Tally", "beta_below", "chances_of_lowest"]

# Nodes of an integral, and over how many standard deviations they stand: beyond lies less than 1e-12 of a posterior.
NODES = 400
SPAN = 9.0
# The continued fraction of the incomplete beta function converges in far fewer steps where it is used.
STEPS = 500
TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What was counted in an arm; fractions where customers carry weights."""

    bad: float
    n: float

    @property
    def alpha(self) -> float:
        """First parameter of the posterior of the share of bad ends."""
        return 1 + self.bad

    @property
    def beta(self) -> float:
        """Second parameter of the posterior of the share of bad ends."""
        return 1 + self.n - self.bad


def chances_of_lowest(tallies: Sequence[Tally]) -> list[float]:
    """Return, for each arm, the probability that its true share of bad ends is the lowest of all; they add up to 1.

    P(k is lowest) = ∫ f_k(p) Π_{j≠k} (1 − F_j(p)) dp, by the midpoint rule where f_k has its mass.
    """
    if len(tallies) == 1:
        return [1.0]
    found = [_lowest(tallies, place) for place in range(len(tallies))]
    total = sum(found)
    return [one / total for one in found]


def beta_below(alpha: float, beta: float, x: float) -> float:
    """Return the probability that a Beta(alpha, beta) variable is at most `x`.

    The regularised incomplete beta function by its continued fraction (NIST Digital Library of Mathematical Functions,
    8.17.22), evaluated by Lentz's method on the side where it converges fast.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (alpha + 1) / (alpha + beta + 2):
        return 1.0 - beta_below(beta, alpha, 1 - x)
    front = math.exp(alpha * math.log(x) + beta * math.log1p(-x) - _log_beta(alpha, beta)) / alpha
    return min(front * _fraction(alpha, beta, x), 1.0)


def _lowest(tallies: Sequence[Tally], place: int) -> float:
    one = tallies[place]
    mean = one.alpha / (one.alpha + one.beta)
    deviation = math.sqrt(mean * (1 - mean) / (one.alpha + one.beta + 1))
    low, high = max(mean - SPAN * deviation, 0.0), min(mean + SPAN * deviation, 1.0)
    width = (high - low) / NODES
    total, kept = 0.0, 0.0
    for node in range(NODES):
        p = low + (node + 0.5) * width
        weight = math.exp(
            (one.alpha - 1) * math.log(p) + (one.beta - 1) * math.log1p(-p) - _log_beta(one.alpha, one.beta)
        )
        total += weight
        if weight > 0:
            kept += weight * math.prod(
                1 - beta_below(other.alpha, other.beta, p) for at, other in enumerate(tallies) if at != place
            )
    return kept / total


def _log_beta(alpha: float, beta: float) -> float:
    return math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, STEPS):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _not_zero(1 + step * d)
            c = _not_zero(1 + step / c)
            value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
