"""The life of an Outreach: its states and the one table of moves between them.

What is illegal here is illegal everywhere: the services ask `move`, and the database has a CHECK on the
states. Sending, retrying and asking people are not this module's business.
"""

from __future__ import annotations

from enum import StrEnum

from bot.errors import IllegalTransition


class OutreachState(StrEnum):
    """Where an outreach stands."""

    SUGGESTED = "suggested"  # waits for an agent
    SNOOZED = "snoozed"  # an agent asked to see it later
    DEFERRED = "deferred"  # policy says not yet; comes back by itself
    APPROVED = "approved"  # an agent said yes; goes out at `not_before`
    SENDING = "sending"  # claimed by a deliverer; a Delivery row exists
    SENT = "sent"  # the channel took it, with evidence
    REPLIED = "replied"  # the customer answered
    CLOSED = "closed"  # nothing more is expected
    REJECTED = "rejected"  # an agent said no
    EXPIRED = "expired"  # nobody decided, or it could not be sent, in time
    SUPPRESSED = "suppressed"  # opt-out, dead address or holdout: must not be contacted
    FAILED = "failed"  # the channel refused for good, or retries ran out
    UNCERTAIN = "uncertain"  # the process died between hand-over and record; never re-sent silently
    CANCELLED = "cancelled"  # its reason went away


_S = OutreachState

TRANSITIONS: dict[OutreachState, frozenset[OutreachState]] = {
    _S.SUGGESTED: frozenset(
        {_S.APPROVED, _S.REJECTED, _S.SNOOZED, _S.DEFERRED, _S.EXPIRED, _S.SUPPRESSED, _S.CANCELLED, _S.CLOSED}
    ),
    # Closed without being sent: a draft that an agent used by hand.
    _S.SNOOZED: frozenset({_S.SUGGESTED, _S.APPROVED, _S.REJECTED, _S.EXPIRED, _S.SUPPRESSED, _S.CANCELLED, _S.CLOSED}),
    _S.DEFERRED: frozenset(
        {_S.SUGGESTED, _S.APPROVED, _S.REJECTED, _S.EXPIRED, _S.SUPPRESSED, _S.CANCELLED, _S.CLOSED}
    ),
    # Back to suggested is an undo, possible until `not_before`; back from sending is a retry after a refusal.
    _S.APPROVED: frozenset({_S.SENDING, _S.SUGGESTED, _S.DEFERRED, _S.EXPIRED, _S.SUPPRESSED, _S.CANCELLED}),
    _S.SENDING: frozenset({_S.SENT, _S.APPROVED, _S.FAILED, _S.UNCERTAIN, _S.SUPPRESSED}),
    _S.SENT: frozenset({_S.REPLIED, _S.CLOSED, _S.FAILED}),
    _S.REPLIED: frozenset({_S.CLOSED}),
    _S.FAILED: frozenset({_S.APPROVED, _S.CLOSED}),
    _S.UNCERTAIN: frozenset({_S.SENT, _S.FAILED, _S.APPROVED}),
    _S.CLOSED: frozenset(),
    _S.REJECTED: frozenset({_S.SUGGESTED}),
    _S.EXPIRED: frozenset(),
    _S.SUPPRESSED: frozenset(),
    _S.CANCELLED: frozenset(),
}

# States in which the outreach still asks something of somebody.
OPEN = frozenset({_S.SUGGESTED, _S.SNOOZED, _S.DEFERRED, _S.APPROVED, _S.SENDING, _S.UNCERTAIN})
# States in which an agent may still decide.
DECIDABLE = frozenset({_S.SUGGESTED, _S.SNOOZED, _S.DEFERRED})
# States that lead to a message being sent, or follow from it; a check-in that is a draft only never enters one.
SENDABLE = frozenset({_S.APPROVED, _S.SENDING, _S.SENT, _S.REPLIED, _S.FAILED, _S.UNCERTAIN})


def move(present: OutreachState, wanted: OutreachState) -> OutreachState:
    """Return `wanted` if the outreach may go there from `present`.

    Raises
    ------
    IllegalTransition
        Naming both states and what is possible instead.
    """
    if wanted not in TRANSITIONS[present]:
        possible = ", ".join(sorted(TRANSITIONS[present])) or "nothing: this state is final"
        raise IllegalTransition(f"an outreach that is {present} cannot become {wanted}; possible: {possible}")
    return wanted
