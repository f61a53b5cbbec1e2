"""The tour, on a small invented shop: every step shows what it must, with and without Slack."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from bot.cli import run
from bot.clock import ManualClock
from bot.demo.narration import Narrator
from bot.demo.scenery import InventedShop
from bot.demo.show import DemoOptions, run_demo
from bot.demo.stage import Casting, Stage
from bot.demo.story import Story
from bot.demo.workspace import Workspace
from tests.peers import missing_peer
from tests.peers.local_slack import BINARY

SMALL = Story(customers=420, slack_customers=12)


def shown(tmp_path: Path, *, local_slack: Path | None = None) -> tuple[int, str, Narrator]:
    """Run the tour and return its exit status and all that it printed."""
    narrator = Narrator(Console(file=io.StringIO(), width=110, highlight=False))
    options = DemoOptions(tour=True, data=None, folder=tmp_path / "shop", local_slack=local_slack)
    status = run_demo(options, SMALL, narrator)
    assert isinstance(narrator.console.file, io.StringIO)
    return status, narrator.console.file.getvalue(), narrator


def test_the_tour_shows_every_step_in_the_terminal_and_all_its_checks_hold(tmp_path: Path) -> None:
    status, text, narrator = shown(tmp_path)
    assert status == 0, narrator.unmet
    for words in (
        "1. Import", "2. Train", "3. Score", "4. Plan", "5. Review", "6. Delivery", "7. The customer writes back",
        "8. The rest of the day", "9. Fourteen days later", "10. Lift", "11. Retrain",
    ):  # fmt: skip
        assert words in text
    assert "Approve" in text
    assert "held out" in text
    assert "Only the generator knows both futures" in text
    assert "the gate:" in text
    assert len(list((tmp_path / "shop" / "outbox").glob("outreach-*.eml"))) > 10


@pytest.mark.peer
def test_the_tour_clicks_and_talks_at_a_real_slack_server(tmp_path: Path) -> None:
    if not BINARY.is_file():
        missing_peer("local-slack is not installed: run `npm ci` in tests/peers/slack")
    status, text, narrator = shown(tmp_path, local_slack=BINARY)
    assert status == 0, narrator.unmet
    assert "cards are posted to #aftercare-review" in text
    assert "direct message in Slack" in text
    assert "needs a human" in text


def test_a_binary_that_does_not_start_leaves_the_cards_to_the_terminal(tmp_path: Path) -> None:
    workspace, scenery = Workspace(tmp_path / "shop"), InventedShop(Story(customers=5))
    workspace.make_afresh()
    narrator = Narrator(Console(file=io.StringIO()))
    casting = Casting(holdout_share=0.5, capacity=5, local_slack=Path("/bin/true"))
    with Stage(workspace, scenery, ManualClock(scenery.now), casting, narrator) as stage:
        assert stage.slack is None
        assert stage.app.settings.slack.mode == "off"
    assert isinstance(narrator.console.file, io.StringIO)
    assert "No Slack here" in narrator.console.file.getvalue()


def test_a_folder_that_is_not_the_demos_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    assert run(["demo", "--folder", str(tmp_path), "--terminal"]) == 2
    assert "was not made by the demo" in capsys.readouterr().err
    assert (tmp_path / "letter.txt").read_text() == "mine"
