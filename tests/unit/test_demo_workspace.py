"""The demo's working folder: an ordinary installation, and nothing of anybody else's is ever removed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.clock import FileClock
from bot.demo.workspace import Plan, Workspace
from bot.errors import UsageError

PLAN = Plan(shop_name="Shop: with colon", timezone="Europe/Berlin", currency="EUR", holdout_share=0.5, capacity=20)


def test_the_configuration_it_writes_is_valid_and_says_what_was_planned(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    assert workspace.make_afresh() is False
    settings = workspace.configure(PLAN, None)
    assert settings.shop.name == "Shop: with colon"
    assert settings.predictors.issue.horizon_days == 14
    assert settings.experiments.holdout_share == 0.5
    assert settings.path(settings.email.outbox) == workspace.outbox
    assert settings.slack.mode == "off"


def test_an_older_demo_is_replaced(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    workspace.make_afresh()
    (workspace.folder / "aftercare.db").write_text("old")
    assert workspace.make_afresh() is True
    assert not (workspace.folder / "aftercare.db").exists()


def test_a_demo_that_is_running_is_not_replaced_until_it_has_ended(tmp_path: Path) -> None:
    running = Workspace(tmp_path / "shop")
    running.make_afresh()
    (running.folder / "aftercare.db").write_text("in use")
    with pytest.raises(UsageError, match="a demo is running in"):
        Workspace(tmp_path / "shop").make_afresh()
    assert (running.folder / "aftercare.db").read_text() == "in use"
    running.release()
    running.release()
    assert Workspace(tmp_path / "shop").make_afresh() is True


def test_a_folder_of_somebody_elses_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="was not made by the demo"):
        Workspace(tmp_path).make_afresh()
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_the_clock_file_is_one_that_every_process_can_read(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    workspace.make_afresh()
    now = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
    workspace.set_clock(now)
    assert (FileClock(workspace.clock_file).now() - now).total_seconds() < 60
