"""`aftercare run` with Slack, killed between an agent's click and the customer's message: sent once, or shown as in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.decide.lifecycle import OutreachState
from bot.store import migrations
from bot.store.database import Database, open_database
from bot.store.decisions import decisions_of
from bot.store.outreach import Outreach, outreach
from bot.store.shop import link_slack_user
from tests.integration.shop_rows import propose
from tests.peers.local_slack import APP_TOKEN, BOT_TOKEN, REVIEW_CHANNEL, TEAM, LocalSlack, shown_text
from tests.peers.process import aftercare, environment, until
from tests.peers.slack_proxy import FaultProxy
from tests.slack_world import ADA, AGENTS, MARIA

pytestmark = pytest.mark.peer
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
UNDO_SECONDS = 30


class Installation:
    """A folder with a configuration, a database and a check-in that waits in the review channel."""

    def __init__(self, folder: Path, peer: LocalSlack, api_url: str) -> None:
        self.folder = folder
        self.peer = peer
        self.clock = folder / "now"
        self.set_clock(NOON)
        config = folder / "config.yaml"
        agents = [agent.id for agent in AGENTS]
        settings = {
            "shop": {"timezone": "Europe/Berlin"},
            "web": {"port": 0},
            "slack": {"mode": "socket", "review_channel": REVIEW_CHANNEL, "agents": agents},
            "review": {"undo_seconds": UNDO_SECONDS},
            "scheduler": {"daily_at": "23:59", "tick_seconds": 0.2},
            "database": {"url": "sqlite:///shop.db"},
        }
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        self.database: Database = open_database(f"sqlite:///{folder / 'shop.db'}")
        migrations.upgrade(self.database)
        self.proposed = propose(self.database, NOON, channel="slack")
        with self.database.write() as connection:
            link_slack_user(connection, self.proposed.customer_id, TEAM, MARIA.id)
        self.environment = environment(
            config,
            AFTERCARE_NOW=f"@{self.clock}",
            SLACK_BOT_TOKEN=BOT_TOKEN,
            SLACK_APP_TOKEN=APP_TOKEN,
            SLACK_API_BASE_URL=api_url,
        )

    def set_clock(self, now: datetime) -> None:
        self.clock.write_text(now.isoformat(), encoding="utf-8")

    def run(self) -> Any:
        return aftercare(self.folder, self.environment, "run", "--only", "web,slack,scheduler,delivery")

    def see(self) -> Outreach:
        with self.database.read() as connection:
            return outreach(connection, self.proposed.id)

    def decisions(self) -> list[str]:
        with self.database.read() as connection:
            return [one.kind.value for one in decisions_of(connection, self.proposed.id)]

    def card(self) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next((m for m in self.peer.messages(REVIEW_CHANNEL) if m.get("blocks")), None)

        return until(found, "the card")

    def approve(self) -> None:
        self.peer.click(ADA, self.card(), "outreach_approve")
        until(lambda: self.see().state == OutreachState.APPROVED, "the decision")

    def to_customer(self) -> list[str]:
        """The keys of what the customer was told."""
        return [m["blocks"][0]["block_id"] for m in self.peer.messages(self.peer.dm(MARIA.id)) if m.get("bot_id")]


@pytest.fixture
def shop(peer: LocalSlack, proxy: FaultProxy, tmp_path: Path) -> Iterator[Installation]:
    peer._control("reset", {})
    proxy.reset()
    installed = Installation(tmp_path, peer, proxy.api_url)
    yield installed
    installed.database.close()


def test_killed_after_the_click_it_is_sent_once_after_the_restart(shop: Installation) -> None:
    with shop.run() as bot:
        bot.ready()
        shop.approve()
        bot.kill()
    assert shop.to_customer() == []
    shop.set_clock(NOON + timedelta(seconds=UNDO_SECONDS + 1))
    with shop.run() as bot:
        bot.ready()
        until(lambda: shop.see().state == OutreachState.SENT, "it is sent")
        until(lambda: "Sent" in shown_text(shop.card()), "the card says so")
        assert bot.end() == 0
    assert shop.to_customer() == [f"outreach:{shop.proposed.id}:1"]
    assert shop.decisions() == ["approve"]


def test_killed_while_slack_has_the_message_it_is_found_there_and_not_sent_again(
    shop: Installation, proxy: FaultProxy
) -> None:
    with shop.run() as bot:
        bot.ready()
        shop.approve()
        proxy.rules({"method": "chat.postMessage", "do": "late", "seconds": 30})
        shop.set_clock(NOON + timedelta(seconds=UNDO_SECONDS + 1))
        until(shop.to_customer, "Slack has the message and has not answered")
        bot.kill()
    assert shop.see().state == OutreachState.SENDING
    proxy.rules()
    shop.set_clock(NOON + timedelta(minutes=20))
    with shop.run() as bot:
        bot.ready()
        until(lambda: shop.see().state == OutreachState.SENT, "the doubt is cleared by asking Slack")
        assert bot.end() == 0
    assert shop.to_customer() == [f"outreach:{shop.proposed.id}:1"]
