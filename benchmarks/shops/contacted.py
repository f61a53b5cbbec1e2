"""Invented shops in which customers are contacted and what would have happened without is known: histories, and purchases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from predictors.frames import Array
from predictors.labels import CONTACT
from predictors.purchases import BetaGeoModel
from predictors.snapshot import DRAWS, INSTANT, Snapshot, empty

OPENED = datetime(2026, 1, 1, tzinfo=UTC)
PREVENTED = 0.7
HELD_OUT = 0.2
# One seller in five is poor.
SELLERS, POOR = 40, 8
ORDERED_DAYS, PROMISED_DAYS = 200.0, 5
# How the customers of a shop buy if they are left alone, and how long they are watched.
BUYING = {"r_": 0.8, "alpha_": 6.0, "a_": 0.8, "b_": 2.5}
WEEKS, SILENT_WEEKS, BACK = 70.0, 6.0, 0.6


@dataclass(frozen=True, kw_only=True)
class SellersShop:
    """The same orders in two worlds: as they ended, some of them contacted, and as they would have ended."""

    snapshot: Snapshot
    left_alone: Snapshot


def sellers_shop(seed: int, orders: int, *, drawn: bool) -> SellersShop:
    """Orders that end badly more often with poor sellers and for a hidden reason; these are contacted as they fall due.

    Parameters
    ----------
    drawn : bool
        The product draws who of those is held out; else people contact seven in ten of them.
    """
    rng = np.random.default_rng(seed)
    seller = rng.integers(0, SELLERS, orders)
    poor, hidden = seller < POOR, rng.random(orders) < 0.3
    bad = rng.random(orders) < 0.05 + 0.3 * poor + 0.2 * hidden
    placed = np.sort(rng.uniform(0, ORDERED_DAYS, orders))
    due = placed + PROMISED_DAYS + 1
    rated, complained = due + rng.uniform(1, 10, orders), np.where(rng.random(orders) < 0.5, due + 0.9, np.nan)
    meant = (poor & (rng.random(orders) < 0.6)) | hidden
    contacted = meant & (rng.random(orders) > (HELD_OUT if drawn else 0.3))
    sent = np.where(contacted, due + 0.5, np.nan)
    saved = contacted & (rng.random(orders) < PREVENTED)
    draws = pl.DataFrame(schema=dict(DRAWS))
    if drawn:
        rows = np.flatnonzero(meant)
        draws = pl.DataFrame(
            {"order_id": rows, "at": _instants(due[rows] + 0.4), "propensity": np.full(len(rows), 1 - HELD_OUT),
             "contacted": contacted[rows].astype(np.int8)},
            schema=dict(DRAWS),
        )  # fmt: skip
    base = _orders(placed, seller)
    worlds = []
    for ended_badly, contact in ((bad & ~saved, sent), (bad, np.full(orders, np.nan))):
        points = [
            _points(rated, "review", np.where(ended_badly, 1.0, 5.0)),
            _points(np.where(ended_badly, complained, np.nan), "complaint"),
            _points(contact, CONTACT),
        ]
        worlds.append(replace(base, touchpoints=_numbered(points)))
    return SellersShop(snapshot=replace(worlds[0], draws=draws), left_alone=worlds[1])


def buyers_shop(seed: int, customers: int) -> Snapshot:
    """Customers who buy as BG/NBD says, until six weeks of silence: then half are contacted, and six in ten of these come back."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(BUYING["r_"], 1 / BUYING["alpha_"], customers)
    leaving = rng.beta(BUYING["a_"], BUYING["b_"], customers)
    start = rng.uniform(0, WEEKS / 2, customers)
    bought, contacts = [], []
    for one in range(customers):
        now, reached, there = start[one], False, True
        while now < WEEKS:
            # After the first purchase nobody leaves, as the model has it.
            there = now == start[one] or rng.random() >= leaving[one]
            bought.append((one, now))
            following = now + rng.exponential(1 / rate[one]) if there else np.inf
            if following - now > SILENT_WEEKS and not reached and rng.random() < 0.5:
                reached = True
                contacts.append((one, now + SILENT_WEEKS))
                if rng.random() < BACK:
                    following = now + SILENT_WEEKS + rng.uniform(0.2, 2)
            now = following
    who, when = (np.array([row[place] for row in bought]) for place in (0, 1))
    asked, at = (np.array([row[place] for row in contacts if row[1] < WEEKS]) for place in (0, 1))
    placed = _instants(7 * when)
    orders = pl.DataFrame(
        {
            "order_id": np.arange(len(who)),
            "customer_id": who.astype(np.int64),
            "placed_at": placed,
            "recorded_at": placed,
        }
    )
    points = _points(7 * at, CONTACT).with_columns(customer_id=pl.Series(asked.astype(np.int64)), order_id=None)
    frames = {name: empty(name) for name in ("customers", "products", "order_lines")}
    return Snapshot(**frames, orders=orders, touchpoints=_numbered([points]), until=OPENED + timedelta(weeks=WEEKS))


def true_buying() -> BetaGeoModel:
    """Return the model by which the customers of `buyers_shop` buy."""
    model = BetaGeoModel()
    for name, value in BUYING.items():
        setattr(model, name, value)
    return model


def _orders(placed: Array, seller: Array) -> Snapshot:
    ids, at = np.arange(len(placed)), _instants(placed)
    orders = pl.DataFrame({"order_id": ids, "customer_id": ids, "placed_at": at, "recorded_at": at})
    orders = orders.with_columns(promised_at=pl.col("placed_at") + timedelta(days=PROMISED_DAYS))
    lines = pl.DataFrame({"order_id": ids, "line_no": 1, "seller_id": seller, "recorded_at": at})
    until = OPENED + timedelta(days=ORDERED_DAYS + 60)
    return Snapshot(
        customers=empty("customers"), products=empty("products"), orders=orders, touchpoints=empty("touchpoints"),
        order_lines=lines.with_columns(pl.col("seller_id").cast(pl.String)), until=until,
    )  # fmt: skip


def _points(days: Array, kind: str, value: Array | None = None) -> pl.DataFrame:
    rows = np.flatnonzero(~np.isnan(days))
    at = _instants(days[rows])
    values = pl.Series(np.full(len(rows), np.nan) if value is None else value[rows]).fill_nan(None)
    return pl.DataFrame(
        {"customer_id": rows, "order_id": rows, "occurred_at": at, "recorded_at": at, "value": values}
    ).with_columns(kind=pl.lit(kind))


def _numbered(points: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(points, how="vertical_relaxed").with_columns(touchpoint_id=pl.int_range(pl.len(), dtype=pl.Int64))


def _instants(days: Array) -> pl.Series:
    opened = pl.Series([OPENED]).cast(INSTANT).to_physical()[0]
    found: pl.Series = pl.Series(days * 86_400e6).round().cast(pl.Int64) + opened
    return found.cast(INSTANT)
