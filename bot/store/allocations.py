"""The shares of variants, each with the instant from which it was in force; the newest is, and nothing is ever changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.bandit import AllocationWay
from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = ["NewAllocation", "StoredAllocation", "add_allocation", "allocations_of", "latest_allocation", "seen_in_arms"]

_allocations = metadata.tables["allocations"]
_assignments = metadata.tables["assignments"]
_outcomes = metadata.tables["outcomes"]


@dataclass(frozen=True, kw_only=True)
class NewAllocation:
    """Shares of all arms, the holdout among them, and how they came about; the fields are the columns."""

    playbook: str
    experiment: str
    number: int
    way: AllocationWay
    shares: Mapping[str, float]
    chances: Mapping[str, float]
    stopped: Sequence[str]
    reason: str
    decided_at: datetime


@dataclass(frozen=True, kw_only=True)
class StoredAllocation(NewAllocation):
    """Shares as they were recorded."""

    id: int


def allocations_of(connection: Connection, experiment: str) -> list[StoredAllocation]:
    """Return all shares that an experiment ever had, oldest first."""
    query = sa.select(_allocations).where(_allocations.c.experiment == experiment).order_by(_allocations.c.number)
    return [_stored(row) for row in connection.execute(query)]


def latest_allocation(connection: Connection, experiment: str) -> StoredAllocation | None:
    """Return the shares in force; None where they never moved."""
    query = sa.select(_allocations).where(_allocations.c.experiment == experiment)
    row = connection.execute(query.order_by(_allocations.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else _stored(row)


def add_allocation(connection: Connection, new: NewAllocation) -> int | None:
    """Put shares into force; None where somebody else did so with the same number."""
    values = {name: getattr(new, name) for name in NewAllocation.__dataclass_fields__}
    values |= {
        "way": new.way.value,
        "shares": dict(new.shares),
        "chances": dict(new.chances),
        "stopped": list(new.stopped),
    }
    return insert_once(connection, _allocations, values)


def seen_in_arms(connection: Connection, experiment: str, kind: str, now: datetime) -> list[tuple[str, float, float]]:
    """Return arm, propensity and value of every outcome of a kind in an experiment, as recorded by now."""
    query = (
        sa.select(_outcomes.c.arm, _outcomes.c.propensity, _outcomes.c.value)
        .join(_assignments, _assignments.c.id == _outcomes.c.assignment_id)
        .where(_assignments.c.experiment == experiment, _outcomes.c.kind == kind, _outcomes.c.recorded_at <= now)
        .order_by(_outcomes.c.id)
    )
    return [(row.arm, row.propensity, row.value) for row in connection.execute(query)]


def _stored(row: Any) -> StoredAllocation:
    return StoredAllocation(**{**row._mapping, "way": AllocationWay(row.way)})
