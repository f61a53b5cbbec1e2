"""The ledger through the real tables: what is shown adds up, and weights are learned only where they help."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.cli import run
from bot.clock import ManualClock
from bot.config import Settings
from bot.services.importing.importer import Importer
from bot.services.prediction.touchpoint_ledger import JOB, LEARN_EVERY, TouchpointLedger
from bot.services.privacy import Privacy
from bot.store.database import Database, open_database
from bot.store.enums import RunState
from bot.store.runs import latest_runs
from predictors.experience import STANDARD
from tests.conftest import NOW

DAY = timedelta(days=1)


def put(database: Database, customers: int, *, matters: bool) -> None:
    """Import a year in which late parcels and tickets are followed by more trouble, or nothing by anything."""
    rng = np.random.default_rng(7)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("customers", "orders", "touchpoints")}

    def happened(customer: int, order: str, kind: str, at: Any, value: float | None = None) -> None:
        number = len(rows["touchpoints"])
        row = {"touchpoint_id": number, "customer_id": customer, "order_id": order, "kind": kind, "value": value}
        if at < NOW:
            rows["touchpoints"].append({**row, "occurred_at": at.isoformat()})

    for customer in range(customers):
        rows["customers"].append({"customer_id": customer, "name": f"[red]{customer}"})
        placed = NOW - DAY * float(rng.uniform(240, 420))
        troubled = False
        while placed < NOW:
            order = f"o{len(rows['orders'])}"
            promised = placed + 5 * DAY
            rows["orders"].append(
                {"order_id": order, "customer_id": customer, "placed_at": placed.isoformat(), "promised_at": promised.isoformat()}
            )  # fmt: skip
            late = bool(rng.uniform() < 0.2)
            happened(customer, order, "delivered", placed + DAY * (9 if late else 3))
            chance = (0.7 if late or troubled else 0.08) if matters else 0.2
            troubled = bool(rng.uniform() < chance)
            if troubled:
                happened(customer, order, "ticket_opened", placed + DAY * float(rng.uniform(10, 20)))
            elif rng.uniform() < 0.4:
                happened(customer, order, "review", placed + DAY * 8, 5.0)
            placed += DAY * float(rng.uniform(20, 60))
    importer = Importer(database, ManualClock(NOW), Settings())
    for name, content in rows.items():
        _, refused = importer.import_rows(name, [{k: v for k, v in row.items() if v is not None} for row in content])
        assert refused == []


def test_a_ledger_adds_up_and_fades(sqlite_database: Database) -> None:
    put(sqlite_database, 6, matters=True)
    clock = ManualClock(NOW)
    journey = Privacy(sqlite_database, clock).journey("3")
    ledgers = TouchpointLedger(sqlite_database, clock, Settings())
    ledger = ledgers.of(journey.orders, journey.touchpoints)
    assert ledger.entries
    assert not ledger.fitted
    assert ledger.score == pytest.approx(sum(entry.points for entry in ledger.entries))
    in_force = {entry.experience for entry in ledger.entries}
    assert in_force <= {"late", "in_time", "ticket", "good_rating"}
    clock.advance(400 * DAY)
    later = ledgers.of(journey.orders, journey.touchpoints)
    assert all(abs(now.points) >= abs(then.points) for now, then in zip(ledger.entries, later.entries, strict=False))


def test_weights_are_learned_once_in_four_weeks_and_then_in_force(database: Database) -> None:
    put(database, 260, matters=True)
    clock = ManualClock(NOW)
    ledgers = TouchpointLedger(database, clock, Settings())
    assert ledgers.weights() == STANDARD
    assert ledgers.learn_if_due() == 1
    learned = ledgers.weights()
    assert learned.rows > 500
    assert learned.weights["late"] + learned.weights["ticket"] > 0.3
    assert ledgers.learn_if_due() == 0
    clock.advance(LEARN_EVERY)
    ledgers.learn_if_due()
    with database.read() as connection:
        assert len(latest_runs(connection, JOB)) == 2


def test_where_nothing_helps_the_weights_set_by_hand_stay(sqlite_database: Database) -> None:
    put(sqlite_database, 8, matters=False)
    ledgers = TouchpointLedger(sqlite_database, ManualClock(NOW), Settings())
    assert ledgers.learn_if_due() == 0
    assert ledgers.weights() == STANDARD
    with sqlite_database.read() as connection:
        (ran,) = latest_runs(connection, JOB)
    assert ran.detail is not None
    assert "50" in ran.detail["kept"]


def test_a_learning_that_failed_is_tried_again_on_the_next_date(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sqlite_database, 8, matters=False)
    clock = ManualClock(NOW)
    ledgers = TouchpointLedger(sqlite_database, clock, Settings())

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("bot.services.prediction.touchpoint_ledger.train_experience", breaks)
        with pytest.raises(RuntimeError):
            ledgers.learn_if_due()
    assert ledgers.learn_if_due() == 0  # not again on the same date
    clock.advance(DAY)
    ledgers.learn_if_due()
    with sqlite_database.read() as connection:
        states = [run.state for run in latest_runs(connection, JOB)]
    assert states == [RunState.DONE, RunState.FAILED]


def test_the_command_shows_points_and_their_sum(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERCARE_NOW", NOW.isoformat())
    monkeypatch.setenv("COLUMNS", "200")
    database = open_database(sqlite_url)
    put(database, 6, matters=True)
    database.close()
    assert run(["customer", "show", "3", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    experience = shown["experience"]
    assert experience["score"] == pytest.approx(sum(entry["points"] for entry in experience["entries"]), abs=0.01)
    assert set(experience["entries"][0]) == {"occurred_at", "experience", "order_id", "points"}
    assert all(point["points"] is None for point in shown["touchpoints"] if point["kind"] == "placed")
    assert any(point["points"] for point in shown["touchpoints"])
    assert run(["customer", "show", "3"]) == 0
    told = capsys.readouterr().out
    assert f"Experience today: {experience['score']:+.2f}" in told
    assert "[red]3" in told
