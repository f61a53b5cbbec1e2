"""Rules of the surface that hold at every click: acknowledged before worked on, modals first, ids only, tokens replaced."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from bot.channels.slack import modals
from bot.channels.slack.actions import AgentActions
from bot.channels.slack.api import SlackApi
from bot.channels.slack.bulk_view import recap
from bot.channels.slack.cards import outreach_card
from bot.channels.slack.customers import CustomerMessages
from bot.channels.slack.handoffs import handoff_card
from bot.channels.slack.home_view import agent_home
from bot.channels.slack.identity import resolve
from bot.clock import ManualClock
from bot.config import load_settings
from bot.errors import ConfigurationError
from bot.services.review.low_risk import Why
from bot.services.review.queue import Sorted
from bot.store.database import Database
from bot.store.enums import HandoffState
from bot.store.slack import HandoffFacts
from bot.store.tables import metadata
from tests.integration.shop_rows import propose
from tests.scripted_slack import error, healthy, scripted_slack, settings_for
from tests.slack_scene import OK, Scene
from tests.unit.test_slack_payloads import NOW, ROSTER, card_of, outreach
from tests.unit.test_slack_views import home_facts


@pytest.fixture
def scene(sqlite_database: Database, clock: ManualClock) -> Iterator[Scene]:
    with scripted_slack() as slack:
        running = Scene(slack, sqlite_database, clock)
        running.connection.start()
        yield running
        running.connection.stop()


@pytest.mark.parametrize(
    ("action", "told", "untold"),
    [("answer_helped", "the word *human*", "card"), ("outreach_approve", "unless the card says so", "human")],
)
def test_what_breaks_is_told_to_agents_and_customers_in_words_that_help_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, action: str, told: str, untold: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(CustomerMessages, "choose", broken)
    monkeypatch.setattr(AgentActions, "click", broken)
    scene.click_seen_alone(action, "1:1")
    scene.finish()
    (answer,) = scene.slack.bodies("response")
    assert told in answer["text"]
    assert untold not in answer["text"]


def test_what_comes_in_is_recorded_and_acknowledged_before_it_is_worked_on(scene: Scene) -> None:
    worked, release = threading.Event(), threading.Event()

    def slow(handler: Any) -> None:
        worked.set()
        release.wait(30)
        scene.slack.reply(handler, (200, OK, {}))

    scene.slack.answers["response"] = slow
    try:
        scene.command("stats")  # it returns although the answer cannot be given yet
        assert worked.wait(30)
        assert scene.event_states() == {"received"}
    finally:
        release.set()
    scene.finish()
    assert scene.event_states() == {"done"}


def test_an_end_waits_for_what_was_begun(scene: Scene) -> None:
    worked, release = threading.Event(), threading.Event()

    def slow(handler: Any) -> None:
        worked.set()
        release.wait(30)
        scene.slack.reply(handler, (200, OK, {}))

    scene.slack.answers["response"] = slow
    scene.command("stats")
    assert worked.wait(30)
    ending = threading.Thread(target=scene.connection.stop)
    ending.start()
    try:
        assert ending.is_alive()
    finally:
        release.set()
    ending.join(30)
    assert not ending.is_alive()
    assert scene.event_states() == {"done"}


@pytest.mark.parametrize("action", ["outreach_edit", "outreach_snooze", "home_open:1", "home_bulk"])
def test_a_modal_opens_before_anything_else_is_asked_of_slack(scene: Scene, action: str) -> None:
    proposed = propose(scene.database, scene.clock.now())
    scene.slack.calls.clear()
    scene.click(action, f"{proposed.id}:1", type="home", hash="h1")
    scene.finish()
    assert scene.slack.calls[0][0] == "views.open"


def test_why_this_opens_before_anything_else_is_asked_of_slack(scene: Scene) -> None:
    proposed = propose(scene.database, scene.clock.now())
    scene.slack.calls.clear()
    scene.click("outreach_more", f"why:{proposed.id}:1", type="modal", id="V1", hash="h1")
    scene.finish()
    assert scene.slack.calls[0][0] == "views.push"


# --- Ids only ----------------------------------------------------------------------------------------------------

IDS = re.compile(r"[A-Za-z0-9_:.\-+ ]*")
SECRETS = ("Maria", "Santos", "@", "Hello", "late parcel")


def carried(node: Any) -> Iterator[str]:
    """Everything that Slack gives back to us with a click: values, ids, private_metadata."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("value", "private_metadata", "action_id", "block_id", "callback_id") and isinstance(value, str):
                yield value
            else:
                yield from carried(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from carried(value)


def test_values_and_private_metadata_hold_only_ids() -> None:
    one = outreach(draft="Hello Maria, a late parcel.")
    card = card_of(one)
    handoff = HandoffFacts(
        id=1, conversation_id=1, reason="asked", state=HandoffState.OPEN, urgent=True, owner=None, opened_at=NOW,
        closed_at=None, channel="slack", customer_id=1, customer_name="Maria Santos",
    )  # fmt: skip
    rendered = outreach_card(card, ROSTER, NOW, 30)
    shown = [
        list(rendered.blocks),
        list(handoff_card(handoff, [], ROSTER).blocks),
        modals.edit(card),
        modals.reject(card, ("other",)),
        modals.snooze(card, NOW, ROSTER.default_zone),
        modals.card(card, rendered),
        modals.handoff_reply(handoff, "Hello"),
        agent_home(home_facts(card, undo="7:3"), ROSTER),
        recap(Sorted(low_risk=[one], more=0, others=[(outreach(id=8), Why.URGENT)]), {7: card, 8: card}, {}, 30),
    ]
    found = list(carried(shown))
    assert len(found) > 40
    for value in found:
        assert IDS.fullmatch(value), value
        assert not any(secret in value for secret in SECRETS), value


# --- Tokens ------------------------------------------------------------------------------------------------------


def test_a_token_is_replaced_in_its_file_and_nothing_is_lost_meanwhile(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "AFTERCARE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    config, token = tmp_path / "config.yaml", tmp_path / "bot-token"
    slack = {"mode": "socket", "review_channel": "C1", "agents": ["U1"]}
    config.write_text(yaml.safe_dump({"slack": slack}), encoding="utf-8")
    environment = {
        "SLACK_BOT_TOKEN_FILE": str(token),
        "SLACK_APP_TOKEN": "xapp-1",
        "SLACK_API_BASE_URL": scene.slack.url,
        "AFTERCARE_SECRET_KEY": "0123456789abcdef0123456789abcdef",
    }
    good = scene.slack.answers["auth.test"]

    def only_the_new_one(handler: Any) -> None:
        known = handler.headers["authorization"] == "Bearer xoxb-new"
        scene.slack.reply(handler, good if known else error("token_revoked"))

    scene.slack.answers["auth.test"] = only_the_new_one
    token.write_text("xoxb-old\n", encoding="utf-8")
    old = load_settings(config, environment)
    with pytest.raises(Exception, match="token_revoked"):
        resolve(SlackApi.from_settings(old), old)
    token.write_text("xoxb-new\n", encoding="utf-8")
    new = load_settings(config, environment)
    assert resolve(SlackApi.from_settings(new), new).team_id == "T1"
    assert "xoxb" not in repr(new)


def test_what_was_recorded_under_the_old_token_is_worked_on_under_the_new_one(scene: Scene) -> None:
    refused = error("token_revoked")
    scene.slack.answers["response"] = (404, {}, {})
    scene.slack.answers["chat.postEphemeral"] = scene.slack.answers["chat.postMessage"] = refused
    scene.command("stop")
    scene.finish()
    with scene.database.read() as connection:
        rows = metadata.tables["audit"]
        assert connection.execute(sa.select(rows.c.action)).scalars().all() == ["stop"]
    scene.slack.answers["chat.postMessage"] = (200, OK, {})
    scene.clock.advance(timedelta(minutes=1))
    scene.connection.start()
    assert scene.connection.sync() == 1  # the word about it follows


# --- The review channel ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"is_ext_shared": True}, "shared with another company"),
        ({"is_archived": True}, "archived"),
        ({"is_member": False}, "/invite"),
    ],
)
def test_a_channel_that_others_read_or_nobody_can_use_is_no_review_channel(known: dict[str, bool], said: str) -> None:
    with scripted_slack() as slack:
        healthy(slack, "")
        slack.answers["conversations.info"] = (
            200,
            {"ok": True, "channel": {"id": "C1", "is_member": True, **known}},
            {},
        )
        settings = settings_for(slack.url)
        with pytest.raises(ConfigurationError) as caught:
            resolve(SlackApi.from_settings(settings), settings)
    ((path, advice),) = caught.value.problems
    assert path == "slack.review_channel"
    assert said in advice
