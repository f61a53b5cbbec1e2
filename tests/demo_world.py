"""A demo that is left running in a process of its own, and its mailbox page as a browser uses it; for tests and pictures."""

from __future__ import annotations

import html
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx

from bot.clock import FileClock
from bot.demo.local_slack import until
from bot.demo.workspace import Workspace

PROGRAM = (
    "import sys; from pathlib import Path; from bot.demo.show import *; from bot.demo.story import Story\n"
    "slack = Path(sys.argv[2]) if sys.argv[2] else None\n"
    "options = DemoOptions(tour=False, data=None, folder=Path(sys.argv[1]), local_slack=slack, pace=float(sys.argv[3]))\n"
    "sys.exit(run_demo(options, Story(customers=int(sys.argv[4]), slack_customers=12)))"
)
SMALL = 420


def demo_command(folder: Path, local_slack: Path | None, pace: float, customers: int = SMALL) -> list[str]:
    """Return what starts a demo; without local-slack it is one for the terminal."""
    return [sys.executable, "-u", "-c", PROGRAM, str(folder), str(local_slack or ""), str(pace), str(customers)]


class Demo:
    """A running demo, and what it printed."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.printed = ""

    def read_until(self, words: str) -> str:
        """Read what it prints up to a line that holds some words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if words in line:
                return self.printed
        raise AssertionError(f"it ended without {words!r}:\n{self.printed}")

    def address(self, name: str) -> str:
        """Return the address that it printed of Slack or Mailbox."""
        found = re.search(rf"{name} +(http://127\.0\.0\.1:\d+)", self.printed)
        assert found is not None, self.printed
        return found[1]

    def pass_undo_window(self) -> None:
        """Move its clock: approvals of just now leave."""
        workspace = Workspace(self.folder)
        workspace.set_clock(FileClock(workspace.clock_file).now() + timedelta(seconds=31))

    def end(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0
        assert self.process.stdout is not None
        assert "`make demo` begins afresh" in self.process.stdout.read()


@contextmanager
def running_demo(folder: Path, local_slack: Path | None, pace: float, customers: int = SMALL) -> Iterator[Demo]:
    """Start a demo and wait until it says where to look; end it afterwards."""
    command = demo_command(folder, local_slack, pace, customers)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        demo = Demo(process, folder)
        try:
            demo.read_until("Ctrl-C ends the demo")
            yield demo
        finally:
            process.terminate()  # in order, so that local-slack ends with it
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


class Mailbox:
    """The mailbox page, as a browser uses it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def listed(self, words: str) -> str:
        """Wait until the list shows some words; return the path of the newest mail there."""

        def found() -> str | None:
            rows = re.findall(r'<li><a href="([^"]+)".*?</li>', text := httpx.get(f"{self.url}/list").text)
            return rows[0] if words in html.unescape(text) else None

        return until(found, f"mail with {words!r}", 60)

    def text(self, path: str) -> str:
        """Return a mail's page with its plain words."""
        return html.unescape(httpx.get(f"{self.url}{path}?view=text").text)

    def reply(self, path: str, text: str) -> None:
        """Answer a mail by the box below it."""
        token = re.search(r'name="token" value="([^"]+)"', httpx.get(f"{self.url}{path}").text)
        assert token is not None
        form, own = {"text": text, "token": token[1]}, {"Origin": self.url}
        assert httpx.post(f"{self.url}{path}/reply", data=form, headers=own).status_code == 303
