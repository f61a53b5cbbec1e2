"""Agents decide on cards at a real Slack peer: one decision wins, and everybody sees which."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from bot.channels.base import Message
from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.errors import ConfigurationError
from bot.store.database import Database
from bot.store.decisions import Decided, decisions_of
from bot.store.enums import DecisionKind
from bot.store.outreach import change_state, list_outreach
from tests.integration.shop_rows import propose
from tests.peers.local_slack import REVIEW_CHANNEL, TEAM, LocalSlack, find_element, shown_text, until
from tests.slack_world import ADA, AGENTS, BEN, STRANGER, SlackWorld, slack_world, start_peer

pytestmark = pytest.mark.peer


@pytest.fixture
def world(peer: LocalSlack, sqlite_database: Database, clock: ManualClock) -> Iterator[SlackWorld]:
    peer._control("reset", {})
    with slack_world(peer, sqlite_database, clock) as running:
        yield running


def decisions(world: SlackWorld, outreach_id: int) -> list[Decided]:
    with world.database.read() as connection:
        return decisions_of(connection, outreach_id)


def labels(message: dict[str, Any]) -> list[str]:
    """The buttons and menu entries that a message offers."""
    found = []
    for block in message.get("blocks") or []:
        for element in block.get("elements", []):
            if element["type"] == "button":
                found.append(element["text"]["text"])
            found += [option["text"]["text"] for option in element.get("options", [])]
    return found


def test_a_suggested_outreach_becomes_one_card_that_says_everything_but_the_arm(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    assert world.connection.sync() == 1
    assert world.connection.sync() == 0
    card = world.card()
    assert len(world.cards()) == 1
    assert labels(card) == ["Approve", "Edit", "Snooze", "Reject…", "Claim", "Why this?"]
    assert find_element(card, "outreach_approve")[1]["value"] == f"{proposed.id}:1"
    values = [option["value"] for option in find_element(card, "outreach_more")[1]["options"]]
    assert values == [f"{what}:{proposed.id}:1" for what in ("reject", "claim", "why")]
    text = shown_text(card)
    for part in (
        "Maria",
        "order o-c1",
        "The parcel is three days late.",
        "+21 points",
        "50%",
        "high",
        "> Hello Maria, your parcel is late.",
        "by email",
        "Tue 10 Mar 13:00 (Europe/Berlin)",
        "expires Fri 13 Mar 13:00",
    ):
        assert part in text
    for secret in ("treatment", "holdout", "@mail.example", "Santos"):
        assert secret not in text
        assert secret not in card["text"]
    assert "Maria" in card["text"]


def test_approve_hides_the_buttons_and_offers_undo_until_it_may_leave(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    world.slack.click(ADA, world.card(), "outreach_approve")
    card = until(lambda: next((c for c in world.cards() if labels(c) == ["Undo"]), None), "card with Undo")
    assert f"Approved by <@{ADA}>" in shown_text(card)
    assert world.present(proposed.id).decided_by == f"slack:{TEAM}:{ADA}"
    world.slack.click(BEN, card, "outreach_undo")
    card = until(lambda: next((c for c in world.cards() if "Approve" in labels(c)), None), "card with Approve again")
    again = world.present(proposed.id)
    assert again.state is OutreachState.SUGGESTED
    world.slack.click(BEN, card, "outreach_approve")
    until(lambda: [c for c in world.cards() if labels(c) == ["Undo"]], "card with Undo")
    world.clock.advance(timedelta(seconds=31))
    world.connection.sync()
    assert labels(world.card()) == []
    assert f"Approved by <@{BEN}>" in shown_text(world.card())


@pytest.mark.parametrize("many", [2, 8])
def test_agents_who_click_at_once_make_one_decision_and_the_losers_hear_who_won(world: SlackWorld, many: int) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    card = world.card()
    start = Barrier(many, timeout=30)

    def click(agent: str) -> None:
        start.wait()
        world.slack.click(agent, card, "outreach_approve")

    agents = [agent.id for agent in AGENTS[:many]]
    with ThreadPoolExecutor(many) as pool:
        list(pool.map(click, agents))
    (decided,) = until(lambda: decisions(world, proposed.id), "decision")
    winner = decided.actor.rpartition(":")[2]
    losers = [agent for agent in agents if agent != winner]
    until(lambda: all(world.whispers(agent) for agent in losers), "word to every loser")
    for agent in losers:
        assert f"already approved by <@{winner}>" in world.whispers(agent)[0]
    assert world.whispers(winner) == []
    until(lambda: f"Approved by <@{winner}>" in shown_text(world.card()), "the decision on the card")
    with world.database.read() as connection:
        assert len(decisions_of(connection, proposed.id)) == 1
        (present,) = list_outreach(connection, {OutreachState.APPROVED})
    message = Message(key=f"outreach:{present.id}:1", address="U0MARIA", subject="", text=present.draft)
    world.channel.send(message)
    (sent,) = world.slack.messages(world.slack.dm("U0MARIA"))
    assert sent["blocks"][0]["block_id"] == f"outreach:{proposed.id}:1"


def test_an_edited_draft_is_what_is_approved(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    with world.slack.browser() as browser:
        world.slack.click(ADA, world.card(), "outreach_edit")
        modal = browser.modal("outreach_edit")
        assert modal["private_metadata"] == f"{proposed.id}:1"
        field = next(block for block in modal["blocks"] if block.get("block_id") == "draft")
        assert field["element"]["action_id"] == "text"
        assert field["element"]["initial_value"] == "Hello Maria, your parcel is late."
        browser.submit(ADA, draft={"text": {"type": "plain_text_input", "value": "Dear Maria, it comes on Friday."}})
        assert browser.settled() == {}
    present = until(
        lambda: p if (p := world.present(proposed.id)).state is OutreachState.APPROVED else None, "approved outreach"
    )
    assert present.draft == "Dear Maria, it comes on Friday."
    until(lambda: "it comes on Friday" in shown_text(world.card()), "new words on the card")


def test_an_edit_of_a_draft_decided_meanwhile_is_an_error_on_its_field(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    with world.slack.browser() as browser:
        world.slack.click(ADA, world.card(), "outreach_edit")
        browser.modal("outreach_edit")
        world.review.approve(proposed.id, 1, f"slack:{TEAM}:{BEN}")
        browser.submit(ADA, draft={"text": {"type": "plain_text_input", "value": "Too late"}})
        assert "already approved by Ben Agent" in browser.settled()["draft"]
    assert world.present(proposed.id).draft == proposed.draft


def test_a_rejection_keeps_its_reason_and_can_be_undone(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    with world.slack.browser() as browser:
        world.slack.click(ADA, world.card(), "outreach_more", option="reject:")
        modal = browser.modal("outreach_reject")
        field = next(block for block in modal["blocks"] if block.get("block_id") == "reason")
        option = next(o for o in field["element"]["options"] if o["value"] == "wrong_answer")
        browser.submit(ADA, reason={"select": {"type": "static_select", "selected_option": option}})
        assert browser.settled() == {}
    until(lambda: labels(world.card()) == ["Undo"], "card with Undo")
    assert world.present(proposed.id).state is OutreachState.REJECTED
    with world.database.read() as connection:
        (decided,) = decisions_of(connection, proposed.id)
    assert (decided.kind, decided.reason) == (DecisionKind.REJECT, "wrong_answer")
    world.clock.advance(timedelta(seconds=31))
    world.connection.sync()
    assert labels(world.card()) == []


def test_snooze_offers_times_in_the_agents_zone_and_comes_back(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    with world.slack.browser() as browser:
        world.slack.click(ADA, world.card(), "outreach_snooze")
        modal = browser.modal("outreach_snooze")
        field = next(block for block in modal["blocks"] if block.get("block_id") == "until")
        tomorrow = next(o for o in field["element"]["options"] if o["text"]["text"] == "Tomorrow at 09:00")
        browser.submit(ADA, until={"select": {"type": "static_select", "selected_option": tomorrow}})
        assert browser.settled() == {}
    present = world.present(proposed.id)
    assert present.state is OutreachState.SNOOZED
    assert present.snoozed_until is not None
    assert present.snoozed_until.isoformat() == "2026-03-11T08:00:00+00:00"
    until(lambda: f"Snoozed by <@{ADA}>" in shown_text(world.card()), "snoozed card")
    with world.database.write() as connection:
        now = world.clock.now()
        change_state(connection, present.id, present.version, [present.state], OutreachState.SUGGESTED, now)
    world.connection.sync()
    assert "Approve" in labels(world.card())


def test_a_claim_is_shown_and_keeps_others_out(world: SlackWorld) -> None:
    propose(world.database, world.clock.now())
    world.connection.sync()
    world.slack.click(ADA, world.card(), "outreach_more", option="claim:")
    until(lambda: f"Claimed by <@{ADA}>" in shown_text(world.card()), "claim on the card")
    world.slack.click(BEN, world.card(), "outreach_approve")
    (told,) = until(lambda: world.whispers(BEN), "word to the other agent")
    assert f"claimed by <@{ADA}>" in told


def test_why_this_shows_the_reasons(world: SlackWorld) -> None:
    propose(world.database, world.clock.now())
    world.connection.sync()
    with world.slack.browser() as browser:
        world.slack.click(ADA, world.card(), "outreach_more", option="why:")
        modal = browser.modal("outreach_why")
    assert "delivery_at_risk" in shown_text(modal)
    assert "+21 points" in shown_text(modal)
    assert "treatment" not in shown_text(modal)


def test_whoever_is_no_agent_is_refused_and_told_why(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    world.slack.click(STRANGER.id, world.card(), "outreach_approve")
    (told,) = until(lambda: world.whispers(STRANGER.id), "refusal")
    assert "Only support agents" in told
    assert world.present(proposed.id) == proposed


def test_a_modal_submitted_by_no_agent_changes_nothing(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    with world.slack.browser() as browser:
        world.slack.click(ADA, world.card(), "outreach_edit")
        browser.modal("outreach_edit")
        browser.submit(STRANGER.id, draft={"text": {"type": "plain_text_input", "value": "Mine"}})
        assert "Only support agents" in browser.settled()["draft"]
    assert world.present(proposed.id) == proposed


def test_two_processes_get_every_event_and_it_has_one_effect(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    with slack_world(world.slack, world.database, world.clock):  # local-slack sends every event to both
        world.slack.click(ADA, world.card(), "outreach_approve")
        until(lambda: labels(world.card()) == ["Undo"], "card with Undo")
    with world.database.read() as connection:
        assert len(decisions_of(connection, proposed.id)) == 1
    assert world.whispers(ADA) == []


def test_a_card_posted_by_a_process_that_died_is_found_again(world: SlackWorld) -> None:
    propose(world.database, world.clock.now())
    world.connection.sync()
    with world.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM slack_posts")
    with slack_world(world.slack, world.database, world.clock) as restarted:
        assert restarted.connection.sync() == 1
    assert len(world.cards()) == 1


def test_a_sent_card_says_so_and_a_failed_one_offers_retry(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    world.review.approve(proposed.id, 1, f"slack:{TEAM}:{ADA}")
    now = world.clock.now()
    with world.database.write() as connection:
        change_state(connection, proposed.id, 2, [OutreachState.APPROVED], OutreachState.SENDING, now, attempts=1)
        change_state(connection, proposed.id, 3, [OutreachState.SENDING], OutreachState.FAILED, now)
    world.connection.sync()
    assert labels(world.card()) == ["Retry"]
    world.slack.click(BEN, world.card(), "outreach_retry")
    until(lambda: world.present(proposed.id).state is OutreachState.APPROVED, "approved again")
    with world.database.write() as connection:
        change_state(connection, proposed.id, 5, [OutreachState.APPROVED], OutreachState.SENDING, now, attempts=2)
        change_state(connection, proposed.id, 6, [OutreachState.SENDING], OutreachState.SENT, now, sent_at=now)
    world.connection.sync()
    assert labels(world.card()) == []
    assert "Sent Tue 10 Mar 13:00" in shown_text(world.card())


def test_an_expired_card_loses_its_buttons(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    world.clock.advance(timedelta(hours=73))
    with world.database.write() as connection:
        change_state(connection, proposed.id, 1, [OutreachState.SUGGESTED], OutreachState.EXPIRED, world.clock.now())
    world.connection.sync()
    assert labels(world.card()) == []
    assert "Expired" in shown_text(world.card())


def test_a_wrong_channel_or_agent_is_named_at_the_start(
    peer: LocalSlack, sqlite_database: Database, clock: ManualClock
) -> None:
    wrong = {"review_channel": "C0NOWHERE", "agents": (ADA, "U0NOBODY")}
    with pytest.raises(ConfigurationError) as caught, slack_world(peer, sqlite_database, clock, **wrong):
        pass
    assert [path for path, _ in caught.value.problems] == ["slack.review_channel", "slack.agents"]
    assert "U0NOBODY" in str(caught.value)


def test_the_connection_knows_whether_it_stands(world: SlackWorld) -> None:
    assert world.connection.connected()
    assert world.channel.connected()
    world.connection.stop()
    assert not world.connection.connected()


def test_a_connection_that_breaks_is_made_again_and_clicks_arrive(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    card = world.card()
    handler = world.connection._handler
    assert handler is not None
    broken = handler.client.current_session
    broken.sock.shutdown(socket.SHUT_RDWR)
    until(lambda: handler.client.current_session is not broken and world.connection.connected(), "a new connection", 30)
    world.slack.click(ADA, card, "outreach_approve")
    until(lambda: world.present(proposed.id).state is OutreachState.APPROVED, "the decision")


def test_nothing_posted_unfurls_and_everything_has_a_fallback(world: SlackWorld) -> None:
    propose(world.database, world.clock.now())
    world.connection.sync()
    (call,) = world.slack.calls("chat.postMessage")
    assert call["channel"] == REVIEW_CHANNEL
    assert (call["unfurl_links"], call["unfurl_media"]) == (False, False)
    assert call["text"]
    assert call["metadata"]["event_payload"]["key"] == call["blocks"][0]["block_id"]


def test_health_turns_red_when_slack_goes_away_and_a_sync_does_not_crash(
    tmp_path: Path, sqlite_database: Database, clock: ManualClock
) -> None:
    short_lived = start_peer(tmp_path / "slack")
    try:
        with slack_world(short_lived, sqlite_database, clock) as world:
            assert world.connection.connected()
            short_lived.stop()
            until(lambda: not world.connection.connected(), "red health", 45)
            propose(world.database, world.clock.now())
            assert world.connection.sync() == 0
    finally:
        if short_lived.process.poll() is None:
            short_lived.stop()
