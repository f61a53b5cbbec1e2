"""How much a check-in is worth, and therefore whose turn it is when a day holds only so many.

Until the gain from being contacted is measured, expected trouble stands in for it: what is probable, weighs
much and can still be turned. Counting the day's capacity is the planner's business.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.decide.playbook import Band, Goal, Window

__all__ = ["WEIGHTS", "is_urgent", "worth"]

# A problem that can be prevented comes before a customer who can be kept, and both before a good start.
WEIGHTS = {Goal.PREVENT_ISSUE: 1.0, Goal.KEEP_CUSTOMER: 0.6, Goal.FIRST_USE: 0.4}
# Within so much of the end of its window a check-in is worth up to half as much again: tomorrow is too late.
CLOSING = timedelta(days=2)


def worth(goal: Goal, probability: float, now: datetime, span: Window) -> float:
    """Return the worth of a check-in, in [0, 1.5]; more is sooner.

    Parameters
    ----------
    probability : float
        Of the outcome that the goal is against, in [0, 1].
    span : Window
        When the check-in makes sense.
    """
    left = max(span.closes - now, timedelta(0))
    closing = 1 - min(left / CLOSING, 1.0)
    return WEIGHTS[goal] * _turnable(goal, probability) * (1 + closing / 2)


def _turnable(goal: Goal, probability: float) -> float:
    """Return how much there is to win, in [0, 1].

    A problem is worth the more the surer it is: the customer is told before they ask. A customer who has as good
    as left, or is certain to stay, is not kept by a message: most is to be won in the middle, 4p(1−p).
    """
    return 4 * probability * (1 - probability) if goal is Goal.KEEP_CUSTOMER else probability


def is_urgent(goal: Goal, band: Band) -> bool:
    """Say whether an agent should see it at once and not with the day's rest."""
    return goal is Goal.PREVENT_ISSUE and band is Band.HIGH
