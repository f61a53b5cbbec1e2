"""An invented shop for patterns: quiet by nature or with one planted trouble, known to the benchmark only.

Its noise is not the detector's own model: cells differ for good (Gamma), each seller has better and worse weeks, the
season moves the whole shop, reports come days after the delivery and are recorded later still.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from predictors.snapshot import FRAMES, Snapshot
from predictors.trouble import TEXTS

START = datetime(2026, 1, 1, tzinfo=UTC)
SELLERS, PRODUCTS, REGIONS = 15, 40, 12
WORDS = {
    "ticket_opened": ("It does not work", "A part is missing", "Where is my parcel", "How do I install it", "hello"),
    "charging": ("It stopped charging", "The battery is dead", "Will not charge at all"),
}


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One trouble put into the shop: in orders of a lot, seller or region placed since a day.

    Attributes
    ----------
    share : float
        Of the orders concerned that report it, besides all others.
    """

    dimension: str
    value: str
    since_day: float
    share: float


@dataclass(frozen=True, kw_only=True)
class PlantedShop:
    """A shop's frames, with the words that came with its touchpoints."""

    snapshot: Snapshot
    texts: pl.DataFrame

    def at(self, day: float) -> tuple[Snapshot, pl.DataFrame]:
        """Return what was known on a day; words come with their touchpoints."""
        return self.snapshot.at(START + timedelta(days=day)), self.texts


def planted_shop(
    *, seed: int, days: int = 300, orders_a_day: float = 30.0, trouble: float = 0.08, planted: Planted | None = None
) -> PlantedShop:
    """Draw a shop.

    Parameters
    ----------
    trouble : float
        The mean share of orders with a ticket, return or bad review by nature.
    """
    rng = np.random.default_rng(seed)
    n = int(days * orders_a_day)
    placed = np.sort(rng.uniform(0, days, n))
    product = rng.choice(PRODUCTS, n, p=_shares(PRODUCTS))
    seller = product % SELLERS
    region = rng.choice(REGIONS, n, p=_shares(REGIONS))
    lot = np.array([f"B{int(day // 45)}-{half}" for day, half in zip(placed, rng.integers(0, 2, n), strict=True)])
    customer = rng.integers(0, max(n // 2, 1), n)
    region = region[customer]  # a customer lives in one place
    delivered = placed + rng.gamma(4.0, 0.9, n)
    promised = placed + 6.0
    risk = trouble * rng.gamma(8, 1 / 8, PRODUCTS)[product] * rng.gamma(12, 1 / 12, REGIONS)[region]
    weeks = rng.gamma(20, 1 / 20, (SELLERS, days // 7 + 2))
    risk = risk * weeks[seller, (placed // 7).astype(int)] * (1 + 0.3 * np.sin(2 * np.pi * placed / 180))
    asked = rng.uniform(size=n) < risk
    kind = rng.choice(["ticket_opened", "return_requested", "review"], n, p=[0.5, 0.2, 0.3])
    at = np.maximum(delivered, 0) + rng.gamma(1.5, 3.0, n)
    word = rng.choice(WORDS["ticket_opened"], n)
    touched = [
        pl.DataFrame({"order": np.flatnonzero(asked), "kind": kind[asked], "day": at[asked], "text": word[asked]}),
        pl.DataFrame({"order": np.arange(n), "kind": "delivered", "day": delivered}),
    ]
    if planted is not None:
        of = {"seller": np.char.add("s", seller.astype(str)), "region": np.char.add("r", region.astype(str))}
        of["lot"] = np.char.add(np.char.add(product.astype(str), "/"), lot)
        hit = (of[planted.dimension] == planted.value) & (placed >= planted.since_day)
        hit &= rng.uniform(size=n) < planted.share
        when = delivered[hit] + rng.gamma(1.5, 3.0, int(hit.sum()))
        words = rng.choice(WORDS["charging"], int(hit.sum()))
        touched.append(
            pl.DataFrame({"order": np.flatnonzero(hit), "kind": "ticket_opened", "day": when, "text": words})
        )
    points = pl.concat(touched, how="diagonal").with_columns(
        recorded=pl.col("day") + rng.exponential(0.2, sum(part.height for part in touched))
    )
    points = points.filter(pl.col("recorded") < days).with_row_index("touchpoint_id")
    frames = {
        "customers": pl.DataFrame(
            {"customer_id": customer, "country": "DE", "region": np.char.add("r", region.astype(str)), "recorded_at": START}
        ).unique("customer_id"),
        "products": pl.DataFrame({"product_id": np.arange(PRODUCTS), "category": "c", "recorded_at": START}),
        "orders": pl.DataFrame(
            {"order_id": np.arange(n), "customer_id": customer, "placed_at": placed, "promised_at": promised, "recorded_at": placed}
        ).with_columns(_instants("placed_at", "promised_at", "recorded_at")),
        "order_lines": pl.DataFrame(
            {
                "order_id": np.arange(n), "line_no": 1, "product_id": product,
                "seller_id": np.char.add("s", seller.astype(str)), "lot": lot, "recorded_at": placed,
            }
        ).with_columns(_instants("recorded_at")),
        "touchpoints": points.select(
            pl.col("touchpoint_id").cast(pl.Int64),
            customer_id=pl.Series(customer[points["order"].to_numpy()]),
            order_id=pl.col("order").cast(pl.Int64),
            kind="kind",
            occurred_at="day",
            recorded_at="recorded",
            value=pl.when(pl.col("kind") == "review").then(1.0),
        ).with_columns(_instants("occurred_at", "recorded_at")),
    }  # fmt: skip
    told = points.filter(pl.col("kind") == "ticket_opened")
    return PlantedShop(
        snapshot=Snapshot(**{name: frames[name] for name in FRAMES}, until=START + timedelta(days=days)),
        texts=told.select(pl.col("touchpoint_id").cast(pl.Int64), "text").cast(dict(TEXTS)),
    )


def _shares(n: int) -> list[float]:
    weights = 1.0 / (np.arange(n) + 8.0)
    return (weights / weights.sum()).tolist()  # type: ignore[no-any-return]


def _instants(*columns: str) -> list[pl.Expr]:
    return [
        (pl.lit(START) + pl.duration(microseconds=(pl.col(name) * 86_400e6).cast(pl.Int64))).alias(name)
        for name in columns
    ]
