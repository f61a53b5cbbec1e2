"""What experiments drew and what came of it: what an uplift model learns from, and a risk model must make up for.

Outcomes are written by `bot.store.outcomes`; who was drawn into which arm, by `bot.store.planning`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.tables import metadata

__all__ = [
    "HARMS",
    "Draw",
    "FirstOutcome",
    "Segmentation",
    "articles_attached",
    "first_outcomes",
    "harms_after",
    "mean_order_totals",
    "order_draws",
    "segment_of",
]

# What nobody wants of a contact: the customer wants no more (calling it spam is among these), is annoyed, or needs help.
HARMS = ("opt_out", "complaint", "ticket_opened")

_outcomes = metadata.tables["outcomes"]
_assignments = metadata.tables["assignments"]
_outreaches = metadata.tables["outreaches"]
_refusals = metadata.tables["refusals"]
_touchpoints = metadata.tables["touchpoints"]
_customers = metadata.tables["customers"]
_order_lines = metadata.tables["order_lines"]
_orders = metadata.tables["orders"]
_articles = metadata.tables["articles"]
_article_versions = metadata.tables["article_versions"]
_products = metadata.tables["products"]


class Segmentation(StrEnum):
    """By what customers are parted, each by what was known before the draw."""

    COUNTRY = "country"
    CATEGORY = "category"  # of the order's first product
    BAND = "band"  # of the prediction at the draw
    LOCALE = "locale"
    CHANNEL = "channel"  # on which they were, or would have been, contacted


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A draw that decided whether a customer would be contacted about an order.

    Attributes
    ----------
    propensity : float
        How probable the arm was that was drawn.
    anchor_at : datetime
        When it decided.
    """

    order_id: int
    playbook: str
    arm: str
    propensity: float
    anchor_at: datetime


@dataclass(frozen=True, kw_only=True)
class FirstOutcome(Draw):
    """What became of a customer's first draw over an order; `value` is 1 for a bad end."""

    value: float


def first_outcomes(connection: Connection, kind: str, horizon_days: int, until: datetime) -> list[FirstOutcome]:
    """Return the outcome of each customer's first draw over an order, as recorded by an instant.

    Later draws of the same customer do not count: an earlier check-in may have changed what they began with.
    """
    columns = _outcomes.c
    wanted = [columns[name] for name in FirstOutcome.__dataclass_fields__]
    place = sa.func.row_number().over(partition_by=columns.customer_id, order_by=(columns.anchor_at, columns.id))
    ranked = (
        sa.select(columns.id, *wanted, place.label("place"))
        .where(
            columns.kind == kind,
            columns.horizon_days == horizon_days,
            columns.assignment_id.is_not(None),
            columns.order_id.is_not(None),
            columns.arm.is_not(None),
            columns.propensity.is_not(None),
            columns.recorded_at <= until,
        )
        .subquery()
    )
    query = sa.select(*(ranked.c[column.name] for column in wanted)).where(ranked.c.place == 1)
    return [FirstOutcome(**row._mapping) for row in connection.execute(query.order_by(ranked.c.id))]


def order_draws(connection: Connection, held_out_by: str, until: datetime) -> list[Draw]:
    """Return every draw over an order that decided by an instant: what was proposed, and who was held out.

    A customer stays in the arm of a playbook, so one assignment may decide about several orders, each at its own time.

    Parameters
    ----------
    held_out_by : str
        The reason of the refusals that the draw alone caused.
    """
    out, refused, drawn = _outreaches.c, _refusals.c, _assignments.c
    proposed = sa.select(out.order_id, out.assignment_id, out.created_at.label("at")).where(out.created_at <= until)
    held = sa.select(refused.order_id, refused.assignment_id, refused.recorded_at.label("at")).where(
        refused.reason == held_out_by, refused.recorded_at <= until, refused.assignment_id.is_not(None)
    )
    decided = sa.union_all(proposed, held).subquery()
    # A refusal is stored again every day on which the order is still meant.
    first = (
        sa.select(decided.c.order_id, decided.c.assignment_id, sa.func.min(decided.c.at).label("at"))
        .where(decided.c.order_id.is_not(None))
        .group_by(decided.c.order_id, decided.c.assignment_id)
        .subquery()
    )
    query = (
        sa.select(first.c.order_id, drawn.playbook, drawn.arm, drawn.propensity, first.c.at.label("anchor_at"))
        .join(_assignments, drawn.id == first.c.assignment_id)
        .order_by(first.c.order_id, first.c.assignment_id)
    )
    return [Draw(**row._mapping) for row in connection.execute(query)]


def harms_after(connection: Connection, kinds: Collection[str], now: datetime) -> dict[tuple[int, str], frozenset[str]]:
    """Return, by assignment and kind of outcome, which of HARMS happened between the draw and the horizon, if any."""
    out, happened = _outcomes.c, _touchpoints.c
    query = (
        sa.select(out.assignment_id, out.kind, happened.kind.label("harm"))
        .join(_touchpoints, happened.customer_id == out.customer_id)
        .where(
            out.kind.in_(list(kinds)),
            out.assignment_id.is_not(None),
            out.recorded_at <= now,
            happened.kind.in_(HARMS),
            happened.occurred_at > out.anchor_at,
            happened.occurred_at <= out.observed_at,
            happened.recorded_at <= now,
        )
        .distinct()
    )
    found: dict[tuple[int, str], set[str]] = {}
    for row in connection.execute(query):
        found.setdefault((row.assignment_id, row.kind), set()).add(row.harm)
    return {key: frozenset(harms) for key, harms in found.items()}


def mean_order_totals(connection: Connection, currency: str, now: datetime) -> dict[str, float]:
    """Return, by playbook, the mean total of the orders in a currency by customers who were drawn for it; none name none."""
    named = sa.func.upper(sa.func.coalesce(sa.func.nullif(sa.func.trim(_orders.c.currency), ""), currency))
    query = (
        sa.select(_assignments.c.playbook, sa.func.avg(_orders.c.total))
        .join(_orders, _orders.c.customer_id == _assignments.c.customer_id)
        .where(_orders.c.total.is_not(None), _orders.c.placed_at <= now, named == currency.upper())
        .group_by(_assignments.c.playbook)
    )
    return {playbook: float(total) for playbook, total in connection.execute(query)}


def articles_attached(connection: Connection, kinds: Collection[str], now: datetime) -> dict[int, str]:
    """Return, by assignment, which article was attached to the first message that was proposed because of it."""
    query = (
        sa.select(_outcomes.c.assignment_id, _articles.c.external_id)
        .join(_outreaches, _outreaches.c.id == _outcomes.c.outreach_id)
        .join(_article_versions, _article_versions.c.id == _outreaches.c.article_version_id)
        .join(_articles, _articles.c.id == _article_versions.c.article_id)
        .where(_outcomes.c.kind.in_(list(kinds)), _outcomes.c.recorded_at <= now)
    )
    return {int(assignment): str(article) for assignment, article in connection.execute(query)}


def segment_of(by: Segmentation) -> sa.ColumnElement[Any]:
    """Return what an outcome's customer or order belongs to, as a column beside `outcomes`."""
    if by in (Segmentation.BAND, Segmentation.CHANNEL):
        drawn = _assignments.alias("drawn")  # the outer query may read assignments too
        return sa.select(drawn.c[by.value]).where(drawn.c.id == _outcomes.c.assignment_id).scalar_subquery()
    if by is Segmentation.CATEGORY:
        return (
            sa.select(_products.c.category)
            .join(_order_lines, _order_lines.c.product_id == _products.c.id)
            .where(_order_lines.c.order_id == _outcomes.c.order_id)
            .order_by(_order_lines.c.line_no)
            .limit(1)
            .scalar_subquery()
        )
    column = _customers.c[by.value]
    return sa.select(column).where(_customers.c.id == _outcomes.c.customer_id).scalar_subquery()
