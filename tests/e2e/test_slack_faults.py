"""Slack on a bad day: what is limited, lost, late or delivered again happens once, and only valid payloads leave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bot.channels.slack import api
from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.store.database import Database
from bot.store.decisions import decisions_of
from tests.integration.shop_rows import propose
from tests.peers.local_slack import LocalSlack, shown_text, until
from tests.peers.slack_proxy import FaultProxy
from tests.slack_world import ADA, AGENTS, BEN, MARIA, SlackWorld, slack_world

pytestmark = pytest.mark.peer

POST, UPDATE = "chat.postMessage", "chat.update"
# What the caller cannot tell apart from an answer that never came, and what Slack never heard of.
DONE_UNHEARD = [{"do": "fail_after"}, {"do": "lost"}, {"do": "late", "seconds": 3}]
NEVER_DONE = [{"do": "fail"}, {"do": "cut"}, {"do": "limit", "seconds": 0}]


@pytest.fixture
def world(
    peer: LocalSlack, proxy: FaultProxy, sqlite_database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SlackWorld]:
    monkeypatch.setattr(api, "TIMEOUT_SECONDS", 1)
    peer._control("reset", {})
    proxy.reset()
    with slack_world(peer, sqlite_database, clock, api_url=proxy.api_url) as running:
        yield running
        proxy.rules()
    assert proxy.problems() == []


def shown(world: SlackWorld, words: str) -> dict[str, Any]:
    """Wait for a card that says so; ask as the scheduler does, at every tick."""

    def found() -> dict[str, Any] | None:
        world.connection.sync()
        return next((card for card in world.cards() if words in shown_text(card)), None)

    return until(found, f"a card that says {words!r}")


def approvals(world: SlackWorld, outreach_id: int) -> list[str]:
    with world.database.read() as connection:
        return [one.kind.value for one in decisions_of(connection, outreach_id)]


@pytest.mark.parametrize("fault", DONE_UNHEARD + NEVER_DONE, ids=lambda fault: fault["do"])
def test_a_card_whose_post_went_wrong_stands_once(world: SlackWorld, proxy: FaultProxy, fault: dict[str, Any]) -> None:
    propose(world.database, world.clock.now())
    proxy.rules({"method": POST, **fault})
    world.connection.sync()
    shown(world, "Maria")
    assert [call["did"] for call in proxy.seen(POST)].count(fault["do"]) >= 1
    assert len(world.cards()) == 1
    assert world.connection.sync() == 0


@pytest.mark.parametrize("fault", DONE_UNHEARD + NEVER_DONE, ids=lambda fault: fault["do"])
def test_a_decision_whose_card_could_not_be_redrawn_is_shown_later(
    world: SlackWorld, proxy: FaultProxy, fault: dict[str, Any]
) -> None:
    proposed = propose(world.database, world.clock.now())
    card = shown(world, "Maria")
    proxy.rules({"method": UPDATE, **fault})
    world.slack.click(ADA, card, "outreach_approve")
    until(lambda: world.present(proposed.id).state is OutreachState.APPROVED, "the decision")
    shown(world, "Approved by")
    assert approvals(world, proposed.id) == ["approve"]
    assert len(world.cards()) == 1


def test_slack_is_not_asked_again_before_the_time_it_named(world: SlackWorld, proxy: FaultProxy) -> None:
    propose(world.database, world.clock.now())
    before = len(proxy.seen(POST))
    proxy.rules({"method": POST, "do": "limit", "seconds": 2, "times": 1})
    for _ in range(5):
        assert world.connection.sync() == 0
    assert len(proxy.seen(POST)) == before + 1
    shown(world, "Maria")
    assert len(proxy.seen(POST)) == before + 2


def test_a_slow_slack_delays_but_doubles_nothing(world: SlackWorld, proxy: FaultProxy) -> None:
    proposed = propose(world.database, world.clock.now())
    proxy.rules({"method": "*", "do": "slow", "seconds": 0.3, "times": 20})
    world.slack.click(ADA, shown(world, "Maria"), "outreach_approve")
    shown(world, "Approved by")
    assert approvals(world, proposed.id) == ["approve"]


@contextmanager
def acknowledged(proxy: FaultProxy, copies: int) -> Iterator[None]:
    """Do the block, then wait until so many envelopes more were acknowledged, repeated ones among them."""
    before = proxy.acknowledged()
    yield
    until(lambda: proxy.acknowledged() >= before + copies, f"{copies} acknowledgements")


def test_a_click_delivered_four_times_decides_once_and_refuses_nobody(world: SlackWorld, proxy: FaultProxy) -> None:
    proposed = propose(world.database, world.clock.now())
    card = shown(world, "Maria")
    proxy.rules({"envelope": "interactive", "do": "again", "times": 3})
    with acknowledged(proxy, 4):
        world.slack.click(ADA, card, "outreach_approve")
    shown(world, "Approved by")
    assert approvals(world, proposed.id) == ["approve"]
    assert world.whispers(ADA) == []


def test_a_submitted_modal_delivered_four_times_is_taken_once(world: SlackWorld, proxy: FaultProxy) -> None:
    proposed = propose(world.database, world.clock.now())
    card = shown(world, "Maria")
    with world.slack.browser() as browser:
        world.slack.click(ADA, card, "outreach_edit")
        browser.modal("outreach_edit")
        before = proxy.repeated()
        proxy.rules({"envelope": "interactive", "do": "again", "times": 3})
        with acknowledged(proxy, 1):  # only the first copy may answer: an empty answer would close a modal with errors
            browser.submit(ADA, draft={"text": {"type": "plain_text_input", "value": "Dear Maria, it is on its way."}})
        assert browser.settled() == {}
    shown(world, "Dear Maria, it is on its way.")
    until(lambda: proxy.repeated() >= before + 3, "the copies")
    proxy.rules()
    world.slack.click(BEN, shown(world, "Approved by"), "outreach_undo")  # it comes after the copies
    until(lambda: world.present(proposed.id).state is OutreachState.SUGGESTED, "the undo")
    assert approvals(world, proposed.id) == ["edit", "undo"]


def test_a_customers_message_delivered_four_times_is_answered_once(world: SlackWorld, proxy: FaultProxy) -> None:
    proxy.rules({"envelope": "events_api", "do": "again", "times": 3})
    with acknowledged(proxy, 4):
        world.slack.say(MARIA.id, "Where is my parcel?")
    until(lambda: answers(world), "an answer")
    assert len(answers(world)) == 1
    assert len(world.conversations.received) == 1


def test_two_processes_with_every_envelope_four_times_have_one_effect(
    world: SlackWorld, proxy: FaultProxy, clock: ManualClock
) -> None:
    proposed = propose(world.database, world.clock.now())
    card = shown(world, "Maria")
    with slack_world(world.slack, world.database, clock, api_url=proxy.api_url):
        proxy.rules({"envelope": "*", "do": "again", "times": 3}, {"envelope": "*", "do": "again", "times": 3})
        with acknowledged(proxy, 8):
            world.slack.click(ADA, card, "outreach_approve")
        shown(world, "Approved by")
        assert approvals(world, proposed.id) == ["approve"]
        world.slack.click(BEN, shown(world, "Approved by"), "outreach_undo")
        until(lambda: world.present(proposed.id).state is OutreachState.SUGGESTED, "the undo")
        assert approvals(world, proposed.id) == ["approve", "undo"]
    assert [world.whispers(agent.id) for agent in AGENTS] == [[]] * len(AGENTS)


def answers(world: SlackWorld) -> list[dict[str, Any]]:
    """What the app wrote to Maria."""
    return [message for message in world.slack.messages(world.slack.dm(MARIA.id)) if message.get("bot_id")]
