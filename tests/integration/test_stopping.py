"""The global stop on the command line: nothing is sent while it is on, and nothing is lost by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.cli import run
from bot.clock import ManualClock, parse_instant
from bot.config import Settings
from bot.services.review.desk import ReviewDesk
from bot.store.database import open_database
from tests.integration.shop_rows import propose

NOW = "2026-03-10T12:00:00Z"
CONFIG = "email: {enabled: true, outbox: outbox}\nreview: {undo_seconds: 0}\n"


def test_nothing_leaves_while_everything_is_stopped_and_it_leaves_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERCARE_NOW", NOW)
    monkeypatch.setenv("AFTERCARE_SECRET_KEY", "a long random text for tests only")
    Path("config.yaml").write_text(CONFIG)

    def call(*words: str) -> dict[str, Any]:
        capsys.readouterr()
        assert run(words) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    assert run(["db", "upgrade"]) == 0
    clock = ManualClock(parse_instant(NOW))
    database = open_database("sqlite:///aftercare.db", home=tmp_path)
    one = propose(database, clock.now())
    ReviewDesk(database, clock, Settings.model_validate({"review": {"undo_seconds": 0}})).approve(
        one.id, one.version, "cli:ana"
    )
    database.close()
    assert call("outreach", "stop", "--why", "a flood", "--json") == {"stopped": True, "changed": True}
    assert call("outreach", "stop", "--json") == {"stopped": True, "changed": False}
    assert call("run", "--once", "deliver")["sent"] == 0
    assert call("outreach", "resume", "--json") == {"stopped": False, "changed": True}
    assert call("outreach", "resume", "--json") == {"stopped": False, "changed": False}
    assert call("run", "--once", "deliver")["sent"] == 1
    assert call("audit", "verify", "--json")
