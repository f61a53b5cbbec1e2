"""Landing rows of the canonical files in bulk: what is new, what changed, what was there, what points nowhere.

One call is one batch in one writing transaction, and no key stands in it twice. Entities are updated and
their old content goes to `revisions`; touchpoints are append-only. An entity's first content counts as known
since the thing itself (an order since it was placed), because a back-filled history must be visible as of its
own time; a later content counts from now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.bulk import insert_rows
from bot.store.consent import CHECK_INS, ERASED, is_suppressed, record_consent
from bot.store.enums import Entity
from bot.store.tables import metadata

__all__ = ["IncomingRow", "Landed", "land"]

# Known for ever: products, and customers of whom nobody says when they came.
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# PostgreSQL writers of batches queue here, so that two of them never insert the same key.
INTAKE_LOCK = 0x61667465726361
# An opt-out that names no channel holds for each; a yes is worth only what it names.
CHANNELS = ("email", "slack")
SPELT = {"mail": "email", "e-mail": "email"}
CONSENTS = {"opt_out": False, "opt_in": True}
LOOKUP = 1000


class IncomingRow(NamedTuple):
    """One checked row: its place, its key, its typed values, and what tells its content from another."""

    line: int
    key: Any
    values: dict[str, Any]
    fingerprint: str


@dataclass(kw_only=True)
class Landed:
    """What became of a batch; `problems` are (line, column, reason)."""

    new: int = 0
    updated: int = 0
    unchanged: int = 0
    problems: list[tuple[int, str, str]] = field(default_factory=list)


def land(
    connection: Connection,
    entity: Entity,
    source: str,
    rows: Sequence[IncomingRow],
    now: datetime,
    *,
    arrived_at: datetime | None = None,
) -> Landed:
    """Store a batch of rows with different keys within a writing transaction.

    Parameters
    ----------
    arrived_at : datetime, optional
        What a touchpoint without `recorded_at` was recorded at; without it, when it occurred.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(INTAKE_LOCK)))
    landed = Landed()
    prepare = _PREPARE[entity]
    ready = prepare(connection, source, rows, landed.problems)
    standing = _standing(connection, entity, source, ready)
    fresh: list[dict[str, Any]] = []
    changed: list[tuple[int, dict[str, Any]]] = []
    for row, values in ready:
        found = standing.get(row.key)
        if found is None:
            values["fingerprint"] = row.fingerprint
            if entity is Entity.TOUCHPOINTS:
                given = row.values["recorded_at"]
                # Nothing is known before it happens, whatever the clock of the shop's other system says.
                values["recorded_at"] = max(given or arrived_at or values["occurred_at"], values["occurred_at"])
            fresh.append(values)
        elif found.fingerprint == row.fingerprint:
            landed.unchanged += 1
        elif entity is Entity.TOUCHPOINTS:
            landed.problems.append((row.line, "", "is there already with other content; touchpoints are append-only"))
        else:
            values["fingerprint"] = row.fingerprint
            changed.append((found.id, values))
    table = metadata.tables[entity]
    if fresh:
        insert_rows(connection, table, fresh)
        landed.new = len(fresh)
    if changed:
        _supersede(connection, table, changed, now)
        landed.updated = len(changed)
    if entity is Entity.TOUCHPOINTS:
        _note_consents(connection, fresh)
    return landed


Ready = list[tuple[IncomingRow, dict[str, Any]]]
Problems = list[tuple[int, str, str]]


def _customers(connection: Connection, source: str, rows: Sequence[IncomingRow], problems: Problems) -> Ready:
    erased = is_suppressed(connection, ERASED, [f"{source}:{row.key}" for row in rows])
    ready: Ready = []
    for row in rows:
        if erased and f"{source}:{row.key}" in erased:
            problems.append((row.line, "customer_id", "this customer was erased and must not come back"))
            continue
        values = dict(row.values)
        values["external_id"] = values.pop("customer_id")
        values["source"] = source
        values["recorded_at"] = values["created_at"] or LONG_AGO
        ready.append((row, values))
    return ready


def _products(_: Connection, source: str, rows: Sequence[IncomingRow], problems: Problems) -> Ready:
    ready: Ready = []
    for row in rows:
        values = dict(row.values)
        values["external_id"] = values.pop("product_id")
        values["source"] = source
        values["recorded_at"] = LONG_AGO
        ready.append((row, values))
    return ready


def _orders(connection: Connection, source: str, rows: Sequence[IncomingRow], problems: Problems) -> Ready:
    customers = _found(connection, Entity.CUSTOMERS, source, (row.values["customer_id"] for row in rows))
    ready: Ready = []
    for row in rows:
        values = dict(row.values)
        buyer = customers.get(values["customer_id"])
        if buyer is None:
            problems.append((row.line, "customer_id", f"there is no customer {values['customer_id']}"))
            continue
        values["external_id"] = values.pop("order_id")
        values["customer_id"] = buyer.id
        values["source"] = source
        values["recorded_at"] = values["placed_at"]
        ready.append((row, values))
    return ready


def _order_lines(connection: Connection, source: str, rows: Sequence[IncomingRow], problems: Problems) -> Ready:
    orders = _found(connection, Entity.ORDERS, source, (row.values["order_id"] for row in rows), "placed_at")
    products = _found(connection, Entity.PRODUCTS, source, (row.values["product_id"] for row in rows))
    ready: Ready = []
    for row in rows:
        values = dict(row.values)
        order, product = orders.get(values["order_id"]), products.get(values["product_id"])
        if order is None:
            problems.append((row.line, "order_id", f"there is no order {values['order_id']}"))
        elif product is None and values["product_id"] is not None:
            problems.append((row.line, "product_id", f"there is no product {values['product_id']}"))
        else:
            values["order_id"] = order.id
            values["product_id"] = None if product is None else product.id
            values["recorded_at"] = order.placed_at
            ready.append((row, values))
    return ready


def _touchpoints(connection: Connection, source: str, rows: Sequence[IncomingRow], problems: Problems) -> Ready:
    customers = _found(connection, Entity.CUSTOMERS, source, (row.values["customer_id"] for row in rows))
    orders = _found(connection, Entity.ORDERS, source, (row.values["order_id"] for row in rows), "customer_id")
    ready: Ready = []
    for row in rows:
        values = dict(row.values)
        customer, order = customers.get(values["customer_id"]), orders.get(values["order_id"])
        if customer is None:
            problems.append((row.line, "customer_id", f"there is no customer {values['customer_id']}"))
        elif order is None and values["order_id"] is not None:
            problems.append((row.line, "order_id", f"there is no order {values['order_id']}"))
        elif order is not None and order.customer_id != customer.id:
            problems.append((row.line, "customer_id", f"order {values['order_id']} belongs to another customer"))
        else:
            values["external_id"] = values.pop("touchpoint_id")
            values["customer_id"] = customer.id
            values["order_id"] = None if order is None else order.id
            values["source"] = source
            ready.append((row, values))
    return ready


Prepare = Callable[[Connection, str, Sequence[IncomingRow], Problems], Ready]
_PREPARE: Mapping[Entity, Prepare] = {
    Entity.CUSTOMERS: _customers,
    Entity.PRODUCTS: _products,
    Entity.ORDERS: _orders,
    Entity.ORDER_LINES: _order_lines,
    Entity.TOUCHPOINTS: _touchpoints,
}


def _found(connection: Connection, entity: Entity, source: str, keys: Any, *columns: str) -> dict[Any, Any]:
    """Look up rows by their keys: {external id: (id, …columns)}."""
    table = metadata.tables[entity]
    wanted = list({key for key in keys if key is not None})
    statement = sa.select(table.c.external_id, table.c.id, *(table.c[name] for name in columns))
    found: dict[Any, Any] = {}
    for start in range(0, len(wanted), LOOKUP):
        part = statement.where(table.c.source == source, table.c.external_id.in_(wanted[start : start + LOOKUP]))
        found.update((row.external_id, row) for row in connection.execute(part))
    return found


def _standing(connection: Connection, entity: Entity, source: str, ready: Ready) -> dict[Any, Any]:
    """Return by key the rows that stand already: {key: (id, fingerprint)}."""
    if entity is not Entity.ORDER_LINES:
        return _found(connection, entity, source, (row.key for row, _ in ready), "fingerprint")
    table = metadata.tables[entity]
    orders = {values["order_id"]: row.key[0] for row, values in ready}
    wanted = list(orders)
    found: dict[Any, Any] = {}
    for start in range(0, len(wanted), LOOKUP):
        statement = sa.select(table.c.id, table.c.order_id, table.c.line_no, table.c.fingerprint)
        for row in connection.execute(statement.where(table.c.order_id.in_(wanted[start : start + LOOKUP]))):
            found[orders[row.order_id], row.line_no] = row
    return found


def _supersede(
    connection: Connection, table: sa.Table, changed: Collection[tuple[int, dict[str, Any]]], now: datetime
) -> None:
    """Keep the old content of rows as revisions, then write the new."""
    by_id = dict(changed)
    revisions = metadata.tables["revisions"]
    kept, written = [], []
    ids = list(by_id)
    for start in range(0, len(ids), LOOKUP):
        for old in connection.execute(sa.select(table).where(table.c.id.in_(ids[start : start + LOOKUP]))):
            values = by_id[old.id]
            # An order of the future is not known before it is placed, in whatever content.
            since = max(now, values["recorded_at"])
            content = {name: _plain(value) for name, value in old._mapping.items() if name not in ("id", "fingerprint")}
            kept.append(
                {
                    "entity": table.name,
                    "entity_id": old.id,
                    "recorded_at": old.recorded_at,
                    "superseded_at": since,
                    "content": content,
                }
            )
            written.append({**values, "recorded_at": since, "row_id": old.id})
    connection.execute(sa.insert(revisions), kept)
    names = [name for name in written[0] if name != "row_id"]
    connection.execute(
        sa.update(table)
        .where(table.c.id == sa.bindparam("row_id"))
        .values({name: sa.bindparam(name) for name in names}),
        written,
    )


def _note_consents(connection: Connection, fresh: Sequence[Mapping[str, Any]]) -> None:
    for values in fresh:
        granted = CONSENTS.get(values["kind"])
        if granted is None:
            continue
        named = (values["channel"] or "").strip().casefold()
        # What it is about, if it says so, else everything that Aftercare sends.
        about = str((values["attributes"] or {}).get("purpose") or "").strip().casefold() or CHECK_INS
        for channel in (SPELT.get(named, named),) if named else () if granted else CHANNELS:
            record_consent(
                connection,
                values["customer_id"],
                channel,
                about,
                granted,
                "import",
                f"{values['source']}:{values['external_id']}",
                values["occurred_at"],
                recorded_at=values["recorded_at"],
            )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
