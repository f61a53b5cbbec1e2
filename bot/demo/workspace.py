"""The demo's working folder: made afresh at each run, with a configuration of its own.

What lies in it is an ordinary installation, so every `aftercare` command works on it; `demo.env` names what a shell
must know for that. A folder that the demo did not make is never touched.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from bot.config import Settings, load_settings
from bot.demo.local_slack import AGENTS, APP_TOKEN, BOT_TOKEN, REVIEW_CHANNEL, LocalSlack
from bot.demo.ports import BOT_PORT, LOOPBACK
from bot.errors import UsageError

MARKER = ".aftercare-demo"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the configuration of one demo depends on.

    Attributes
    ----------
    holdout_share : float
        How many customers nobody writes to, so that the effect can be measured.
    capacity : int
        How many check-ins are proposed in a day.
    web_port : int
        Where the bot's own pages are: the links in mails lead there. 0: any free one, for a demo without them.
    """

    shop_name: str
    timezone: str
    currency: str
    holdout_share: float
    capacity: int
    horizon_days: int = 14
    web_port: int = 0


class Workspace:
    """A folder with an installation in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.config = self.folder / "config.yaml"
        self.clock_file = self.folder / "now"
        self.environment_file = self.folder / "demo.env"
        self.outbox = self.folder / "outbox"
        self.sent = self.folder / "sent"
        self._lock: int | None = None

    def make_afresh(self) -> bool:
        """Make the folder empty; return whether there was an older demo in it.

        Raises
        ------
        UsageError
            The folder holds something that is not a demo's, or a demo that is running.
        """
        self.release()
        marker = self.folder / MARKER
        older = marker.is_file()
        if older:
            self._hold(marker)
            self.release()
            shutil.rmtree(self.folder)
        elif self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise UsageError(f"{self.folder} is there and was not made by the demo; name another one with --folder")
        self.folder.mkdir(parents=True)
        marker.write_text("`aftercare demo` made this folder and replaces it at its next run.\n")
        self._hold(marker)
        return older

    def release(self) -> None:
        """Let the next demo replace the folder; the end of the process does so too."""
        held, self._lock = self._lock, None
        if held is not None:
            os.close(held)

    def _hold(self, marker: Path) -> None:
        """Keep others from replacing the folder while this demo runs."""
        self._lock = os.open(marker, os.O_RDWR)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            advice = "end it there with Ctrl-C, or name another folder with --folder"
            raise UsageError(f"a demo is running in {self.folder}; {advice}") from None

    def configure(self, plan: Plan, slack: LocalSlack | None) -> Settings:
        """Write config.yaml and demo.env; return the settings read back from them."""
        self.config.write_text(
            yaml.safe_dump(_tree(plan, slack), sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
        environment = self._environment(slack)
        lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
        self.environment_file.write_text(lines, encoding="utf-8")
        self.environment_file.chmod(0o600)
        return load_settings(self.config, environment)

    def set_clock(self, now: datetime) -> None:
        """Let the installation's clock stand at an instant and run on from there."""
        self.clock_file.write_text(f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}\n", encoding="utf-8")

    def _environment(self, slack: LocalSlack | None) -> Mapping[str, str]:
        # The secrets are throw-aways: the demo's mails go nowhere, and come from here only.
        values = {
            "AFTERCARE_CONFIG": str(self.config),
            "AFTERCARE_NOW": f"@{self.clock_file}",
            "AFTERCARE_SECRET_KEY": secrets.token_urlsafe(32),
            "AFTERCARE_MAIL_HOOK_SECRET": secrets.token_urlsafe(32),
        }
        if slack is not None:
            values |= {
                "SLACK_BOT_TOKEN": BOT_TOKEN,
                "SLACK_APP_TOKEN": APP_TOKEN,
                "SLACK_API_BASE_URL": slack.api_url,
            }
        return values


def default_folder() -> Path:
    """Return where the demo works when nobody says otherwise."""
    return Path("demo-shop")


def local_slack_binary(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the local-slack that the Makefile found, or None: then cards are drawn in the terminal."""
    named = environment.get("AFTERCARE_LOCAL_SLACK", "")
    return Path(named) if named else None


def _tree(plan: Plan, slack: LocalSlack | None) -> dict[str, Any]:
    return {
        "shop": {"name": plan.shop_name, "timezone": plan.timezone, "currency": plan.currency},
        "web": {"port": plan.web_port, "base_url": f"http://{LOOPBACK}:{plan.web_port or BOT_PORT}"},
        "slack": (
            {"mode": "socket", "review_channel": REVIEW_CHANNEL, "agents": [agent.id for agent in AGENTS]}
            if slack is not None
            else {"mode": "off"}
        ),
        "email": {"enabled": True, "from": "care@hearth-and-whirl.example.com", "outbox": "outbox"},
        "experiments": {"holdout_share": plan.holdout_share, "salt": "demo"},
        "scheduler": {"daily_capacity": plan.capacity, "tick_seconds": 1.0},
        "predictors": {"issue": {"horizon_days": plan.horizon_days}},
    }
