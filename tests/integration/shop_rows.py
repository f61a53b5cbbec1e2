"""Rows that tests about planning and review start from, written by the store's own tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.store.database import Connection, Database
from bot.store.outreach import NewOutreach, Outreach, insert_outreach, outreach
from bot.store.tables import metadata


def insert(connection: Connection, table: str, **values: Any) -> int:
    rows = metadata.tables[table]
    found = connection.execute(sa.insert(rows).values(**values).returning(rows.c.id)).scalar_one()
    return int(found)


def add_customer(connection: Connection, key: str, now: datetime, **columns: Any) -> int:
    defaults: Mapping[str, Any] = {
        "source": "files",
        "external_id": key,
        "name": "Maria Santos",
        "email": f"{key}@mail.example",
        "timezone": "Europe/Berlin",
        "fingerprint": key,
        "recorded_at": now,
    }
    return insert(connection, "customers", **{**defaults, **columns})


def add_order(connection: Connection, key: str, customer_id: int, placed_at: datetime, **columns: Any) -> int:
    defaults: Mapping[str, Any] = {
        "source": "files",
        "external_id": key,
        "customer_id": customer_id,
        "placed_at": placed_at,
        "promised_at": placed_at + timedelta(days=7),
        "total": 80.0,
        "fingerprint": key,
        "recorded_at": placed_at,
    }
    return insert(connection, "orders", **{**defaults, **columns})


def add_touchpoint(
    connection: Connection, kind: str, customer_id: int, at: datetime, order_id: int | None = None, **columns: Any
) -> int:
    key = f"{kind}:{customer_id}:{order_id}:{at.isoformat()}"
    defaults: Mapping[str, Any] = {"recorded_at": at, "source": "files", "external_id": key, "fingerprint": key}
    return insert(
        connection,
        "touchpoints",
        **{**defaults, "kind": kind, "customer_id": customer_id, "order_id": order_id, "occurred_at": at, **columns},
    )


def add_prediction(
    connection: Connection,
    customer_id: int,
    order_id: int | None,
    as_of: datetime,
    probability: float = 0.5,
    **columns: Any,
) -> int:
    defaults: Mapping[str, Any] = {
        "kind": "issue" if order_id else "churn",
        "moment": "due" if order_id else "any",
        "subject": f"order:{order_id}" if order_id else f"customer:{customer_id}",
        "customer_id": customer_id,
        "order_id": order_id,
        "as_of": as_of,
        "horizon_days": 45 if order_id else 90,
        "probability": probability,
        "band": "high" if probability >= 0.35 else "medium" if probability >= 0.15 else "low",
        "stage": "rules",
        "model": "rules",
        "reasons": [{"feature": "late_days", "text": "The parcel is three days late.", "effect": 0.21}],
        "fragility": {},
        "recorded_at": as_of,
    }
    return insert(connection, "predictions", **{**defaults, **columns})


def propose(database: Database, now: datetime, key: str = "c1", **changed: Any) -> Outreach:
    """Propose one check-in to a new customer, as a plan would."""
    with database.write() as connection:
        customer_id = add_customer(connection, key, now - timedelta(days=20))
        order_id = add_order(connection, f"o-{key}", customer_id, now - timedelta(days=10))
        assignment_id = insert(
            connection,
            "assignments",
            customer_id=customer_id,
            playbook="delivery_at_risk",
            experiment="delivery_at_risk",
            arm="treatment",
            propensity=0.9,
            salt="test",
            drawn_at=now,
        )
        fields: dict[str, Any] = {
            "dedupe_key": f"{customer_id}:delivery_at_risk:first:{now.date()}",
            "customer_id": customer_id,
            "order_id": order_id,
            "playbook": "delivery_at_risk",
            "playbook_version": "1",
            "step": "first",
            "channel": "email",
            "local_date": str(now.date()),
            "assignment_id": assignment_id,
            "prediction_id": add_prediction(connection, customer_id, order_id, now),
            "article_version_id": None,
            "template": "delivery_at_risk",
            "locale": "en",
            "subject": "About your order",
            "draft": "Hello Maria, your parcel is late.",
            "reasons": [{"feature": "late_days", "text": "The parcel is three days late.", "effect": 0.21}],
            "probability": 0.5,
            "band": "high",
            "urgent": True,
            "not_before": now,
            "expires_at": now + timedelta(hours=72),
        }
        proposed = insert_outreach(connection, NewOutreach(**{**fields, **changed}), now)
        assert proposed is not None
        return outreach(connection, proposed)
