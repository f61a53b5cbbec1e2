"""Small invented shops as frames, for the tests of the predictors; drawn by Hypothesis or by a seed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from predictors.labels import CONTACT
from predictors.snapshot import DRAWS, FRAMES, Snapshot

START = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
Rows = dict[str, list[dict[str, Any]]]


def hours(amount: float) -> datetime:
    """Return the instant so many hours after the shop opened."""
    return START + timedelta(hours=amount)


def snapshot(rows: Rows, until: datetime | None = None, timezone: str = "UTC") -> Snapshot:
    """Return the snapshot of rows given as dictionaries; of `draws` there need not be any."""
    frames = {name: pl.DataFrame(rows.get(name, []), schema=dict(FRAMES[name][0]), strict=False) for name in FRAMES}
    draws = pl.DataFrame(rows.get("draws", []), schema=dict(DRAWS))
    return Snapshot(**frames, until=until or START + timedelta(days=4000), timezone=timezone, draws=draws)


def with_contacts(rows: Rows, *, seed: int) -> Rows:
    """Return the shop with contacts about a third of its orders: drawn by chance, chosen by people, naming no order."""
    rng = np.random.default_rng(seed)
    points, draws = list(rows["touchpoints"]), []
    for order in rows["orders"]:
        at = order["placed_at"] + timedelta(days=float(rng.uniform(0, 20)))
        named = {"customer_id": order["customer_id"], "order_id": order["order_id"]}
        way = rng.choice(["drawn", "drawn twice", "named", "loose", None], p=[0.15, 0.05, 0.08, 0.05, 0.67])
        if way in ("named", "loose"):
            named["order_id"] = named["order_id"] if way == "named" else None
            sent = {"touchpoint_id": len(points), "kind": CONTACT, "occurred_at": at, "recorded_at": at}
            points.append({**named, **sent})
        for _ in range({"drawn": 1, "drawn twice": 2}.get(str(way), 0)):
            contacted = int(rng.random() < 0.7)
            draws.append({"order_id": order["order_id"], "at": at, "propensity": 0.7, "contacted": contacted})
            at += timedelta(days=float(rng.uniform(0, 9)))
    return {**rows, "touchpoints": points, "draws": draws}


def invented_shop(orders: int, *, seed: int, days: int = 200) -> Rows:
    """Return a shop in which late parcels and one poor seller lead to bad reviews."""
    rng = np.random.default_rng(seed)
    rows: Rows = {name: [] for name in FRAMES}
    for number in range(orders // 2 + 1):
        rows["customers"].append(
            {"customer_id": number, "country": "DE", "region": f"r{number % 3}", "recorded_at": START}
        )
    for number in range(6):
        rows["products"].append(
            {"product_id": number, "category": f"c{number % 2}", "weight_g": 100.0 * number, "recorded_at": START}
        )
    points = rows["touchpoints"]

    def happened(order: int, kind: str, at: datetime, value: float | None = None) -> None:
        points.append(
            {
                "touchpoint_id": len(points),
                "customer_id": order % (orders // 2 + 1),
                "order_id": order,
                "kind": kind,
                "occurred_at": at,
                "recorded_at": at,
                "value": value,
            }
        )

    for order in range(orders):
        placed = START + timedelta(days=days * order / orders)
        promised = placed + timedelta(days=6)
        seller = int(rng.integers(0, 4))
        late = rng.random() < 0.2
        delivered = placed + timedelta(days=float(rng.uniform(8, 12) if late else rng.uniform(2, 5)))
        rows["orders"].append(
            {
                "order_id": order,
                "customer_id": order % (orders // 2 + 1),
                "placed_at": placed,
                "promised_at": promised,
                "total": float(rng.uniform(5, 90)),
                "recorded_at": placed,
            }
        )
        rows["order_lines"].append(
            {
                "order_id": order,
                "line_no": 1,
                "product_id": int(rng.integers(0, 6)),
                "seller_id": f"s{seller}",
                "quantity": 1.0,
                "unit_price": float(rng.uniform(5, 80)),
                "shipping_price": 4.0,
                "ship_by": placed + timedelta(days=2),
                "seller_region": f"r{seller % 3}",
                "recorded_at": placed,
            }
        )
        happened(order, "paid", placed + timedelta(hours=1))
        happened(order, "shipped", placed + timedelta(days=1))
        happened(order, "delivered", delivered)
        bad = rng.random() < (0.75 if late else 0.05) + (0.2 if seller == 0 else 0.0)
        happened(order, "review", delivered + timedelta(days=float(rng.uniform(1, 6))), 1.0 if bad else 5.0)
    return rows
