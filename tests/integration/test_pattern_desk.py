"""Check-ins for buyers in a pattern who have not complained: asked for by an agent, proposed as on any day, on both engines."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.errors import AlreadyDecided, Refused
from bot.services.planning.pattern_desk import PatternDesk
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import Playbooks, load_playbooks
from bot.services.prediction.patterns import Patterns
from bot.services.review.desk import ReviewDesk
from bot.store import audit
from bot.store.database import Database
from bot.store.enums import PatternAnswer
from bot.store.outreach import list_outreach
from bot.store.tables import metadata
from messages.catalogue import Catalogue
from tests.integration.test_patterns_service import DAY, START, put

S, A = OutreachState, PatternAnswer
ADA, BEN = "slack:T1:UADA", "slack:T1:UBEN"
SETTINGS = Settings.model_validate(
    {"email": {"enabled": True, "outbox": "outbox"}, "experiments": {"holdout_share": 0.3}, "review": {"undo_seconds": 0}}
)  # fmt: skip


class Office:
    def __init__(self, database: Database, clock: ManualClock, playbooks: Playbooks | None = None) -> None:
        self.database = database
        catalogue = Catalogue.load()
        found = playbooks or load_playbooks(SETTINGS, catalogue.names)
        self.patterns = Patterns(database, clock, SETTINGS)
        self.review = ReviewDesk(database, clock, SETTINGS)
        planner = Planner(database, clock, SETTINGS, catalogue, found)
        self.planner = planner
        self.desk = PatternDesk(
            database, clock, SETTINGS, self.review, found, patterns=lambda: self.patterns, planner=lambda: planner
        )


@pytest.fixture
def office(database: Database) -> Office:
    put(database, DAY)
    rows = metadata.tables["customers"]
    with database.write() as connection:
        connection.execute(sa.update(rows).values(email=rows.c.external_id + "@mail.example"))
    made = Office(database, ManualClock(START + timedelta(days=DAY, hours=12)))
    assert made.patterns.refresh() == 1
    return made


def test_the_silent_buyers_of_a_pattern_get_one_draft_each_through_policy_and_draw(office: Office) -> None:
    (view,) = office.desk.views()
    (report,) = office.patterns.report()
    assert (view.pattern.sentence, view.pattern.silent) == (report.sentence, len(report.silent))
    assert (view.open, view.untold, view.answerable, view.waiting) == (True, True, True, ())
    complained = {one.customer_id for one in report.troubled}
    silent = {one.customer_id for one in report.silent} - complained
    held, locked = sorted(silent)[:2]
    consents, conversations = metadata.tables["consents"], metadata.tables["conversations"]
    at = START + timedelta(days=DAY)
    with office.database.write() as connection:
        no = {"channel": "email", "purpose": "care", "granted": False, "origin": "test"}
        connection.execute(sa.insert(consents).values(customer_id=held, occurred_at=at, recorded_at=at, **no))
        talking = {"channel": "email", "thread": "<1@mail>", "state": "human", "clarifications": 0}
        connection.execute(sa.insert(conversations).values(customer_id=locked, created_at=at, updated_at=at, **talking))
    # Nobody is proposed by the day's plan: an agent asks for it.
    assert [one for one in office.planner.plan() if one.playbook == "quality_pattern"] == []

    done = office.desk.propose(view.pattern.id, ADA)
    with office.database.read() as connection:
        drafts = list_outreach(connection, playbook="quality_pattern")
        assert audit.verify(connection) == []
        entries = connection.execute(
            sa.select(metadata.tables["audit"]).where(metadata.tables["audit"].c.entity == "pattern")
        ).all()
        drawn = connection.execute(
            sa.select(metadata.tables["assignments"].c.arm, sa.func.count())
            .where(metadata.tables["assignments"].c.playbook == "quality_pattern")
            .group_by(metadata.tables["assignments"].c.arm)
        ).all()
    assert done.proposed == len(drafts) > 0
    assert {one.pattern_id for one in drafts} == {view.pattern.id}
    assert {one.customer_id for one in drafts} <= silent - {held, locked}
    assert len({one.customer_id for one in drafts}) == len(drafts)
    assert all(one.reasons[0]["text"] == f"{report.sentence}." and one.prediction_id is None for one in drafts)
    assert done.left["holdout"] == dict(map(tuple, drawn))["holdout"] > 0
    assert (done.left["with_a_human"], done.left["consent_refused"]) == (1, 1)
    assert done.proposed + sum(done.left.values()) == len(silent)
    assert [(one.actor, one.action, one.detail["proposed"]) for one in entries] == [
        (ADA, "pattern.propose", done.proposed)
    ]
    # The same day again, and the day after, nobody is proposed twice.
    assert office.desk.propose(view.pattern.id, BEN).proposed == 0


def test_a_batch_is_approved_as_it_was_seen_or_not_at_all(office: Office) -> None:
    (view,) = office.desk.views()
    office.desk.propose(view.pattern.id, ADA)
    seen = office.desk.view(view.pattern.id)
    (first, version), *others = seen.waiting
    office.review.reject(first, version, BEN, "wrong_customer")
    with pytest.raises(AlreadyDecided, match="none was approved"):
        office.desk.approve_all(view.pattern.id, seen.batch, ADA, "click:1")
    now = office.desk.view(view.pattern.id)
    assert now.waiting == tuple(others)
    assert office.desk.approve_all(view.pattern.id, now.batch, ADA, "click:2") == []
    after = office.desk.view(view.pattern.id)
    assert after.states == {S.APPROVED: len(others), S.REJECTED: 1}
    with pytest.raises(AlreadyDecided):
        office.desk.approve_all(view.pattern.id, after.batch, ADA, "click:3")


def test_an_answer_is_kept_as_a_label_and_a_dismissed_pattern_asks_for_nothing(office: Office) -> None:
    (view,) = office.desk.views()
    office.desk.answer(view.pattern.id, A.ACKNOWLEDGED, ADA)
    with pytest.raises(AlreadyDecided):
        office.desk.answer(view.pattern.id, A.ACKNOWLEDGED, BEN)
    office.desk.answer(view.pattern.id, A.DISMISSED, BEN)
    after = office.desk.view(view.pattern.id).pattern
    assert (after.answer, after.answered_by) == (A.DISMISSED, BEN)
    with pytest.raises(Refused, match="no problem"):
        office.desk.propose(view.pattern.id, ADA)
    office.desk.mark_told(view.pattern.id)
    assert not office.desk.view(view.pattern.id).untold


def test_without_a_playbook_for_such_a_pattern_nothing_is_proposed(office: Office) -> None:
    files = [
        one for one in load_playbooks(SETTINGS, Catalogue.load().names).files if one.playbook.audience.pattern is None
    ]
    other = Office(office.database, ManualClock(START + timedelta(days=DAY, hours=12)), Playbooks(files))
    (view,) = other.desk.views()
    assert not view.answerable
    with pytest.raises(Refused, match="no playbook"):
        other.desk.propose(view.pattern.id, ADA)


def test_a_pattern_that_ended_is_shown_for_a_while_and_proposes_nothing(office: Office) -> None:
    (view,) = office.desk.views()
    later = Office(office.database, ManualClock(START + timedelta(days=DAY + 40)))
    assert later.patterns.refresh() == 0
    assert later.desk.views() == []  # nobody was told of it: then its end is no news either
    later.desk.mark_told(view.pattern.id)
    (over,) = later.desk.views()
    assert not over.open
    with pytest.raises(Refused, match="over"):
        later.desk.propose(view.pattern.id, ADA)
    assert Office(office.database, ManualClock(START + timedelta(days=DAY + 60))).desk.views() == []
