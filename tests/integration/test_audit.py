"""The audit log: every change shows, and concurrent writers make one chain."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.cli import run
from bot.clock import ManualClock
from bot.store import audit
from bot.store.database import Database, open_database
from bot.store.tables import metadata

table = metadata.tables["audit"]


def fill(database: Database, clock: ManualClock, count: int = 3) -> None:
    for number in range(count):
        with database.write() as connection:
            detail = {"n": number, "share": 1.0, "tiny": 1.5e-7, "huge": 1e20, "who": "Zoë", "at": clock.now()}
            audit.record(connection, at=clock.now(), actor="cli:ann", action="approve", entity="outreach", entity_id=number, detail=detail)  # fmt: skip


def broken(database: Database) -> list[int]:
    with database.read() as connection:
        return audit.verify(connection)


def test_an_untouched_log_is_intact(database: Database, clock: ManualClock) -> None:
    assert broken(database) == []
    fill(database, clock)
    assert broken(database) == []


@pytest.mark.parametrize(
    "change",
    [
        sa.update(table).where(table.c.entity_id == "1").values(actor="cli:eve"),
        sa.update(table).where(table.c.entity_id == "1").values(detail={"n": 9}),
        sa.update(table).where(table.c.entity_id == "1").values(hash="f" * 64),
        sa.delete(table).where(table.c.entity_id == "0"),
        sa.delete(table).where(table.c.entity_id == "1"),
        sa.delete(table).where(table.c.entity_id == "2"),
        sa.delete(table),
    ],
)
def test_any_change_shows(database: Database, clock: ManualClock, change: sa.Update | sa.Delete) -> None:
    fill(database, clock)
    with database.write() as connection:
        connection.execute(change)
    assert broken(database)


def test_concurrent_writers_make_one_chain(database: Database, clock: ManualClock) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(fill, database, clock, 10) for _ in range(8)]:
            done.result()
    with database.read() as connection:
        assert audit.count(connection) == 80
    assert broken(database) == []


def test_audit_verify_exits_1_where_an_entry_was_changed(
    tmp_path: Path,
    sqlite_url: str,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "config.yaml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    database = open_database(sqlite_url)
    fill(database, clock)
    assert run(["audit", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "entries": 3, "broken": []}
    with database.write() as connection:
        connection.execute(sa.update(table).where(table.c.id == 2).values(action="reject"))
    database.close()
    assert run(["audit", "verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"ok": False, "entries": 3, "broken": [2]}
    assert run(["audit", "verify"]) == 1
