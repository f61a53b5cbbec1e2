"""The whole product at a real Slack peer: from a card to the customer and back, nothing scripted."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.settings import Database as DatabaseSettings
from bot.store.outreach import list_outreach
from bot.store.shop import link_slack_user
from bot.store.tables import metadata
from bot.wiring import App
from tests.integration.shop_rows import propose
from tests.peers.local_slack import REVIEW_CHANNEL, TEAM, LocalSlack, shown_text, until
from tests.slack_world import ADA, AGENTS, MARIA, STRANGER, slack_settings

pytestmark = pytest.mark.peer
PATIENCE = 120.0  # the first question builds the knowledge index
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)  # 13:00 in Berlin: not a quiet hour


@pytest.fixture
def app(peer: LocalSlack, tmp_path: Path, sqlite_url: str) -> Iterator[App]:
    peer._control("reset", {})
    settings = slack_settings(peer).model_copy(update={"database": DatabaseSettings(url=sqlite_url), "home": tmp_path})
    running = App(settings, ManualClock(NOON))
    assert running.slack is not None
    running.slack.start()
    yield running
    running.slack.stop()
    running.close()


def suggest(app: App) -> int:
    proposed = propose(app.database, app.clock.now(), channel="slack")
    with app.database.write() as connection:
        link_slack_user(connection, proposed.customer_id, TEAM, MARIA.id)
    app.tick()
    return proposed.id


def card(peer: LocalSlack, purpose: str = "card") -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        messages = peer.messages(REVIEW_CHANNEL)
        keys = ((m, str((m.get("blocks") or [{}])[0].get("block_id", ""))) for m in messages)
        return next((m for m, key in keys if key.startswith(f"{purpose}:")), None)

    return until(found, purpose, PATIENCE)


def to_maria(peer: LocalSlack) -> list[dict[str, Any]]:
    return to(peer, MARIA.id)


def test_eight_agents_approve_at_once_and_the_customer_gets_one_message(app: App, peer: LocalSlack) -> None:
    outreach_id = suggest(app)
    shown = card(peer)
    start = Barrier(len(AGENTS), timeout=30)

    def click(agent: str) -> None:
        start.wait()
        peer.click(agent, shown, "outreach_approve")

    with ThreadPoolExecutor(len(AGENTS)) as pool:
        list(pool.map(click, [agent.id for agent in AGENTS]))
    until(lambda: "Approved by" in shown_text(card(peer)), "approved card")
    app.deliver()
    assert to_maria(peer) == []  # the undo window is open
    clock = app.clock
    assert isinstance(clock, ManualClock)
    clock.advance(timedelta(seconds=31))
    app.deliver()
    app.deliver()
    (message,) = to_maria(peer)
    assert message["blocks"][0]["block_id"] == f"outreach:{outreach_id}:1"
    assert "your parcel is late" in shown_text(message)
    app.tick()
    assert "Sent" in shown_text(card(peer))
    with app.database.read() as connection:
        assert [one.id for one in list_outreach(connection, {OutreachState.SENT})] == [outreach_id]

    def told() -> list[dict[str, Any]]:
        return [m for m in peer.messages(REVIEW_CHANNEL) if m.get("subtype") == "ephemeral"]

    until(lambda: len(told()) >= len(AGENTS) - 1, "word to every loser")
    assert len(told()) == len(AGENTS) - 1


def test_a_customer_asks_for_a_human_and_an_agent_answers(app: App, peer: LocalSlack) -> None:
    suggest(app)
    peer.say(MARIA.id, "I want to talk to a human please")
    handover = card(peer, "handoff")
    assert "The customer asks for a human" in shown_text(handover)
    before = len(to_maria(peer))  # the bot has said that somebody will answer
    with peer.browser() as browser:
        peer.click(ADA, handover, "handoff_reply")
        browser.modal("handoff_reply")
        browser.submit(ADA, reply={"text": {"type": "plain_text_input", "value": "Here I am, Maria."}})
        assert browser.settled() == {}
    replies = until(lambda: m if len(m := to_maria(peer)) > before else None, "reply to the customer")
    assert shown_text(replies[-1]) == "Here I am, Maria."
    peer.say(MARIA.id, "Thank you, that helps")
    thread = until(
        lambda: [
            shown_text(m)
            for m in peer.messages(REVIEW_CHANNEL)
            if m.get("thread_ts") == handover["ts"] and "Thank you, that helps" in shown_text(m)
        ],
        "the customer's words in the thread",
    )
    assert len(thread) == 1
    assert len(to_maria(peer)) == before + 1


def test_a_customers_stop_is_obeyed_by_a_check_in_already_approved(app: App, peer: LocalSlack) -> None:
    outreach_id = suggest(app)
    peer.click(ADA, card(peer), "outreach_approve")
    until(lambda: "Approved by" in shown_text(card(peer)), "approved card")
    peer.say(MARIA.id, "STOP")
    until(lambda: to_maria(peer), "confirmation", PATIENCE)
    clock = app.clock
    assert isinstance(clock, ManualClock)
    clock.advance(timedelta(seconds=31))
    app.deliver()
    app.tick()
    keys = [str(m["blocks"][0].get("block_id")) for m in to_maria(peer)]
    assert f"outreach:{outreach_id}:1" not in keys
    assert "Not sent" in shown_text(card(peer))


def test_an_answer_is_rated_and_one_that_did_not_help_calls_a_human(app: App, peer: LocalSlack) -> None:
    suggest(app)
    peer.say(MARIA.id, "How do I descale my espresso machine?")
    (first,) = until(lambda: to_maria(peer), "an answer", PATIENCE)
    assert tuple(one["action_id"] for one in first["blocks"][-1]["elements"]) == (
        "answer_helped",
        "answer_unhelpful",
        "answer_human",
    )
    peer.click(MARIA.id, first, "answer_helped")
    until(lambda: "this helped" in shown_text(to_maria(peer)[0]), "the choice on the answer")
    assert [block["type"] for block in to_maria(peer)[0]["blocks"]][-1] == "context"
    assert ratings(app) == [True]

    peer.say(MARIA.id, "How long does a delivery take?")
    second = until(lambda: m[1] if len(m := to_maria(peer)) > 1 else None, "another answer")
    # What a button sends is not believed: neither an answer to somebody else, nor what is no number.
    peer.say(STRANGER.id, "How do I descale my espresso machine?")
    (others,) = until(lambda: to(peer, STRANGER.id), "an answer to another")
    (wanted,) = {one["value"] for one in second["blocks"][-1]["elements"]}
    for value in (wanted, "\u00b2", "9" * 30):
        peer.click(STRANGER.id, others, "answer_helped", value=value)
    until(lambda: open_events(app) == [], "an end of those clicks")
    assert ratings(app) == [True]
    peer.click(MARIA.id, second, "answer_unhelpful")
    handover = card(peer, "handoff")
    assert "The customer asks for a human" in shown_text(handover)
    assert "didn't help" in shown_text(handover)
    assert ratings(app) == [True, False]
    last = until(lambda: m[2] if len(m := to_maria(peer)) > 2 else None, "the word that somebody will answer")
    assert "answer_helped" not in str(last["blocks"])


def ratings(app: App) -> list[bool]:
    with app.database.read() as connection:
        rows = metadata.tables["ratings"]
        return [row.helped for row in connection.execute(sa.select(rows).order_by(rows.c.id))]


def to(peer: LocalSlack, user: str) -> list[dict[str, Any]]:
    return [message for message in peer.messages(peer.dm(user)) if message.get("bot_id")]


def open_events(app: App) -> list[str | None]:
    """Return what was recorded and is not done, or broke, by its error."""
    with app.database.read() as connection:
        rows = metadata.tables["events"]
        waits = rows.c.handled_at.is_(None) | rows.c.error.is_not(None)
        return list(connection.execute(sa.select(rows.c.error).where(rows.c.source == "slack", waits)).scalars())
