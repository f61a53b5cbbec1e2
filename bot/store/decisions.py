"""What agents decided about outreaches, and what a card must show about one.

Both are read for people; nothing here moves an outreach (`bot.store.outreach` does).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import DecisionKind
from bot.store.tables import metadata

__all__ = [
    "CardFacts",
    "Decided",
    "Forecast",
    "card_facts",
    "decisions_of",
    "deliveries_of",
    "forecast_behind",
    "record_decision",
]

decisions = metadata.tables["decisions"]
deliveries = metadata.tables["deliveries"]
outreaches = metadata.tables["outreaches"]
customers = metadata.tables["customers"]
orders = metadata.tables["orders"]
assignments = metadata.tables["assignments"]
predictions = metadata.tables["predictions"]
articles = metadata.tables["articles"]
article_versions = metadata.tables["article_versions"]


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What stands around an outreach and is shown with it: its customer, order, prediction and article."""

    outreach_id: int
    customer_key: str
    customer_name: str | None
    customer_timezone: str | None
    order_key: str | None
    prediction_kind: str | None
    horizon_days: int | None
    article_id: str | None
    article_version: int | None
    article_title: str | None
    arm: str


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The prediction that an outreach was proposed on, as far as people are told about it."""

    kind: str
    as_of: datetime
    probability: float
    band: str
    stage: str
    reasons: Any
    fragility: Any


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What an agent did with an outreach, and on which version of it."""

    id: int
    outreach_id: int
    outreach_version: int
    kind: DecisionKind
    actor: str
    reason: str | None
    draft_before: str | None
    draft_after: str | None
    until: datetime | None
    event_key: str | None
    recorded_at: datetime


def record_decision(
    connection: Connection,
    *,
    outreach_id: int,
    outreach_version: int,
    kind: DecisionKind,
    actor: str,
    now: datetime,
    reason: str | None = None,
    draft_before: str | None = None,
    draft_after: str | None = None,
    until: datetime | None = None,
    event_key: str | None = None,
) -> None:
    """Store what was decided on which version; the database allows one decision a version."""
    connection.execute(
        sa.insert(decisions).values(
            outreach_id=outreach_id,
            outreach_version=outreach_version,
            kind=kind,
            actor=actor,
            reason=reason,
            draft_before=draft_before,
            draft_after=draft_after,
            until=until,
            event_key=event_key,
            recorded_at=now,
        )
    )


def decisions_of(connection: Connection, outreach_id: int) -> list[Decided]:
    """Return what was decided about an outreach, oldest first."""
    query = sa.select(decisions).where(decisions.c.outreach_id == outreach_id).order_by(decisions.c.outreach_version)
    return [
        Decided(**{**row._mapping, "kind": DecisionKind(row.kind)})  # the columns are the fields
        for row in connection.execute(query)
    ]


def deliveries_of(connection: Connection, outreach_ids: Collection[int]) -> dict[int, list[dict[str, Any]]]:
    """Return the delivery attempts of outreaches, oldest first, as plain mappings."""
    columns = deliveries.c
    query = (
        sa.select(
            columns.outreach_id,
            columns.attempt,
            columns.key,
            columns.channel,
            columns.state,
            columns.started_at,
            columns.finished_at,
            columns.error,
        )
        .where(columns.outreach_id.in_(list(outreach_ids)))
        .order_by(columns.outreach_id, columns.attempt)
    )
    found: dict[int, list[dict[str, Any]]] = {}
    for row in connection.execute(query):
        attempt = dict(row._mapping)
        found.setdefault(attempt.pop("outreach_id"), []).append(attempt)
    return found


def card_facts(connection: Connection, outreach_ids: Collection[int]) -> dict[int, CardFacts]:
    """Return what is shown around outreaches, by outreach id, in one query."""
    query = (
        sa.select(
            outreaches.c.id.label("outreach_id"),
            customers.c.external_id.label("customer_key"),
            customers.c.name.label("customer_name"),
            customers.c.timezone.label("customer_timezone"),
            orders.c.external_id.label("order_key"),
            predictions.c.kind.label("prediction_kind"),
            predictions.c.horizon_days,
            articles.c.external_id.label("article_id"),
            article_versions.c.version.label("article_version"),
            article_versions.c.title.label("article_title"),
            assignments.c.arm,
        )
        .join(customers, customers.c.id == outreaches.c.customer_id)
        .join(assignments, assignments.c.id == outreaches.c.assignment_id)
        .outerjoin(orders, orders.c.id == outreaches.c.order_id)
        .outerjoin(predictions, predictions.c.id == outreaches.c.prediction_id)
        .outerjoin(article_versions, article_versions.c.id == outreaches.c.article_version_id)
        .outerjoin(articles, articles.c.id == article_versions.c.article_id)
        .where(outreaches.c.id.in_(list(outreach_ids)))
    )
    return {row.outreach_id: CardFacts(**row._mapping) for row in connection.execute(query)}


def forecast_behind(connection: Connection, prediction_id: int) -> Forecast | None:
    """Return the prediction that an outreach was proposed on; None where it was erased."""
    names = [predictions.c[name] for name in Forecast.__dataclass_fields__]
    row = connection.execute(sa.select(*names).where(predictions.c.id == prediction_id)).one_or_none()
    return None if row is None else Forecast(**row._mapping)
