"""An invented shop of a given number of customers on the morning of a plan: predicted today already, and a year of contact.

One order a customer, at all stages: on its way, late, delivered lately, long ago. Some have open tickets, said no, or were
contacted this week. Written straight into a fresh SQLite database, chunk by chunk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["NOW", "write_planned_shop"]

NOW = datetime(2026, 3, 10, 8, 0, tzinfo=UTC)  # a Tuesday
CHUNK = 100_000
# Orders were placed within so many days, evenly.
DAYS = 150
# A customer in so many has an open ticket, said no by mail, was contacted lately.
TICKET, REFUSAL, CONTACT = 50, 40, 20
_REASONS = (
    '[{"feature": "days_late", "text": "The parcel is late.", "effect": 0.12},'
    ' {"feature": "seller_bad_share", "text": "This seller has more trouble than others.", "effect": 0.05}]'
)
_ZONES = ("Europe/Berlin", "Europe/Paris", "America/New_York", "America/Sao_Paulo", "Asia/Tokyo")
_COUNTRIES = ("DE", "FR", "US", "BR", "JP")


def write_planned_shop(file: Path, customers: int, *, seed: int = 0) -> None:
    """Fill a database whose tables are there and empty."""
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=OFF")  # what is half made is thrown away
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("BEGIN")
        rng = np.random.default_rng(seed)
        for first in range(0, customers, CHUNK):
            for table, frame in _chunk(rng, first, min(first + CHUNK, customers)):
                marks = ", ".join("?" * frame.width)
                statement = f"INSERT INTO {table} ({', '.join(frame.columns)}) VALUES ({marks})"
                connection.executemany(statement, frame.iter_rows())
        for kind in ("issue", "churn"):
            connection.execute(
                "INSERT INTO runs (job, key, state, started_at, finished_at) VALUES ('score', ?, 'done', ?, ?)",
                (f"{kind}:{NOW.date()}", _text(NOW), _text(NOW)),
            )
        connection.execute("COMMIT")
        connection.execute("PRAGMA optimize")
    finally:
        connection.close()


def _chunk(rng: np.random.Generator, first: int, last: int) -> Iterator[tuple[str, pl.DataFrame]]:
    count = last - first
    age = rng.uniform(0.5, DAYS, count)
    frame = pl.DataFrame(
        {
            "id": np.arange(first, last) + 1,
            "age": age,
            "took": rng.uniform(2, 14, count),
            "total": np.round(rng.lognormal(4, 0.8, count), 2),
            "issue": rng.beta(1.2, 6, count),
            "churn": rng.beta(2, 3, count),
        }
    ).with_columns(
        place=pl.col("id") % len(_ZONES),
        placed=pl.lit(NOW) - pl.duration(microseconds=(pl.col("age") * 86_400_000_000).cast(pl.Int64)),
        plain=pl.lit("{}"),
        source=pl.lit("files"),
        then=pl.lit(_text(NOW - timedelta(days=DAYS + 1))),
        now=pl.lit(_text(NOW - timedelta(hours=1))),
    )
    frame = frame.with_columns(
        at=_written(pl.col("placed")),
        promised=_written(pl.col("placed") + pl.duration(days=8)),
        delivered=_written(
            pl.col("placed") + pl.duration(microseconds=(pl.col("took") * 86_400_000_000).cast(pl.Int64))
        ),
    )
    yield (
        "customers",
        frame.select(
            "id", "source", external_id=pl.format("c{}", "id"), email=pl.format("c{}@mail.example", "id"),
            name=pl.lit("Maria Example"), locale=pl.lit("en"),
            timezone=_choice(_ZONES), country=_choice(_COUNTRIES), attributes="plain",
            fingerprint=pl.format("c{}", "id"), recorded_at="then",
        ),
    )  # fmt: skip
    yield (
        "orders",
        frame.select(
            "id", "source", "total", external_id=pl.format("o{}", "id"), customer_id="id", placed_at="at",
            promised_at="promised", attributes="plain", fingerprint=pl.format("o{}", "id"), recorded_at="at",
        ),
    )  # fmt: skip
    for kind, happened, when in (
        ("shipped", frame, "at"),
        ("delivered", frame.filter(pl.col("took") < pl.col("age")), "delivered"),
        ("ticket_opened", frame.filter(pl.col("id") % TICKET == 0), "now"),
        ("reply", frame.filter(pl.col("id") % CONTACT == 1), "now"),
    ):
        yield (
            "touchpoints",
            happened.select(
                "source", external_id=pl.format(f"{kind}-{{}}", "id"), customer_id="id", order_id="id", kind=pl.lit(kind),
                occurred_at=when, recorded_at=when, attributes="plain", fingerprint=pl.format(f"{kind}-{{}}", "id"),
                channel=pl.lit("email" if kind == "reply" else None, dtype=pl.String),
            ),
        )  # fmt: skip
    yield (
        "consents",
        frame.filter(pl.col("id") % REFUSAL == 3).select(
            customer_id="id", channel=pl.lit("email"), purpose=pl.lit("check_ins"), granted=pl.lit(0),
            origin=pl.lit("email"), occurred_at="now", recorded_at="now",
        ),
    )  # fmt: skip
    yield from _contacts(frame.filter(pl.col("id") % CONTACT == 7))
    for kind, subject, order, moment in (("issue", "o{}", "id", "placed"), ("churn", "c{}", None, "now")):
        band = pl.when(pl.col(kind) >= 0.35).then(pl.lit("high"))
        band = band.when(pl.col(kind) >= 0.15).then(pl.lit("medium")).otherwise(pl.lit("low"))
        yield (
            "predictions",
            frame.select(
                kind=pl.lit(kind), moment=pl.lit(moment), subject=pl.format(subject, "id"), customer_id="id",
                order_id=pl.col(order) if order else pl.lit(None, dtype=pl.Int64), as_of="now", horizon_days=pl.lit(45),
                probability=pl.col(kind), band=band, stage=pl.lit("champion"), model=pl.lit(f"{kind}-1"),
                reasons=pl.lit(_REASONS), recorded_at="now",
            ),
        )  # fmt: skip


def _contacts(people: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield check-ins that were sent a day before, with their draws."""
    yesterday = _text(NOW - timedelta(days=1))
    yield (
        "assignments",
        people.select(
            "id", customer_id="id", playbook=pl.lit("how_to_start"), experiment=pl.lit("how_to_start@aftercare"),
            arm=pl.lit("treatment"), propensity=pl.lit(0.9), salt=pl.lit("aftercare"), drawn_at=pl.lit(yesterday),
        ),
    )  # fmt: skip
    day = (NOW - timedelta(days=1)).date().isoformat()
    yield (
        "outreaches",
        people.select(
            version=pl.lit(4), state=pl.lit("sent"), dedupe_key=pl.format(f"{{}}:how_to_start:first:{day}", "id"),
            customer_id="id", order_id="id", playbook=pl.lit("how_to_start"), playbook_version=pl.lit("1"),
            step=pl.lit("first"), channel=pl.lit("email"), local_date=pl.lit(day), assignment_id="id",
            template=pl.lit("how_to_start"), locale=pl.lit("en"), subject=pl.lit("Hello"), draft=pl.lit("Hello"),
            original_draft=pl.lit("Hello"), reasons=pl.lit("[]"), band=pl.lit("low"), urgent=pl.lit(0),
            created_at=pl.lit(yesterday), updated_at=pl.lit(yesterday), not_before=pl.lit(yesterday),
            expires_at=pl.lit(yesterday), attempts=pl.lit(1), sent_at=pl.lit(yesterday),
        ),
    )  # fmt: skip


def _choice(names: tuple[str, ...]) -> pl.Expr:
    return pl.col("place").replace_strict(dict(enumerate(names)), return_dtype=pl.String)


def _written(instant: pl.Expr) -> pl.Expr:
    return instant.dt.strftime("%Y-%m-%d %H:%M:%S.%6f")


def _text(instant: datetime) -> str:
    return instant.replace(tzinfo=None).isoformat(" ", "microseconds")
