"""How check-ins that agents decided ended: outcomes with the agents' last word; what it means is `bot.decide.scoreboard`'s."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.autonomy import AFTERCARE
from bot.store.enums import DecisionKind
from bot.store.tables import metadata

__all__ = ["DecidedOutcome", "decided_outcomes"]

_outcomes = metadata.tables["outcomes"]
_outreaches = metadata.tables["outreaches"]
_decisions = metadata.tables["decisions"]
# An undone decision is none.
_FINAL = tuple(one.value for one in (DecisionKind.APPROVE, DecisionKind.EDIT, DecisionKind.REJECT, DecisionKind.UNDO))


@dataclass(frozen=True, kw_only=True)
class DecidedOutcome:
    """One outcome of a draw whose check-in an agent decided."""

    kind: str
    decision: str
    reason: str | None
    band: str
    probability: float
    value: float
    sent: bool


def decided_outcomes(connection: Connection, kinds: Collection[str], known_by: datetime) -> list[DecidedOutcome]:
    """Return the outcomes of some kinds that were recorded by an instant, with an agent's last word; none of the machine's."""
    last = (
        sa.select(_decisions.c.outreach_id, sa.func.max(_decisions.c.outreach_version).label("version"))
        .where(_decisions.c.kind.in_(_FINAL))
        .group_by(_decisions.c.outreach_id)
        .subquery()
    )
    query = (
        sa.select(
            _outcomes.c.kind, _decisions.c.kind.label("decision"), _decisions.c.reason, _outreaches.c.band,
            _outreaches.c.probability, _outcomes.c.value, _outcomes.c.treated.label("sent"),
        )
        .join(_outreaches, _outreaches.c.id == _outcomes.c.outreach_id)
        .join(last, last.c.outreach_id == _outreaches.c.id)
        .join(
            _decisions,
            sa.and_(_decisions.c.outreach_id == last.c.outreach_id, _decisions.c.outreach_version == last.c.version),
        )
        .where(
            _outcomes.c.kind.in_(list(kinds)),
            _outcomes.c.recorded_at <= known_by,
            _decisions.c.actor != AFTERCARE,
            _outreaches.c.probability.is_not(None),
        )
        .order_by(_outcomes.c.id)
    )  # fmt: skip
    return [DecidedOutcome(**row._mapping) for row in connection.execute(query)]
