"""The tour and the demo, on a small invented shop: every step shows what it must, with and without Slack."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bot.cli import run
from bot.clock import ManualClock
from bot.demo.local_slack import LocalSlack, shown_text, until
from bot.demo.narration import Narrator
from bot.demo.scenery import InventedShop
from bot.demo.show import DemoOptions, run_demo
from bot.demo.stage import Casting, Stage
from bot.demo.story import Story
from bot.demo.workspace import Workspace
from tests.peers import missing_peer
from tests.peers.local_slack import BINARY

SMALL = Story(customers=420, slack_customers=12)


def shown(tmp_path: Path, *, tour: bool, local_slack: Path | None = None) -> tuple[int, str, Narrator]:
    """Run the demo and return its exit status and all that it printed."""
    narrator = Narrator(Console(file=io.StringIO(), width=110, highlight=False))
    options = DemoOptions(tour=tour, data=None, folder=tmp_path / "shop", local_slack=local_slack)
    status = run_demo(options, SMALL, narrator)
    assert isinstance(narrator.console.file, io.StringIO)
    return status, narrator.console.file.getvalue(), narrator


def test_the_tour_shows_every_step_in_the_terminal_and_all_its_checks_hold(tmp_path: Path) -> None:
    status, text, narrator = shown(tmp_path, tour=True)
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
    status, text, narrator = shown(tmp_path, tour=True, local_slack=BINARY)
    assert status == 0, narrator.unmet
    assert "cards are posted to #aftercare-review" in text
    assert "direct message in Slack" in text
    assert "needs a human" in text


def test_without_slack_the_demo_draws_cards_says_what_to_type_and_ends(tmp_path: Path) -> None:
    status, text, _ = shown(tmp_path, tour=False)
    assert status == 0
    assert "Approve" in text
    assert "aftercare outreach approve" in text
    # What it leaves is an installation that every command works on, in a process of its own.
    lines = (tmp_path / "shop" / "demo.env").read_text().splitlines()
    environment = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    listed = subprocess.run(
        [sys.executable, "-c", "from bot.cli import main; main()", "outreach", "list", "--json"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert {json.loads(line)["state"] for line in listed.stdout.splitlines()} == {"suggested"}


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


@pytest.mark.peer
def test_with_slack_the_demo_answers_customers_until_it_is_told_to_end(tmp_path: Path) -> None:
    if not BINARY.is_file():
        missing_peer("local-slack is not installed: run `npm ci` in tests/peers/slack")
    program = (
        "import sys; from pathlib import Path; from bot.demo.show import *; from bot.demo.story import Story\n"
        "options = DemoOptions(tour=False, data=None, folder=Path(sys.argv[1]), local_slack=Path(sys.argv[2]))\n"
        "sys.exit(run_demo(options, Story(customers=420, slack_customers=12)))"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program, str(tmp_path / "shop"), str(BINARY)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            printed = []
            for line in process.stdout:
                printed.append(line)
                if "Ctrl-C ends the demo" in line:
                    break
            address = re.search(r"Open (http://127\.0\.0\.1:\d+)", "".join(printed))
            assert address is not None, "".join(printed)
            slack = LocalSlack.at(address[1])
            cards = until(slack.messages, "cards in the review channel")
            assert "Approve" in shown_text(cards[0])
            (customer, *_) = slack.customers()
            slack.say(customer, "My parcel is late, what can I do?")
            until(lambda: "What happens when a parcel is late" in str(slack.direct_messages(customer)), "answer")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_a_folder_that_is_not_the_demos_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    assert run(["demo", "--folder", str(tmp_path), "--terminal"]) == 2
    assert "was not made by the demo" in capsys.readouterr().err
    assert (tmp_path / "letter.txt").read_text() == "mine"
