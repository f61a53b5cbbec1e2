"""Invented customers who buy at rates of their own until they leave, for the tests of churn and value."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from predictors.snapshot import Snapshot
from tests.unit.shops import START, snapshot

DAYS = 200
UNTIL = START + timedelta(days=DAYS)


def order(number: int, customer: int, day: float, total: float | None = 30.0) -> dict[str, Any]:
    at = START + timedelta(days=day)
    return {"order_id": number, "customer_id": customer, "placed_at": at, "total": total, "recorded_at": at}


def shop(orders: list[dict[str, Any]], until: datetime = UNTIL) -> Snapshot:
    return snapshot({"orders": orders}, until=until)


def repeat_orders(customers: int = 150, seed: int = 0, days: int = DAYS) -> list[dict[str, Any]]:
    """Return orders of customers, each with a rate and a level of spend of their own, who may leave after any order."""
    rng = np.random.default_rng(seed)
    orders = []
    for customer in range(customers):
        level, rate = rng.gamma(4, 10), rng.gamma(0.8, 1 / 30)
        day = rng.uniform(0, 0.6 * days)
        while day < days:
            orders.append(order(len(orders), customer, float(day), float(level * rng.uniform(0.7, 1.3))))
            day += rng.exponential(1 / rate) if rng.random() > 0.1 else 1e9
    return orders
