"""App Home at a real Slack peer: private, paged, filtered; one by one or together, and nothing is overwritten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.store.database import Database
from bot.store.outreach import Outreach
from tests.integration.shop_rows import add_touchpoint, propose
from tests.peers.local_slack import TEAM, Browser, LocalSlack, find_element, shown_text, until
from tests.slack_world import ADA, BEN, MARIA, SlackWorld, slack_world

pytestmark = pytest.mark.peer
QUIET = {"playbook": "quiet_customer", "urgent": False, "band": "medium", "probability": 0.2}


@pytest.fixture
def world(peer: LocalSlack, sqlite_database: Database, clock: ManualClock) -> Iterator[SlackWorld]:
    peer._control("reset", {})
    with slack_world(peer, sqlite_database, clock) as running:
        yield running


@pytest.fixture
def browser(world: SlackWorld) -> Iterator[Browser]:
    with world.slack.browser() as opened:
        yield opened


def several(world: SlackWorld, many: int) -> list[Outreach]:
    return [propose(world.database, world.clock.now(), key=f"q{n}", **QUIET) for n in range(many)]


def test_agents_see_the_queue_and_customers_where_to_write(world: SlackWorld, browser: Browser) -> None:
    propose(world.database, world.clock.now())
    world.slack.open_home(ADA)
    home = shown_text(browser.home(ADA, "1 check-in waits"))
    for part in ("❗ *urgent* · *Maria* · order o-c1", "*50%, high*", "> Hello Maria", "*Sending is on.*"):
        assert part in home
    for secret in ("treatment", "@mail.example", "Santos"):
        assert secret not in home
    world.slack.open_home(MARIA.id)
    visitor = shown_text(browser.home(MARIA.id, "Messages tab"))
    assert "o-c1" not in visitor
    assert "human" in visitor


def test_pages_and_filters_are_kept_for_each_person(world: SlackWorld, browser: Browser) -> None:
    several(world, 12)
    urgent = propose(world.database, world.clock.now())
    world.slack.open_home(ADA)
    browser.press(ADA, browser.home(ADA, "Page 1 of 2, 13 in all"), "home_page_on")
    browser.press(ADA, browser.home(ADA, "Page 2 of 2"), "home_urgency", option="urgent")
    home = browser.home(ADA, f"No. {urgent.id}")
    assert "Page" not in shown_text(home)
    world.slack.open_home(BEN)
    browser.home(BEN, "Page 1 of 2, 13 in all")  # ada's filters are not his
    world.slack.open_home(ADA)
    until(lambda: world.slack.calls("views.publish")[-1]["user_id"] == ADA, "Home once more")
    assert "Page" not in shown_text(browser.home(ADA))
    browser.press(ADA, home, "home_owner", option="mine")
    browser.home(ADA, "Nothing waits that fits these filters")


def test_one_approved_in_home_can_be_taken_back_there(world: SlackWorld, browser: Browser) -> None:
    proposed = propose(world.database, world.clock.now())
    world.slack.open_home(ADA)
    browser.press(ADA, browser.home(ADA, "1 check-in waits"), f"home_approve:{proposed.id}")
    home = browser.home(ADA, f"Approved by <@{ADA}>")
    until(lambda: f"Approved by <@{ADA}>" in shown_text(world.card()), "decided card in the channel")
    assert world.present(proposed.id).state is OutreachState.APPROVED
    browser.press(ADA, home, "home_undo")
    browser.home(ADA, "Back in the queue")
    assert world.present(proposed.id).state is OutreachState.SUGGESTED


def test_what_somebody_else_decided_is_told_and_not_overwritten(world: SlackWorld, browser: Browser) -> None:
    proposed = propose(world.database, world.clock.now())
    world.slack.open_home(ADA)
    home = browser.home(ADA, "1 check-in waits")
    world.review.reject(proposed.id, 1, f"slack:{TEAM}:{BEN}", "other")
    browser.press(ADA, home, f"home_approve:{proposed.id}")
    browser.home(ADA, f"already rejected by <@{BEN}>")
    assert world.present(proposed.id).state is OutreachState.REJECTED


def test_open_shows_the_card_with_its_buttons(world: SlackWorld, browser: Browser) -> None:
    proposed = propose(world.database, world.clock.now(), draft="Hello Maria. " + "It is late. " * 100)
    world.slack.open_home(ADA)
    home = browser.home(ADA, "1 check-in waits")
    with pytest.raises(AssertionError, match="no element"):
        find_element(home, f"home_approve:{proposed.id}")  # it is not shown whole
    browser.press(ADA, home, f"home_open:{proposed.id}")
    card = browser.modal("outreach_card")
    assert "It is late." in shown_text(card)
    browser.press(ADA, card, "outreach_approve")
    until(lambda: world.present(proposed.id).state is OutreachState.APPROVED, "decision")
    browser.home(ADA, f"Approved by <@{ADA}>")


def test_low_risk_ones_are_approved_together_after_a_recap_and_the_rest_is_told(
    world: SlackWorld, browser: Browser
) -> None:
    quiet = several(world, 4)
    urgent = propose(world.database, world.clock.now())
    with world.database.write() as connection:
        add_touchpoint(connection, "complaint", quiet[3].customer_id, world.clock.now())
    world.slack.open_home(ADA)
    browser.press(ADA, browser.home(ADA, "Sending is on"), "home_bulk")
    modal = browser.modal("home_bulk")
    assert modal["private_metadata"] == " ".join(f"{one.id}:1" for one in quiet[:3])
    recap = shown_text(modal)
    for part in ("*3 will be approved", "Quiet customer: 3", "*2 will not be approved", "urgent (1)", "is open"):
        assert part in recap
    world.review.reject(quiet[1].id, 1, f"slack:{TEAM}:{BEN}", "other")  # while the recap is read
    browser.submit(ADA)
    assert browser.settled() == {}
    told = shown_text(browser.home(ADA, "2 approved"))
    assert "1 not approved" in told
    assert f"already rejected by <@{BEN}>" in told
    states = [world.present(one.id).state.value for one in (*quiet, urgent)]
    assert states == ["approved", "rejected", "approved", "suggested", "suggested"]
    until(lambda: len(world.cards()) >= 2, "cards in the channel")

    home = browser.home(ADA, "2 approved")
    assert find_element(home, "home_undo")[1]["text"]["text"] == "Undo all 2"
    world.review.undo(quiet[0].id, 2, f"slack:{TEAM}:{BEN}")  # before Ada does
    browser.press(ADA, home, "home_undo")
    told = shown_text(browser.home(ADA, "1 taken back"))
    assert "1 not taken back" in told
    states = [world.present(one.id).state.value for one in quiet]
    assert states == ["suggested", "rejected", "suggested", "suggested"]


def test_sending_is_stopped_and_started_from_home_and_the_channel_hears_of_it(
    world: SlackWorld, browser: Browser
) -> None:
    world.slack.open_home(ADA)
    home = browser.home(ADA, "Sending is on")
    assert find_element(home, "sending_stop")[1]["confirm"]["confirm"]["text"] == "Stop"
    browser.press(ADA, home, "sending_stop")
    home = browser.home(ADA, f"stopped* by <@{ADA}>")
    browser.press(ADA, home, "sending_start")
    browser.home(ADA, "Sending is on")
    spoken = [message["text"] for message in world.slack.messages()]
    assert ["stopped* by" in text for text in spoken] == [True, False]
    assert "lifted the stop" in spoken[1]
