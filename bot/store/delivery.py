"""How each attempt to send ended, at the attempt and at the outreach, and what is still in doubt.

Every attempt has a row of its own (`deliveries`) that is committed before the send. What is due is taken in
`bot.store.claiming`, sending is the channels' business; answers in conversations are queued in `bot.store.answers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from bot.decide.lifecycle import OutreachState, move
from bot.store.among import among
from bot.store.at_once import given_like, write_at_once
from bot.store.controls import RESTORED, get_control
from bot.store.enums import DeliveryState
from bot.store.outreach import Outreach, as_outreach, change_state, outreach
from bot.store.shop import TOUCHPOINT_COLUMNS, Touchpoint, add_touchpoints, touchpoint_row
from bot.store.tables import deliveries, outreaches, touchpoints

__all__ = [
    "attempt_row",
    "attempts_in",
    "close_attempt",
    "held_since",
    "in_doubt",
    "open_attempt",
    "settle",
    "settle_sent",
    "since_when",
]

_S = OutreachState


def held_since(connection: Connection) -> datetime | None:
    """Return the instant of an unconfirmed restore: what was decided by then may have left already, and is held."""
    return since_when(get_control(connection, RESTORED))


def since_when(hold: Any) -> datetime | None:
    """Read the instant out of the switch of a restore."""
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
        if sent:
            add_touchpoints(connection, [_contact(present, now)])
    return moved


def in_doubt(connection: Connection, state: OutreachState) -> list[Outreach]:
    """Return all that is being sent, or that nobody knows about, oldest first."""
    columns = outreaches.c
    since = sa.func.coalesce(columns.sending_since, columns.updated_at)
    query = sa.select(outreaches).where(columns.state == state.value).order_by(since, columns.id)
    return [as_outreach(dict(row._mapping)) for row in connection.execute(query)]


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
    row = attempt_row(
        key=key,
        attempt=attempt,
        channel=channel,
        owner=owner,
        now=now,
        outreach_id=outreach_id,
        utterance_id=utterance_id,
    )
    connection.execute(sa.insert(deliveries).values(**row))


def attempt_row(
    *,
    key: str,
    attempt: int,
    channel: str,
    owner: str,
    now: datetime,
    outreach_id: int | None = None,
    utterance_id: int | None = None,
) -> dict[str, Any]:
    """Return the columns of the row that stands before a send."""
    return {
        "outreach_id": outreach_id,
        "utterance_id": utterance_id,
        "attempt": attempt,
        "key": key,
        "channel": channel,
        "state": DeliveryState.STARTED.value,
        "started_at": now,
        "owner": owner,
    }


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
        .where(_open(deliveries.c.state))
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


def settle_sent(connection: Connection, sent: Sequence[tuple[Outreach, Mapping[str, Any]]], now: datetime) -> set[int]:
    """Write down that several outreaches were sent, each with its evidence; return the ids that were changed.

    What `settle` does for one, in a fixed number of statements. One that has moved on meanwhile is left alone.
    """
    if connection.dialect.name != "sqlite":
        rows = [{**_sent_row(one, proof), **touchpoint_row(_contact(one, now))} for one, proof in sent]
        return set(write_at_once(connection, _SETTLE_AT_ONCE, rows, at=now))
    present = {row.id: row.attempts for row in connection.execute(_PRESENT, {"ids": [one.id for one, _ in sent]})}
    moved = [(one, proof) for one, proof in sent if present.get(one.id) == one.attempts]
    if moved:
        rows = [{**_sent_row(one, proof), "at": now} for one, proof in moved]
        connection.execute(_MARK_SENT, rows)
        connection.execute(_CLOSE_SENT, rows)
        add_touchpoints(connection, [_contact(one, now) for one, _ in moved])
    return {one.id for one, _ in moved}


def _sent_row(one: Outreach, proof: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sent_id": one.id,
        "of_attempt": one.attempts,
        "of_key": f"outreach:{one.id}:{one.attempts}",
        "proof": dict(proof),
    }


def _open(state: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    return (state == DeliveryState.STARTED.value) | (state == DeliveryState.UNCERTAIN.value)


def _is_open(state: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Say the same as `_open` where the row is found by its key.

    Written so that PostgreSQL uses no index on the state, which holds an entry for each attempt that lately was open.
    """
    return sa.case((state == DeliveryState.STARTED.value, True), else_=state == DeliveryState.UNCERTAIN.value)


def _contact(one: Outreach, now: datetime) -> Touchpoint:
    """Return the contact as it stands on the customer's journey; whoever proves a sending, this belongs to it."""
    return Touchpoint(
        id=None,
        source="aftercare",
        external_id=f"outreach:{one.id}",
        customer_id=one.customer_id,
        order_id=one.order_id,
        kind="outreach_sent",
        occurred_at=now,
        recorded_at=now,
        value=None,
        text=None,
        channel=one.channel,
        attributes={"playbook": one.playbook, "step": one.step},
    )


# From here an attempt may turn out to have been sent.
_SENDABLE = [state.value for state in (_S.SENDING, _S.UNCERTAIN) if move(state, _S.SENT)]
# Built once: they run for every few mails, and putting a statement together costs more than running it.
_PRESENT = (
    sa.select(outreaches.c.id, outreaches.c.attempts)
    .where(among(outreaches.c.id, "ids"), sa.or_(*(outreaches.c.state == state for state in _SENDABLE)))
    .order_by(outreaches.c.id)
)


def _mark_sent(sent_id: sa.ColumnElement[int], proof: sa.ColumnElement[Any]) -> sa.Update:
    at = sa.bindparam("at", type_=outreaches.c.updated_at.type)
    return (
        sa.update(outreaches)
        .where(outreaches.c.id == sent_id)
        .values(
            state=_S.SENT.value,
            version=outreaches.c.version + 1,
            updated_at=at,
            sent_at=at,
            evidence=proof,
            refusal=None,
            next_attempt_at=None,
            sending_since=None,
            sending_by=None,
        )
    )


def _close_sent(of_key: sa.ColumnElement[str], proof: sa.ColumnElement[Any]) -> sa.Update:
    return (
        sa.update(deliveries)
        .where(deliveries.c.key == of_key, _is_open(deliveries.c.state))
        .values(
            state=DeliveryState.SENT.value,
            finished_at=sa.bindparam("at", type_=deliveries.c.finished_at.type),
            evidence=proof,
            error=None,
            next_attempt_at=None,
        )
    )


_PROOF = sa.bindparam("proof", type_=outreaches.c.evidence.type)
_MARK_SENT = _mark_sent(sa.bindparam("sent_id"), _PROOF)
_CLOSE_SENT = _close_sent(sa.bindparam("of_key"), _PROOF)


def _settle_at_once() -> sa.Select[Any]:
    """Lock those that may turn out to have been sent, in one order, and write all of it down, in one statement."""
    kinds = {"sent_id": sa.BigInteger(), "of_attempt": sa.Integer(), "of_key": sa.Text(), "proof": postgresql.JSONB()}
    given = given_like(*(touchpoints.c[name] for name in TOUCHPOINT_COLUMNS), **kinds)
    locked = (
        sa.select(*given.c, outreaches.c.state.label("present_state"), outreaches.c.attempts)
        .join(outreaches, outreaches.c.id == given.c.sent_id)
        .order_by(outreaches.c.id)
        .with_for_update(of=outreaches)
        .cte("locked")
    )
    is_sendable = sa.or_(*(locked.c.present_state == state for state in _SENDABLE))
    present = sa.select(locked).where(locked.c.attempts == locked.c.of_attempt, is_sendable).cte("present")
    marked = _mark_sent(present.c.sent_id, present.c.proof).returning(outreaches.c.id).cte("marked")
    closed = _close_sent(present.c.of_key, present.c.proof).returning(deliveries.c.id).cte("closed")
    contacts = sa.select(*(present.c[name] for name in TOUCHPOINT_COLUMNS))
    noted = (
        postgresql.insert(touchpoints)
        .from_select(list(TOUCHPOINT_COLUMNS), contacts, include_defaults=False)
        .on_conflict_do_nothing()
        .returning(touchpoints.c.id)
        .cte("noted")
    )
    return sa.select(marked.c.id).add_cte(closed, noted)


_SETTLE_AT_ONCE = _settle_at_once()
