"""The frames at the boundary: what a shop knew, row by row, with the time from which each row was known.

A `Snapshot` is all that was recorded by an instant. Entities (customers, products, orders, order lines) are
versioned: a row holds from `recorded_at` until `superseded_at` (null: still current), so that a feature can
ask for the version that was valid at its subject's own moment. Touchpoints are append-only and have no end.
How the frames are read from a database does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from predictors.errors import FrameError, NaiveFrameError

# Every instant is UTC with microseconds.
INSTANT = pl.Datetime("us", "UTC")
Schema = Mapping[str, pl.DataType | type[pl.DataType]]

VERSIONED: Schema = {"recorded_at": INSTANT, "superseded_at": INSTANT}

# Column: type. The unit stands in the name, or is the shop's currency for amounts.
CUSTOMERS: Schema = {"customer_id": pl.Int64, "country": pl.String, "region": pl.String, **VERSIONED}
PRODUCTS: Schema = {
    "product_id": pl.Int64, "category": pl.String, "price": pl.Float64, "weight_g": pl.Float64,
    "volume_cm3": pl.Float64, "photos": pl.Float64, "description_length": pl.Float64, "lot": pl.String, **VERSIONED,
}  # fmt: skip
# The status of an order changes later and is therefore not here, and never a feature.
ORDERS: Schema = {
    "order_id": pl.Int64, "customer_id": pl.Int64, "placed_at": INSTANT, "promised_at": INSTANT,
    "total": pl.Float64, **VERSIONED,
}  # fmt: skip
ORDER_LINES: Schema = {
    "order_id": pl.Int64, "line_no": pl.Int64, "product_id": pl.Int64, "seller_id": pl.String,
    "quantity": pl.Float64, "unit_price": pl.Float64, "shipping_price": pl.Float64,
    "ship_by": INSTANT, "seller_region": pl.String, "lot": pl.String, **VERSIONED,
}  # fmt: skip
TOUCHPOINTS: Schema = {
    "touchpoint_id": pl.Int64, "customer_id": pl.Int64, "order_id": pl.Int64, "kind": pl.String,
    "occurred_at": INSTANT, "recorded_at": INSTANT, "value": pl.Float64,
    "payment_type": pl.String, "installments": pl.Float64,
}  # fmt: skip
# One row a draw over an order: when it decided, how probable it was to be drawn to be contacted, and whether it was.
DRAWS: Schema = {"order_id": pl.Int64, "at": INSTANT, "propensity": pl.Float64, "contacted": pl.Int8}

# Frame: its schema, the columns that must be there and filled, and the key that must be unique.
FRAMES: Mapping[str, tuple[Schema, tuple[str, ...], tuple[str, ...]]] = {
    "customers": (CUSTOMERS, ("customer_id", "recorded_at"), ("customer_id", "recorded_at")),
    "products": (PRODUCTS, ("product_id", "recorded_at"), ("product_id", "recorded_at")),
    "orders": (ORDERS, ("order_id", "customer_id", "placed_at", "recorded_at"), ("order_id", "recorded_at")),
    "order_lines": (ORDER_LINES, ("order_id", "line_no", "recorded_at"), ("order_id", "line_no", "recorded_at")),
    "touchpoints": (
        TOUCHPOINTS,
        ("touchpoint_id", "customer_id", "kind", "occurred_at", "recorded_at"),
        ("touchpoint_id",),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that was recorded by `until`, as validated frames.

    Parameters
    ----------
    customers, products, orders, order_lines, touchpoints : polars.DataFrame
        With the columns of this module; columns that a shop does not have are filled with null.
    until : datetime
        Nothing recorded after this instant is in the frames.
    timezone : str
        The shop's IANA zone: a promised day ends at its local midnight.
    draws : polars.DataFrame
        `DRAWS`: whom the product's own experiments drew to be contacted or held out; none by default.

    Raises
    ------
    FrameError
        A column is missing, of another type, empty where it must not be, infinite, or a key stands twice.
    NaiveFrameError
        A time column carries no zone.
    """

    customers: pl.DataFrame
    products: pl.DataFrame
    orders: pl.DataFrame
    order_lines: pl.DataFrame
    touchpoints: pl.DataFrame
    until: datetime
    timezone: str = "UTC"
    draws: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=dict(DRAWS)))

    def __post_init__(self) -> None:
        if self.until.tzinfo is None:
            raise NaiveFrameError("Snapshot.until has no time zone; pass an aware datetime")
        object.__setattr__(self, "draws", valid_draws(self.draws).filter(pl.col("at") <= self.until))
        for name in FRAMES:
            known = validated(name, getattr(self, name))
            if _later(known["recorded_at"], self.until):
                known = known.filter(pl.col("recorded_at") <= self.until)
            if "superseded_at" in FRAMES[name][0] and _later(known["superseded_at"], self.until):
                # What was replaced only after `until` was still current then.
                ended = pl.when(pl.col("superseded_at") <= self.until).then(pl.col("superseded_at"))
                known = known.with_columns(ended.alias("superseded_at"))
            object.__setattr__(self, name, known)

    def at(self, until: datetime) -> Snapshot:
        """Return the snapshot of an earlier instant."""
        frames = {name: getattr(self, name) for name in FRAMES}
        return Snapshot(**frames, until=min(until, self.until), timezone=self.timezone, draws=self.draws)


def validated(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame in the exact columns and types of its schema.

    Parameters
    ----------
    name : str
        One of `FRAMES`.
    frame : polars.DataFrame
        Columns beyond the schema are dropped; optional ones that are absent become null.
    """
    schema, required, key = FRAMES[name]
    if missing := [column for column in required if column not in frame.columns]:
        raise FrameError(f"{name}: the column {missing[0]} is missing; it needs {', '.join(required)}")
    found = frame.schema
    if all(found.get(column) == dtype for column, dtype in schema.items()):
        result = frame[list(schema)]
    else:
        result = frame.select(_cast(name, frame, column, dtype) for column, dtype in schema.items())
    for column in required:
        if empty := result[column].null_count():
            raise FrameError(f"{name}.{column}: {empty} rows are empty; every row needs it")
    not_numbers = []
    for column in (column for column, dtype in schema.items() if dtype == pl.Float64):
        values = result[column].to_numpy()
        if np.isinf(values).any():
            raise FrameError(f"{name}.{column}: infinite values; leave them empty where they are unknown")
        if np.isnan(values).sum() > result[column].null_count():
            not_numbers.append(column)
    if not_numbers:
        result = result.with_columns(pl.col(not_numbers).fill_nan(None))
    if result.height > 1 and result[list(key)].is_duplicated().any():
        raise FrameError(f"{name}: a key ({', '.join(key)}) stands twice; keep one row for each version")
    return result


def valid_draws(draws: pl.DataFrame) -> pl.DataFrame:
    """Return draws in the columns of `DRAWS`.

    Raises
    ------
    FrameError
        A column is missing.
    """
    if missing := [column for column in DRAWS if column not in draws.columns]:
        raise FrameError(f"draws: the column {missing[0]} is missing; it needs {', '.join(DRAWS)}")
    return draws.select(list(DRAWS))


def _later(instants: pl.Series, until: datetime) -> bool:
    latest = instants.max()
    return isinstance(latest, datetime) and latest > until


def empty(name: str) -> pl.DataFrame:
    """Return a frame of the schema with no rows."""
    return pl.DataFrame(schema=dict(FRAMES[name][0]))


def _cast(name: str, frame: pl.DataFrame, column: str, dtype: pl.DataType | type[pl.DataType]) -> pl.Expr:
    if column not in frame.columns:
        return pl.lit(None, dtype=dtype).alias(column)
    found = frame.schema[column]
    if found == dtype or found == pl.Null:
        return pl.col(column).cast(dtype)
    if dtype == INSTANT:
        if isinstance(found, pl.Datetime) and found.time_zone is None:
            raise NaiveFrameError(f"{name}.{column} has no time zone; convert it to UTC first")
        if isinstance(found, pl.Datetime):
            return pl.col(column).dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    elif dtype in (pl.Float64, pl.Int64) and found.is_integer():
        return pl.col(column).cast(dtype)
    elif dtype == pl.Float64 and found.is_float():
        return pl.col(column).cast(pl.Float64)
    raise FrameError(f"{name}.{column} is {found}; it must be {dtype}")
