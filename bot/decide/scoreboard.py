"""Agents against the model: how check-ins that agents rejected ended, beside what the model had expected and those they approved.

What was rejected was never sent, so its outcome is what would have come anyway: where clearly less trouble came than the
model expected, the agents saw something that it did not. What was approved was sent, so its outcome also shows what the
contact changed. Reading stored outcomes is `bot.store.scoreboard`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bot.decide.effect import FEWEST, wilson

__all__ = ["Ended", "Score", "Side", "Verdict", "score"]


class Side(StrEnum):
    """What agents did with a check-in in the end."""

    REJECTED = "rejected"  # never sent
    APPROVED = "approved"  # sent, as written or with other words


class Verdict(StrEnum):
    """Who was right about those that were rejected."""

    TOO_FEW = "too few"  # nothing may be said yet
    AGENTS = "agents"  # surely less trouble than the model expected
    MODEL = "model"  # surely more than the model expected
    EVEN = "even"  # what the model expected lies within the interval


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One check-in that an agent decided, and how it ended: `bad` 1 or 0, `expected` by the model."""

    side: Side
    bad: float
    expected: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """Some check-ins of one side: how many, how many ended badly with Wilson's 95 % interval, and what was expected."""

    side: Side
    n: int
    bad: int
    rate: float
    low: float
    high: float
    expected: float
    verdict: Verdict | None


def score(side: Side, ended: Iterable[Ended]) -> Score:
    """Score one side; a verdict is given on what was rejected only."""
    own = [one for one in ended if one.side is side]
    n, bad = len(own), round(sum(one.bad for one in own))
    rate = bad / n if n else 0.0
    low, high = wilson(rate, n)
    expected = sum(one.expected for one in own) / n if n else 0.0
    verdict = None
    if side is Side.REJECTED:
        if n < FEWEST:
            verdict = Verdict.TOO_FEW
        elif high < expected:
            verdict = Verdict.AGENTS
        else:
            verdict = Verdict.MODEL if low > expected else Verdict.EVEN
    return Score(side=side, n=n, bad=bad, rate=rate, low=low, high=high, expected=expected, verdict=verdict)
