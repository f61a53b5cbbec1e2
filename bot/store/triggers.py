"""To whom what a playbook counts from has happened: found by indexed queries, for a range of customers or some of them.

At which instants it comes round is `bot.decide.playbook_triggers`' business, what is made of it that of
`bot.services.planning.occasions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.playbook_triggers import RECORDED, Trigger, TriggerEvent, reach
from bot.store.columns import Instant
from bot.store.tables import metadata

__all__ = ["Occasion", "People", "birthdays", "occasions", "replenishments", "usual_intervals"]

# Whom to look among: the first and the last id of a range, or the ids themselves.
People = tuple[int, int] | Collection[int]
Spans = Sequence[tuple[datetime, datetime]]
_E = TriggerEvent
# No promise is given for longer: so far back an order that is due now may have been placed.
LONGEST_PROMISE = timedelta(days=180)
# A day of the year is looked for so many years back.
MOST_YEARS = 20
# The usual time between two purchases of a product is the middle one of at least so many, of the latest so many.
FEWEST_REPEATS, MOST_REPEATS = 5, 1001
# In which attribute a shop may say after how many days a product is usually used up, and when somebody was born.
REPLENISH_DAYS, BIRTHDAY = "replenish_days", "birthday"

customers = metadata.tables["customers"]
products = metadata.tables["products"]
orders = metadata.tables["orders"]
order_lines = metadata.tables["order_lines"]
touchpoints = metadata.tables["touchpoints"]


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """Something that happened to a customer and that a playbook counts from; `days`: of a product's usual interval."""

    customer_id: int
    order_id: int | None
    event_at: datetime
    days: float | None = None


def occasions(connection: Connection, trigger: Trigger, people: People, now: datetime) -> list[Occasion]:
    """Return the events whose window may be open now, the latest of each order, in the order of customers.

    For BIRTHDAY and REPLENISHMENT there are functions of their own.
    """
    spans = reach(trigger, now)
    query = _query(trigger, spans, now).where(_among(_customer_of(trigger.event), people))
    found: dict[tuple[int, int | None], Occasion] = {}
    for row in connection.execute(query.order_by(sa.text("customer_id"), sa.text("event_at"))):
        found[(row.customer_id, row.order_id)] = Occasion(**row._mapping)
    return list(found.values())


def birthdays(connection: Connection, people: People) -> dict[int, str]:
    """Return what the shop says of customers' birthdays, as it wrote them."""
    day = customers.c.attributes[BIRTHDAY].as_string()
    query = sa.select(customers.c.id, day.label("day")).where(_among(customers.c.id, people), day.is_not(None))
    return {row.id: row.day for row in connection.execute(query)}


def usual_intervals(connection: Connection, now: datetime) -> dict[int, float]:
    """Return after how many days products are usually ordered again: as the shop says, else as customers did."""
    gaps: dict[int, list[float]] = {}
    bought = (
        sa.select(
            order_lines.c.product_id,
            orders.c.placed_at,
            sa.func.lag(orders.c.placed_at, type_=Instant())
            .over(partition_by=[orders.c.customer_id, order_lines.c.product_id], order_by=orders.c.placed_at)
            .label("before"),
        )
        .join(orders, orders.c.id == order_lines.c.order_id)
        .where(order_lines.c.product_id.is_not(None), orders.c.placed_at <= now)
        .subquery()
    )
    again = sa.select(bought).where(bought.c.before.is_not(None), bought.c.before < bought.c.placed_at)
    for row in connection.execute(again.order_by(bought.c.placed_at.desc())):
        known = gaps.setdefault(row.product_id, [])
        if len(known) < MOST_REPEATS:
            known.append((row.placed_at - row.before) / timedelta(days=1))
    found = {product: median(known) for product, known in gaps.items() if len(known) >= FEWEST_REPEATS}
    said = products.c.attributes[REPLENISH_DAYS].as_string()
    for row in connection.execute(sa.select(products.c.id, said.label("said")).where(said.is_not(None))):
        try:
            days = float(row.said)
        except ValueError:
            continue  # what is no number says nothing
        if 1 <= days <= 1000:
            found[row.id] = days
    return found


def replenishments(
    connection: Connection, trigger: Trigger, intervals: Mapping[int, float], people: People, now: datetime
) -> list[Occasion]:
    """Return customers' latest orders of products that are usually ordered again about now."""
    by_days: dict[int, list[int]] = {}
    for product, days in intervals.items():
        by_days.setdefault(max(round(days), 1), []).append(product)
    found: dict[tuple[int, int], Occasion] = {}
    for days, known in sorted(by_days.items()):
        found |= _bought_before(connection, trigger, days, order_lines.c.product_id.in_(known), people, now)
    if trigger.days is not None:
        other = sa.or_(order_lines.c.product_id.is_(None), order_lines.c.product_id.not_in(list(intervals)))
        given = _bought_before(connection, trigger, trigger.days, other, people, now)
        found = {**given, **found}
    return [found[key] for key in sorted(found)]


def _bought_before(
    connection: Connection,
    trigger: Trigger,
    days: float,
    which: sa.ColumnElement[bool],
    people: People,
    now: datetime,
) -> dict[tuple[int, int], Occasion]:
    ago = timedelta(days=days)
    spans = [(since - ago, until - ago) for since, until in reach(trigger, now)]
    line, bought = order_lines.alias("later_line"), orders.alias("later_order")
    # Who has the same again, has it again.
    again = (
        sa.exists()
        .where(bought.c.customer_id == orders.c.customer_id, bought.c.placed_at > orders.c.placed_at)
        .where(bought.c.placed_at <= now, line.c.order_id == bought.c.id)
        .where(line.c.product_id == order_lines.c.product_id)
    )
    query = (
        sa.select(orders.c.customer_id, orders.c.id.label("order_id"), orders.c.placed_at.label("event_at"))
        .join(order_lines, order_lines.c.order_id == orders.c.id)
        .where(_within(orders.c.placed_at, spans), which, ~again, _among(orders.c.customer_id, people))
    )
    return {(row.customer_id, row.order_id): Occasion(**row._mapping, days=days) for row in connection.execute(query)}


def _query(trigger: Trigger, spans: Spans, now: datetime) -> sa.Select[Any]:
    placed = orders.c.placed_at
    of_orders = sa.select(
        orders.c.customer_id, orders.c.id.label("order_id"), placed.label("event_at")
    ).where(placed <= now)  # fmt: skip
    other = orders.alias("other_order")
    mine = other.c.customer_id == orders.c.customer_id
    match trigger.event:
        case _E.PLACED:
            return of_orders.where(_within(placed, spans))
        case _E.PROMISED:  # the promise runs to the end of its day, wherever that is
            wide = [(since - timedelta(days=2), until + timedelta(days=1)) for since, until in spans]
            earliest = min(since for since, _ in wide) - LONGEST_PROMISE
            return of_orders.where(_within(orders.c.promised_at, wide), placed >= earliest)
        case _E.LAST_ORDER:
            later = sa.exists().where(mine, other.c.placed_at > placed, other.c.placed_at <= now)
            return of_orders.where(_within(placed, spans), ~later)
        case _E.FIRST_ORDER:
            earlier = sa.exists().where(mine, other.c.placed_at < placed)
            return of_orders.where(_within(placed, _years_back(spans[0])), ~earlier)
    kind = "delivered" if trigger.event is _E.LATE_DELIVERY else trigger.event.value
    happened = touchpoints.c
    query = sa.select(happened.customer_id, happened.order_id, happened.occurred_at.label("event_at")).where(
        happened.kind == kind,
        _within(happened.occurred_at, spans),
        # Nothing is recorded before it happens: the index over both narrows it down.
        happened.recorded_at >= min(since for since, _ in spans),
        happened.recorded_at <= now,
    )
    if trigger.value_at_least is not None:
        query = query.where(happened.value >= trigger.value_at_least)
    if trigger.value_at_most is not None:
        query = query.where(happened.value <= trigger.value_at_most)
    return query


def _customer_of(event: TriggerEvent) -> sa.ColumnElement[int]:
    recorded = event in RECORDED or event is _E.LATE_DELIVERY
    return touchpoints.c.customer_id if recorded else orders.c.customer_id


def _within(column: sa.ColumnElement[datetime], spans: Spans) -> sa.ColumnElement[bool]:
    return sa.or_(*(sa.and_(column > since, column <= until) for since, until in spans))


def _years_back(span: tuple[datetime, datetime]) -> Spans:
    """Return about where the same days lay in earlier years; leap years and zones move them by two days at most."""
    year, room = timedelta(days=365.25), timedelta(days=2)
    return [(span[0] - year * back - room, span[1] - year * back + room) for back in range(1, MOST_YEARS + 1)]


def _among(column: sa.ColumnElement[int], people: People) -> sa.ColumnElement[bool]:
    if isinstance(people, tuple):
        return column.between(*people)
    return column.in_(list(people))
