"""What an agent decided lately, and whether anything leaves: the rows behind the numbers that people are shown.

What the numbers are is `bot.services.review.standing`'s business; setting the switch `bot.services.delivery.stopping`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import OutreachState
from bot.store.controls import RESTORED, STOPPED
from bot.store.enums import DecisionKind
from bot.store.tables import metadata

__all__ = ["Judgement", "Sending", "Switched", "judgements", "sending", "switches_since"]

decisions = metadata.tables["decisions"]
outreaches = metadata.tables["outreaches"]
controls = metadata.tables["controls"]
audit = metadata.tables["audit"]

_JUDGEMENTS = (DecisionKind.APPROVE, DecisionKind.EDIT, DecisionKind.REJECT)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One yes or no that stands, with when the check-in was proposed and when it was decided."""

    kind: DecisionKind
    proposed_at: datetime
    decided_at: datetime


@dataclass(frozen=True, kw_only=True)
class Sending:
    """Whether anything leaves.

    Attributes
    ----------
    stopped_at, stopped_by, why : optional
        The global stop that holds.
    held : bool
        After a restore, what was due is held.
    approved, due : int
        How many check-ins wait to leave, and how many of them would leave at once.
    """

    stopped_at: datetime | None
    stopped_by: str
    why: str
    held: bool
    approved: int
    due: int


@dataclass(frozen=True, kw_only=True)
class Switched:
    """One entry of the audit log about the global stop."""

    id: int
    at: datetime
    actor: str
    stopped: bool
    why: str


def judgements(connection: Connection, actor: str, since: datetime) -> list[Judgement]:
    """Return what an agent approved, edited or rejected since an instant and nobody took back."""
    later = decisions.alias("later")
    undone = (
        sa.select(later.c.id)
        .where(
            later.c.outreach_id == decisions.c.outreach_id,
            later.c.outreach_version == decisions.c.outreach_version + 1,
            later.c.kind == DecisionKind.UNDO.value,
        )
        .exists()
    )
    query = (
        sa.select(decisions.c.kind, outreaches.c.created_at, decisions.c.recorded_at)
        .join(outreaches, outreaches.c.id == decisions.c.outreach_id)
        .where(
            decisions.c.actor == actor,
            decisions.c.recorded_at >= since,
            decisions.c.kind.in_([kind.value for kind in _JUDGEMENTS]),
            ~undone,
        )
        .order_by(decisions.c.recorded_at, decisions.c.id)
    )
    return [
        Judgement(kind=DecisionKind(row.kind), proposed_at=row.created_at, decided_at=row.recorded_at)
        for row in connection.execute(query)
    ]


def sending(connection: Connection, now: datetime) -> Sending:
    """Return whether anything leaves, and what waits to."""
    found = {
        row.name: row
        for row in connection.execute(sa.select(controls).where(controls.c.name.in_([STOPPED, RESTORED])))
        if row.value is not None
    }
    columns = outreaches.c
    due = sa.func.coalesce(sa.func.sum(sa.case((columns.not_before <= now, 1), else_=0)), 0)
    approved, leaving = connection.execute(
        sa.select(sa.func.count(), due).where(columns.state == OutreachState.APPROVED.value, columns.expires_at > now)
    ).one()
    stop = found.get(STOPPED)
    return Sending(
        stopped_at=None if stop is None else stop.updated_at,
        stopped_by="" if stop is None else str(stop.actor),
        why=_why(None if stop is None else stop.value),
        held=RESTORED in found,
        approved=int(approved),
        due=int(leaving),
    )


def switches_since(connection: Connection, since: datetime) -> list[Switched]:
    """Return who stopped everything, or let it go on, since an instant, oldest first."""
    query = (
        sa.select(audit.c.id, audit.c.recorded_at, audit.c.actor, audit.c.action, audit.c.detail)
        .where(
            audit.c.entity == "delivery",
            audit.c.entity_id == "all",
            audit.c.action.in_(["stop", "resume"]),
            audit.c.recorded_at >= since,
        )
        .order_by(audit.c.id)
    )
    return [
        Switched(id=row.id, at=row.recorded_at, actor=row.actor, stopped=row.action == "stop", why=_why(row.detail))
        for row in connection.execute(query)
    ]


def _why(value: object) -> str:
    return str(value.get("why") or "") if isinstance(value, dict) else ""
