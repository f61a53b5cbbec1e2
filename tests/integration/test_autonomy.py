"""Every level of autonomy from proposal to send, on both engines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bot.clock import ManualClock
from bot.decide.autonomy import AFTERCARE
from bot.decide.lifecycle import SENDABLE, OutreachState
from bot.decide.playbook import Autonomy
from bot.errors import AlreadyDecided, Refused, StoreError
from bot.services.delivery.stopping import Stopping
from bot.store import audit
from bot.store.consent import record_consent
from bot.store.database import Database
from bot.store.outreach import Outreach, change_state
from bot.store.tables import metadata
from tests.integration.autonomy_world import ADA, BEN, DELAY, Office, playbook

S = OutreachState
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def office(database: Database, clock: ManualClock) -> Office:
    return Office(database, clock, playbook(Autonomy.AUTO_AFTER))


def shown(office: Office, key: str = "c1") -> Outreach:
    one = office.propose(key)
    office.show(one)
    return one


# --- Draft only --------------------------------------------------------------------------------------------


@pytest.fixture
def drafts(database: Database, clock: ManualClock) -> Office:
    return Office(database, clock, playbook(Autonomy.DRAFT), review={"undo_seconds": 0})


def test_a_draft_only_is_refused_an_approval_and_can_be_closed_or_rejected(drafts: Office) -> None:
    one, other = drafts.propose("c1", Autonomy.DRAFT), drafts.propose("c2", Autonomy.DRAFT)
    with pytest.raises(Refused, match="draft only"):
        drafts.desk.approve(one.id, one.version, ADA)
    with pytest.raises(Refused, match="draft only"):
        drafts.desk.edit(one.id, one.version, ADA, "Other words.")
    assert drafts.see(one) == one
    closed = drafts.desk.close(one.id, one.version, ADA)
    assert (closed.state, closed.decided_by, closed.sent_at) == (S.CLOSED, ADA, None)
    assert drafts.desk.reject(other.id, other.version, ADA, "other").state is S.REJECTED
    assert drafts.desk.card(one.id).status_line.startswith(f"Closed unsent by {ADA}")


def test_the_store_moves_no_draft_towards_sending_and_the_database_takes_none(drafts: Office) -> None:
    one = drafts.propose("c1", Autonomy.DRAFT)
    with drafts.database.write() as connection:
        assert not change_state(connection, one.id, one.version, [S.SUGGESTED], S.APPROVED, drafts.now)
    rows = metadata.tables["outreaches"]
    for state in SENDABLE:
        with pytest.raises((IntegrityError, StoreError)), drafts.database.write() as connection:
            connection.execute(sa.update(rows).where(rows.c.id == one.id).values(state=state.value))
    assert drafts.deliverer.drain().sent == 0
    assert drafts.deliveries() == 0


def test_a_claim_refuses_a_draft_whatever_its_state_says(sqlite_database: Database, clock: ManualClock) -> None:
    drafts = Office(sqlite_database, clock, playbook(Autonomy.DRAFT))
    one = drafts.propose("c1", Autonomy.DRAFT)
    with sqlite_database.write() as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")  # as if the CHECK were not there
        rows = metadata.tables["outreaches"]
        connection.execute(sa.update(rows).where(rows.c.id == one.id).values(state="approved", decided_at=drafts.now))
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")
    assert vars(drafts.deliverer.drain()) == dict.fromkeys(vars(drafts.deliverer.drain()), 0)
    assert drafts.deliveries() == 0
    assert drafts.see(one).state is S.APPROVED


def test_a_playbook_that_becomes_a_draft_only_refuses_what_waits(office: Office) -> None:
    one = shown(office)
    office.read(playbook(Autonomy.DRAFT, version="2"))
    with pytest.raises(Refused, match="draft only"):
        office.desk.approve(one.id, one.version, ADA)
    # And what was proposed as a draft stays one, whatever the playbook says later.
    other = office.propose("c2", Autonomy.DRAFT)
    office.read(playbook(Autonomy.APPROVE))
    with pytest.raises(Refused, match="draft only"):
        office.desk.approve(other.id, other.version, ADA)


def test_only_a_draft_is_closed_unsent(office: Office) -> None:
    one = shown(office)
    with pytest.raises(Refused, match="approve, edit, snooze or reject"):
        office.desk.close(one.id, one.version, ADA)


# --- After a while, unless somebody stops it -----------------------------------------------------------------


def test_it_goes_out_when_its_card_has_stood_long_enough_as_the_systems_decision(office: Office) -> None:
    one = shown(office)
    assert office.look() == 0
    assert office.desk.card(one.id).goes_at == office.now + DELAY
    assert office.look(DELAY - timedelta(seconds=1)) == 0
    assert office.look(timedelta(seconds=1)) == 1
    after = office.see(one)
    assert (after.state, after.decided_by) == (S.APPROVED, AFTERCARE)
    assert after.not_before == office.now + timedelta(seconds=30)  # the undo window counts
    assert office.decided() == [("approve", AFTERCARE)]
    with office.database.read() as connection:
        assert audit.verify(connection) == []
        rows = metadata.tables["audit"]
        assert connection.execute(sa.select(rows.c.action, rows.c.actor)).all() == [("outreach.approve", AFTERCARE)]
    office.clock.advance(timedelta(seconds=30))
    assert office.deliverer.drain().sent == 1


def test_an_agent_takes_the_systems_decision_back_and_it_is_theirs_from_then_on(office: Office) -> None:
    one = shown(office)
    office.look()
    assert office.look(DELAY) == 1
    after = office.see(one)
    back = office.desk.undo(one.id, after.version, ADA)
    assert (back.state, back.decided_by) == (S.SUGGESTED, None)
    assert office.desk.card(one.id).goes_at is None
    assert office.look(HOUR) == 0
    assert office.see(one) == back


@pytest.mark.parametrize("what", ["stop", "claim", "snooze"])
def test_what_an_agent_took_in_hand_never_goes_out_by_itself(office: Office, what: str) -> None:
    one = shown(office)
    office.look()
    if what == "stop":
        held = office.desk.hold(one.id, one.version, ADA)
        assert (held.state, held.version) == (S.SUGGESTED, one.version + 1)
    elif what == "claim":
        office.desk.claim(one.id, one.version, ADA)
    else:
        office.desk.snooze(one.id, one.version, ADA, office.now + 5 * MINUTE)
    assert office.desk.card(one.id).goes_at is None
    assert office.look(3 * HOUR) == 0
    assert AFTERCARE not in [actor for _, actor in office.decided()]


def test_what_no_agent_can_see_does_not_go_out(office: Office) -> None:
    one = office.propose()
    office.look()
    assert office.look(3 * HOUR) == 0  # there is no card
    office.show(one)
    assert office.look(DELAY - MINUTE) == 0  # it is counted from when the card appeared
    assert office.look(MINUTE) == 1


def test_while_slack_is_away_the_time_does_not_count(office: Office) -> None:
    one = shown(office)
    office.look()
    office.look(10 * MINUTE)
    office.clock.advance(HOUR)  # nobody could have stopped it meanwhile
    assert office.look() == 0
    assert office.desk.card(one.id).goes_at == office.now + DELAY
    assert office.look(DELAY - MINUTE) == 0
    assert office.look(MINUTE) == 1


def test_the_global_stop_holds_it_and_the_time_counts_anew_from_its_end(office: Office) -> None:
    one = shown(office)
    office.look()
    stopping = Stopping(office.database, office.clock)
    stopping.stop("cli:ana", "a flood")
    assert office.look(HOUR) == 0
    assert office.desk.card(one.id).goes_at is None
    stopping.resume("cli:ana")
    assert office.look(DELAY - MINUTE) == 0
    assert office.look(MINUTE) == 1


def test_it_is_not_approved_after_it_expired_nor_before_it_may_leave(office: Office) -> None:
    late = office.propose("late", expires_at=office.now + DELAY)
    morning = office.propose("morning", not_before=office.now + HOUR)
    for one in (late, morning):
        office.show(one)
    office.look()
    assert office.desk.card(late.id).goes_at is None
    assert office.desk.card(morning.id).goes_at == morning.not_before
    assert office.look(HOUR - MINUTE) == 0
    assert office.look(MINUTE) == 1
    assert office.see(late).state is S.SUGGESTED


def test_a_changed_playbook_or_one_that_is_gone_asks_about_what_waits(office: Office) -> None:
    one = shown(office)
    office.look()
    office.read(playbook(Autonomy.AUTO_AFTER, version="2"))
    assert office.look(HOUR) == 0
    assert office.desk.card(one.id).level is Autonomy.APPROVE
    office.read(playbook(Autonomy.AUTO_AFTER, id="another"))
    assert office.look(HOUR) == 0
    assert office.desk.approve(one.id, one.version, ADA).state is S.APPROVED


def test_what_was_proposed_to_be_asked_about_stays_so_when_the_playbook_may_do_more(office: Office) -> None:
    one = office.propose("c1", Autonomy.APPROVE)
    office.show(one)
    office.look()
    assert office.look(HOUR) == 0


def test_policy_is_asked_again_when_it_leaves(office: Office) -> None:
    one = shown(office)
    office.look()
    assert office.look(DELAY) == 1
    with office.database.write() as connection:
        record_consent(connection, one.customer_id, "email", "care", False, "test", None, office.now)
    office.clock.advance(MINUTE)
    assert office.deliverer.drain().sent == 0
    assert office.see(one).state is S.SUPPRESSED


def test_a_stop_that_comes_while_it_is_being_decided_is_seen(office: Office) -> None:
    one = shown(office)
    office.look()
    office.look(DELAY - MINUTE)
    office.clock.advance(MINUTE)
    Stopping(office.database, office.clock).stop("cli:ana")  # after the tick has found it due
    with pytest.raises(Refused, match="stopped"):
        office.desk.approve_unasked(one.id, one.version, AFTERCARE, office.pilot.permit)
    assert office.see(one) == one


def test_a_decision_that_comes_after_slack_was_lost_is_not_made(office: Office) -> None:
    one = shown(office)
    office.look()
    office.clock.advance(2 * DELAY)  # nobody wrote down meanwhile that the channel can be seen
    with pytest.raises(Refused, match="not go out unasked now"):
        office.desk.approve_unasked(one.id, one.version, AFTERCARE, office.pilot.permit)


def test_two_processes_approve_it_once(office: Office) -> None:
    shown(office)
    office.look()
    office.clock.advance(MINUTE)
    office.look(DELAY - MINUTE - MINUTE)
    office.clock.advance(MINUTE)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: office.pilot.run(), range(4)))
    assert sum(done) == 1
    assert office.decided() == [("approve", AFTERCARE)]


@pytest.mark.parametrize("rounds", range(3))
def test_between_the_agents_and_the_tick_one_decision_wins(office: Office, rounds: int) -> None:
    one = shown(office)
    office.look()
    office.look(DELAY - MINUTE)
    office.clock.advance(MINUTE)
    start = Barrier(6, timeout=30)

    def act(number: int) -> str | None:
        start.wait()
        try:
            if number < 3:
                return AFTERCARE if office.pilot.run() else None
            if number == 3:
                office.desk.hold(one.id, one.version, ADA)
            elif number == 4:
                office.desk.reject(one.id, one.version, BEN, "other")
            else:
                office.desk.edit(one.id, one.version, "slack:T1:UCEM", "Other words.")
        except AlreadyDecided:
            return None
        return f"agent {number}"

    with ThreadPoolExecutor(6) as pool:
        winners = [found for found in pool.map(act, range(6)) if found is not None]
    assert len(winners) == 1
    assert len(office.decided()) == 1
    assert (office.decided()[0][1] == AFTERCARE) == (winners[0] == AFTERCARE)
    assert office.see(one).version == one.version + 1
