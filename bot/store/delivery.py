"""The outreach table as the queue of what must leave: what is due, who claimed it, and how each attempt ended.

Every attempt has a row of its own (`deliveries`) that is committed before the send. Whether a contact is
allowed is decided by the policy, sending by the channels; answers in conversations are queued in
`bot.store.answers`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import OutreachState
from bot.decide.policy import Reason, Refused, Verdict
from bot.store.controls import RESTORED, STOPPED, get_control
from bot.store.enums import DeliveryState
from bot.store.outreach import Outreach, change_state, list_outreach, outreach, revise
from bot.store.shop import Customer, customer
from bot.store.tables import customers, deliveries, outreaches

__all__ = [
    "Claim",
    "Claimed",
    "attempts_in",
    "claim",
    "close_attempt",
    "contacts_of",
    "held_since",
    "in_doubt",
    "open_attempt",
    "settle",
]

_S = OutreachState
# A reason that neither time alone nor "never" settles, such as an open ticket, is looked at again after this.
ASK_AGAIN = timedelta(hours=1)
# Reasons after which this customer is not contacted on this channel at all.
FINAL = frozenset(
    {Reason.SUPPRESSED, Reason.CONSENT_REFUSED, Reason.CONSENT_MISSING, Reason.NO_ADDRESS, Reason.HOLDOUT}
)


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """An outreach that this process, and no other, may now send."""

    outreach: Outreach
    customer: Customer
    attempt: int
    key: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What one claiming transaction did.

    Attributes
    ----------
    claimed : tuple of Claimed
        To be sent now.
    refused : tuple of (outreach id, reason)
        What the policy kept back, for good or until later.
    expired : tuple of int
        What was not sent in time.
    """

    claimed: tuple[Claimed, ...] = ()
    refused: tuple[tuple[int, str], ...] = ()
    expired: tuple[int, ...] = ()


Gate = Callable[[Connection, Outreach, Customer], Verdict]


def claim(
    connection: Connection, *, now: datetime, owner: str, channels: Collection[str], gate: Gate, limit: int
) -> Claim:
    """Take due outreaches for sending, in the caller's writing transaction.

    Parameters
    ----------
    owner : str
        The claiming process, so that its death can be seen.
    gate : callable
        The policy, asked here once more: the customer's row is locked, so that an opt-out is either seen or
        comes after.
    limit : int
        At most so many are looked at.
    """
    if get_control(connection, STOPPED):
        return Claim()
    held_up_to = held_since(connection)
    expired = _expire(connection, now, limit)
    claimed: list[Claimed] = []
    refused: list[tuple[int, str]] = []
    for due in _due(connection, now, channels, held_up_to, limit):
        person = customer(connection, due.customer_id)
        assert person is not None  # the foreign key says so
        verdict = gate(connection, due, person)
        if isinstance(verdict, Refused):
            if _hold_back(connection, due, verdict, now):
                refused.append((due.id, verdict.reason.value))
        elif (taken := _take(connection, due, person, owner, now)) is not None:
            claimed.append(taken)
    return Claim(claimed=tuple(claimed), refused=tuple(refused), expired=expired)


def held_since(connection: Connection) -> datetime | None:
    """Return the instant of an unconfirmed restore: what was decided by then may have left already, and is held."""
    hold = get_control(connection, RESTORED)
    if not hold:
        return None
    try:
        return datetime.fromisoformat(hold["at"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):  # set by hand: everything is held
        return datetime.max.replace(tzinfo=UTC)


def settle(
    connection: Connection,
    outreach_id: int,
    attempt: int,
    to: OutreachState,
    now: datetime,
    *,
    evidence: Mapping[str, Any] | None = None,
    reason: str | None = None,
    next_attempt_at: datetime | None = None,
) -> bool:
    """Write down how the latest attempt at an outreach ended, at the attempt and at the outreach.

    Evidence of sending also settles what was declared uncertain meanwhile. False: the outreach has moved on,
    and nothing was changed.
    """
    present = outreach(connection, outreach_id)
    if present.state not in (_S.SENDING, _S.UNCERTAIN) or present.attempts != attempt:
        return False
    if present.state == to:
        return False
    sent = to == _S.SENT
    moved = change_state(
        connection,
        outreach_id,
        present.version,
        [present.state],
        to,
        now,
        sent_at=now if sent else present.sent_at,
        evidence=dict(evidence) if evidence is not None else present.evidence,
        refusal=None if sent else reason,
        next_attempt_at=next_attempt_at,
        sending_since=None,
        sending_by=None,
    )
    if moved:
        ended = {
            _S.SENT: DeliveryState.SENT,
            _S.APPROVED: DeliveryState.RETRY,
            _S.UNCERTAIN: DeliveryState.UNCERTAIN,
        }.get(to, DeliveryState.FAILED)
        close_attempt(connection, f"outreach:{outreach_id}:{attempt}", ended, now, evidence=evidence, error=reason)
    return moved


def in_doubt(connection: Connection, states: Collection[OutreachState], limit: int = 500) -> list[Outreach]:
    """Return what is being sent, or nobody knows about, oldest first."""
    found = list_outreach(connection, states, limit=limit)
    return sorted(found, key=lambda one: (one.sending_since or one.updated_at, one.id))


def open_attempt(
    connection: Connection,
    *,
    key: str,
    attempt: int,
    channel: str,
    owner: str,
    now: datetime,
    outreach_id: int | None = None,
    utterance_id: int | None = None,
) -> None:
    """Write the row that stands before the send."""
    connection.execute(
        sa.insert(deliveries).values(
            outreach_id=outreach_id,
            utterance_id=utterance_id,
            attempt=attempt,
            key=key,
            channel=channel,
            state=DeliveryState.STARTED.value,
            started_at=now,
            owner=owner,
        )
    )


def close_attempt(
    connection: Connection,
    key: str,
    state: DeliveryState,
    now: datetime,
    *,
    evidence: Mapping[str, Any] | None = None,
    error: str | None = None,
    next_attempt_at: datetime | None = None,
) -> bool:
    """Write down how an attempt ended; only a started or uncertain one can end."""
    statement = (
        sa.update(deliveries)
        .where(deliveries.c.key == key)
        .where(deliveries.c.state.in_([DeliveryState.STARTED.value, DeliveryState.UNCERTAIN.value]))
        .values(
            state=state.value,
            finished_at=now,
            evidence=dict(evidence) if evidence is not None else None,
            error=error,
            next_attempt_at=next_attempt_at,
        )
    )
    return connection.execute(statement).rowcount == 1


def attempts_in(connection: Connection, state: DeliveryState) -> int:
    """Count the attempts in a state."""
    query = sa.select(sa.func.count()).select_from(deliveries).where(deliveries.c.state == state.value)
    return int(connection.execute(query).scalar_one())


def contacts_of(connection: Connection, customer_id: int, since: datetime, *, besides: int) -> list[datetime]:
    """Return when a customer was contacted, or is being contacted or perhaps was, leaving out one outreach."""
    columns = outreaches.c
    when = sa.func.coalesce(columns.sent_at, columns.sending_since, columns.updated_at, type_=columns.sent_at.type)
    counted = (columns.sent_at.is_not(None) | columns.state.in_([_S.SENDING.value, _S.UNCERTAIN.value])) & (
        columns.id != besides
    )
    query = sa.select(when).where(columns.customer_id == customer_id, counted, when > since)
    return list(connection.execute(query).scalars())


def _due(
    connection: Connection, now: datetime, channels: Collection[str], held_up_to: datetime | None, limit: int
) -> list[Outreach]:
    columns = outreaches.c
    query = (
        sa.select(columns.id)
        .join(customers, customers.c.id == columns.customer_id)
        .where(columns.state == _S.APPROVED.value, columns.held.is_(False), columns.channel.in_(list(channels)))
        .where(columns.not_before <= now, columns.expires_at > now)
        .where(columns.next_attempt_at.is_(None) | (columns.next_attempt_at <= now))
        .order_by(columns.urgent.desc(), columns.not_before, columns.id)
        .limit(limit)
    )
    if held_up_to is not None:
        query = query.where(columns.decided_at > held_up_to)
    # Inserting a consent locks its customer's row against this (FOR KEY SHARE), so an opt-out in flight makes the
    # row be skipped until it is decided. SQLite has one writer at a time and ignores the clause.
    query = query.with_for_update(of=[outreaches, customers], skip_locked=True)
    ids = list(connection.execute(query).scalars())
    found = {one.id: one for one in list_outreach(connection, {_S.APPROVED}, ids=ids)} if ids else {}
    return [found[one] for one in ids if one in found]


def _take(connection: Connection, due: Outreach, person: Customer, owner: str, now: datetime) -> Claimed | None:
    attempt = due.attempts + 1
    key = f"outreach:{due.id}:{attempt}"
    won = change_state(
        connection,
        due.id,
        due.version,
        [_S.APPROVED],
        _S.SENDING,
        now,
        attempts=attempt,
        sending_since=now,
        sending_by=owner,
        next_attempt_at=None,
        refusal=None,
    )
    if not won:
        return None
    open_attempt(connection, key=key, attempt=attempt, channel=due.channel, owner=owner, now=now, outreach_id=due.id)
    return Claimed(outreach=outreach(connection, due.id), customer=person, attempt=attempt, key=key)


def _hold_back(connection: Connection, due: Outreach, verdict: Refused, now: datetime) -> bool:
    """Store a refusal: for good, or as a later time; the agent's yes stays a yes."""
    reason = verdict.reason.value
    if verdict.reason in FINAL:
        return change_state(connection, due.id, due.version, [_S.APPROVED], _S.SUPPRESSED, now, refusal=reason)
    until = verdict.until or now + ASK_AGAIN
    return revise(connection, due.id, due.version, [_S.APPROVED], now, refusal=reason, not_before=until)


def _expire(connection: Connection, now: datetime, limit: int) -> tuple[int, ...]:
    columns = outreaches.c
    query = sa.select(columns.id).where(columns.state == _S.APPROVED.value, columns.expires_at <= now)
    query = query.limit(limit).with_for_update(skip_locked=True)
    ids = list(connection.execute(query).scalars())
    late = list_outreach(connection, {_S.APPROVED}, ids=ids) if ids else []
    return tuple(
        one.id
        for one in late
        if change_state(
            connection, one.id, one.version, [_S.APPROVED], _S.EXPIRED, now, refusal=one.refusal or "time_to_live"
        )
    )
