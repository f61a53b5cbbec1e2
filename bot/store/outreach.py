"""Outreaches, and the one compare-and-set through which they change.

Every move of an outreach goes through `change_state`, whatever module asks for it. Which moves are legal is
said by `bot.decide.lifecycle`; whether a move is wise (policy, claims, leases) is the services' business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.contact import Priority, Purpose
from bot.decide.lifecycle import SENDABLE, OutreachState, move
from bot.decide.playbook import Autonomy
from bot.errors import NotFound
from bot.store.jobs import wake_outreach
from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = [
    "NewOutreach",
    "Outreach",
    "OutreachColumns",
    "as_outreach",
    "change_state",
    "count_outreach",
    "insert_outreach",
    "list_outreach",
    "outreach",
    "revise",
]

outreaches = metadata.tables["outreaches"]
# What says when an approved outreach leaves.
_WHEN = frozenset({"state", "not_before", "next_attempt_at"})


@dataclass(frozen=True, kw_only=True)
class NewOutreach:
    """A contact about to be proposed; what is not yet known has no field here.

    Attributes
    ----------
    autonomy : Autonomy
        How far the bot may go by itself with it, at most.
    pattern_id : int or None
        The pattern for whose sake it is proposed.
    purpose, priority : Purpose, Priority
        What the policy asks about when it leaves, as the playbook said when it was proposed.
    """

    dedupe_key: str
    customer_id: int
    order_id: int | None
    playbook: str
    playbook_version: str
    step: str
    channel: str
    local_date: str
    assignment_id: int
    prediction_id: int | None
    article_version_id: int | None
    template: str
    locale: str
    subject: str
    draft: str
    reasons: Sequence[dict[str, Any]]
    probability: float | None
    band: str
    urgent: bool
    not_before: datetime
    expires_at: datetime
    autonomy: Autonomy = Autonomy.APPROVE
    pattern_id: int | None = None
    purpose: Purpose = Purpose.SERVICE
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, kw_only=True)
class Outreach:
    """One proposed or approved contact with one customer on one channel, as it stands in the table.

    Attributes
    ----------
    version : int
        Counts every change; a decision names the version it was made on.
    dedupe_key : str
        `{customer_id}:{playbook}:{step}:{local_date}`; unique, so that no day proposes twice.
    original_draft : str
        The words as rendered; `draft` holds what an agent made of them.
    """

    id: int
    version: int
    state: OutreachState
    dedupe_key: str
    customer_id: int
    order_id: int | None
    playbook: str
    playbook_version: str
    step: str
    channel: str
    local_date: str
    assignment_id: int
    prediction_id: int | None
    article_version_id: int | None
    template: str
    locale: str
    subject: str
    draft: str
    original_draft: str
    reasons: Sequence[dict[str, Any]]
    probability: float | None
    band: str
    urgent: bool
    created_at: datetime
    updated_at: datetime
    not_before: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    claimed_by: str | None
    claimed_until: datetime | None
    snoozed_until: datetime | None
    refusal: str | None
    attempts: int
    next_attempt_at: datetime | None
    sending_since: datetime | None
    sending_by: str | None
    sent_at: datetime | None
    evidence: Any
    autonomy: Autonomy = Autonomy.APPROVE
    pattern_id: int | None = None
    purpose: Purpose = Purpose.SERVICE
    priority: Priority = Priority.NORMAL


class OutreachColumns(TypedDict, total=False):
    """What may be written along with a change of state."""

    subject: str
    draft: str
    channel: str
    article_version_id: int | None
    reasons: Sequence[dict[str, Any]]
    urgent: bool
    not_before: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    claimed_by: str | None
    claimed_until: datetime | None
    snoozed_until: datetime | None
    refusal: str | None
    attempts: int
    next_attempt_at: datetime | None
    sending_since: datetime | None
    sending_by: str | None
    sent_at: datetime | None
    evidence: Any


def insert_outreach(connection: Connection, new: NewOutreach, now: datetime) -> int | None:
    """Propose an outreach; return its id, or None where its dedupe key already stands."""
    values = {name: getattr(new, name) for name in NewOutreach.__dataclass_fields__}
    values |= {
        "reasons": list(new.reasons),
        "original_draft": new.draft,
        "version": 1,
        "state": OutreachState.SUGGESTED,
        "attempts": 0,
        "created_at": now,
        "updated_at": now,
    }
    return insert_once(connection, outreaches, values)


def outreach(connection: Connection, outreach_id: int) -> Outreach:
    """Return one outreach.

    Raises
    ------
    NotFound
        There is none with this id.
    """
    row = connection.execute(sa.select(outreaches).where(outreaches.c.id == outreach_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no outreach {outreach_id}; `aftercare outreach list` shows the open ones")
    return _record(row)


def list_outreach(
    connection: Connection,
    states: Collection[OutreachState] | None = None,
    *,
    ids: Collection[int] | None = None,
    customer_id: int | None = None,
    playbook: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[Outreach]:
    """Return outreaches, urgent first, then the most probable trouble, then the oldest."""
    query = _filtered(sa.select(outreaches), states, ids, customer_id, playbook)
    query = query.order_by(
        outreaches.c.urgent.desc(), sa.func.coalesce(outreaches.c.probability, 0.0).desc(), outreaches.c.id
    )
    if limit is not None:
        query = query.limit(limit)
    return [_record(row) for row in connection.execute(query.offset(offset))]


def count_outreach(connection: Connection, states: Collection[OutreachState] | None = None) -> int:
    """Count the outreaches in some states."""
    query = _filtered(sa.select(sa.func.count()).select_from(outreaches), states, None, None, None)
    return int(connection.execute(query).scalar_one())


def change_state(
    connection: Connection,
    outreach_id: int,
    version: int,
    from_states: Iterable[OutreachState],
    to: OutreachState,
    now: datetime,
    **columns: Unpack[OutreachColumns],
) -> bool:
    """Move an outreach if it still is what the caller saw: the one compare-and-set.

    Parameters
    ----------
    version : int
        The version the caller saw; it is one higher afterwards.
    from_states : iterable of OutreachState
        From where the caller means to move.
    columns : OutreachColumns
        What to write along.

    Returns
    -------
    bool
        False: somebody was faster, or it is a draft that is never sent, and nothing was changed.

    Raises
    ------
    IllegalTransition
        The table of moves has no such move, whatever the row says.
    """
    sources = [state for state in from_states if move(state, to)]
    return _write(connection, outreach_id, version, sources, now, {**columns, "state": to})


def revise(
    connection: Connection,
    outreach_id: int,
    version: int,
    from_states: Iterable[OutreachState],
    now: datetime,
    **columns: Unpack[OutreachColumns],
) -> bool:
    """Change columns of an outreach that stays in its state; compare-and-set like `change_state`."""
    return _write(connection, outreach_id, version, list(from_states), now, dict(columns))


def _write(
    connection: Connection,
    outreach_id: int,
    version: int,
    sources: list[OutreachState],
    now: datetime,
    values: dict[str, Any],
) -> bool:
    unsent = outreaches.c.autonomy != Autonomy.DRAFT.value if values.get("state") in SENDABLE else sa.true()
    statement = (
        sa.update(outreaches)
        .where(outreaches.c.id == outreach_id, outreaches.c.version == version, outreaches.c.state.in_(sources), unsent)
        .values({**values, "version": version + 1, "updated_at": now})
        .returning(outreaches.c.state, outreaches.c.not_before, outreaches.c.next_attempt_at)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return False
    if row.state == OutreachState.APPROVED and not _WHEN.isdisjoint(values):
        # Whoever approves, delays or asks for another attempt: a worker is told with the same commit.
        wake_outreach(connection, outreach_id, max(row.not_before, row.next_attempt_at or row.not_before), now)
    return True


def _filtered(
    query: sa.Select[Any],
    states: Collection[OutreachState] | None,
    ids: Collection[int] | None,
    customer_id: int | None,
    playbook: str | None,
) -> sa.Select[Any]:
    if states is not None:
        query = query.where(outreaches.c.state.in_(list(states)))
    if ids is not None:
        query = query.where(outreaches.c.id.in_(list(ids)))
    if customer_id is not None:
        query = query.where(outreaches.c.customer_id == customer_id)
    if playbook is not None:
        query = query.where(outreaches.c.playbook == playbook)
    return query


def _record(row: sa.Row[Any]) -> Outreach:
    return as_outreach(dict(row._mapping))


def as_outreach(values: Mapping[str, Any]) -> Outreach:
    """Make a record of the columns of one row."""
    typed = {
        "state": OutreachState(values["state"]),
        "autonomy": Autonomy(values["autonomy"]),
        "purpose": Purpose(values["purpose"]),
        "priority": Priority(values["priority"]),
    }
    return Outreach(**{**values, **typed, "reasons": tuple(values["reasons"] or ())})
