"""Taking what is due from the queue: fairly between playbooks, by conditional update, in one transaction.

A look finds the next due ids of a channel in fair order; a claim locks some of them, asks the policy about what the
database says at this moment, and moves them to `sending` with a row per attempt. How an attempt ends is
`bot.store.delivery`'s business, whether a contact is allowed the policy's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import OutreachState, move
from bot.decide.playbook import Autonomy
from bot.decide.policy import Reason, Refused, Verdict
from bot.store.among import among
from bot.store.at_once import given_like, write_at_once
from bot.store.bulk import insert_rows
from bot.store.controls import RESTORED, STOPPED, controls_held
from bot.store.delivery import attempt_row, since_when
from bot.store.enums import DeliveryState
from bot.store.outreach import Outreach, as_outreach, change_state, list_outreach, revise
from bot.store.shop import Customer
from bot.store.tables import metadata

__all__ = ["WINDOW", "Claim", "Claimed", "claim"]

_S = OutreachState
# So many due ids are looked up at once. With P playbooks that have something due, the r-th check-in of a playbook
# leaves after at most P · r others and one such window, however many the other playbooks have.
WINDOW = 200
# So often is looked in one transaction, where other workers took what the look before had found.
LOOKS = 2
# So many refusals are written in one transaction at most: SQLite has one writer, which others wait for.
REFUSALS = 50
# A reason that neither time alone nor "never" settles, such as an open ticket, is looked at again after this.
ASK_AGAIN = timedelta(hours=1)
# Reasons after which this customer is not contacted on this channel at all.
FINAL = frozenset(
    {Reason.SUPPRESSED, Reason.CONSENT_REFUSED, Reason.CONSENT_MISSING, Reason.NO_ADDRESS, Reason.HOLDOUT}
)

outreaches = metadata.tables["outreaches"]
customers = metadata.tables["customers"]
deliveries = metadata.tables["deliveries"]

Gate = Callable[[Connection, Sequence[tuple[Outreach, Customer]]], Sequence[Verdict]]


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
    all_expired : bool
        Nothing else in the queue was too late.
    """

    claimed: tuple[Claimed, ...] = ()
    refused: tuple[tuple[int, str], ...] = ()
    expired: tuple[int, ...] = ()
    all_expired: bool = False


def claim(
    connection: Connection,
    *,
    now: datetime,
    owner: str,
    channel: str,
    gate: Gate,
    room: int,
    window: deque[int],
    expire: bool = True,
) -> Claim:
    """Take due outreaches of one channel for sending, in the caller's writing transaction.

    Parameters
    ----------
    owner : str
        The claiming process, so that its death can be seen.
    gate : callable
        The policy, asked here once more: the customers' rows are locked, so that an opt-out is either seen or
        comes after.
    room : int
        At most so many are taken; at most one of each customer, so that the next one is judged with this one known.
    window : deque of int
        Due ids of this channel that an earlier look found; used up from the left and filled again when empty. What
        it names may have been taken by another worker meanwhile: each row is asked again.
    expire : bool
        Let expire what is too late, where the queue is looked at anew; that reads all of the queue that is due.
    """
    if room < 1:
        return Claim()
    switches = controls_held(connection, STOPPED, RESTORED)
    if switches[STOPPED]:
        return Claim()
    held_up_to = since_when(switches[RESTORED])
    expired: tuple[int, ...] = ()
    all_expired = False
    claimed: list[Claimed] = []
    refused: list[tuple[int, str]] = []
    looks, reach = 0, 1
    while len(claimed) < room and len(refused) < REFUSALS:
        if not window:
            # One more look where nothing of the first could be had: other workers were faster.
            if looks == LOOKS or (looks and claimed):
                break
            if expire and not looks:
                expired = _expire(connection, now)
                all_expired = len(expired) < REFUSALS
            window.extend(_look(connection, channel, now, held_up_to))
            looks, reach = looks + 1, 1
            if not window:
                break
        wanted = room - len(claimed)
        pairs = _reach(connection, window, wanted, wanted * reach, now, held_up_to)
        reach *= 4
        pairs = _one_each(pairs, {one.customer.id for one in claimed})
        allowed: list[tuple[Outreach, Customer]] = []
        for pair, verdict in zip(pairs, gate(connection, pairs) if pairs else (), strict=True):
            if not isinstance(verdict, Refused):
                allowed.append(pair)
            elif _hold_back(connection, pair[0], verdict, now):
                refused.append((pair[0].id, verdict.reason.value))
        claimed += _take(connection, allowed, owner, now)
    return Claim(claimed=tuple(claimed), refused=tuple(refused), expired=expired, all_expired=all_expired)


def _reach(
    connection: Connection, window: deque[int], wanted: int, among: int, now: datetime, held_up_to: datetime | None
) -> list[tuple[Outreach, Customer]]:
    """Lock so many of the first ids of the window, and take out of it what was locked or cannot be had."""
    ids = [window.popleft() for _ in range(min(among, len(window)))]
    pairs = _lock(connection, ids, wanted, now, held_up_to)
    if len(pairs) == wanted:  # the others were not asked
        locked = {one.id for one, _ in pairs}
        window.extendleft(one for one in reversed(ids) if one not in locked)
    return pairs


def _look(connection: Connection, channel: str, now: datetime, held_up_to: datetime | None) -> list[int]:
    """Return the next due ids: the first of each playbook, then the second of each; urgent ones lead in each."""
    given = {"on_channel": channel, "due_by": now, "held_up_to": held_up_to}
    return [int(one) for one in connection.execute(_LOOK, given).scalars()]


def _lock(
    connection: Connection, ids: Sequence[int], limit: int, now: datetime, held_up_to: datetime | None
) -> list[tuple[Outreach, Customer]]:
    """Lock some that are still due, with their customers; return them in the order given, as they are now.

    Inserting a consent locks its customer's row against this (FOR KEY SHARE), so an opt-out in flight makes the row
    be skipped until it is decided. SQLite has one writer at a time and ignores the clause.
    """
    given = {"ids": ids, "due_by": now, "held_up_to": held_up_to, "at_most": limit}
    found: dict[int, tuple[Outreach, Customer]] = {}
    for row in connection.execute(_LOCK, given):
        values = tuple(row)
        one = as_outreach(dict(zip(_OUTREACH, values, strict=False)))
        person = Customer(**dict(zip(_CUSTOMER, values[len(_OUTREACH) :], strict=True)))
        found[one.id] = (one, person)
    return [found[one] for one in dict.fromkeys(ids) if one in found]


def _is_due() -> list[sa.ColumnElement[bool]]:
    columns = outreaches.c
    now = sa.bindparam("due_by", type_=columns.not_before.type)
    held_up_to = sa.bindparam("held_up_to", type_=columns.not_before.type)
    return [
        columns.state == _S.APPROVED.value,
        columns.autonomy != Autonomy.DRAFT.value,  # a draft only, whatever its state says
        columns.not_before <= now,
        columns.expires_at > now,
        columns.next_attempt_at.is_(None) | (columns.next_attempt_at <= now),
        held_up_to.is_(None) | (columns.decided_at > held_up_to),
    ]


def _look_statement() -> sa.Select[Any]:
    columns = outreaches.c
    order = (columns.urgent.desc(), columns.not_before, columns.id)
    turn = sa.func.row_number().over(partition_by=columns.playbook, order_by=order).label("turn")
    ranked = (
        sa.select(columns.id, columns.urgent, columns.not_before, turn)
        .where(columns.channel == sa.bindparam("on_channel"), *_is_due())
        .subquery()
    )
    ordered = sa.select(ranked.c.id).order_by(ranked.c.turn, ranked.c.urgent.desc(), ranked.c.not_before, ranked.c.id)
    return ordered.limit(WINDOW)


_LOOK = _look_statement()
_OUTREACH = [column.name for column in outreaches.c]
_CUSTOMER = list(Customer.__dataclass_fields__)
_LOCK = (
    sa.select(*outreaches.c, *(customers.c[name] for name in _CUSTOMER))
    .join(customers, customers.c.id == outreaches.c.customer_id)
    .where(among(outreaches.c.id, "ids"), *_is_due())
    .limit(sa.bindparam("at_most", type_=sa.Integer))
    .with_for_update(of=[outreaches, customers], skip_locked=True)
)


_AT = sa.bindparam("at", type_=outreaches.c.sending_since.type)
_OWNER = sa.bindparam("owner", type_=outreaches.c.sending_by.type)


def _taking(ids: sa.ColumnElement[bool]) -> sa.Update:
    return (
        sa.update(outreaches)
        .where(ids, outreaches.c.state == _S.APPROVED.value, outreaches.c.autonomy != Autonomy.DRAFT.value)
        .values(
            state=move(_S.APPROVED, _S.SENDING).value,
            version=outreaches.c.version + 1,
            attempts=outreaches.c.attempts + 1,
            sending_since=_AT,
            sending_by=_OWNER,
            next_attempt_at=None,
            refusal=None,
            updated_at=_AT,
        )
    )


def _take_at_once() -> sa.Select[Any]:
    """Move to `sending` what still is as it was judged, and open an attempt for each, in one statement."""
    given = given_like(outreaches.c.id, deliveries.c.key, judged=sa.Integer())
    as_judged = (outreaches.c.id == given.c.id) & (outreaches.c.version == given.c.judged)
    now_known = (outreaches.c.id, outreaches.c.attempts, outreaches.c.channel, given.c.key)
    taken = _taking(as_judged).returning(*now_known).cte("taken")
    row = {
        "outreach_id": taken.c.id,
        "attempt": taken.c.attempts,
        "key": taken.c.key,
        "channel": taken.c.channel,
        "state": sa.literal(DeliveryState.STARTED.value),
        "started_at": _AT,
        "owner": _OWNER,
    }
    opened = sa.insert(deliveries).from_select(list(row), sa.select(*row.values()), include_defaults=False)
    return sa.select(taken.c.id).add_cte(opened.returning(deliveries.c.id).cte("opened"))


_TAKE = _taking(among(outreaches.c.id, "ids")).returning(outreaches.c.id, outreaches.c.version)
_TAKE_AT_ONCE = _take_at_once()


def _one_each(due: Sequence[tuple[Outreach, Customer]], taken: set[int]) -> list[tuple[Outreach, Customer]]:
    first: dict[int, tuple[Outreach, Customer]] = {}
    for one, person in due:
        if person.id not in taken:
            first.setdefault(person.id, (one, person))
    return list(first.values())


def _take(
    connection: Connection, allowed: Sequence[tuple[Outreach, Customer]], owner: str, now: datetime
) -> list[Claimed]:
    claimed = [_sending(one, person, owner, now) for one, person in allowed]
    if not claimed:
        return []
    if connection.dialect.name == "sqlite":
        given = {"ids": [one.outreach.id for one in claimed], "at": now, "owner": owner}
        judged_as = {one.outreach.id: one.outreach.version for one in claimed}
        won = {row.id for row in connection.execute(_TAKE, given) if row.version == judged_as[row.id]}
        opened = [
            attempt_row(
                key=one.key,
                attempt=one.attempt,
                channel=one.outreach.channel,
                owner=owner,
                now=now,
                outreach_id=one.outreach.id,
            )
            for one in claimed
            if one.outreach.id in won
        ]
        if opened:
            insert_rows(connection, deliveries, opened)
    else:
        judged = [{"id": one.outreach.id, "judged": one.outreach.version - 1, "key": one.key} for one in claimed]
        won = set(write_at_once(connection, _TAKE_AT_ONCE, judged, at=now, owner=owner))
    return [one for one in claimed if one.outreach.id in won]


def _sending(one: Outreach, person: Customer, owner: str, now: datetime) -> Claimed:
    """Return an approved outreach as it is once it was taken."""
    attempt = one.attempts + 1
    changed = {
        "state": _S.SENDING,
        "version": one.version + 1,
        "attempts": attempt,
        "sending_since": now,
        "sending_by": owner,
        "next_attempt_at": None,
        "refusal": None,
        "updated_at": now,
    }
    # What `dataclasses.replace` does, without looking at the fields: it is done for every mail.
    taken = Outreach(**{**vars(one), **changed})
    return Claimed(outreach=taken, customer=person, attempt=attempt, key=f"outreach:{one.id}:{attempt}")


def _hold_back(connection: Connection, due: Outreach, verdict: Refused, now: datetime) -> bool:
    """Store a refusal: for good, or as a later time; the agent's yes stays a yes."""
    reason = verdict.reason.value
    if verdict.reason in FINAL:
        return change_state(connection, due.id, due.version, [_S.APPROVED], _S.SUPPRESSED, now, refusal=reason)
    until = verdict.until or now + ASK_AGAIN
    return revise(connection, due.id, due.version, [_S.APPROVED], now, refusal=reason, not_before=until)


def _expire(connection: Connection, now: datetime) -> tuple[int, ...]:
    columns = outreaches.c
    query = (
        sa.select(columns.id)
        .where(columns.state == _S.APPROVED.value, columns.expires_at <= now)
        .limit(REFUSALS)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(query).scalars())
    late = list_outreach(connection, {_S.APPROVED}, ids=ids) if ids else []
    return tuple(
        one.id
        for one in late
        if change_state(
            connection, one.id, one.version, [_S.APPROVED], _S.EXPIRED, now, refusal=one.refusal or "time_to_live"
        )
    )
