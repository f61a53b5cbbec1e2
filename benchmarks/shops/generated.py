"""A large invented shop, written straight into a fresh SQLite database: one line and three touchpoints an order.

Late parcels and poor sellers lead to bad reviews, so that a model finds something; all else is as plain as a shop of
that size allows. Chunk by chunk, so that a shop larger than the memory can be made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 360
END = START + timedelta(days=DAYS)
# Orders for each of these; customers order three times, so that a million orders have a third of a million customers.
ORDERS_A_CUSTOMER, ORDERS_A_SELLER, ORDERS_A_PRODUCT = 3, 400, 100
CHUNK = 100_000
_REGIONS = 27
_NO_ATTRIBUTES = "{}"
Ids = npt.NDArray[np.int64]


def write_shop(file: Path, orders: int, *, seed: int = 0) -> None:
    """Fill a database whose tables are there and empty.

    Parameters
    ----------
    file : Path
        The SQLite database.
    orders : int
        How many; placed evenly over `DAYS` days from `START`.
    """
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=OFF")  # what is half made is thrown away
        connection.execute("PRAGMA cache_size=-262144")
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("BEGIN")
        for table, frame in _chunks(orders, seed):
            marks = ", ".join("?" * frame.width)
            statement = f"INSERT INTO {table} ({', '.join(frame.columns)}) VALUES ({marks})"
            connection.executemany(statement, frame.iter_rows())
        connection.execute("COMMIT")
        connection.execute("PRAGMA optimize")
    finally:
        connection.close()


def _chunks(orders: int, seed: int) -> Iterator[tuple[str, pl.DataFrame]]:
    rng = np.random.default_rng(seed)
    sellers, products = max(orders // ORDERS_A_SELLER, 10), max(orders // ORDERS_A_PRODUCT, 20)
    customers = max(orders // ORDERS_A_CUSTOMER, 10)
    poor = rng.random(sellers) < 0.1  # one seller in ten
    late_share = rng.beta(1.5, 12, _REGIONS)
    for first in range(0, customers, CHUNK):
        numbers = np.arange(first, min(first + CHUNK, customers))
        yield "customers", _customers(numbers)
    yield "products", _products(products)
    for first in range(0, orders, CHUNK):
        numbers = np.arange(first, min(first + CHUNK, orders))
        yield from _orders(rng, numbers, orders, customers, products, poor, late_share)


def _customers(numbers: Ids) -> pl.DataFrame:
    frame = pl.DataFrame({"id": numbers + 1})
    key = pl.format("c{}", "id")
    return frame.with_columns(
        source=pl.lit("files"),
        external_id=key,
        email=pl.format("c{}@example.com", "id"),
        country=pl.lit("DE"),
        region=pl.format("r{}", pl.col("id") % _REGIONS),
        attributes=pl.lit(_NO_ATTRIBUTES),
        fingerprint=key,
        recorded_at=pl.lit(_text(START - timedelta(days=1))),
    )


def _products(count: int) -> pl.DataFrame:
    frame = pl.DataFrame({"id": np.arange(count) + 1})
    key = pl.format("p{}", "id")
    return frame.with_columns(
        source=pl.lit("files"),
        external_id=key,
        category=pl.format("k{}", pl.col("id") % 60),
        weight_g=(pl.col("id") * 37 % 5000).cast(pl.Float64),
        attributes=pl.lit(_NO_ATTRIBUTES),
        fingerprint=key,
        recorded_at=pl.lit(_text(START - timedelta(days=1))),
    )


def _orders(
    rng: np.random.Generator,
    numbers: Ids,
    orders: int,
    customers: int,
    products: int,
    poor: npt.NDArray[np.bool_],
    late_share: npt.NDArray[np.float64],
) -> Iterator[tuple[str, pl.DataFrame]]:
    count = len(numbers)
    customer = rng.integers(0, customers, count) + 1
    seller = rng.integers(0, len(poor), count)
    late = rng.random(count) < late_share[customer % _REGIONS] + 0.1 * poor[seller]
    days_taken = np.where(late, rng.uniform(9, 16, count), rng.uniform(1.5, 7.5, count))
    bad = rng.random(count) < np.where(late, 0.6, 0.08) + 0.15 * poor[seller]
    answer_days = rng.exponential(4.0, count) + 0.2
    frame = pl.DataFrame(
        {
            "id": numbers + 1,
            "customer_id": customer,
            "seller": seller,
            "product_id": rng.integers(0, products, count) + 1,
            "price": np.round(rng.lognormal(3.5, 0.8, count), 2),
            "shipping_price": np.round(rng.uniform(3, 20, count), 2),
            "shipped_days": rng.uniform(0.3, 3, count) + 2.0 * poor[seller],
            "delivered_days": days_taken + 3.0,
            "review_days": days_taken + 3.0 + answer_days,
            "value": np.where(bad, rng.integers(1, 3, count), rng.integers(4, 6, count)).astype(float),
        }
    ).with_columns(
        placed=pl.lit(START) + pl.duration(microseconds=(pl.col("id") * (DAYS * 86_400_000_000 // orders))),
        key=pl.format("o{}", "id"),
    )
    placed = _written(pl.col("placed"))
    yield (
        "orders",
        frame.select(
            "id",
            "customer_id",
            source=pl.lit("files"),
            external_id="key",
            placed_at=placed,
            promised_at=_written(pl.col("placed") + pl.duration(days=10)),
            total=pl.col("price") + pl.col("shipping_price"),
            attributes=pl.lit(_NO_ATTRIBUTES),
            fingerprint="key",
            recorded_at=placed,
        ),
    )
    yield (
        "order_lines",
        frame.select(
            "product_id",
            "shipping_price",
            order_id="id",
            line_no=pl.lit(1),
            seller_id=pl.format("s{}", "seller"),
            quantity=pl.lit(1.0),
            unit_price="price",
            attributes=pl.concat_str(pl.lit('{"seller_region": "r'), pl.col("seller") % _REGIONS, pl.lit('"}')),
            fingerprint="key",
            recorded_at=placed,
        ),
    )
    for kind in ("shipped", "delivered", "review"):
        at = pl.col("placed") + pl.duration(microseconds=(pl.col(f"{kind}_days") * 86_400_000_000).cast(pl.Int64))
        happened = frame.with_columns(at=at).filter(pl.col("at") < END)
        key = pl.concat_str(pl.lit(f"{kind}-"), "id")
        yield (
            "touchpoints",
            happened.select(
                "customer_id",
                source=pl.lit("files"),
                external_id=key,
                order_id="id",
                kind=pl.lit(kind),
                occurred_at=_written(pl.col("at")),
                recorded_at=_written(pl.col("at")),
                value=pl.col("value") if kind == "review" else pl.lit(None, dtype=pl.Float64),
                attributes=pl.lit(_NO_ATTRIBUTES),
                fingerprint=key,
            ),
        )


def _written(instant: pl.Expr) -> pl.Expr:
    return instant.dt.strftime("%Y-%m-%d %H:%M:%S.%6f")


def _text(instant: datetime) -> str:
    return instant.replace(tzinfo=None).isoformat(" ", "microseconds")
