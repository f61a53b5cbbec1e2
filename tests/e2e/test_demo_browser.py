"""The demo left running, as a newcomer has it: two pages in the browser, or one and the terminal; ended by a signal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from bot.demo.day import SOURCE, UNANSWERABLE
from bot.demo.local_slack import AGENTS, LocalSlack, find_element, shown_text, until
from tests.demo_world import Demo, Mailbox, demo_command, running_demo
from tests.peers import missing_peer
from tests.peers.local_slack import BINARY


@pytest.mark.peer
def test_a_card_approved_in_slack_is_read_and_answered_on_the_mailbox_page(tmp_path: Path) -> None:
    if not BINARY.is_file():
        missing_peer("local-slack is not installed: run `npm ci` in tests/peers/slack")
    with running_demo(tmp_path / "shop", BINARY, pace=0) as demo:
        slack, mailbox = LocalSlack.at(demo.address("Slack")), Mailbox(demo.address("Mailbox"))
        cards = until(lambda: m if len(m := slack.messages()) >= 4 else None, "cards in the review channel")
        by_mail = next(card for card in cards if "by email" in shown_text(card))
        slack.click(AGENTS[0].id, by_mail, "outreach_approve")
        until(lambda: "Approved by" in str(slack.messages()), "approved card")
        demo.pass_undo_window()

        check_in = mailbox.listed("may arrive later than promised")
        link = re.search(r"http://127\.0\.0\.1:\d+/u/\S+", mailbox.text(check_in))
        assert link is not None
        assert "No more check-ins?" in httpx.get(link[0]).text  # the page of the running bot

        mailbox.reply(check_in, "My parcel is late, what can I do?")
        answer = mailbox.listed("Most late parcels arrive")
        assert SOURCE in mailbox.text(answer)
        mailbox.reply(answer, UNANSWERABLE)
        handoff = until(
            lambda: next((one for one in slack.messages() if "needs a human" in shown_text(one)), None), "hand-over", 60
        )
        assert UNANSWERABLE in shown_text(handoff)
        find_element(handoff, "handoff_reply")
        reply = {"reply": {"text": {"type": "plain_text_input", "value": "Ada here, a human."}}}
        slack.click_and_submit(AGENTS[0].id, handoff, "handoff_reply", "handoff_reply", reply)
        assert "Ada here, a human." in mailbox.text(mailbox.listed("Ada here"))
        demo.end()
        with pytest.raises(httpx.ConnectError):
            httpx.get(demo.address("Slack"))


def test_without_slack_the_day_is_told_in_the_terminal_and_its_mails_are_on_the_page(tmp_path: Path) -> None:
    with running_demo(tmp_path / "shop", None, pace=0.02) as demo:
        assert "aftercare outreach approve" in demo.printed
        assert "Slack    http" not in demo.printed
        mailbox = Mailbox(demo.address("Mailbox"))
        demo.read_until("Lin approved the check-in to")
        demo.pass_undo_window()
        demo.read_until("as a human")
        assert "No article answers that" in demo.printed
        assert "Lin here, a human." in mailbox.text(mailbox.listed("Lin here"))
        # What runs is an installation that every command works on, in a process of its own.
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
        assert {json.loads(line)["state"] for line in listed.stdout.splitlines()} >= {"suggested"}
        demo.end()


def test_ended_while_it_prepares_it_leaves_nothing_running(tmp_path: Path) -> None:
    binary = BINARY if BINARY.is_file() else None
    command = demo_command(tmp_path / "shop", binary, pace=1)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            demo = Demo(process, tmp_path / "shop")
            demo.read_until("1. Import")
            process.terminate()
            assert process.wait(30) == 130
            assert process.stdout is not None
            assert "begins afresh" in process.stdout.read()
            assert "Traceback" not in demo.printed
        finally:
            process.kill()
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
