"""One demo put on its feet: folder, configuration, clock, the wired application and, where it is there, local-slack.

What is shown on it is `bot.demo.tour` and `bot.demo.show`; everything opened here is closed here.
"""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import structlog

from bot.clock import Clock
from bot.demo.local_slack import LocalSlack
from bot.demo.narration import Narrator, file_link
from bot.demo.ports import BOT_PORT, SLACK_PORT, free_port, hold_port, port_of
from bot.demo.scenery import Scenery
from bot.demo.workspace import Plan, Workspace
from bot.errors import ChannelError
from bot.wiring import App


@dataclass(frozen=True, kw_only=True)
class Casting:
    """What distinguishes one showing from another."""

    holdout_share: float
    capacity: int
    local_slack: Path | None
    served: bool = False  # its pages are looked at: on the same ports each time, where these are free


class Stage:
    """An installation that is ready to be shown, as a context manager."""

    def __init__(
        self, workspace: Workspace, scenery: Scenery, clock: Clock, casting: Casting, narrator: Narrator
    ) -> None:
        self.workspace = workspace
        self.scenery = scenery
        self.clock = clock
        self.narrator = narrator
        self.slack: LocalSlack | None = None
        self._casting = casting
        self._log: TextIO | None = None
        self._web_port: socket.socket | None = None
        self._logged_before: dict[str, Any] = {}
        self.app: App

    def __enter__(self) -> Stage:
        # Events belong into a file here: between the lines for people nobody could read either.
        self._logged_before = structlog.get_config()
        self._log = (self.workspace.folder / "aftercare.log").open("a", encoding="utf-8")
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(self._log), cache_logger_on_first_use=False)
        try:
            self._start_slack()
            settings = self.workspace.configure(
                Plan(
                    shop_name=self.scenery.name,
                    timezone=self.scenery.timezone,
                    currency=self.scenery.currency,
                    holdout_share=self._casting.holdout_share,
                    capacity=self._casting.capacity,
                    web_port=self._hold_web_port(),
                ),
                self.slack,
            )
            self.app = App(settings, self.clock)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.release_web_port()
            if hasattr(self, "app"):
                self.app.close()
        finally:  # a second Ctrl-C meanwhile leaves no server behind
            if self.slack is not None:
                self.slack.stop()
            self.workspace.release()
            structlog.configure(**self._logged_before)
            if self._log is not None:
                self._log.close()

    def release_web_port(self) -> None:
        """Let the bot's own pages have the port that was kept for them while everything was prepared."""
        held, self._web_port = self._web_port, None
        if held is not None:
            held.close()

    def _hold_web_port(self) -> int:
        if not self._casting.served:
            return 0
        self._web_port = hold_port(BOT_PORT)
        return port_of(self._web_port)

    def _start_slack(self) -> None:
        if self._casting.local_slack is None:
            return
        ports = [free_port(SLACK_PORT), 0] if self._casting.served else [0]  # somebody may be faster with the first
        failed = ""
        for port in ports:
            try:
                self.slack = LocalSlack.start(
                    self._casting.local_slack, self.workspace.folder / "slack", self.scenery.people(), port=port
                )
                return
            except ChannelError as error:
                failed = str(error)
        self.narrator.say(f"No Slack here, so the cards are drawn in this terminal: {failed}")

    def path(self, name: str) -> str:
        """Return the name of a file in the folder as it can be typed here."""
        return file_link(self.workspace.folder / name)
