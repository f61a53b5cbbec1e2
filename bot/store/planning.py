"""What a plan starts from and what it leaves behind: predictions, assignments to arms, refusals.

The contacts that it proposes are in `bot.store.outreach`, what it must know about customers in
`bot.store.journeys`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from bot.decide.value import Gain
from bot.store.journeys import chunks
from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = [
    "Forecast",
    "NewRefusal",
    "StoredArm",
    "StoredRefusal",
    "arms_of",
    "article_version_ids",
    "begun_on",
    "forecasts_by_ids",
    "forecasts_since",
    "proposed_on",
    "refusals_of",
    "store_arm",
    "store_refusals",
]

predictions = metadata.tables["predictions"]
assignments = metadata.tables["assignments"]
refusals = metadata.tables["refusals"]
outreaches = metadata.tables["outreaches"]
journeys = metadata.tables["journeys"]
articles = metadata.tables["articles"]
article_versions = metadata.tables["article_versions"]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One prediction that a plan may act on; `prediction_id` is None where it was not stored (a dry run).

    `gain` is what a check-in is expected to gain, once a model of it was promoted (`bot.services.planning.gains`);
    `pattern_id` names the emergent pattern that stands in for a prediction. Where an event stands in for one, `as_of` is the
    instant that the playbook counts from, and `since` that from which on what happened counts.
    """

    prediction_id: int | None
    kind: str
    moment: str
    customer_id: int
    order_id: int | None
    as_of: datetime
    probability: float
    band: str
    reasons: Sequence[Mapping[str, Any]]
    gain: Gain | None = None
    pattern_id: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class StoredArm:
    """A draw that stands: whatever the settings say by now, this customer stays in this arm."""

    id: int
    customer_id: int
    playbook: str
    arm: str
    propensity: float


@dataclass(frozen=True, kw_only=True)
class NewRefusal:
    """Why somebody in the audience is not contacted today."""

    customer_id: int
    order_id: int | None
    playbook: str
    step: str
    assignment_id: int | None
    decision: str
    reason: str
    until: datetime | None
    local_date: str
    dedupe_key: str


@dataclass(frozen=True, kw_only=True)
class StoredRefusal(NewRefusal):
    """A refusal as it was recorded."""

    id: int
    recorded_at: datetime


def forecasts_since(
    connection: Connection,
    kind: str,
    since: datetime,
    before: datetime,
    *,
    customers: tuple[int, int] | None = None,
) -> list[Forecast]:
    """Return the latest prediction of each subject that was recorded in a half-open span.

    An order that fell due is judged by what was predicted then, else by what was predicted at purchase.

    Parameters
    ----------
    customers : (int, int), optional
        Only of those with ids in this range, both ends included.
    """
    columns = predictions.c
    newest = sa.func.row_number().over(
        partition_by=columns.subject,
        order_by=(sa.case((columns.moment == "due", 0), else_=1), columns.as_of.desc(), columns.id.desc()),
    )
    # Of a range of customers, theirs are looked up: written so that no index on the day fits, by which SQLite would go
    # through the whole shop for each range.
    of_kind = columns.kind if customers is None else sa.func.coalesce(columns.kind, "")
    inner = sa.select(predictions, newest.label("place")).where(
        of_kind == kind, columns.recorded_at >= since, columns.recorded_at < before, columns.as_of < before
    )
    if customers is not None:
        inner = inner.where(columns.customer_id.between(*customers))
    ranked = inner.subquery()
    query = sa.select(ranked).where(ranked.c.place == 1).order_by(ranked.c.id)
    return [_forecast(row) for row in connection.execute(query)]


def forecasts_by_ids(connection: Connection, ids: Sequence[int]) -> list[Forecast]:
    """Return stored predictions by their ids, in the order of these; what is gone is left out."""
    found: list[Forecast] = []
    for page in chunks(ids):
        query = sa.select(predictions).where(predictions.c.id.in_(page)).order_by(predictions.c.id)
        found += [_forecast(row) for row in connection.execute(query)]
    return found


def _forecast(row: Any) -> Forecast:
    return Forecast(
        prediction_id=row.id,
        kind=row.kind,
        moment=row.moment,
        customer_id=row.customer_id,
        order_id=row.order_id,
        as_of=row.as_of,
        probability=row.probability,
        band=row.band,
        reasons=tuple(row.reasons or ()),
    )


def arms_of(connection: Connection, customer_ids: Collection[int], experiment: str) -> dict[int, StoredArm]:
    """Return the draws that stand for customers in an experiment."""
    columns = assignments.c
    query = sa.select(columns.id, columns.customer_id, columns.playbook, columns.arm, columns.propensity).where(
        columns.customer_id.in_(list(customer_ids)), columns.experiment == experiment
    )
    return {row.customer_id: StoredArm(**row._mapping) for row in connection.execute(query)}


def store_arm(
    connection: Connection,
    *,
    customer_id: int,
    playbook: str,
    experiment: str,
    arm: str,
    propensity: float,
    salt: str,
    now: datetime,
    band: str | None = None,
    channel: str | None = None,
    allocation_id: int | None = None,
) -> StoredArm:
    """Store a draw unless one stands already; return the one that stands.

    Parameters
    ----------
    band, channel : str, optional
        Of the prediction, and on which they would be contacted: known before the draw, in either arm.
    allocation_id : int, optional
        The shares by which it was drawn, where they move.
    """
    values = {
        "customer_id": customer_id,
        "playbook": playbook,
        "experiment": experiment,
        "arm": arm,
        "propensity": propensity,
        "salt": salt,
        "drawn_at": now,
        "band": band,
        "channel": channel,
        "allocation_id": allocation_id,
    }
    if (drawn := insert_once(connection, assignments, values)) is not None:
        return StoredArm(id=drawn, customer_id=customer_id, playbook=playbook, arm=arm, propensity=propensity)
    return arms_of(connection, [customer_id], experiment)[customer_id]


def store_refusals(connection: Connection, found: Iterable[NewRefusal], now: datetime) -> None:
    """Store refusals; one that stands already for the customer, step and local date is kept."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    rows = [
        {name: getattr(one, name) for name in NewRefusal.__dataclass_fields__} | {"recorded_at": now} for one in found
    ]
    if rows:
        connection.execute(dialect.insert(refusals).on_conflict_do_nothing(), rows)


def refusals_of(connection: Connection, customer_id: int, limit: int = 50) -> list[StoredRefusal]:
    """Return why a customer was not contacted, latest first."""
    query = sa.select(refusals).where(refusals.c.customer_id == customer_id)
    query = query.order_by(refusals.c.recorded_at.desc(), refusals.c.id.desc()).limit(limit)
    return [StoredRefusal(**row._mapping) for row in connection.execute(query)]


def proposed_on(connection: Connection, local_date: str) -> dict[str, int]:
    """Count the check-ins that were proposed on a local date, by channel."""
    columns = outreaches.c
    query = sa.select(columns.channel, sa.func.count().label("number")).where(columns.local_date == local_date)
    return {row.channel: int(row.number) for row in connection.execute(query.group_by(columns.channel))}


def begun_on(connection: Connection, local_date: str) -> dict[str, int]:
    """Count, by playbook, the first steps that were proposed on a local date: those on which no way had begun before."""
    mine = outreaches.alias("mine")
    columns = outreaches.c
    # A later step is a check-in on a way that began with another one, on an earlier day.
    later = (
        sa.exists()
        .where(journeys.c.outreach_id == columns.id, mine.c.playbook == columns.playbook)
        .where(mine.c.customer_id == columns.customer_id, mine.c.created_at < columns.created_at)
        .where(mine.c.created_at >= journeys.c.started_at)
    )
    query = sa.select(columns.playbook, sa.func.count().label("number")).where(columns.local_date == local_date, ~later)
    return {row.playbook: int(row.number) for row in connection.execute(query.group_by(columns.playbook))}


def article_version_ids(connection: Connection, cited: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Return the row ids of article versions, by article id and version."""
    query = (
        sa.select(articles.c.external_id, article_versions.c.version, article_versions.c.id)
        .join(articles, articles.c.id == article_versions.c.article_id)
        .where(articles.c.external_id.in_([article for article, _ in cited]))
    )
    found = {(row.external_id, row.version): int(row.id) for row in connection.execute(query)}
    return {key: found[key] for key in cited if key in found}
