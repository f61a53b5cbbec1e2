"""`/aftercare` at a real Slack peer: every answer for one person alone, every use recorded and asked for its role."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.services.delivery.stopping import Stopping
from bot.store.database import Database
from bot.store.standing import sending
from bot.store.tables import metadata
from tests.integration.shop_rows import propose
from tests.peers.local_slack import REVIEW_CHANNEL, TEAM, LocalSlack, find_element, shown_text, until
from tests.slack_world import ADA, BEN, MARIA, STRANGER, SlackWorld, slack_world

pytestmark = pytest.mark.peer
QUIET = {"playbook": "quiet_customer", "urgent": False, "band": "medium", "probability": 0.2}


@pytest.fixture
def world(peer: LocalSlack, sqlite_database: Database, clock: ManualClock) -> Iterator[SlackWorld]:
    peer._control("reset", {})
    with slack_world(peer, sqlite_database, clock) as running:
        yield running


def answer(world: SlackWorld, user: str, words: str) -> str:
    """Write a command and wait for what its writer alone is told."""
    before = len(world.told(user))
    world.slack.command(user, "/aftercare", words)
    until(lambda: len(world.told(user)) > before, f"answer to {words}")
    return shown_text(world.told(user)[-1]) or str(world.told(user)[-1]["text"])


def test_the_queue_is_listed_in_pages_for_the_one_who_asks(world: SlackWorld) -> None:
    for n in range(12):
        propose(world.database, world.clock.now(), key=f"c{n}", **QUIET)
    urgent = propose(world.database, world.clock.now(), key="u")
    first = answer(world, ADA, "queue")
    assert "13 wait for a decision, page 1 of 2" in first
    assert f"`{urgent.id}` ❗ *Maria* · order o-u" in first
    assert "/aftercare queue 2" in first
    second = answer(world, ADA, "queue 2")
    assert second.count("order o-") == 3
    assert "write a page" in answer(world, ADA, "queue two").lower()
    assert world.told(BEN) == []
    assert all("@mail.example" not in shown_text(message) for message in world.told(ADA))


def test_next_shows_a_card_with_buttons_that_work_where_they_stand(world: SlackWorld) -> None:
    claimed = propose(world.database, world.clock.now(), key="u")
    free = propose(world.database, world.clock.now(), key="f", **QUIET)
    world.review.claim(claimed.id, 1, f"slack:{TEAM}:{BEN}")
    assert f"No. {free.id}" in answer(world, ADA, "next")
    card = world.told(ADA)[-1]
    assert find_element(card, "outreach_approve")[1]["value"] == f"{free.id}:1"
    world.slack.click(ADA, card, "outreach_approve")
    until(lambda: f"Approved by <@{ADA}>" in shown_text(world.told(ADA)[-1]), "the same card, decided")
    assert world.present(free.id).decided_by == f"slack:{TEAM}:{ADA}"
    assert "claimed by" in answer(world, ADA, "next").lower()
    world.review.reject(claimed.id, 2, f"slack:{TEAM}:{BEN}", "other")
    assert "Nothing waits" in answer(world, ADA, "next")


def test_show_shows_a_card_as_it_stands_and_what_is_no_number_is_explained(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.review.reject(proposed.id, 1, f"slack:{TEAM}:{BEN}", "other")
    assert f"Rejected by <@{BEN}>" in answer(world, ADA, f"show #{proposed.id}")
    assert "/aftercare show 17" in answer(world, ADA, "show it")
    assert "there is no outreach 999" in answer(world, ADA, "show 999").lower()


def test_snooze_takes_times_in_the_agents_own_zone(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    assert "Wed 11 Mar 09:00 (Europe/Berlin)" in answer(world, ADA, f"snooze {proposed.id} tomorrow")
    present = world.present(proposed.id)
    assert present.snoozed_until is not None
    assert present.snoozed_until.isoformat() == "2026-03-11T08:00:00+00:00"
    assert f"already snoozed by <@{ADA}>" in answer(world, BEN, f"snooze {proposed.id} 1h")
    other = propose(world.database, world.clock.now(), key="b")
    assert "tomorrow 14:30" in answer(world, BEN, f"snooze {other.id} sometime")
    assert "expires at" in answer(world, BEN, f"snooze {other.id} 9d")
    assert world.present(other.id).state is OutreachState.SUGGESTED


def test_stats_are_ones_own(world: SlackWorld) -> None:
    proposed = [propose(world.database, world.clock.now(), key=key) for key in "abc"]
    world.clock.advance(timedelta(minutes=20))
    world.review.approve(proposed[0].id, 1, f"slack:{TEAM}:{ADA}")
    world.review.reject(proposed[1].id, 1, f"slack:{TEAM}:{ADA}", "other")
    mine = answer(world, ADA, "stats")
    assert (
        "*2* today, *2* in seven days (50% approved, 0% edited, 50% rejected), half of them within 20 minutes" in mine
    )
    assert "1 waiting" in mine
    assert "You decided nothing" in answer(world, BEN, "stats")


def test_stop_and_start_hold_for_all_and_the_channel_hears_who_and_when(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    world.review.approve(proposed.id, 1, f"slack:{TEAM}:{BEN}")
    assert "Nothing leaves" in answer(world, ADA, "stop wrong <!channel> price")
    assert "stopped already" in answer(world, BEN, "stop")
    (told,) = [m for m in world.slack.messages(REVIEW_CHANNEL) if m.get("subtype") != "ephemeral"]
    assert f"stopped* by <@{ADA}>, Tue 10 Mar 13:00 (Europe/Berlin)" in told["text"]
    assert "&lt;!channel&gt;" in told["text"]
    with world.database.read() as connection:
        assert sending(connection, world.clock.now()).stopped_by == f"slack:{TEAM}:{ADA}"
    assert "1 approved waits to leave" in answer(world, BEN, "start")
    question = world.told(BEN)[-1]
    with world.database.read() as connection:
        assert sending(connection, world.clock.now()).stopped_at is not None  # nothing happens until the click
    world.slack.click(BEN, question, "sending_start")
    until(lambda: "goes on" in str(world.told(BEN)[-1]["text"]), "confirmation")
    spoken = [m["text"] for m in world.slack.messages(REVIEW_CHANNEL) if m.get("subtype") != "ephemeral"]
    assert f"<@{BEN}> lifted the stop" in spoken[-1]
    assert len(spoken) == 2
    assert not Stopping(world.database, world.clock).resume("cli:root")
    assert "Nothing is stopped" in answer(world, ADA, "start")
    with world.database.read() as connection:
        rows = metadata.tables["audit"]
        found = connection.execute(sa.select(rows.c.action, rows.c.actor).where(rows.c.entity == "delivery")).all()
    assert [tuple(row) for row in found] == [("stop", f"slack:{TEAM}:{ADA}"), ("resume", f"slack:{TEAM}:{BEN}")]


def test_unknown_words_and_none_answer_the_help(world: SlackWorld) -> None:
    assert "`/aftercare snooze 17 1h`" in answer(world, ADA, "")
    unknown = answer(world, ADA, "<!here> fly")
    assert "I do not know" in unknown
    assert "<!here>" not in unknown


def test_whoever_is_no_agent_is_refused_every_word(world: SlackWorld) -> None:
    proposed = propose(world.database, world.clock.now())
    for words in ("queue", "next", "show 1", "snooze 1 1h", "stats", "stop", "start", "help", ""):
        for user in (STRANGER.id, MARIA.id):
            assert "Only support agents" in answer(world, user, words)
    assert world.present(proposed.id) == proposed
    assert Stopping(world.database, world.clock).stop("cli:root")  # nobody had


def test_two_processes_get_a_command_and_it_has_one_effect(world: SlackWorld) -> None:
    with slack_world(world.slack, world.database, world.clock):  # local-slack sends every command to both
        answer(world, ADA, "stop")
    world.connection.stop()
    assert len(world.told(ADA)) == 1
    with world.database.read() as connection:
        rows = metadata.tables["events"]
        keys = connection.execute(sa.select(rows.c.key, rows.c.state).where(rows.c.kind == "command")).all()
    assert [state for _, state in keys] == ["done"]
