"""What contacting changed: the difference between arms with its interval, by intention to treat.

Customers count in the arm into which they were drawn, whether or not anything was sent. Reading the outcomes is
`bot.store.outcomes`'s business, words for people `bot.services.insight`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["FEWEST", "Effect", "Observation", "Rate", "Reading", "measure", "rate", "wilson"]

# The 97.5 % point of the standard normal distribution: intervals hold 95 %.
Z = 1.959963984540054
# Below so many customers in an arm, or so few outcomes altogether, no reading is given at all.
FEWEST = 30
FEWEST_EVENTS = 5


class Reading(StrEnum):
    """What may honestly be said about a difference."""

    TOO_FEW = "too few"  # nothing may be said yet
    UNDECIDED = "undecided"  # the interval holds zero
    HELPS = "helps"  # fewer bad outcomes with contact, surely
    HARMS = "harms"  # more bad outcomes with contact, surely
    MISMATCH = "mismatch"  # the arms are not as they were drawn: nothing may be read

    @property
    def decided(self) -> bool:
        """Whether it names a winner."""
        return self in (Reading.HELPS, Reading.HARMS)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One customer's outcome: bad (1) or not (0), and how probable their arm was."""

    value: float
    propensity: float


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of bad outcomes with its 95 % interval.

    Attributes
    ----------
    n : int
        Customers.
    effective_n : float
        Kish's effective number, (Σw)²/Σw²: less than `n` where arms were drawn with several probabilities.
    """

    n: int
    effective_n: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Treated minus held out: negative is good, the outcome is a problem or a loss.

    Interval and reading are those of one look at a time set beforehand; whoever looks often goes by `bot.decide.sequential`.
    """

    treated: Rate
    holdout: Rate
    difference: float
    low: float
    high: float
    reading: Reading

    @property
    def direction(self) -> Reading:
        """Which way the difference points, if it is one."""
        return Reading.HELPS if self.difference < 0 else Reading.HARMS


def wilson(value: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a share.

    (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n): E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209–212.
    """
    if n <= 0:
        return 0.0, 1.0
    square = Z * Z / n
    middle = value + square / 2
    half = Z * math.sqrt(value * (1 - value) / n + square / (4 * n))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def rate(observations: Iterable[Observation]) -> Rate:
    """Return the share of bad outcomes, each customer weighted by 1/propensity (Hájek's estimator)."""
    n, total, squares, bad = 0, 0.0, 0.0, 0.0
    for one in observations:
        weight = 1 / one.propensity
        n += 1
        total += weight
        squares += weight * weight
        bad += weight * one.value
    if not n:
        return Rate(n=0, effective_n=0.0, value=0.0, low=0.0, high=1.0)
    value = min(max(bad / total, 0.0), 1.0)
    effective = total * total / squares
    low, high = wilson(value, effective)
    return Rate(n=n, effective_n=effective, value=value, low=low, high=high)


def measure(treated: Sequence[Observation], holdout: Sequence[Observation]) -> Effect:
    """Return the difference of two arms with Newcombe's interval.

    The square-and-add interval from two Wilson intervals: R. G. Newcombe, Statistics in Medicine 17 (1998),
    873–890, method 10.
    """
    with_contact, without = rate(treated), rate(holdout)
    difference = with_contact.value - without.value
    low = difference - math.hypot(with_contact.value - with_contact.low, without.high - without.value)
    high = difference + math.hypot(with_contact.high - with_contact.value, without.value - without.low)
    events = sum(one.value for one in treated) + sum(one.value for one in holdout)
    if min(with_contact.n, without.n) < FEWEST or events < FEWEST_EVENTS:
        reading = Reading.TOO_FEW
    elif high < 0:
        reading = Reading.HELPS
    elif low > 0:
        reading = Reading.HARMS
    else:
        reading = Reading.UNDECIDED
    return Effect(
        treated=with_contact,
        holdout=without,
        difference=difference,
        low=max(low, -1.0),
        high=min(high, 1.0),
        reading=reading,
    )
