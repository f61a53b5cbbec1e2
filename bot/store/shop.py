"""The shop as it told us: customers, orders, products and what happened to them, read by id, key or address.

Writing many rows at once is `bot.store.intake`'s business; frames for the predictors are `bot.store.history`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store import tables
from bot.store.once import insert_new, insert_once
from bot.store.tables import metadata

__all__ = [
    "Customer",
    "Order",
    "OrderLine",
    "Touchpoint",
    "add_touchpoint",
    "add_touchpoints",
    "customer",
    "customer_by_email",
    "customer_by_key",
    "customer_by_slack_user",
    "customers_by_id",
    "fingerprint",
    "lines_of",
    "link_slack_user",
    "order",
    "order_by_key",
    "orders_of",
    "touchpoints_of",
]


@dataclass(frozen=True, kw_only=True)
class Customer:
    """Somebody who bought; `external_id` is the shop's own id."""

    id: int
    source: str
    external_id: str
    email: str | None
    name: str | None
    locale: str | None
    timezone: str | None
    country: str | None
    region: str | None
    city: str | None
    slack_team_id: str | None
    slack_user_id: str | None
    created_at: datetime | None
    attributes: Mapping[str, Any] | None
    recorded_at: datetime

    @property
    def first_name(self) -> str | None:
        """The first word of the name."""
        return self.name.split()[0] if self.name and self.name.strip() else None


@dataclass(frozen=True, kw_only=True)
class Order:
    """One purchase; `status` changes later and is never a feature."""

    id: int
    source: str
    external_id: str
    customer_id: int
    placed_at: datetime
    currency: str | None
    total: float | None
    promised_at: datetime | None
    status: str | None
    attributes: Mapping[str, Any] | None
    recorded_at: datetime


@dataclass(frozen=True, kw_only=True)
class OrderLine:
    """One position of an order, with what is known of its product."""

    id: int
    order_id: int
    line_no: int
    product_id: int | None
    product_key: str | None
    product_name: str | None
    category: str | None
    seller_id: str | None
    quantity: float | None
    unit_price: float | None
    shipping_price: float | None


@dataclass(frozen=True, kw_only=True)
class Touchpoint:
    """One thing that happened on a customer's journey; `placed` is derived from the order and has no id."""

    id: int | None
    source: str
    external_id: str
    customer_id: int
    order_id: int | None
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    value: float | None
    text: str | None
    channel: str | None
    attributes: Mapping[str, Any] | None


# What of a touchpoint's row is given when it is inserted.
TOUCHPOINT_COLUMNS = tuple(column.name for column in tables.touchpoints.c if column.name != "id")
Record = TypeVar("Record", Customer, Order, Touchpoint)
_BY_ID = sa.select(tables.customers).where(tables.customers.c.id.in_(sa.bindparam("ids", expanding=True)))


def customer(connection: Connection, customer_id: int) -> Customer | None:
    """Return a customer by internal id."""
    return _one(connection, Customer, tables.customers.c.id == customer_id)


def customers_by_id(connection: Connection, customer_ids: Collection[int]) -> dict[int, Customer]:
    """Return many customers at once; unknown ids are left out."""
    wanted, found = list(customer_ids), {}
    for start in range(0, len(wanted), 1000):
        for row in connection.execute(_BY_ID, {"ids": wanted[start : start + 1000]}):
            found[row.id] = _record(Customer, row)
    return found


def customer_by_key(connection: Connection, key: str, source: str | None = None) -> Customer | None:
    """Return a customer by the shop's own id; without a source the newest of that id."""
    return _one(connection, Customer, *_key(tables.customers, key, source))


def customer_by_slack_user(connection: Connection, team_id: str | None, user_id: str) -> Customer | None:
    """Return the customer behind a Slack user.

    A customer whose workspace is not known matches any workspace; one whose workspace is known matches first.
    """
    table = tables.customers
    condition = table.c.slack_user_id == user_id
    if team_id is not None:
        condition &= sa.or_(table.c.slack_team_id == team_id, table.c.slack_team_id.is_(None))
    statement = sa.select(table).where(condition).order_by(table.c.slack_team_id.is_(None), table.c.id.desc())
    row = connection.execute(statement.limit(1)).first()
    return None if row is None else _record(Customer, row)


def customer_by_email(connection: Connection, email: str) -> Customer | None:
    """Return the customer with a mail address, in any letter case; the newest where several share it."""
    column = tables.customers.c.email
    wanted = email.strip()
    found = _one(connection, Customer, column.in_({wanted, wanted.lower()}))
    return found or _one(connection, Customer, sa.func.lower(column) == wanted.lower())


def link_slack_user(connection: Connection, customer_id: int, team_id: str | None, user_id: str | None) -> None:
    """Remember which Slack user a customer is; None forgets it."""
    connection.execute(
        sa.update(tables.customers)
        .where(tables.customers.c.id == customer_id)
        .values(slack_team_id=team_id, slack_user_id=user_id)
    )


def order(connection: Connection, order_id: int) -> Order | None:
    """Return an order by internal id."""
    return _one(connection, Order, tables.orders.c.id == order_id)


def order_by_key(connection: Connection, key: str, source: str | None = None) -> Order | None:
    """Return an order by the shop's own id; without a source the newest of that id."""
    return _one(connection, Order, *_key(tables.orders, key, source))


def orders_of(connection: Connection, customer_id: int, now: datetime) -> list[Order]:
    """Return what a customer had ordered by an instant, oldest first, with its newest content."""
    table = tables.orders
    statement = sa.select(table).where(table.c.customer_id == customer_id, table.c.placed_at <= now)
    return [_record(Order, row) for row in connection.execute(statement.order_by(table.c.placed_at, table.c.id))]


def lines_of(connection: Connection, order_id: int) -> list[OrderLine]:
    """Return the positions of an order."""
    lines, products = tables.order_lines, tables.products
    statement = (
        sa.select(
            *(lines.c[name] for name in ("id", "order_id", "line_no", "product_id", "seller_id")),
            *(lines.c[name] for name in ("quantity", "unit_price", "shipping_price")),
            products.c.external_id.label("product_key"),
            products.c.name.label("product_name"),
            products.c.category,
        )
        .select_from(lines.outerjoin(products, lines.c.product_id == products.c.id))
        .where(lines.c.order_id == order_id)
        .order_by(lines.c.line_no)
    )
    return [OrderLine(**row._mapping) for row in connection.execute(statement)]


def touchpoints_of(connection: Connection, customer_id: int, now: datetime) -> list[Touchpoint]:
    """Return what was known by an instant to have happened to a customer, in the order of happening.

    `placed` comes from the orders; a supplied `placed` of an order is the same fact and left out.
    """
    table = tables.touchpoints
    statement = sa.select(table).where(table.c.customer_id == customer_id, table.c.recorded_at <= now)
    found = [
        _record(Touchpoint, row)
        for row in connection.execute(statement)
        if row.kind != "placed" or row.order_id is None
    ]
    found += [_placed(bought) for bought in orders_of(connection, customer_id, now)]
    return sorted(found, key=lambda point: (point.occurred_at, point.recorded_at, point.id or 0))


def add_touchpoint(
    connection: Connection,
    *,
    source: str,
    external_id: str,
    customer_id: int,
    order_id: int | None,
    kind: str,
    occurred_at: datetime,
    recorded_at: datetime,
    value: float | None = None,
    text: str | None = None,
    channel: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> bool:
    """Append one touchpoint; False says that (source, external id) stood already, and nothing was changed."""
    point = Touchpoint(
        id=None,
        source=source,
        external_id=external_id,
        customer_id=customer_id,
        order_id=order_id,
        kind=kind,
        occurred_at=occurred_at,
        recorded_at=recorded_at,
        value=value,
        text=text,
        channel=channel,
        attributes=attributes,
    )
    return insert_once(connection, tables.touchpoints, touchpoint_row(point)) is not None


def add_touchpoints(connection: Connection, points: Sequence[Touchpoint]) -> None:
    """Append touchpoints, their ids not counting; those whose (source, external id) stands already are left out."""
    insert_new(connection, tables.touchpoints, [touchpoint_row(one) for one in points])


def touchpoint_row(one: Touchpoint) -> dict[str, Any]:
    """Return a touchpoint as its row is inserted, without an id."""
    attributes = dict(one.attributes or {})
    content = (one.customer_id, one.order_id, one.kind, one.occurred_at, None, one.value, one.text, one.channel, attributes)  # fmt: skip
    values = {name: getattr(one, name) for name in Touchpoint.__dataclass_fields__ if name != "id"}
    return {
        **values,
        "attributes": attributes,
        "recorded_at": max(one.recorded_at, one.occurred_at),
        "fingerprint": fingerprint(content),
    }


def fingerprint(content: tuple[Any, ...]) -> str:
    """Return what tells one content from another; equal contents have equal fingerprints."""
    return hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()


def _placed(bought: Order) -> Touchpoint:
    return Touchpoint(
        id=None,
        source=bought.source,
        external_id=f"placed:{bought.external_id}",
        customer_id=bought.customer_id,
        order_id=bought.id,
        kind="placed",
        occurred_at=bought.placed_at,
        recorded_at=bought.placed_at,
        value=bought.total,
        text=None,
        channel=None,
        attributes=None,
    )


def _key(table: sa.Table, key: str, source: str | None) -> tuple[sa.ColumnElement[bool], ...]:
    conditions: tuple[sa.ColumnElement[bool], ...] = (table.c.external_id == key,)
    return conditions if source is None else (*conditions, table.c.source == source)


def _one(connection: Connection, kind: type[Record], *conditions: sa.ColumnElement[bool]) -> Record | None:
    table = metadata.tables[f"{kind.__name__.lower()}s"]
    row = connection.execute(sa.select(table).where(*conditions).order_by(table.c.id.desc()).limit(1)).first()
    return None if row is None else _record(kind, row)


def _record(kind: type[Record], row: Any) -> Record:
    mapping = row._mapping
    return kind(**{field.name: mapping[field.name] for field in fields(kind)})
