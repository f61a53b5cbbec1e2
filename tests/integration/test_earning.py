"""Sending at once is offered when it was earned, taken by an agent, and lost when the numbers fall; on both engines."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.decide.autonomy import AFTERCARE
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Autonomy
from bot.errors import AlreadyDecided, Refused
from bot.store import audit
from bot.store.consent import record_consent
from bot.store.database import Database
from bot.store.enums import AutonomyWay
from bot.store.outreach import change_state
from bot.store.tables import metadata
from tests.integration.autonomy_world import ADA, BEN, Office, playbook

S, W = OutreachState, AutonomyWay
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
# Ten decisions instead of a hundred: ten of ten are surely .72 or more, twelve of thirteen .67.
BAR = {"decisions": 10, "as_written": 0.7, "sample": 0.000001}


@pytest.fixture
def office(database: Database, clock: ManualClock) -> Office:
    return Office(database, clock, playbook(Autonomy.AUTO), review={"autonomy": BAR, "undo_seconds": 60})


def approve(office: Office, count: int, prefix: str = "a") -> None:
    for number in range(count):
        one = office.propose(f"{prefix}{number}", Autonomy.AUTO)
        office.desk.approve(one.id, one.version, ADA)
    office.clock.advance(MINUTE)


def steps(office: Office) -> list[tuple[AutonomyWay, Autonomy, str]]:
    return [(one.way, one.level, one.actor) for one in office.earning.record("delivery_at_risk").steps]


def test_it_is_offered_once_when_earned_and_changes_nothing_until_an_agent_takes_it(office: Office) -> None:
    approve(office, 9)
    assert office.earning.look() == 0
    assert office.earning.record("delivery_at_risk").missing == ("9 of 10 decisions by people within 60 days",)
    with pytest.raises(Refused, match="has not earned it: 9 of 10"):
        office.earning.set("delivery_at_risk", Autonomy.AUTO, ADA)
    approve(office, 1, "b")
    assert office.earning.look() == 1
    office.clock.advance(MINUTE)
    assert office.earning.look() == 0
    record = office.earning.record("delivery_at_risk")
    assert record.level is Autonomy.APPROVE
    assert steps(office) == [(W.OFFERED, Autonomy.AUTO, AFTERCARE)]
    assert dict(record.steps[0].numbers) | {"low": 0} == {
        "decided": 10, "as_written": 10, "low": 0, "sent": 0, "objections": 0, "missing": [],
    }  # fmt: skip
    waiting = office.propose("w", Autonomy.AUTO)
    office.show(waiting)
    assert office.pilot.run() == 0

    made = office.earning.accept(record.steps[0].id, BEN)
    assert (made.way, made.level, made.actor) == (W.GRANTED, Autonomy.AUTO, BEN)
    assert office.pilot.run() == 1
    after = office.see(waiting)
    assert (after.state, after.decided_by) == (S.APPROVED, AFTERCARE)
    assert after.not_before == office.now + timedelta(seconds=60)
    with office.database.read() as connection:
        assert audit.verify(connection) == []
        rows = metadata.tables["audit"]
        said = connection.execute(sa.select(rows.c.action, rows.c.actor).where(rows.c.entity == "playbook")).all()
    assert said == [("autonomy.offered", AFTERCARE), ("autonomy.granted", BEN)]


def granted(office: Office) -> None:
    approve(office, 12)
    office.earning.set("delivery_at_risk", Autonomy.AUTO, ADA)
    office.look()


def test_one_click_goes_back_and_it_is_earned_anew(office: Office) -> None:
    granted(office)
    office.earning.set("delivery_at_risk", Autonomy.APPROVE, BEN)
    assert steps(office)[0] == (W.LOWERED, Autonomy.APPROVE, BEN)
    office.clock.advance(MINUTE)
    assert office.earning.look() == 0  # what was decided before does not count again
    with pytest.raises(Refused, match="0 of 10"):
        office.earning.set("delivery_at_risk", Autonomy.AUTO, ADA)
    approve(office, 10, "n")
    assert office.earning.look() == 1


def test_two_agents_decide_about_one_offer_once(office: Office) -> None:
    approve(office, 10)
    office.earning.look()
    offer = office.earning.record("delivery_at_risk").steps[0].id
    office.earning.accept(offer, ADA)
    with pytest.raises(AlreadyDecided):
        office.earning.accept(offer, BEN)
    with pytest.raises(AlreadyDecided):
        office.earning.set("delivery_at_risk", Autonomy.AUTO, BEN)


def test_an_undo_of_what_went_out_unasked_counts_and_the_level_falls_back(office: Office) -> None:
    granted(office)
    one = office.propose("u", Autonomy.AUTO)
    office.show(one)
    assert office.pilot.run() == 1
    office.desk.undo(one.id, one.version + 1, ADA)
    office.clock.advance(MINUTE)
    assert office.earning.look() == 1
    way, level, actor = steps(office)[0]
    assert (way, level, actor) == (W.FELL_BACK, Autonomy.APPROVE, AFTERCARE)
    record = office.earning.record("delivery_at_risk")
    assert record.level is Autonomy.APPROVE
    assert "12 of 13 approved as written" in record.steps[0].numbers["missing"][0]
    waiting = office.propose("w", Autonomy.AUTO)
    office.show(waiting)
    assert office.pilot.run() == 0


def test_what_was_lost_sends_nothing_more_in_the_tick_that_sees_it(office: Office) -> None:
    granted(office)
    one, other = office.propose("u", Autonomy.AUTO), office.propose("w", Autonomy.AUTO)
    office.show(one)
    assert office.pilot.run() == 1
    office.desk.undo(one.id, one.version + 1, ADA)
    office.clock.advance(MINUTE)
    office.show(other)
    assert office.pilot.run() == 0
    assert steps(office)[0][0] is W.FELL_BACK


def test_not_even_at_once_does_anything_go_out_that_nobody_sees(office: Office) -> None:
    granted(office)
    one = office.propose("u", Autonomy.AUTO)
    assert office.pilot.run() == 0
    office.show(one)
    assert office.pilot.run() == 1


def test_opt_outs_after_what_was_sent_bring_it_back(office: Office) -> None:
    granted(office)
    rows = metadata.tables["outreaches"]
    with office.database.write() as connection:
        for row in connection.execute(sa.select(rows.c.id, rows.c.version, rows.c.customer_id)).all():
            change_state(connection, row.id, row.version, [S.APPROVED], S.SENDING, office.now)
            change_state(connection, row.id, row.version + 1, [S.SENDING], S.SENT, office.now, sent_at=office.now)
    office.clock.advance(MINUTE)
    assert office.earning.look() == 0
    with office.database.write() as connection:
        record_consent(connection, row.customer_id, "email", "care", False, "test", None, office.now)
    office.clock.advance(MINUTE)
    assert office.earning.look() == 1
    assert "1 of 12 recipients" in office.earning.record("delivery_at_risk").steps[0].numbers["missing"][0]


def test_old_decisions_earn_nothing_and_keep_what_was_earned(office: Office) -> None:
    approve(office, 12)
    office.clock.advance(61 * DAY)
    assert office.earning.look() == 0
    approve(office, 12, "again")
    office.earning.set("delivery_at_risk", Autonomy.AUTO, ADA)
    office.clock.advance(61 * DAY)
    assert office.earning.look() == 0
    assert office.earning.record("delivery_at_risk").level is Autonomy.AUTO


def test_a_changed_text_takes_it_back_and_voids_an_offer(office: Office) -> None:
    approve(office, 10)
    office.earning.look()
    offer = office.earning.record("delivery_at_risk").steps[0].id
    office.read(playbook(Autonomy.AUTO, version="2"))
    with pytest.raises(Refused, match="was changed since"):
        office.earning.accept(offer, ADA)
    office.read(playbook(Autonomy.AUTO))
    office.earning.accept(offer, ADA)
    office.read(playbook(Autonomy.AUTO, version="2"))
    assert office.earning.record("delivery_at_risk").level is Autonomy.APPROVE


def test_nothing_stored_goes_beyond_the_file(database: Database, clock: ManualClock) -> None:
    office = Office(database, clock, playbook(Autonomy.APPROVE), review={"autonomy": BAR})
    approve(office, 12)
    assert office.earning.look() == 0
    for level in (Autonomy.AUTO, Autonomy.AUTO_AFTER):
        with pytest.raises(Refused, match="autonomy: approve"):
            office.earning.set("delivery_at_risk", level, ADA)
    # A step down is always possible, and back up to what the file says.
    assert office.earning.set("delivery_at_risk", Autonomy.DRAFT, ADA).way is W.LOWERED
    one = office.propose("d", Autonomy.APPROVE)
    with pytest.raises(Refused, match="draft only"):
        office.desk.approve(one.id, one.version, ADA)
    assert office.earning.set("delivery_at_risk", Autonomy.APPROVE, ADA).way is W.GRANTED
    assert office.desk.approve(one.id, one.version, ADA).state is S.APPROVED


def test_some_still_wait_for_an_agent_so_that_the_share_stays_known(database: Database, clock: ManualClock) -> None:
    office = Office(
        database, clock, playbook(Autonomy.AUTO), review={"autonomy": {**BAR, "sample": 1.0}, "undo_seconds": 60}
    )
    granted(office)
    one = office.propose("w", Autonomy.AUTO)
    office.show(one)
    assert office.pilot.run() == 0
    assert office.desk.card(one.id).level is Autonomy.APPROVE
