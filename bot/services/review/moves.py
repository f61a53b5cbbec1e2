"""What an agent's decision asks for, and what it does to a check-in: from which states, to which, in time or too late.

Nothing is read or written here; that one decision wins is `bot.services.review.desk`'s business, which states follow which
`bot.decide.lifecycle`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.decide.lifecycle import DECIDABLE, OutreachState
from bot.decide.playbook import Autonomy
from bot.errors import AlreadyDecided, InputError, Refused
from bot.settings import Review
from bot.store.enums import DecisionKind
from bot.store.outreach import Outreach, OutreachColumns

__all__ = ["ClaimedByOther", "DecidedByOther", "DraftOnly", "Wish", "move", "respect_claim", "respect_level"]

_S = OutreachState
# How a decision reads in a sentence.
_PAST = {
    DecisionKind.APPROVE: "approved",
    DecisionKind.EDIT: "edited and approved",
    DecisionKind.REJECT: "rejected",
    DecisionKind.SNOOZE: "snoozed",
    DecisionKind.CLAIM: "claimed",
    DecisionKind.UNDO: "taken back to the queue",
    DecisionKind.RETRY: "put up for another try",
    DecisionKind.SETTLE: "settled",
    DecisionKind.HOLD: "stopped",
    DecisionKind.CLOSE: "closed",
}
# What would let it be sent.
_SENDING = frozenset({DecisionKind.APPROVE, DecisionKind.EDIT, DecisionKind.RETRY})


class DecidedByOther(AlreadyDecided):
    """Somebody else was faster; the message names them and what they decided.

    Attributes
    ----------
    outreach : Outreach
        As it stands now.
    winner : str or None
        The actor who decided; None where the machine moved it (it expired, was sent or cancelled).
    kind : DecisionKind or None
        What was decided.
    """

    def __init__(self, present: Outreach, winner: str | None, kind: DecisionKind | None) -> None:
        self.outreach = present
        self.winner = winner
        self.kind = kind
        if winner is not None and kind is not None:
            message = f"outreach {present.id} was already {_PAST[kind]} by {winner}; nothing was changed"
        else:
            message = f"outreach {present.id} is {present.state} by now; nothing was changed"
        super().__init__(message)


class ClaimedByOther(Refused):
    """Another agent is working on this outreach."""

    def __init__(self, present: Outreach) -> None:
        self.outreach = present
        until = f"{present.claimed_until:%H:%M} UTC" if present.claimed_until else "later"
        super().__init__(f"outreach {present.id} is claimed by {present.claimed_by} until {until}; ask them or wait")


class DraftOnly(Refused):
    """Its playbook makes drafts that are never sent."""

    def __init__(self, present: Outreach) -> None:
        self.outreach = present
        super().__init__(
            f"outreach {present.id} is a draft only (playbook {present.playbook}) and is never sent;"
            " copy its words, then close or reject it"
        )


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One asked-for decision on the version that the agent saw.

    Attributes
    ----------
    event_key : str or None
        What tells that the same click was delivered twice.
    """

    id: int
    version: int
    actor: str
    kind: DecisionKind
    event_key: str | None
    reason: str | None = None
    draft: str | None = None
    until: datetime | None = None


def move(
    wish: Wish, present: Outreach, review: Review, now: datetime
) -> tuple[frozenset[OutreachState], OutreachState | None, OutreachColumns]:
    """Say from where, to where and with what.

    Returns
    -------
    states, state or None, columns
        The states that it may be decided in, the one that it leads to (None: it stays), and what else changes.

    Raises
    ------
    Refused, InputError
        It comes too late, or asks for a time that makes no sense.
    """
    settled: OutreachColumns = {"claimed_by": None, "claimed_until": None}
    decided: OutreachColumns = {**settled, "decided_at": now, "decided_by": wish.actor, "snoozed_until": None}
    if wish.kind in (DecisionKind.APPROVE, DecisionKind.EDIT, DecisionKind.SNOOZE, DecisionKind.CLAIM):
        _in_time(wish, present, now)
    match wish.kind:
        case DecisionKind.APPROVE | DecisionKind.EDIT:
            earliest = max(present.not_before, now + timedelta(seconds=review.undo_seconds))
            columns: OutreachColumns = {**decided, "not_before": earliest, "next_attempt_at": None}
            if wish.draft is not None:
                columns["draft"] = wish.draft
            return DECIDABLE, _S.APPROVED, columns
        case DecisionKind.REJECT:
            return DECIDABLE, _S.REJECTED, decided
        case DecisionKind.SNOOZE:
            return frozenset({_S.SUGGESTED}), _S.SNOOZED, {**decided, "snoozed_until": wish.until}
        case DecisionKind.CLAIM:
            until = now + timedelta(minutes=review.claim_minutes)
            return DECIDABLE, None, {"claimed_by": wish.actor, "claimed_until": until}
        case DecisionKind.UNDO:
            _undo_in_time(present, review, now)
            back: OutreachColumns = {**settled, "decided_at": None, "decided_by": None, "snoozed_until": None}
            return frozenset({_S.APPROVED, _S.REJECTED, _S.SNOOZED}), _S.SUGGESTED, back
        case DecisionKind.RETRY:
            again: OutreachColumns = {**decided, "not_before": now, "next_attempt_at": None, "refusal": None}
            if present.expires_at <= now:
                again["expires_at"] = now + timedelta(hours=review.expires_hours)
            return frozenset({_S.FAILED, _S.UNCERTAIN}), _S.APPROVED, again
        case DecisionKind.SETTLE:
            return frozenset({_S.UNCERTAIN}), _S.SENT if wish.reason == "arrived" else _S.FAILED, {}
        case DecisionKind.HOLD:
            return frozenset({_S.SUGGESTED}), None, {}
        case DecisionKind.CLOSE:
            return DECIDABLE, _S.CLOSED, decided


def _in_time(wish: Wish, present: Outreach, now: datetime) -> None:
    if present.state in DECIDABLE and present.expires_at <= now:
        raise Refused(f"outreach {present.id} expired at {present.expires_at:%Y-%m-%d %H:%M} UTC; nothing was changed")
    if wish.until is not None and wish.until <= now:
        raise InputError("the time to snooze until is past; choose a later one")
    if wish.until is not None and wish.until >= present.expires_at:
        raise Refused(
            f"outreach {present.id} expires at {present.expires_at:%Y-%m-%d %H:%M} UTC; choose an earlier time or reject it"
        )


def _undo_in_time(present: Outreach, review: Review, now: datetime) -> None:
    if present.state == _S.APPROVED and (present.not_before <= now or present.attempts > 0):
        raise Refused(f"outreach {present.id} may already be on its way; it can no longer be taken back")
    window = timedelta(seconds=review.undo_seconds)
    if present.state in (_S.REJECTED, _S.SNOOZED) and (present.decided_at or now) + window < now:
        raise Refused(f"the {review.undo_seconds} seconds to take this back are over (outreach {present.id})")


def respect_level(wish: Wish, present: Outreach, level: Autonomy) -> None:
    """Refuse what the level in force does not allow: sending a draft that is never sent, closing any other unsent."""
    if level is Autonomy.DRAFT and wish.kind in _SENDING:
        raise DraftOnly(present)
    if level is not Autonomy.DRAFT and wish.kind is DecisionKind.CLOSE:
        raise Refused(f"outreach {present.id} waits for a decision; approve, edit, snooze or reject it")


def respect_claim(wish: Wish, present: Outreach, now: datetime) -> None:
    """Refuse what another agent has claimed."""
    held = present.claimed_by not in (None, wish.actor)
    if held and present.claimed_until is not None and present.claimed_until > now:
        raise ClaimedByOther(present)
