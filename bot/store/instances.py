"""Instances of playbooks: one customer's way through one, from one trigger instant on, and the version that it keeps to.

A row is unique by customer, playbook and trigger instant. Every change is a compare-and-set on the step and state that the
caller saw, so that two planners, or one that died and its successor, change nothing twice. What comes next for an instance
is `bot.decide.playbook_journey`'s judgement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import OutreachState
from bot.store.enums import JourneyState
from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = [
    "NewJourney",
    "StoredJourney",
    "active_journeys",
    "begin_journey",
    "begun",
    "contents_of",
    "end_journey",
    "journeys_of",
    "keep_version",
    "move_journeys",
    "stands",
    "step_on",
]

journeys = metadata.tables["journeys"]
versions = metadata.tables["playbook_versions"]
outreaches = metadata.tables["outreaches"]
_ACTIVE = JourneyState.ACTIVE.value


@dataclass(frozen=True, kw_only=True)
class NewJourney:
    """A way that begins: with its first step proposed, or with somebody held out, who is only observed."""

    customer_id: int
    order_id: int | None
    playbook: str
    playbook_version: str
    assignment_id: int
    arm: str
    trigger_at: datetime
    step: str
    outreach_id: int | None
    due_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class StoredJourney(NewJourney):
    """A way as it stands, with what became of its last step's check-in."""

    id: int
    started_at: datetime
    state: JourneyState
    exit_reason: str | None
    ended_at: datetime | None
    outreach_state: OutreachState | None
    sent_at: datetime | None


def keep_version(connection: Connection, playbook: str, version: str, content: str, now: datetime) -> None:
    """Keep what a version of a playbook says, unless it is kept already."""
    insert_once(
        connection,
        versions,
        {"playbook": playbook, "version": version, "content": content, "recorded_at": now},
    )


def contents_of(connection: Connection, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return what versions of playbooks say, by playbook and version."""
    if not wanted:
        return {}
    query = sa.select(versions.c.playbook, versions.c.version, versions.c.content).where(
        versions.c.version.in_({version for _, version in wanted})
    )
    found = {(row.playbook, row.version): str(row.content) for row in connection.execute(query)}
    return {key: found[key] for key in wanted if key in found}


def begin_journey(connection: Connection, new: NewJourney, now: datetime) -> None:
    """Begin a way; one from the same instant that stands at the same step goes on with the new check-in."""
    values = {name: getattr(new, name) for name in NewJourney.__dataclass_fields__}
    begins = {**values, "state": _ACTIVE, "started_at": now}
    if insert_once(connection, journeys, begins) is not None:
        return
    columns = journeys.c
    connection.execute(
        sa.update(journeys)
        .where(columns.customer_id == new.customer_id, columns.playbook == new.playbook)
        .where(columns.trigger_at == new.trigger_at, columns.step == new.step)
        .values(outreach_id=new.outreach_id, due_at=new.due_at, state=_ACTIVE, exit_reason=None, ended_at=None)
    )


def begun(
    connection: Connection, playbook: str, customer_ids: Collection[int]
) -> dict[tuple[int, datetime], StoredJourney]:
    """Return the ways of customers through a playbook, by customer and trigger instant."""
    query = _joined().where(journeys.c.playbook == playbook, journeys.c.customer_id.in_(list(customer_ids)))
    found = [_record(row) for row in connection.execute(query)]
    return {(one.customer_id, one.trigger_at): one for one in found}


def active_journeys(
    connection: Connection,
    *,
    customers: tuple[int, int] | None = None,
    ids: Collection[int] | None = None,
    after_id: int = 0,
    limit: int | None = None,
) -> list[StoredJourney]:
    """Return ways that have not ended, by id."""
    query = _joined().where(journeys.c.state == _ACTIVE, journeys.c.id > after_id)
    if customers is not None:
        query = query.where(journeys.c.customer_id.between(*customers))
    if ids is not None:
        query = query.where(journeys.c.id.in_(list(ids)))
    return [_record(row) for row in connection.execute(query.order_by(journeys.c.id).limit(limit))]


def journeys_of(connection: Connection, customer_id: int) -> list[StoredJourney]:
    """Return all ways of a customer, the latest first."""
    query = _joined().where(journeys.c.customer_id == customer_id).order_by(journeys.c.id.desc())
    return [_record(row) for row in connection.execute(query)]


def stands(connection: Connection, journey: StoredJourney) -> bool:
    """Say whether a way stands where the caller saw it, and hold it there until this transaction ends."""
    columns = journeys.c
    query = sa.select(columns.id).where(
        columns.id == journey.id, columns.state == _ACTIVE, columns.step == journey.step
    )
    return connection.execute(query.with_for_update()).first() is not None


def step_on(
    connection: Connection, journey: StoredJourney, step: str, outreach_id: int, due_at: datetime | None
) -> bool:
    """Go on to another step; False: it does not stand any more where the caller saw it."""
    return _change(connection, journey, step=step, outreach_id=outreach_id, due_at=due_at)


def end_journey(connection: Connection, journey: StoredJourney, why: str, now: datetime) -> bool:
    """End a way; False: it does not stand any more where the caller saw it."""
    return _change(connection, journey, state=JourneyState.ENDED.value, exit_reason=why, ended_at=now, due_at=None)


def move_journeys(
    connection: Connection, playbook: str, version: str, steps: Iterable[str], customer_id: int | None = None
) -> tuple[int, int]:
    """Let active ways go on by another version that knows the step at which they stand.

    Returns
    -------
    (int, int)
        How many were moved, and how many stand at a step that this version does not have, and stay.
    """
    columns = journeys.c
    older = sa.and_(columns.state == _ACTIVE, columns.playbook == playbook, columns.playbook_version != version)
    if customer_id is not None:
        older = sa.and_(older, columns.customer_id == customer_id)
    known = columns.step.in_(sorted(steps))
    done = connection.execute(sa.update(journeys).where(older, known).values(playbook_version=version)).rowcount
    left = connection.execute(sa.select(sa.func.count()).select_from(journeys).where(older)).scalar_one()
    return int(done), int(left)


def _change(connection: Connection, journey: StoredJourney, **values: object) -> bool:
    columns = journeys.c
    seen = sa.and_(columns.id == journey.id, columns.state == _ACTIVE, columns.step == journey.step)
    return bool(connection.execute(sa.update(journeys).where(seen).values(**values)).rowcount)


def _joined() -> sa.Select[Any]:
    return sa.select(
        journeys, outreaches.c.state.label("outreach_state"), outreaches.c.sent_at.label("sent_at")
    ).select_from(journeys.outerjoin(outreaches, outreaches.c.id == journeys.c.outreach_id))


def _record(row: sa.Row[Any]) -> StoredJourney:
    values = dict(row._mapping)
    state = values["outreach_state"]
    values["outreach_state"] = None if state is None else OutreachState(state)
    return StoredJourney(**{**values, "state": JourneyState(values["state"])})
