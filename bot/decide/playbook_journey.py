"""One customer's way through a playbook: which step comes next, or why the way has ended.

Pure judgement of one instance; where it is kept is `bot.store.instances`, who goes through all of them
`bot.services.planning.journeys`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from bot.decide.lifecycle import OPEN, OutreachState
from bot.decide.playbook import Playbook, Step
from bot.decide.playbook_when import Recorded

__all__ = ["Ended", "Happened", "Instance", "Next", "Proposes", "Waits", "Why", "advance"]

_S = OutreachState


class Why(StrEnum):
    """Why a way ends, where it is no exit that the playbook names (that one is named by its touchpoint)."""

    COMPLETED = "completed"  # the last step was sent
    OVER = "over"  # its time to live has passed
    REJECTED = "rejected"  # an agent said no to a step
    EXPIRED = "expired"  # nobody decided on a step in time
    SUPPRESSED = "suppressed"  # the customer must not be contacted any more
    FAILED = "failed"  # a step could not be delivered
    CANCELLED = "cancelled"  # a step was called off
    WITHDRAWN = "withdrawn"  # the playbook is not in force any more
    UNREADABLE = "unreadable"  # its version cannot be read by this program any more


# What the end of a step that was not sent means for the way.
_UNSENT = {
    _S.REJECTED: Why.REJECTED,
    _S.EXPIRED: Why.EXPIRED,
    _S.SUPPRESSED: Why.SUPPRESSED,
    _S.FAILED: Why.FAILED,
    _S.CANCELLED: Why.CANCELLED,
}


class Happened(Recorded, Protocol):
    """A touchpoint with its time."""

    @property
    def occurred_at(self) -> datetime: ...


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Where one customer stands in a playbook.

    Attributes
    ----------
    step : str
        The step that was proposed last; of somebody held out the first one.
    held_out : bool
        They are only observed.
    state : OutreachState or None
        What became of the step's check-in.
    sent_at : datetime or None
        When it was sent.
    """

    trigger_at: datetime
    started_at: datetime
    step: str
    held_out: bool
    state: OutreachState | None
    sent_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Nothing is to be done before an instant at the earliest; None: it waits for somebody's decision."""

    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Proposes:
    """A step is due."""

    step: Step
    due_at: datetime


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The way has ended; `why` is a touchpoint's kind or a word of `Why`."""

    why: str


Next = Waits | Proposes | Ended


def advance(playbook: Playbook, instance: Instance, events: Sequence[Happened], now: datetime) -> Next:
    """Say what comes next for one customer.

    Parameters
    ----------
    events : sequence of Happened
        What was recorded of them, about the same order or none, since the way began.
    """
    began = instance.started_at
    left = [one for one in events if one.kind in playbook.exits and one.occurred_at > began]
    if left:
        return Ended(why=min(left, key=lambda one: (one.occurred_at, one.kind)).kind)
    over_at = instance.trigger_at + playbook.lives_for
    following = playbook.following(instance.step)
    if instance.held_out:
        return Ended(why=Why.OVER.value) if now >= over_at else Waits(until=over_at)
    if instance.state is not None and instance.sent_at is None:
        if instance.state in OPEN:
            return Waits(until=None)
        # Closed without having been sent: an agent used the draft by hand, and goes on by hand.
        return Ended(why=_UNSENT.get(instance.state, Why.COMPLETED).value)
    if instance.state is _S.FAILED:
        return Ended(why=Why.FAILED.value)
    if not following:
        return Ended(why=Why.COMPLETED.value)
    if now >= over_at:
        return Ended(why=Why.OVER.value)
    since = instance.sent_at or began
    later = [one for one in events if one.occurred_at > since]
    for step in following:
        due_at = since + step.wait
        if due_at <= now and (step.when is None or step.when.holds(later)):
            return Proposes(step=step, due_at=due_at)
    waiting = [due for step in following if (due := since + step.wait) > now]
    return Waits(until=min([*waiting, over_at]))


def shortest_wait(playbook: Playbook, step_id: str) -> timedelta | None:
    """Return how long after a step the next one may be due at the earliest; None: none follows."""
    return min((one.wait for one in playbook.following(step_id)), default=None)
