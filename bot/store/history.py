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

from bot.store.tables import metadata
from predictors.labels import TROUBLE_KINDS
from predictors.moments import RATING_KINDS
from predictors.snapshot import INSTANT, Snapshot

__all__ = ["external_ids", "order_by_key", "read_snapshot"]

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
    revisions = _revisions(connection, until)
    kinds = (*_KINDS, *more_kinds)
    frames = {name: _entity(connection, name, until, timezone, revisions.get(name, []), kinds) for name in _PLAIN}
    return Snapshot(**frames, until=until, timezone=timezone)


def external_ids(connection: Connection, table: str) -> dict[int, tuple[str, str]]:
    """Return (source, the shop's own id) of all customers or orders by our ids."""
    found = metadata.tables[table]
    rows = connection.execute(sa.select(found.c.id, found.c.source, found.c.external_id))
    return {int(row[0]): (str(row[1]), str(row[2])) for row in rows}


def order_by_key(connection: Connection, key: str) -> list[int]:
    """Return our ids of the orders that a shop's own id names (one for each source)."""
    orders = metadata.tables["orders"]
    return [int(value) for value in connection.scalars(sa.select(orders.c.id).where(orders.c.external_id == key))]


def _entity(
    connection: Connection,
    name: str,
    until: datetime,
    timezone: str,
    revisions: Sequence[sa.Row[Any]],
    kinds: Sequence[str],
) -> pl.DataFrame:
    table = metadata.tables[name]
    sqlite = connection.dialect.name == "sqlite"
    columns: list[sa.ColumnElement[Any]] = [table.c[column] for column in _PLAIN[name]]
    columns += [_instant(table.c[column], sqlite) for column in _INSTANTS[name]]
    columns.append(_text(table.c.attributes, sqlite))
    query = sa.select(*columns).where(table.c.recorded_at <= until)
    if name == "touchpoints":
        query = query.where(table.c.kind.in_(kinds))
    names = [*_PLAIN[name], *_INSTANTS[name], "attributes"]
    values = list(zip(*connection.execute(query).all(), strict=True)) or [()] * len(names)
    instant_type: type[pl.DataType] = pl.String if sqlite else pl.Int64
    frame = pl.DataFrame(
        [
            pl.Series(
                column,
                list(of_column),
                dtype=instant_type if column in _INSTANTS[name] else _TYPES.get(column, pl.String),
            )
            for column, of_column in zip(names, values, strict=True)
        ]
    )
    frame = frame.with_columns(_as_instant(column, sqlite) for column in _INSTANTS[name])
    if name != "touchpoints":
        frame = frame.with_columns(superseded_at=pl.lit(None, dtype=INSTANT))
        if revisions:
            frame = pl.concat([frame, _old_contents(name, revisions, frame.schema)])
        # Two contents that were recorded at the same instant leave a version that never held.
        frame = frame.filter(pl.col("superseded_at").is_null() | (pl.col("superseded_at") > pl.col("recorded_at")))
    frame = frame.with_columns(_attribute(column, dtype, timezone) for column, dtype in _ATTRIBUTES[name].items())
    return frame.rename({"id": _KEY[name]}) if name in _KEY else frame


def _revisions(connection: Connection, until: datetime) -> dict[str, list[sa.Row[Any]]]:
    revisions = metadata.tables["revisions"]
    found: dict[str, list[sa.Row[Any]]] = {}
    for row in connection.execute(sa.select(revisions).where(revisions.c.recorded_at <= until)):
        found.setdefault(row.entity, []).append(row)
    return found


def _old_contents(name: str, revisions: Sequence[sa.Row[Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    rows = []
    for revision in revisions:
        content = dict(revision.content)
        row = {column: content.get(column) for column in _PLAIN[name]}
        row.update({column: _parsed(content.get(column)) for column in _INSTANTS[name]})
        if "id" in row:
            row["id"] = revision.entity_id
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
