"""`aftercare run` with Slack as a real process: connected, a card, one click, one message, a clean end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml

from bot.decide.lifecycle import OutreachState
from bot.store import migrations
from bot.store.database import open_database
from bot.store.outreach import outreach
from bot.store.shop import link_slack_user
from tests.integration.shop_rows import propose
from tests.peers import free_port
from tests.peers.local_slack import APP_TOKEN, BOT_TOKEN, REVIEW_CHANNEL, SIGNING_SECRET, TEAM, LocalSlack, shown_text
from tests.peers.process import aftercare, environment, until
from tests.slack_world import AGENTS, MARIA, start_peer

pytestmark = pytest.mark.peer
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(params=["socket", "http"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def peer(mode: str, port: int, tmp_path: Path) -> Iterator[LocalSlack]:
    running = start_peer(tmp_path, f"http://127.0.0.1:{port}/slack/events" if mode == "http" else None)
    yield running
    running.stop()


def test_a_click_in_the_review_channel_becomes_one_message_to_the_customer(
    peer: LocalSlack, mode: str, port: int, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    slack = {"mode": mode, "review_channel": REVIEW_CHANNEL, "agents": [agent.id for agent in AGENTS]}
    settings = {
        "shop": {"timezone": "Europe/Berlin"},
        "web": {"port": port},
        "slack": slack,
        "review": {"undo_seconds": 0},
        "scheduler": {"daily_at": "23:59", "tick_seconds": 600},
        "database": {"url": "sqlite:///shop.db"},
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    database = open_database(f"sqlite:///{tmp_path / 'shop.db'}")
    migrations.upgrade(database)
    proposed = propose(database, NOON, channel="slack")
    with database.write() as connection:
        link_slack_user(connection, proposed.customer_id, TEAM, MARIA.id)
    environ = environment(
        config,
        AFTERCARE_NOW=NOON.isoformat(),
        SLACK_BOT_TOKEN=BOT_TOKEN,
        **({"SLACK_APP_TOKEN": APP_TOKEN} if mode == "socket" else {"SLACK_SIGNING_SECRET": SIGNING_SECRET}),
        SLACK_API_BASE_URL=peer.api_url,
    )

    def state() -> OutreachState:
        with database.read() as connection:
            return outreach(connection, proposed.id).state

    with aftercare(tmp_path, environ, "run") as bot:
        ready = bot.ready()
        assert (ready["slack"], ready["email"]) == ("connected", "off")
        assert httpx.get(f"{ready['web']}/readyz").json()["checks"]["slack"] == {"ok": True, "state": "connected"}
        card = until(lambda: next((m for m in peer.messages(REVIEW_CHANNEL) if m.get("blocks")), None), "the card")
        # Where Slack calls us, only Slack may; elsewhere there is no such door.
        unsigned = httpx.post(f"{ready['web']}/slack/events", json={"type": "url_verification", "challenge": "x"})
        assert unsigned.status_code == (401 if mode == "http" else 404)
        for agent in AGENTS[:2]:
            peer.click(agent.id, card, "outreach_approve")
        until(lambda: state() == OutreachState.SENT, "the check-in is sent")
        # The next tick is ten minutes off: the delivery itself sees to it that the card shows what it did.
        until(lambda: any("Sent" in shown_text(m) for m in peer.messages(REVIEW_CHANNEL)), "the card says so")
        until(lambda: "knowledge_warmed" in bot.log.read_text(encoding="utf-8"), "the knowledge is at hand")
        peer.say(MARIA.id, "I want to talk to a human please")
        until(lambda: any("asks for a human" in shown_text(m) for m in peer.messages(REVIEW_CHANNEL)), "the hand-over")
        assert bot.end() == 0
    messages = [m for m in peer.messages(peer.dm(MARIA.id)) if m.get("bot_id")]
    keys = [m["blocks"][0]["block_id"] for m in messages]
    assert [key for key in keys if key.startswith("outreach:")] == [f"outreach:{proposed.id}:1"]
    assert len(keys) == len(set(keys)) == 2  # and one word that somebody will answer
    database.close()


@pytest.mark.parametrize("mode", ["socket"], indirect=True)
def test_an_end_while_the_knowledge_is_being_loaded_is_clean(peer: LocalSlack, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    slack = {"mode": "socket", "review_channel": REVIEW_CHANNEL, "agents": [AGENTS[0].id]}
    settings = {"web": {"port": 0}, "slack": slack, "database": {"url": "sqlite:///shop.db"}}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    tokens = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN, "SLACK_API_BASE_URL": peer.api_url}
    with aftercare(tmp_path, environment(config, **tokens), "run") as bot:
        bot.ready()
        assert bot.end() == 0
        assert "ended_without_draining" not in bot.log.read_text(encoding="utf-8")


def test_http_without_the_web_part_is_a_configuration_error(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    slack = {"mode": "http", "review_channel": REVIEW_CHANNEL, "agents": [AGENTS[0].id]}
    config.write_text(yaml.safe_dump({"slack": slack, "database": {"url": "sqlite:///shop.db"}}), encoding="utf-8")
    environ = environment(config, SLACK_BOT_TOKEN=BOT_TOKEN, SLACK_SIGNING_SECRET=SIGNING_SECRET)
    with aftercare(tmp_path, environ, "run", "--only", "slack,delivery") as bot:
        assert bot.process.wait(30) == 2
        assert "slack.mode" in bot.log.read_text(encoding="utf-8")
