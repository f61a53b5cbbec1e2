"""The demo left running, as a newcomer has it: two pages in the browser, or one and the terminal; ended by a signal."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from bot.clock import FileClock
from bot.demo.day import SOURCE, UNANSWERABLE
from bot.demo.local_slack import AGENTS, LocalSlack, find_element, shown_text, until
from bot.demo.workspace import Workspace
from tests.peers import missing_peer
from tests.peers.local_slack import BINARY

PROGRAM = (
    "import sys; from pathlib import Path; from bot.demo.show import *; from bot.demo.story import Story\n"
    "slack = Path(sys.argv[2]) if sys.argv[2] else None\n"
    "options = DemoOptions(tour=False, data=None, folder=Path(sys.argv[1]), local_slack=slack, pace=float(sys.argv[3]))\n"
    "sys.exit(run_demo(options, Story(customers=420, slack_customers=12)))"
)


class Demo:
    """A running demo, and what it printed."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.printed = ""

    def read_until(self, words: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if words in line:
                return self.printed
        raise AssertionError(f"it ended without {words!r}:\n{self.printed}")

    def address(self, name: str) -> str:
        found = re.search(rf"{name} +(http://127\.0\.0\.1:\d+)", self.printed)
        assert found is not None, self.printed
        return found[1]

    def pass_undo_window(self) -> None:
        workspace = Workspace(self.folder)
        workspace.set_clock(FileClock(workspace.clock_file).now() + timedelta(seconds=31))

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0
        assert self.process.stdout is not None
        assert "`make demo` begins afresh" in self.process.stdout.read()


@contextmanager
def running_demo(tmp_path: Path, local_slack: Path | str, pace: float) -> Iterator[Demo]:
    folder = tmp_path / "shop"
    command = [sys.executable, "-u", "-c", PROGRAM, str(folder), str(local_slack), str(pace)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        demo = Demo(process, folder)
        try:
            demo.read_until("Ctrl-C ends the demo")
            yield demo
        finally:
            process.kill()


class Mailbox:
    """The mailbox page, as a browser uses it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def listed(self, words: str) -> str:
        """Wait until the list shows some words; return the path of the newest mail there."""

        def found() -> str | None:
            rows = re.findall(r'<li><a href="([^"]+)".*?</li>', text := httpx.get(f"{self._url}/list").text)
            return rows[0] if words in html.unescape(text) else None

        return until(found, f"mail with {words!r}", 60)

    def text(self, path: str) -> str:
        return html.unescape(httpx.get(f"{self._url}{path}?view=text").text)

    def reply(self, path: str, text: str) -> None:
        token = re.search(r'name="token" value="([^"]+)"', httpx.get(f"{self._url}{path}").text)
        assert token is not None
        form, own = {"text": text, "token": token[1]}, {"Origin": self._url}
        assert httpx.post(f"{self._url}{path}/reply", data=form, headers=own).status_code == 303


@pytest.mark.peer
def test_a_card_approved_in_slack_is_read_and_answered_on_the_mailbox_page(tmp_path: Path) -> None:
    if not BINARY.is_file():
        missing_peer("local-slack is not installed: run `npm ci` in tests/peers/slack")
    with running_demo(tmp_path, BINARY, pace=0) as demo:
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
    with running_demo(tmp_path, "", pace=0.02) as demo:
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
    command = [
        sys.executable,
        "-u",
        "-c",
        PROGRAM,
        str(tmp_path / "shop"),
        str(BINARY if BINARY.is_file() else ""),
        "1",
    ]
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
