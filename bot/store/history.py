"""Reading the tables into the frames of `predictors.snapshot`: present rows and, from `revisions`, what they replaced.

In bulk and without building objects row by row. What the frames are for is none of this module's business.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from bot.store.tables import metadata
from predictors.labels import TROUBLE_KINDS
from predictors.moments import RATING_KINDS
from predictors.snapshot import INSTANT, Snapshot

__all__ = ["among", "names_of", "order_by_key", "read_frame", "read_snapshot"]

# Rows of the driver that are held at once.
ROWS_A_TIME = 20_000

_KINDS = (
    "paid", "shipped", "out_for_delivery", "delivered", "exception", "cancelled", "outreach_sent", *TROUBLE_KINDS, *RATING_KINDS
)  # fmt: skip

# Frame: columns read as they are, instants, and what is taken from `attributes` (column: is it a number).
_PLAIN: Mapping[str, tuple[str, ...]] = {
    "customers": ("id", "country", "region"),
    "products": ("id", "category", "price", "weight_g"),
    "orders": ("id", "customer_id", "total"),
    "order_lines": ("order_id", "line_no", "product_id", "seller_id", "quantity", "unit_price", "shipping_price"),
    "touchpoints": ("id", "customer_id", "order_id", "kind", "value"),
}
_INSTANTS: Mapping[str, tuple[str, ...]] = {
    "customers": ("recorded_at",),
    "products": ("recorded_at",),
    "orders": ("placed_at", "promised_at", "recorded_at"),
    "order_lines": ("recorded_at",),
    "touchpoints": ("occurred_at", "recorded_at"),
}
_ATTRIBUTES: Mapping[str, Mapping[str, pl.DataType | type[pl.DataType]]] = {
    "customers": {},
    "products": {"volume_cm3": pl.Float64, "photos": pl.Float64, "description_length": pl.Float64, "lot": pl.String},
    "orders": {},
    "order_lines": {"ship_by": INSTANT, "seller_region": pl.String, "lot": pl.String},
    "touchpoints": {"payment_type": pl.String, "installments": pl.Float64},
}
_KEY = {"customers": "customer_id", "products": "product_id", "orders": "order_id", "touchpoints": "touchpoint_id"}
_TYPES: Mapping[str, type[pl.DataType]] = {
    "id": pl.Int64, "customer_id": pl.Int64, "order_id": pl.Int64, "product_id": pl.Int64, "line_no": pl.Int64,
    "total": pl.Float64, "price": pl.Float64, "weight_g": pl.Float64, "quantity": pl.Float64, "unit_price": pl.Float64,
    "shipping_price": pl.Float64, "value": pl.Float64,
}  # fmt: skip


def read_snapshot(
    connection: Connection, *, until: datetime, timezone: str, more_kinds: Collection[str] = ()
) -> Snapshot:
    """Read all that was recorded by an instant.

    Parameters
    ----------
    until : datetime
        Rows recorded later are not read at all.
    timezone : str
        The shop's zone; naive times among the attributes (`ship_by`) are in it.
    more_kinds : collection of str
        Kinds of touchpoint to read besides those that predictions are made from.
    """
    kinds = (*_KINDS, *more_kinds)
    frames = {name: read_frame(connection, name, until, timezone, kinds=kinds) for name in _PLAIN}
    return Snapshot(**frames, until=until, timezone=timezone)


def names_of(connection: Connection, table: str, ids: Sequence[int]) -> list[tuple[str, str]]:
    """Return (source, the shop's own id) of customers or orders, in the order of our ids."""
    found = metadata.tables[table]
    rows = connection.execute(
        sa.select(found.c.id, found.c.source, found.c.external_id).where(among(connection, found.c.id, set(ids)))
    )
    names = {row[0]: (row[1], row[2]) for row in rows}
    return [names[one] for one in ids]


def order_by_key(connection: Connection, key: str, until: datetime) -> list[int]:
    """Return our ids of the orders that a shop's own id names (one for each source), as far as known by an instant."""
    orders, revisions = metadata.tables["orders"], metadata.tables["revisions"]
    found: list[int] = []
    source = connection.scalar(sa.select(sa.func.min(orders.c.source)))
    while source is not None:  # source by source: there are few, and the index begins with them
        named = sa.select(orders.c.id, orders.c.recorded_at).where(
            orders.c.source == source, orders.c.external_id == key
        )
        for row in connection.execute(named):
            old = sa.select(sa.func.min(revisions.c.recorded_at)).where(
                revisions.c.entity == "orders", revisions.c.entity_id == row.id
            )
            if row.recorded_at <= until or ((first := connection.scalar(old)) is not None and first <= until):
                found.append(int(row.id))
        source = connection.scalar(sa.select(sa.func.min(orders.c.source)).where(orders.c.source > source))
    return found


def among(connection: Connection, column: sa.ColumnElement[Any], ids: Collection[int]) -> sa.ColumnElement[bool]:
    """Say that a column is one of any number of ids: they are sent as one value."""
    wanted = sorted(ids)
    if connection.dialect.name == "sqlite":
        values = sa.func.json_each(json.dumps(wanted)).table_valued("value")
        return column.in_(sa.select(values.c.value))
    return column == sa.any_(sa.literal(wanted, postgresql.ARRAY(sa.BigInteger)))


def read_frame(
    connection: Connection,
    name: str,
    until: datetime,
    timezone: str,
    *,
    kinds: Collection[str] = _KINDS,
    where: sa.ColumnElement[bool] | None = None,
    replaced: sa.ColumnElement[bool] | None = None,
) -> pl.DataFrame:
    """Read one frame of a snapshot.

    Parameters
    ----------
    kinds : collection of str
        Of touchpoints: which are read.
    where, replaced : expressions, optional
        Which rows of the table are wanted, and which of `revisions`; by default all.
    """
    table = metadata.tables[name]
    sqlite = connection.dialect.name == "sqlite"
    columns: list[sa.ColumnElement[Any]] = [table.c[column] for column in _PLAIN[name]]
    columns += [_instant(table.c[column], sqlite) for column in _INSTANTS[name]]
    if _ATTRIBUTES[name]:
        columns.append(_text(table.c.attributes, sqlite))
    query = sa.select(*columns).where(table.c.recorded_at <= until)
    if where is not None:
        query = query.where(where)
    if name == "touchpoints":
        # An index by kind is of no use where most kinds are wanted, and must not be preferred to one by order.
        kind = table.c.kind if where is None else table.c.kind.concat("")
        query = query.where(kind.in_(sorted(kinds)))
    instant_type: type[pl.DataType] = pl.String if sqlite else pl.Int64
    schema = {column: _TYPES.get(column, pl.String) for column in _PLAIN[name]}
    schema |= dict.fromkeys(_INSTANTS[name], instant_type)
    schema |= {"attributes": pl.String} if _ATTRIBUTES[name] else {}
    frame = (
        _in_batches(connection, query, schema).lazy().with_columns(_as_instant(one, sqlite) for one in _INSTANTS[name])
    )
    if name != "touchpoints":
        frame = frame.with_columns(superseded_at=pl.lit(None, dtype=INSTANT))
        if revisions := _revisions(connection, name, until, replaced):
            frame = pl.concat([frame, _old_contents(name, revisions, frame.collect_schema()).lazy()])
        # Two contents that were recorded at the same instant leave a version that never held.
        frame = frame.filter(pl.col("superseded_at").is_null() | (pl.col("superseded_at") > pl.col("recorded_at")))
    frame = frame.with_columns(_attribute(column, dtype, timezone) for column, dtype in _ATTRIBUTES[name].items())
    frame = frame.drop("attributes", strict=False)
    return (frame.rename({"id": _KEY[name]}) if name in _KEY else frame).collect()


def _in_batches(connection: Connection, query: sa.Select[Any], schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    """Read rows into columns, some at a time: the driver's rows take ten times the room."""
    # The driver's own tuples: no value here needs to be converted, and SQLAlchemy's rows cost as much again.
    cursor = connection.execute(query).cursor
    parts = []
    while rows := cursor.fetchmany(ROWS_A_TIME):
        columns = zip(schema.items(), zip(*rows, strict=True), strict=True)
        parts.append(pl.DataFrame([pl.Series(name, values, dtype=dtype) for (name, dtype), values in columns]))
    return pl.concat(parts) if parts else pl.DataFrame(schema=dict(schema))


def _revisions(
    connection: Connection, name: str, until: datetime, wanted: sa.ColumnElement[bool] | None
) -> Sequence[sa.Row[Any]]:
    revisions = metadata.tables["revisions"]
    query = sa.select(revisions).where(revisions.c.entity == name, revisions.c.recorded_at <= until)
    return connection.execute(query if wanted is None else query.where(wanted)).all()


def _old_contents(name: str, revisions: Sequence[sa.Row[Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    rows = []
    for revision in revisions:
        content = dict(revision.content)
        row = {column: content.get(column) for column in _PLAIN[name]}
        row.update({column: _parsed(content.get(column)) for column in _INSTANTS[name]})
        if "id" in row:
            row["id"] = revision.entity_id
        if "attributes" in schema:
            row["attributes"] = json.dumps(content.get("attributes"))
        rows.append({**row, "recorded_at": revision.recorded_at, "superseded_at": revision.superseded_at})
    return pl.DataFrame(rows, schema=dict(schema), strict=False)


def _parsed(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _instant(column: sa.Column[Any], sqlite: bool) -> sa.ColumnElement[Any]:
    # The driver's text or microseconds, so that Polars reads the times and no object is built for each.
    if sqlite:
        return sa.type_coerce(column, sa.Text)
    return sa.cast(sa.extract("epoch", column) * 1_000_000, sa.BigInteger)


def _text(column: sa.Column[Any], sqlite: bool) -> sa.ColumnElement[Any]:
    return sa.type_coerce(column, sa.Text) if sqlite else sa.cast(column, sa.Text)


def _as_instant(column: str, sqlite: bool) -> pl.Expr:
    if sqlite:
        return pl.col(column).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", time_zone="UTC")
    return pl.col(column).cast(INSTANT)


def _attribute(column: str, dtype: pl.DataType | type[pl.DataType], timezone: str) -> pl.Expr:
    """Take one attribute out of the JSON text; what cannot be read as its type counts as unknown."""
    value = pl.col("attributes").str.json_path_match(f"$.{column}")
    if dtype == pl.String:
        return value.alias(column)
    if dtype == pl.Float64:
        number = value.cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number).alias(column)
    text = value.str.replace("T", " ").str.replace(r"\+00:00$|Z$", "")
    naive = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    local = naive.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
    is_utc = value.str.contains(r"\+00:00$|Z$")
    return pl.when(is_utc).then(naive.dt.replace_time_zone("UTC")).otherwise(local).alias(column)
