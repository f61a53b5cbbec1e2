"""Outcomes: what was observed at the horizon, with the arm under which it was observed.

An outcome is written once and never changed. What counts as one is `bot.services.prediction.labelling`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from bot.store.experiments import Segmentation, segment_of
from bot.store.tables import metadata

__all__ = [
    "DueAssignment",
    "Happened",
    "NewOutcome",
    "ObservedArm",
    "SentOutreach",
    "due_assignments",
    "happened_to",
    "observed_arms",
    "orders_placed",
    "records_kinds",
    "sent_to",
    "sent_without",
    "store_outcomes",
]

allocations = metadata.tables["allocations"]
assignments = metadata.tables["assignments"]
outreaches = metadata.tables["outreaches"]
refusals = metadata.tables["refusals"]
outcomes = metadata.tables["outcomes"]
touchpoints = metadata.tables["touchpoints"]
orders = metadata.tables["orders"]


@dataclass(frozen=True, kw_only=True)
class DueAssignment:
    """A draw whose horizon has passed, with the first contact that was sent, else proposed, because of it."""

    id: int
    customer_id: int
    playbook: str
    arm: str
    propensity: float
    drawn_at: datetime
    order_id: int | None
    outreach_id: int | None
    prediction_id: int | None
    sent_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class SentOutreach:
    """A check-in that was sent and lacks an outcome of some kind."""

    id: int
    customer_id: int
    order_id: int | None
    playbook: str
    assignment_id: int
    prediction_id: int | None
    arm: str
    propensity: float
    sent_at: datetime


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One touchpoint as a label needs it."""

    customer_id: int
    order_id: int | None
    kind: str
    occurred_at: datetime
    value: float | None


@dataclass(frozen=True, kw_only=True)
class NewOutcome:
    """One observed label; the fields are the columns."""

    kind: str
    subject: str
    customer_id: int
    order_id: int | None
    outreach_id: int | None
    assignment_id: int | None
    prediction_id: int | None
    playbook: str | None
    arm: str | None
    propensity: float | None
    treated: bool
    anchor_at: datetime
    horizon_days: int
    value: float
    observed_at: datetime


@dataclass(frozen=True, kw_only=True)
class ObservedArm:
    """One customer's outcome in an experiment.

    Attributes
    ----------
    shares : mapping of str to float or None
        How probable each arm was at this draw; None where only the propensity of the arm drawn was stored.
    segment : str or None
        What the customer or the order belongs to, where a segmentation was asked for; known before the draw.
    """

    assignment_id: int
    customer_id: int
    playbook: str
    kind: str
    arm: str
    propensity: float
    treated: bool
    value: float
    anchor_at: datetime
    recorded_at: datetime
    shares: Mapping[str, float] | None = None
    segment: str | None = None


def due_assignments(
    connection: Connection, playbooks: Collection[str], kind: str, drawn_by: datetime, after_id: int, limit: int
) -> list[DueAssignment]:
    """Return draws of some playbooks, made by an instant, that have no outcome of a kind yet, by id."""
    out, refused = outreaches.c, refusals.c
    # A name of its own for the inner table, so that it is not taken for the outer one.
    contacts, noes = outreaches.alias("contacts"), refusals.alias("noes")
    # The first that was sent, however many were proposed and dropped before it; else the first proposal.
    first_contact = (
        sa.select(contacts.c.id)
        .where(contacts.c.assignment_id == assignments.c.id)
        .order_by(contacts.c.sent_at.is_(None), contacts.c.sent_at, contacts.c.id)
        .limit(1)
    )
    first_refusal = sa.select(sa.func.min(noes.c.id)).where(noes.c.assignment_id == assignments.c.id)
    labelled = sa.exists().where(outcomes.c.assignment_id == assignments.c.id, outcomes.c.kind == kind)
    columns = assignments.c
    query = (
        sa.select(
            columns.id,
            columns.customer_id,
            columns.playbook,
            columns.arm,
            columns.propensity,
            columns.drawn_at,
            sa.func.coalesce(out.order_id, refused.order_id).label("order_id"),
            out.id.label("outreach_id"),
            out.prediction_id,
            out.sent_at,
        )
        .select_from(assignments)
        .outerjoin(outreaches, out.id == first_contact.correlate(assignments).scalar_subquery())
        .outerjoin(refusals, refused.id == first_refusal.correlate(assignments).scalar_subquery())
        .where(columns.playbook.in_(list(playbooks)), columns.drawn_at <= drawn_by, columns.id > after_id, ~labelled)
        .order_by(columns.id)
        .limit(limit)
    )
    return [DueAssignment(**row._mapping) for row in connection.execute(query)]


def sent_to(connection: Connection, customer_ids: Collection[int], since: datetime) -> dict[int, list[datetime]]:
    """Return when customers were sent check-ins since an instant, oldest first."""
    if not customer_ids:
        return {}
    out = outreaches.c
    query = sa.select(out.customer_id, out.sent_at).where(out.customer_id.in_(list(customer_ids)), out.sent_at >= since)
    found: dict[int, list[datetime]] = {}
    for row in connection.execute(query.order_by(out.sent_at)):
        found.setdefault(row.customer_id, []).append(row.sent_at)
    return found


def sent_without(connection: Connection, kind: str, sent_by: datetime, after_id: int, limit: int) -> list[SentOutreach]:
    """Return check-ins that were sent by an instant and have no outcome of a kind yet, by id."""
    out = outreaches.c
    labelled = sa.exists().where(outcomes.c.outreach_id == out.id, outcomes.c.kind == kind)
    query = (
        sa.select(
            out.id,
            out.customer_id,
            out.order_id,
            out.playbook,
            out.assignment_id,
            out.prediction_id,
            assignments.c.arm,
            assignments.c.propensity,
            out.sent_at,
        )
        .select_from(outreaches)
        .join(assignments, assignments.c.id == out.assignment_id)
        .where(out.sent_at <= sent_by, out.id > after_id, ~labelled)
        .order_by(out.id)
        .limit(limit)
    )
    return [SentOutreach(**row._mapping) for row in connection.execute(query)]


def happened_to(
    connection: Connection, customer_ids: Collection[int], kinds: Collection[str], since: datetime, now: datetime
) -> dict[int, list[Happened]]:
    """Return what of some kinds happened to customers since an instant, as recorded by now, oldest first."""
    columns = touchpoints.c
    query = (
        sa.select(columns.customer_id, columns.order_id, columns.kind, columns.occurred_at, columns.value)
        .where(columns.customer_id.in_(list(customer_ids)), columns.kind.in_(list(kinds)))
        .where(columns.occurred_at > since, columns.recorded_at <= now)
        .order_by(columns.occurred_at, columns.id)
    )
    found: dict[int, list[Happened]] = {}
    for row in connection.execute(query):
        found.setdefault(row.customer_id, []).append(Happened(**row._mapping))
    return found


def orders_placed(
    connection: Connection, customer_ids: Collection[int], since: datetime, now: datetime
) -> dict[int, list[datetime]]:
    """Return when customers ordered after an instant, oldest first."""
    query = (
        sa.select(orders.c.customer_id, orders.c.placed_at)
        .where(orders.c.customer_id.in_(list(customer_ids)), orders.c.placed_at > since, orders.c.placed_at <= now)
        .order_by(orders.c.placed_at)
    )
    found: dict[int, list[datetime]] = {}
    for row in connection.execute(query):
        found.setdefault(row.customer_id, []).append(row.placed_at)
    return found


def records_kinds(connection: Connection, kinds: Collection[str], now: datetime) -> bool:
    """Say whether the shop records anything of some kinds at all."""
    query = sa.select(touchpoints.c.id).where(touchpoints.c.kind.in_(list(kinds)), touchpoints.c.recorded_at <= now)
    return connection.execute(query.limit(1)).first() is not None


def store_outcomes(connection: Connection, found: Iterable[NewOutcome], now: datetime) -> int:
    """Store outcomes; one that stands already is kept. Returns how many were given."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    rows = [
        {name: getattr(one, name) for name in NewOutcome.__dataclass_fields__} | {"recorded_at": now} for one in found
    ]
    if rows:
        connection.execute(dialect.insert(outcomes).on_conflict_do_nothing(), rows)
    return len(rows)


def observed_arms(
    connection: Connection, kinds: Collection[str], now: datetime, by: Segmentation | None = None
) -> list[ObservedArm]:
    """Return every customer's outcome in every experiment, as recorded by now."""
    columns = outcomes.c
    segment = sa.null() if by is None else segment_of(by)
    query = (
        sa.select(
            columns.assignment_id,
            columns.customer_id,
            columns.playbook,
            columns.kind,
            columns.arm,
            columns.propensity,
            columns.treated,
            columns.value,
            columns.anchor_at,
            columns.recorded_at,
            allocations.c.shares,
            segment.label("segment"),
        )
        .join(assignments, assignments.c.id == columns.assignment_id)
        .outerjoin(allocations, allocations.c.id == assignments.c.allocation_id)
        .where(columns.kind.in_(list(kinds)), columns.arm.is_not(None), columns.recorded_at <= now)
    )
    return [ObservedArm(**row._mapping) for row in connection.execute(query.order_by(columns.id))]
