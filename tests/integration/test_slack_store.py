"""What Slack shows is remembered once, and what it must show next is found, on both engines."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.store import slack as posts
from bot.store.database import Database
from bot.store.enums import HandoffState
from bot.store.outreach import change_state
from bot.store.slack import CARD, HANDOFF
from tests.integration.shop_rows import add_customer, insert, propose

S = OutreachState


def due(database: Database, clock: ManualClock) -> tuple[list[int], list[int]]:
    with database.read() as connection:
        now = clock.now()
        return posts.cards_to_post(connection, now, 10), posts.cards_to_update(connection, now, 10)


def test_a_suggestion_is_posted_once_urgent_ones_first(database: Database, clock: ManualClock) -> None:
    calm = propose(database, clock.now(), key="calm", urgent=False, probability=0.9)
    mild = propose(database, clock.now(), key="mild", urgent=False, probability=0.2)
    urgent = propose(database, clock.now(), key="urgent", urgent=True, probability=0.1)
    assert due(database, clock) == ([urgent.id, calm.id, mild.id], [])
    with database.write() as connection:
        assert posts.record_post(connection, CARD, urgent.id, "C1", "1.1", "1:suggested", clock.now())
        assert not posts.record_post(connection, CARD, urgent.id, "C1", "1.2", "1:suggested", clock.now())
        post = posts.post_of(connection, CARD, urgent.id)
    assert post is not None
    assert post.ts == "1.1"
    assert due(database, clock) == ([calm.id, mild.id], [])
    clock.advance(timedelta(hours=73))
    assert due(database, clock) == ([], [])  # nothing expired is posted


@pytest.mark.parametrize("state", [S.APPROVED, S.REJECTED, S.SNOOZED])
def test_a_card_is_redrawn_when_it_shows_something_else(
    database: Database, clock: ManualClock, state: OutreachState
) -> None:
    one = propose(database, clock.now())
    later = clock.now() + timedelta(seconds=30)
    with database.write() as connection:
        posts.record_post(connection, CARD, one.id, "C1", "1.1", "1:suggested", clock.now())
    assert due(database, clock) == ([], [])
    with database.write() as connection:
        change_state(connection, one.id, 1, [S.SUGGESTED], state, clock.now(), decided_at=clock.now(), not_before=later)
    assert due(database, clock) == ([], [one.id])
    with database.write() as connection:
        posts.record_shown(connection, CARD, one.id, f"2:{state}:undo", clock.now())
    assert due(database, clock)[1] == ([] if state is S.APPROVED else [one.id])
    clock.advance(timedelta(seconds=30))
    assert due(database, clock)[1] == [one.id]  # the undo is over
    with database.write() as connection:
        posts.record_shown(connection, CARD, one.id, f"2:{state}", clock.now())
    assert due(database, clock) == ([], [])


def test_a_card_with_a_time_is_redrawn_when_it_shows_another_version(database: Database, clock: ManualClock) -> None:
    one = propose(database, clock.now())
    with database.write() as connection:
        posts.record_post(connection, CARD, one.id, "C1", "1.1", "1:suggested:auto@2026-03-10T12:20:00", clock.now())
    assert due(database, clock) == ([], [])  # whether the time still holds is asked elsewhere
    with database.write() as connection:
        posts.record_shown(connection, CARD, one.id, "2:suggested:auto@2026-03-10T12:20:00", clock.now())
    assert due(database, clock) == ([], [one.id])


def test_a_handover_is_found_until_it_is_over_and_shown_so(database: Database, clock: ManualClock) -> None:
    now = clock.now()
    with database.write() as connection:
        customer = add_customer(connection, "c1", now)
        conversation = insert(
            connection, "conversations", channel="slack", thread="D1", customer_id=customer, state="human",
            clarifications=0, created_at=now, updated_at=now,
        )  # fmt: skip
        said = [
            insert(
                connection, "utterances", conversation_id=conversation, source="slack", external_id=f"m{n}",
                direction="in", author="customer", author_id="slack:T1:U1", text=f"word {n}", occurred_at=now,
                recorded_at=now,
            )
            for n in range(4)
        ]  # fmt: skip
        handoff = insert(
            connection, "handoffs", conversation_id=conversation, reason="safety", state="open", urgent=True,
            opened_at=now,
        )  # fmt: skip
    with database.read() as connection:
        assert posts.handoffs_to_post(connection, now, 10) == [handoff]
        assert posts.posted_handoffs(connection) == []
        facts = posts.handoff_facts(connection, handoff)
        assert facts is not None
        assert (facts.customer_name, facts.channel, facts.state) == ("Maria Santos", "slack", HandoffState.OPEN)
        assert posts.handoff_facts(connection, handoff + 1) is None
        assert [w.id for w in posts.transcript(connection, conversation, last=2)] == said[2:]
        assert [w.id for w in posts.transcript(connection, conversation, after=said[0])] == said[1:]
    with database.write() as connection:
        posts.record_post(connection, HANDOFF, handoff, "C1", "1.1", f"open:{said[-1]}", now)
    with database.read() as connection:
        assert posts.handoffs_to_post(connection, now, 10) == []
        ((known, post),) = posts.posted_handoffs(connection)
        assert (known.id, post.shown) == (handoff, f"open:{said[-1]}")
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE handoffs SET state = 'given_back'")
    with database.read() as connection:
        assert len(posts.posted_handoffs(connection)) == 1  # still shown open
    with database.write() as connection:
        posts.record_shown(connection, HANDOFF, handoff, f"given_back:{said[-1]}", now)
    with database.read() as connection:
        assert posts.posted_handoffs(connection) == []
