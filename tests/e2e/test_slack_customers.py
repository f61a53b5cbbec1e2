"""Customers write to the app at a real Slack peer: answered once, or handed over to people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from slack_bolt import BoltRequest, BoltResponse

from bot.channels.base import ChannelShutError, Message
from bot.channels.slack.payloads import CustomerMessage, Person, stored
from bot.channels.slack.reading import message_key
from bot.clock import ManualClock
from bot.store.database import Database
from bot.store.events import record_event
from bot.store.tables import metadata
from tests.integration.shop_rows import add_customer, propose
from tests.peers.local_slack import REVIEW_CHANNEL, TEAM, LocalSlack, shown_text, until
from tests.slack_world import ADA, BEN, MARIA, STRANGER, SlackWorld, slack_world

pytestmark = pytest.mark.peer


@pytest.fixture
def world(peer: LocalSlack, sqlite_database: Database, clock: ManualClock) -> Iterator[SlackWorld]:
    peer._control("reset", {})
    with sqlite_database.write() as connection:
        add_customer(connection, "c1", clock.now(), slack_user_id=MARIA.id, slack_team_id=TEAM)
    with slack_world(peer, sqlite_database, clock) as running:
        yield running


def answers(world: SlackWorld, user: str = MARIA.id) -> list[dict[str, Any]]:
    messages = world.slack.messages(world.slack.dm(user))
    return [message for message in messages if message.get("bot_id")]


def events(world: SlackWorld, state: str) -> int:
    rows = metadata.tables["events"]
    with world.database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).where(rows.c.state == state)).scalar_one()


def thread(world: SlackWorld, ts: str) -> list[str]:
    return [shown_text(m) for m in world.slack.messages(REVIEW_CHANNEL) if m.get("thread_ts") == ts]


def test_a_customers_question_is_answered_in_their_direct_messages(world: SlackWorld) -> None:
    world.slack.say(MARIA.id, "When does it come?")
    (answer,) = until(lambda: answers(world), "answer")
    assert shown_text(answer) == "Parcels take two days."
    assert answer["blocks"][0]["block_id"].startswith("utterance:")
    (inbound,) = world.conversations.received
    assert inbound.customer_id == 1
    assert inbound.sender == f"slack:{TEAM}:{MARIA.id}"
    assert inbound.external_id == f"{inbound.thread}:{inbound.reference}"


def test_somebody_unknown_is_received_without_a_customer(world: SlackWorld) -> None:
    world.slack.say(STRANGER.id, "Hello?")
    until(lambda: answers(world, STRANGER.id), "answer")
    assert [inbound.customer_id for inbound in world.conversations.received] == [None]


def test_an_agent_who_is_no_customer_is_shown_the_way(world: SlackWorld) -> None:
    world.slack.say(ADA, "Hello?")
    (hint,) = until(lambda: answers(world, ADA), "hint")
    assert REVIEW_CHANNEL in shown_text(hint)
    assert world.conversations.received == []


def test_two_processes_answer_a_message_once(world: SlackWorld) -> None:
    with slack_world(world.slack, world.database, world.clock) as other:
        world.slack.say(MARIA.id, "When does it come?")
        world.slack.say(MARIA.id, "And the second one?")
        until(lambda: len(answers(world)) >= 2, "two answers")
        received = world.conversations.received + other.conversations.received
    assert sorted(inbound.text for inbound in received) == ["And the second one?", "When does it come?"]
    assert len(answers(world)) == 2


def test_own_edited_and_deleted_messages_and_channel_talk_are_ignored(world: SlackWorld) -> None:
    first = world.slack.say(MARIA.id, "When does it come?")
    until(lambda: answers(world), "answer")
    world.slack.edit_message(MARIA.id, first["channel"], first["ts"], "When does it come, human?")
    world.slack.delete_message(MARIA.id, first["channel"], first["ts"])
    world.slack.say(ADA, "Talking among ourselves", channel=REVIEW_CHANNEL)
    until(lambda: events(world, "done") >= 4, "record of all four events")
    assert len(world.conversations.received) == 1
    assert len(answers(world)) == 1


def test_a_handed_over_customer_is_answered_by_an_agent_and_given_back(world: SlackWorld) -> None:
    world.slack.say(MARIA.id, "I want a human <!channel> & now")
    card = world.card("handoff")
    text = shown_text(card)
    assert "Maria needs a human" in text
    assert "The customer asks for a human" in text
    assert "> I want a human &lt;!channel&gt; &amp; now" in text
    with world.slack.browser() as browser:
        world.slack.click(ADA, card, "handoff_reply")
        modal = browser.modal("handoff_reply")
        assert "Maria, your customer, will read this" in shown_text(modal)
        browser.submit(ADA, reply={"text": {"type": "plain_text_input", "value": "Here I am, Maria."}})
        assert browser.settled() == {}
    (reply,) = until(lambda: answers(world), "reply to the customer")
    assert shown_text(reply) == "Here I am, Maria."
    until(lambda: len(thread(world, card["ts"])) == 1, "reply in the thread")
    assert "Ada Agent* to the customer" in thread(world, card["ts"])[0]
    until(lambda: f"<@{ADA}> has it" in shown_text(world.card("handoff")), "owner on the card")

    world.slack.say(MARIA.id, "Thank you!")
    until(lambda: len(thread(world, card["ts"])) == 2, "the customer's next words in the thread")
    assert "> Thank you!" in thread(world, card["ts"])[1]
    assert len(answers(world)) == 1  # the bot is silent

    world.slack.click(BEN, world.card("handoff"), "handoff_give_back")
    until(lambda: "Given back to the bot" in shown_text(world.card("handoff")), "card given back")
    world.slack.say(MARIA.id, "When does the next one come?")
    until(lambda: len(answers(world)) == 2, "answer of the bot again")
    world.connection.sync()
    assert len(thread(world, card["ts"])) == 2  # talk with the bot stays out of the thread
    assert len(world.cards("handoff")) == 1


def test_merely_writing_in_the_thread_reaches_no_customer(world: SlackWorld) -> None:
    world.slack.say(MARIA.id, "A human please")
    card = world.card("handoff")
    world.slack.say(ADA, "Who takes her?", channel=REVIEW_CHANNEL, thread_ts=card["ts"])
    world.connection.sync()
    assert answers(world) == []


def test_a_reply_by_no_agent_is_refused(world: SlackWorld) -> None:
    world.slack.say(MARIA.id, "A human please")
    card = world.card("handoff")
    world.slack.click(STRANGER.id, card, "handoff_reply")
    (told,) = until(lambda: world.whispers(STRANGER.id), "refusal")
    assert "Only support agents" in told


def test_a_message_recorded_before_a_crash_is_answered_at_the_next_start(
    peer: LocalSlack, sqlite_database: Database, clock: ManualClock
) -> None:
    peer._control("reset", {})
    channel = peer.dm(MARIA.id)
    key = message_key(channel, "1700000000.000100")
    left = CustomerMessage(
        key=key,
        person=Person(team_id=TEAM, user_id=MARIA.id),
        channel=channel,
        ts="1700000000.000100",
        text="When does it come?",
    )
    with sqlite_database.write() as connection:
        add_customer(connection, "c1", clock.now(), slack_user_id=MARIA.id, slack_team_id=TEAM)
        record_event(connection, "slack", key, left.kind, stored(left), clock.now())
    clock.advance(timedelta(seconds=1))
    with slack_world(peer, sqlite_database, clock) as world:
        assert len(answers(world)) == 1
    with slack_world(peer, sqlite_database, clock) as world:
        assert len(answers(world)) == 1


def envelope(world: SlackWorld, body: dict[str, Any], attempt: int = 0) -> BoltResponse:
    """Deliver a payload as Socket Mode does, also again."""
    assert world.connection.bolt is not None
    headers = {"x-slack-retry-num": str(attempt)} if attempt else None
    return world.connection.bolt.dispatch(BoltRequest(mode="socket_mode", body=body, headers=headers))


def written(text: str, user: str = MARIA.id, team: str = TEAM, event_id: str = "Ev1", **event: Any) -> dict[str, Any]:
    message = {
        "type": "message",
        "channel_type": "im",
        "channel": "D1",
        "user": user,
        "text": text,
        "ts": "1700000000.1",
    }
    return {"type": "event_callback", "team_id": team, "event_id": event_id, "event": {**message, **event}}


def test_an_envelope_delivered_again_is_acknowledged_and_has_one_effect(world: SlackWorld) -> None:
    channel = world.slack.dm(MARIA.id)
    assert envelope(world, written("When?", channel=channel)).status == 200
    until(lambda: answers(world), "answer")
    for attempt in (1, 2, 3):
        assert envelope(world, written("When?", channel=channel), attempt).status == 200
    assert envelope(world, written("When?", channel=channel, event_id="Ev2")).status == 200  # the same message
    assert len(world.conversations.received) == 1
    assert len(answers(world)) == 1


@pytest.mark.parametrize(
    "event",
    [
        {"team": "T0FOREIGN"},
        {"user_team": "T0FOREIGN"},
        {"bot_id": "B1"},
        {"subtype": "bot_message"},
        {"subtype": "message_changed"},
        {"user": "U0AFTERCARE"},
        {"channel_type": "channel"},
        {"hidden": True},
    ],
)
def test_what_is_no_new_message_of_a_person_of_this_workspace_has_no_effect(
    world: SlackWorld, event: dict[str, Any]
) -> None:
    assert envelope(world, written("When?", channel=world.slack.dm(MARIA.id), **event)).status == 200
    until(lambda: events(world, "done"), "end of the event")
    assert events(world, "received") == events(world, "failed") == 0
    assert world.conversations.received == []


def test_a_click_from_another_workspace_is_refused(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now(), key="c2")
    world.connection.sync()
    card = world.card()
    click = {
        "type": "block_actions",
        "team": {"id": TEAM},
        "user": {"id": ADA, "team_id": "T0FOREIGN"},
        "trigger_id": "t1",
        "channel": {"id": REVIEW_CHANNEL},
        "container": {"message_ts": card["ts"], "channel_id": REVIEW_CHANNEL},
        "actions": [{"action_id": "outreach_approve", "value": f"{proposed.id}:1", "action_ts": "1.0"}],
    }
    assert envelope(world, click).status == 200
    (told,) = until(lambda: world.whispers(ADA), "refusal")
    assert "another workspace" in told
    assert world.present(proposed.id) == proposed


def test_an_uninstalled_app_is_not_connected_any_more_and_nothing_leaves(world: SlackWorld) -> None:
    assert world.channel.connected()
    propose(world.database, world.clock.now(), "c2")
    body = {"type": "event_callback", "team_id": TEAM, "event_id": "Ev9", "event": {"type": "app_uninstalled"}}
    assert envelope(world, body).status == 200
    until(lambda: not world.connection.connected(), "red health")
    assert not world.channel.connected()
    with pytest.raises(ChannelShutError, match="uninstalled"):
        world.channel.send(Message(key="outreach:1:1", address=MARIA.id, subject="", text="Hello"))
    assert world.connection.sync() == 0
    assert world.slack.calls("chat.postMessage") == []
