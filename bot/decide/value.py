"""How much a check-in is worth, and therefore whose turn it is when a day holds only so many.

Until the gain from being contacted is measured, expected trouble stands in for it: what is probable, weighs
much and can still be turned. Counting the day's capacity is the planner's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.decide.playbook import Band, Goal, Window

__all__ = ["WEIGHTS", "Gain", "is_urgent", "worth"]

# A problem that can be prevented comes before a customer who can be kept, and both before a good start; an answer can wait.
WEIGHTS = {Goal.PREVENT_ISSUE: 1.0, Goal.KEEP_CUSTOMER: 0.6, Goal.FIRST_USE: 0.4, Goal.LISTEN: 0.2}
# Within so much of the end of its window a check-in is worth up to half as much again: tomorrow is too late.
CLOSING = timedelta(days=2)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What contacting one customer is expected to gain, by an experiment's outcomes.

    Attributes
    ----------
    probability : float
        By how much a check-in raises the probability of no trouble, in [-1, 1].
    averted_share : float
        Which share of the trouble a check-in averts on average, in (0, 1].
    stake : float
        What a good end is worth here, in that of a usual order.
    message : float
        What a check-in costs, in the same.
    """

    probability: float
    averted_share: float
    stake: float = 1.0
    message: float = 0.0

    @property
    def as_risk(self) -> float:
        """The risk, for a usual order, of which an average check-in would avert as much as this one is expected to earn.

        Ranking by risk takes each check-in to avert the same share of the trouble. On this scale what is ranked by gain
        can stand beside what is ranked by risk.
        """
        return (self.probability * self.stake - self.message) / self.averted_share


def worth(goal: Goal, probability: float, now: datetime, span: Window, gain: Gain | None = None) -> float:
    """Return the worth of a check-in: what is to be won times what is at stake; more is sooner.

    Parameters
    ----------
    probability : float
        Of the outcome that the goal is against, in [0, 1].
    span : Window
        When the check-in makes sense.
    gain : Gain, optional
        What a check-in is expected to gain. Without it the risk stands in, and the worth is in [0, 1.5]; with it the worth
        may be more, and is negative where a check-in is expected to do harm.
    """
    left = max(span.closes - now, timedelta(0))
    closing = 1 - min(left / CLOSING, 1.0)
    to_win = _turnable(goal, probability) if gain is None else gain.as_risk
    return WEIGHTS[goal] * to_win * (1 + closing / 2)


def _turnable(goal: Goal, probability: float) -> float:
    """Return how much there is to win, in [0, 1].

    A problem is worth the more the surer it is: the customer is told before they ask. A customer who has as good
    as left, or is certain to stay, is not kept by a message: most is to be won in the middle, 4p(1−p).
    """
    return 4 * probability * (1 - probability) if goal is Goal.KEEP_CUSTOMER else probability


def is_urgent(goal: Goal, band: Band) -> bool:
    """Say whether an agent should see it at once and not with the day's rest."""
    return goal is Goal.PREVENT_ISSUE and band is Band.HIGH
