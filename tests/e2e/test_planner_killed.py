"""A planner that is killed at random points and started again proposes each step once, and none is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.store.database import Database, open_database
from bot.store.tables import metadata
from tests.conftest import NOW
from tests.integration.shop_rows import add_customer, add_order, add_prediction, add_touchpoint

KILLS = 7
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def fill(database: Database) -> None:
    """A shop in which several playbooks mean some customers, more than a day holds, and some are refused."""
    with database.write() as connection:
        for number in range(30):
            one = add_customer(
                connection, f"c{number}", NOW - 90 * DAY, email=None if number % 11 == 5 else f"c{number}@x.y"
            )
            order = add_order(connection, f"o{number}", one, NOW - 9 * DAY, promised_at=NOW - DAY)
            add_prediction(connection, one, order, NOW - HOUR, 0.2 + number % 7 / 10)
            if number % 3 == 0:
                add_touchpoint(connection, "delivered", one, NOW - DAY, order)
            if number % 10 == 4:
                add_touchpoint(connection, "ticket_opened", one, NOW - DAY, order)


def proposed(database: Database) -> Counter[tuple[str, ...]]:
    customers, outreaches, assignments = (metadata.tables[one] for one in ("customers", "outreaches", "assignments"))
    query = (
        sa.select(customers.c.external_id, outreaches.c.playbook, outreaches.c.step, assignments.c.arm)
        .join(outreaches, outreaches.c.customer_id == customers.c.id)
        .join(assignments, assignments.c.id == outreaches.c.assignment_id)
    )
    with database.read() as connection:
        return Counter(tuple(row) for row in connection.execute(query))


def refused(database: Database) -> Counter[tuple[str, ...]]:
    customers, refusals = metadata.tables["customers"], metadata.tables["refusals"]
    query = sa.select(
        customers.c.external_id, refusals.c.playbook, refusals.c.step, refusals.c.decision, refusals.c.reason
    ).join(refusals, refusals.c.customer_id == customers.c.id)
    with database.read() as connection:
        return Counter(tuple(row) for row in connection.execute(query))


@pytest.mark.parametrize(
    ("engine", "mode", "seed"), [("sqlite", "parts", 12), pytest.param("postgres", "whole", 11, marks=pytest.mark.peer)]
)
def test_a_planner_killed_at_random_points_plans_each_step_once(
    engine: str, mode: str, seed: int, sqlite_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    fresh = tmp_path / "killed.db"
    shutil.copy(tmp_path / "aftercare.db", fresh)
    url: str = f"sqlite:///{fresh}" if engine == "sqlite" else request.getfixturevalue("postgres_url")
    found: list[dict[str, Any]] = []
    for where in (sqlite_url, url):
        database = open_database(where)
        fill(database)
        database.close()
    words = [sys.executable, "-m", "tests.killed_planner", sqlite_url, url, mode, str(seed), str(KILLS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    # A later one has less left to do and may be through before its hour has come.
    assert told["killed"] >= KILLS // 2, told
    for where in (sqlite_url, url):
        database = open_database(where)
        found.append({"proposed": proposed(database), "refused": refused(database)})
        database.close()
    unkilled, killed = found
    assert killed["proposed"] == unkilled["proposed"]
    assert set(killed["proposed"].values()) == {1}
    assert len(killed["proposed"]) == 12
    assert killed["refused"] == unkilled["refused"]
    assert len(killed["refused"]) > 12
