"""Patterns through the real importer, on both engines: found, remembered, told once, told again when grown, ended."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from benchmarks.shops.planted import START, Planted, PlantedShop, planted_shop
from bot.cli import run
from bot.clock import ManualClock
from bot.config import Settings
from bot.services.daily import DailyRound, Step
from bot.services.importing.importer import Importer
from bot.services.prediction.champions import NotEnoughHistory
from bot.services.prediction.patterns import PatternReport, Patterns
from bot.store import patterns as store
from bot.store.database import Database, open_database
from bot.store.tables import metadata

LOT = Planted(dimension="lot", value="0/B3-1", since_day=0.0, share=0.8)
HOSTILE = "[bold]B3-1[/bold]\x1b[31m\n"
DAY = 168.0


@cache
def world() -> PlantedShop:
    return planted_shop(seed=6, days=180, orders_a_day=10.0, planted=LOT)


def put(database: Database, day: float) -> None:
    """Import what the shop knew by a day, as its files would say it."""
    snapshot, texts = world().at(day)
    importer = Importer(database, ManualClock(snapshot.until), Settings())

    def rows(frame: pl.DataFrame, *drop: str) -> list[dict[str, Any]]:
        frame = frame.drop("superseded_at", *drop, strict=False)
        return [
            {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items() if value is not None}
            for row in frame.iter_rows(named=True)
        ]  # fmt: skip

    words = snapshot.touchpoints.join(texts, on="touchpoint_id", how="left")
    for name, frame in (
        ("customers", snapshot.customers.drop("recorded_at")),
        ("products", snapshot.products.drop("recorded_at").with_columns(name=pl.format("Product {}", "product_id"))),
        ("orders", snapshot.orders.drop("recorded_at")),
        ("order_lines", snapshot.order_lines.drop("recorded_at")),
        ("touchpoints", words),
    ):
        report, refused = importer.import_rows(name, rows(frame))
        assert refused == []
        assert report.read


def at(database: Database, day: float) -> Patterns:
    return Patterns(database, ManualClock(START + timedelta(days=day)), Settings())


def facts(reports: list[PatternReport]) -> list[tuple[Any, ...]]:
    return [
        (one.product_key, one.pattern.cell.value, one.pattern.kind, one.pattern.troubled, len(one.silent))
        for one in reports
    ]


def test_a_pattern_is_found_remembered_told_once_and_ended(database: Database) -> None:
    put(database, DAY)
    patterns = at(database, DAY)
    (found,) = patterns.report()
    assert (found.product_key, found.pattern.cell.value, found.pattern.kind) == ("0", "B3-1", "charging")
    assert (found.stored, found.untold) == (None, False)
    assert found.sentence.startswith(
        f"{found.pattern.troubled} of {found.pattern.exposed} buyers of lot B3-1 of Product 0 report charging in the last"
    )
    assert found.silent
    assert {one.order_key for one in found.silent}.isdisjoint(one.order_key for one in found.troubled)

    assert patterns.refresh() == 1
    assert patterns.refresh() == 0
    (known,) = patterns.report()
    assert known.stored is not None
    assert known.untold
    patterns.mark_told(known.stored.id)
    assert not patterns.report()[0].untold

    assert at(database, DAY + 40).refresh() == 0
    with database.read() as connection:
        assert store.patterns_at(connection, START + timedelta(days=DAY + 41)) == []
        assert [one.identity for one in store.patterns_at(connection, START + timedelta(days=DAY))] == [
            found.pattern.identity
        ]


def test_a_pattern_that_grows_is_news_again(database: Database) -> None:
    put(database, 150.0)
    early = at(database, 150.0)
    assert early.refresh() == 1
    (before,) = early.report()
    assert before.stored is not None
    early.mark_told(before.stored.id)
    put(database, DAY)
    assert at(database, DAY).refresh() == 1
    (after,) = at(database, DAY).report()
    assert after.stored is not None
    assert after.untold
    assert after.stored.id == before.stored.id
    assert after.stored.first_seen_at == START + timedelta(days=150.0)
    assert after.pattern.troubled >= before.pattern.troubled + 3


def test_as_of_sees_only_what_was_recorded_then(sqlite_database: Database) -> None:
    put(sqlite_database, 150.0)
    then = facts(at(sqlite_database, 150.0).report())
    put(sqlite_database, DAY)
    assert facts(at(sqlite_database, DAY).report(START + timedelta(days=150.0))) == then
    assert facts(at(sqlite_database, DAY).report()) != then


def test_a_young_shop_has_no_patterns_and_the_round_goes_on(sqlite_database: Database) -> None:
    patterns = at(sqlite_database, 20.0)
    with pytest.raises(NotEnoughHistory):
        patterns.report()
    assert patterns.refresh() == 0


def test_a_failure_of_the_patterns_stops_nothing_else(sqlite_database: Database) -> None:
    def fails() -> int:
        raise RuntimeError("no patterns today")

    steps = [Step(name="patterns", work=fails, required=False), Step(name="plan", work=lambda: 3)]
    report = DailyRound(sqlite_database, ManualClock(START), Settings(), steps).run_now()
    assert report is not None
    assert report.done == {"plan": 3}


def test_the_command_shows_names_from_files_escaped_and_json_with_the_orders(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    database = open_database(sqlite_url)
    put(database, DAY)
    lines = metadata.tables["order_lines"]
    with database.write() as connection:
        for row in connection.execute(sa.select(lines.c.id, lines.c.attributes)).all():
            if row.attributes.get("lot") == "B3-1":
                attributes = {**row.attributes, "lot": HOSTILE}
                connection.execute(sa.update(lines).where(lines.c.id == row.id).values(attributes=attributes))
    database.close()
    monkeypatch.setenv("AFTERCARE_NOW", (START + timedelta(days=DAY)).isoformat())
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["report", "patterns"]) == 0
    shown = capsys.readouterr().out
    assert "[bold]B3-1[/bold]" in shown
    assert "\x1b[31m" not in shown
    assert run(["report", "patterns", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "charging"
    assert set(told["silent_orders"][0]) == {"order_id", "customer_id"}
    assert run(["report", "patterns", "--as-of", START.isoformat()]) == 4
