"""What time does to check-ins, on both engines."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.services.planning.playbooks import load_playbooks
from bot.services.review.desk import ReviewDesk
from bot.services.review.upkeep import Upkeep, UpkeepReport
from bot.store import audit
from bot.store.database import Database
from bot.store.outreach import change_state, outreach
from tests.integration.shop_rows import add_order, add_touchpoint, insert, propose

HOUR = timedelta(hours=1)


@pytest.fixture
def upkeep(database: Database, clock: ManualClock) -> Upkeep:
    return Upkeep(database, clock, Settings(), load_playbooks(Settings()))


@pytest.fixture
def desk(database: Database, clock: ManualClock) -> ReviewDesk:
    return ReviewDesk(database, clock, Settings())


def state_of(database: Database, outreach_id: int) -> OutreachState:
    with database.read() as connection:
        return outreach(connection, outreach_id).state


def test_a_snoozed_one_comes_back_when_its_time_has_come_and_only_then(
    database: Database, clock: ManualClock, upkeep: Upkeep, desk: ReviewDesk
) -> None:
    card = propose(database, clock.now())
    desk.snooze(card.id, card.version, "cli:ana", clock.now() + HOUR)
    assert upkeep.run() == UpkeepReport()
    clock.advance(HOUR)
    assert upkeep.run() == UpkeepReport(woken=1)
    assert [one.id for one in desk.queue()] == [card.id]
    assert upkeep.run() == UpkeepReport()


def test_a_deferred_one_keeps_the_agents_yes(
    database: Database, clock: ManualClock, upkeep: Upkeep, desk: ReviewDesk
) -> None:
    asked, fresh = propose(database, clock.now()), propose(database, clock.now(), "c2")
    approved = desk.approve(asked.id, asked.version, "cli:ana")
    later = clock.now() + HOUR
    with database.write() as connection:
        for one in (approved, fresh):
            assert change_state(
                connection, one.id, one.version, [one.state], OutreachState.DEFERRED, clock.now(), not_before=later
            )
    clock.set(later)
    assert upkeep.run() == UpkeepReport(woken=2)
    assert state_of(database, asked.id) is OutreachState.APPROVED
    assert state_of(database, fresh.id) is OutreachState.SUGGESTED


def test_what_nobody_decided_in_time_expires(
    database: Database, clock: ManualClock, upkeep: Upkeep, desk: ReviewDesk
) -> None:
    waiting, snoozed = propose(database, clock.now()), propose(database, clock.now(), "c2")
    desk.snooze(snoozed.id, snoozed.version, "cli:ana", snoozed.expires_at - HOUR)
    clock.set(waiting.expires_at)
    assert upkeep.run() == UpkeepReport(expired=2)
    assert state_of(database, waiting.id) is OutreachState.EXPIRED


@pytest.mark.parametrize("kind", ["delivered", "cancelled"])
def test_a_check_in_is_called_off_when_its_reason_goes_away(
    database: Database, clock: ManualClock, upkeep: Upkeep, desk: ReviewDesk, kind: str
) -> None:
    here, there = propose(database, clock.now()), propose(database, clock.now(), "c2")
    approved = desk.approve(here.id, here.version, "cli:ana")
    clock.advance(HOUR)
    with database.write() as connection:
        add_touchpoint(connection, kind, here.customer_id, clock.now(), here.order_id)
        add_touchpoint(connection, "shipped", there.customer_id, clock.now(), there.order_id)
        other_order = add_order(connection, "another", there.customer_id, clock.now() - timedelta(days=3))
        add_touchpoint(connection, kind, there.customer_id, clock.now(), other_order)
    assert upkeep.run() == UpkeepReport(cancelled=1)
    with database.read() as connection:
        assert audit.verify(connection) == []
        gone = outreach(connection, here.id)
    assert (gone.state, gone.refusal, gone.version) == (OutreachState.CANCELLED, kind, approved.version + 1)
    assert state_of(database, there.id) is OutreachState.SUGGESTED


def test_what_is_recorded_later_calls_nothing_off(database: Database, clock: ManualClock, upkeep: Upkeep) -> None:
    card = propose(database, clock.now())
    with database.write() as connection:
        add_touchpoint(
            connection, "delivered", card.customer_id, clock.now(), card.order_id, recorded_at=clock.now() + HOUR
        )
    assert upkeep.run() == UpkeepReport()


def test_a_quiet_customer_who_orders_again_is_left_alone(
    database: Database, clock: ManualClock, upkeep: Upkeep
) -> None:
    card = propose(database, clock.now(), playbook="quiet_customer")
    clock.advance(HOUR)
    with database.write() as connection:
        add_order(connection, "again", card.customer_id, clock.now())
    assert upkeep.run() == UpkeepReport(cancelled=1)


def test_a_sent_one_is_closed_once_its_outcome_is_known(
    database: Database, clock: ManualClock, upkeep: Upkeep, desk: ReviewDesk
) -> None:
    card = propose(database, clock.now())
    desk.approve(card.id, card.version, "cli:ana")
    with database.write() as connection:
        change_state(connection, card.id, 2, [OutreachState.APPROVED], OutreachState.SENDING, clock.now())
        change_state(
            connection, card.id, 3, [OutreachState.SENDING], OutreachState.SENT, clock.now(), sent_at=clock.now()
        )
    assert upkeep.run() == UpkeepReport()
    clock.advance(timedelta(days=45))
    with database.write() as connection:
        insert(
            connection, "outcomes", kind="issue", subject=f"assignment:{card.assignment_id}", customer_id=card.customer_id,
            assignment_id=card.assignment_id, treated=True, anchor_at=clock.now(), horizon_days=45, value=0.0, observed_at=clock.now(),
            recorded_at=clock.now(),
        )  # fmt: skip
    assert upkeep.run() == UpkeepReport(closed=1)


def test_what_does_not_end_a_check_in_never_hides_what_ends_another(
    database: Database, clock: ManualClock, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.services.review.upkeep.AT_ONCE", 2)
    staying = [propose(database, clock.now(), f"c{n}") for n in range(3)]
    leaving = propose(database, clock.now(), "late")
    clock.advance(HOUR)
    with database.write() as connection:
        for one in staying:  # ends other playbooks' check-ins, and a new order ends a third one's
            add_touchpoint(connection, "activated", one.customer_id, clock.now(), one.order_id)
            add_order(connection, f"new-{one.id}", one.customer_id, clock.now())
        add_touchpoint(connection, "delivered", leaving.customer_id, clock.now(), leaving.order_id)
    assert upkeep.run() == UpkeepReport(cancelled=1)
    assert state_of(database, leaving.id) is OutreachState.CANCELLED
