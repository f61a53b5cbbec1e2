"""Reading one frame of a snapshot: present rows and, from `revisions`, what they replaced.

In bulk and without building objects row by row; and as statements that are made once, for those who read a few rows often.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from bot.store.bulk import few_collections
from bot.store.columns import Instant
from bot.store.tables import metadata
from predictors.labels import CONTACT, TROUBLE_KINDS
from predictors.moments import RATING_KINDS
from predictors.snapshot import INSTANT

__all__ = ["FRAMES", "KINDS", "FrameQuery", "among", "as_instant", "ids_value", "in_batches", "instant_of"]

# Rows of the driver that are held at once.
ROWS_A_TIME = 20_000

KINDS = (
    "paid", "shipped", "out_for_delivery", "delivered", "exception", "cancelled", CONTACT, *TROUBLE_KINDS, *RATING_KINDS
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
FRAMES = tuple(_PLAIN)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameQuery:
    """The statements that read one frame."""

    name: str
    sqlite: bool
    rows: sa.Select[Any]
    # Of touchpoints, which are never replaced, there are none.
    replaced: sa.Select[Any] | None

    @classmethod
    def of(
        cls,
        dialect: str,
        name: str,
        *,
        kinds: Collection[str] = KINDS,
        where: sa.ColumnElement[bool] | None = None,
        replaced: sa.ColumnElement[bool] | None = None,
    ) -> FrameQuery:
        """Make them.

        Parameters
        ----------
        dialect : str
            `sqlite` or `postgresql`.
        kinds : collection of str
            Of touchpoints: which are read.
        where, replaced : expressions, optional
            Which rows of the table are wanted, and which of `revisions`; by default all.
        """
        table, revisions = metadata.tables[name], metadata.tables["revisions"]
        sqlite = dialect == "sqlite"
        columns: list[sa.ColumnElement[Any]] = [table.c[column] for column in _PLAIN[name]]
        columns += [instant_of(table.c[column], sqlite) for column in _INSTANTS[name]]
        if _ATTRIBUTES[name]:
            columns.append(_text(table.c.attributes, sqlite))
        until = sa.bindparam("until", type_=Instant())
        rows = sa.select(*columns).where(table.c.recorded_at <= until)
        if where is not None:
            rows = rows.where(where)
        if name == "touchpoints":
            # An index by kind is of no use where most kinds are wanted, and must not be preferred to one by order.
            kind = table.c.kind if where is None else table.c.kind.concat("")
            return cls(name=name, sqlite=sqlite, rows=rows.where(kind.in_(sorted(kinds))), replaced=None)
        old = sa.select(revisions).where(revisions.c.entity == name, revisions.c.recorded_at <= until)
        return cls(name=name, sqlite=sqlite, rows=rows, replaced=old if replaced is None else old.where(replaced))

    def read(self, connection: Connection, until: datetime, timezone: str, **wanted: Any) -> pl.DataFrame:
        """Read the frame.

        Parameters
        ----------
        until : datetime
            Rows recorded later are not read at all.
        timezone : str
            The shop's zone; naive times among the attributes (`ship_by`) are in it.
        wanted
            The values of the parameters of `where` and `replaced`.
        """
        name, parameters = self.name, {"until": until, **wanted}
        frame = in_batches(connection, self.rows, parameters, _schema(name, self.sqlite))
        old: Sequence[sa.Row[Any]] = ()
        if self.replaced is not None:
            old = connection.execute(self.replaced, parameters).all()
        if not old:
            return frame.select(_read_out(name, self.sqlite, timezone))
        present = frame.select(_read_out(name, self.sqlite, None))
        frame = pl.concat([present, _old_contents(name, old, present.schema)])
        # Two contents that were recorded at the same instant leave a version that never held.
        frame = frame.filter(pl.col("superseded_at").is_null() | (pl.col("superseded_at") > pl.col("recorded_at")))
        frame = frame.with_columns(_attribute(column, dtype, timezone) for column, dtype in _ATTRIBUTES[name].items())
        return frame.drop("attributes", strict=False).rename(_renamed(name))


def among(dialect: str, column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Say that a column is one of any number of ids: they are sent as one value, the parameter `ids`."""
    if dialect == "sqlite":
        values = sa.func.json_each(sa.bindparam("ids", type_=sa.Text())).table_valued("value")
        return column.in_(sa.select(values.c.value))
    return column == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.BigInteger)))


def ids_value(dialect: str, ids: Collection[int]) -> Any:
    """Return the value of the parameter `ids`."""
    wanted = sorted(ids)
    return json.dumps(wanted) if dialect == "sqlite" else wanted


@cache
def _schema(name: str, sqlite: bool) -> Mapping[str, type[pl.DataType]]:
    """Return the types of what the driver hands over."""
    schema = {column: _TYPES.get(column, pl.String) for column in _PLAIN[name]}
    schema |= dict.fromkeys(_INSTANTS[name], pl.String if sqlite else pl.Int64)
    return schema | ({"attributes": pl.String} if _ATTRIBUTES[name] else {})


@cache
def _read_out(name: str, sqlite: bool, timezone: str | None) -> list[pl.Expr]:
    """Return the columns of a frame from those of the driver; without a zone, the attributes as they are and the ids' own names."""
    columns = [pl.col(column) for column in _PLAIN[name]]
    columns += [as_instant(column, sqlite) for column in _INSTANTS[name]]
    if _ATTRIBUTES[name] and timezone is None:
        columns.append(pl.col("attributes"))
    if name != "touchpoints":
        columns.append(pl.lit(None, dtype=INSTANT).alias("superseded_at"))
    if timezone is None:
        return columns
    columns = [one.alias(_renamed(name).get(one.meta.output_name(), one.meta.output_name())) for one in columns]
    return columns + [_attribute(column, dtype, timezone) for column, dtype in _ATTRIBUTES[name].items()]


def _renamed(name: str) -> Mapping[str, str]:
    return {"id": _KEY[name]} if name in _KEY else {}


def in_batches(
    connection: Connection,
    query: sa.Select[Any],
    parameters: Mapping[str, Any],
    schema: Mapping[str, type[pl.DataType]],
) -> pl.DataFrame:
    """Read rows into columns, some at a time: the driver's rows take ten times the room."""
    # The driver's own tuples: no value here needs to be converted, and SQLAlchemy's rows cost as much again.
    cursor = connection.execute(query, parameters).cursor
    parts = []
    with few_collections():
        while rows := cursor.fetchmany(ROWS_A_TIME):
            columns = zip(schema.items(), zip(*rows, strict=True), strict=True)
            parts.append(pl.DataFrame([pl.Series(name, values, dtype=dtype) for (name, dtype), values in columns]))
    return pl.concat(parts) if parts else pl.DataFrame(schema=dict(schema))


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


def instant_of(column: sa.ColumnElement[Any], sqlite: bool) -> sa.ColumnElement[Any]:
    """Select an instant as `as_instant` reads it."""
    # The driver's text or microseconds, so that Polars reads the times and no object is built for each.
    if sqlite:
        return sa.type_coerce(column, sa.Text)
    return sa.cast(sa.extract("epoch", column) * 1_000_000, sa.BigInteger)


def _text(column: sa.Column[Any], sqlite: bool) -> sa.ColumnElement[Any]:
    return sa.type_coerce(column, sa.Text) if sqlite else sa.cast(column, sa.Text)


def as_instant(column: str, sqlite: bool) -> pl.Expr:
    """Read an instant from what `instant_of` selected."""
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
