"""Whose turn a hand-over is, and when somebody is reminded or the next one asked: one pure function.

Which hand-overs there are is `bot.store.duty`'s business, carrying it out `bot.services.conversation.duty`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

__all__ = ["Duty", "Step", "behind", "next_step"]


class Step(StrEnum):
    """What is to be done about a hand-over now."""

    ASK = "asked"  # nobody was asked yet, or nobody can be asked: it gets a time all the same
    REMIND = "reminded"  # the time is near
    NEXT = "passed_on"  # the time is over and nobody took it: the next one is asked


@dataclass(frozen=True, kw_only=True)
class Duty:
    """A hand-over that somebody still has to answer.

    Attributes
    ----------
    taken : bool
        An agent took it; else `owner` is whoever was asked.
    due_at : datetime or None
        By when the customer shall have an answer; None: none is owed, or none was set yet.
    reminded : bool
        Somebody was reminded of this very time.
    answered : bool
        An agent wrote after the customer's last words.
    """

    taken: bool
    urgent: bool
    owner: str | None
    due_at: datetime | None
    reminded: bool
    answered: bool


def next_step(duty: Duty, now: datetime, *, is_open: bool, before: timedelta) -> Step | None:
    """Say what is to be done now; None: nothing.

    Parameters
    ----------
    is_open : bool
        Whether anybody is there; what is urgent waits for nobody.
    before : timedelta
        So long before the time somebody is reminded.
    """
    if duty.answered:
        return None
    if duty.due_at is None:
        return Step.ASK
    if not (is_open or duty.urgent):
        return None
    if now >= duty.due_at and not duty.taken:
        return Step.NEXT
    return Step.REMIND if not duty.reminded and now >= duty.due_at - before else None


def behind(people: Sequence[str], last: str | None) -> str | None:
    """Return who comes after somebody in the round; the first where that one is not in it, None where it is empty."""
    if not people:
        return None
    ordered = sorted(people)
    return next((one for one in ordered if last is not None and one > last), ordered[0])
