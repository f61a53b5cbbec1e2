"""Writing down how attempts ended, all of them in one transaction.

Locks are taken in one order by everybody who delivers: the outreaches and their customers, the buckets, the switches,
and the audit log last; whoever wrote to the audit log first would wait for a claim that waits for the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.decide.lifecycle import OutreachState
from bot.services.delivery.handover import Outcome
from bot.services.planning.contact_rules import address_of
from bot.store import audit, delivery
from bot.store.claiming import Claimed
from bot.store.consent import suppress
from bot.store.database import Connection
from bot.store.enums import DeliveryState

__all__ = ["Ended", "Note", "longest_pauses", "note_down", "write_down"]

_S = OutreachState
_LEADS_TO = {
    DeliveryState.SENT: _S.SENT,
    DeliveryState.RETRY: _S.APPROVED,
    DeliveryState.FAILED: _S.FAILED,
    DeliveryState.UNCERTAIN: _S.UNCERTAIN,
}


@dataclass(kw_only=True)
class Ended:
    """An attempt whose end is known and not yet written down."""

    claimed: Claimed
    outcome: Outcome
    tries: int = 0


@dataclass(frozen=True, kw_only=True)
class Note:
    """What the audit log shall say of an outreach."""

    outreach_id: int
    action: str


def write_down(connection: Connection, ended: Sequence[Ended], now: datetime) -> list[Note]:
    """Write down how attempts ended; return what is still to be noted in the audit log."""
    sent = [(one.claimed.outreach, one.outcome.evidence or {}) for one in ended if _is_sent(one)]
    if sent:
        delivery.settle_sent(connection, sent, now)
    notes: list[Note] = []
    for one in sorted((one for one in ended if not _is_sent(one)), key=lambda one: one.claimed.customer.id):
        notes += _refused(connection, one.claimed, one.outcome, now)
    return notes


def note_down(connection: Connection, notes: Iterable[Note], now: datetime) -> None:
    """Write notes to the audit log; the last thing that a transaction does."""
    for note in notes:
        audit.record(
            connection,
            at=now,
            actor="system",
            action=note.action,
            entity="outreach",
            entity_id=str(note.outreach_id),
        )


def longest_pauses(ended: Iterable[Ended]) -> dict[str, timedelta]:
    """Return for each channel how long it asked for nothing to be sent."""
    found: dict[str, timedelta] = {}
    for one in ended:
        if one.outcome.pause is not None:
            channel = one.claimed.outreach.channel
            found[channel] = max(one.outcome.pause, found.get(channel, timedelta(0)))
    return found


def _is_sent(one: Ended) -> bool:
    return one.outcome.state == DeliveryState.SENT


def _refused(connection: Connection, claimed: Claimed, outcome: Outcome, now: datetime) -> list[Note]:
    one = claimed.outreach
    to = _LEADS_TO[outcome.state]
    moved = delivery.settle(
        connection, one.id, claimed.attempt, to, now, reason=outcome.reason, next_attempt_at=outcome.retry_at
    )
    if not moved:
        return []
    address = address_of(claimed.customer, one.channel)
    if outcome.dead_address and address is not None:
        suppress(connection, one.channel, address, "dead_address", now)
    return [Note(outreach_id=one.id, action=f"outreach.{to}")] if to in (_S.FAILED, _S.UNCERTAIN) else []
