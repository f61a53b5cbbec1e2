"""Writes a part of the invented shop as canonical CSV files, the ones that any shop would import."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.demo.shop import Purchase
from bot.demo.story import CURRENCY, GOODS, SELLER_BY_ID
from bot.demo.timeline import Part


def write_part(part: Part, folder: Path, *, with_products: bool = True) -> dict[str, int]:
    """Write the canonical files of a part into a folder; return the number of rows of each."""
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    if with_products:
        counts["products"] = _write(
            folder / "products.csv",
            ("product_id", "name", "category", "price", "weight_g"),
            ((good.id, good.name, good.category, good.price, good.weight_g) for good in GOODS),
        )
    counts["customers"] = _write(
        folder / "customers.csv",
        (
            "customer_id",
            "email",
            "name",
            "locale",
            "timezone",
            "country",
            "region",
            "city",
            "slack_user_id",
            "created_at",
        ),
        (
            (p.id, p.email, p.name, "en", p.timezone, p.country, p.region, p.city, p.slack_user_id, _utc(p.created_at))
            for p in part.purchasers
        ),
    )
    counts["orders"] = _write(
        folder / "orders.csv",
        ("order_id", "customer_id", "placed_at", "currency", "total", "promised_at"),
        (
            (p.id, p.customer_id, _utc(p.placed_at), CURRENCY, _total(p), f"{p.promised_on:%Y-%m-%d}")
            for p in part.purchases
        ),
    )
    counts["order_lines"] = _write(
        folder / "order_lines.csv",
        (
            "order_id", "line_no", "product_id", "seller_id", "quantity", "unit_price", "shipping_price",
            "lot", "ship_by", "seller_region", "seller_city",
        ),
        (row for purchase in part.purchases for row in _lines(purchase)),
    )  # fmt: skip
    counts["touchpoints"] = _write(
        folder / "touchpoints.csv",
        ("touchpoint_id", "customer_id", "order_id", "kind", "occurred_at", "recorded_at", "value", "text", "channel"),
        (
            (key, p.customer_id, p.id, h.kind, _utc(h.occurred_at), _utc(h.recorded_at), h.value, h.text, h.channel)
            for key, p, h in part.touchpoints
        ),
    )
    return counts


def _lines(purchase: Purchase) -> Iterable[Sequence[object]]:
    ship_by = _utc(purchase.placed_at + timedelta(days=2))
    for number, line in enumerate(purchase.lines, start=1):
        seller = SELLER_BY_ID[line.good.seller]
        yield (
            purchase.id, number, line.good.id, seller.id, line.quantity, line.good.price, _shipping(number),
            line.lot, ship_by, seller.region, seller.city,
        )  # fmt: skip


def _shipping(line_no: int) -> float:
    return 4.9 if line_no == 1 else 0.0


def _total(purchase: Purchase) -> float:
    lines = enumerate(purchase.lines, start=1)
    return round(sum(line.quantity * line.good.price + _shipping(number) for number, line in lines), 2)


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _write(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    count = 0
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow(["" if cell is None else cell for cell in row])
            count += 1
    return count
