"""Planning: who is proposed, who is not and why, once a local date, whatever interrupts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.errors import ModelError, NotFound
from bot.services.planning import planner as planning
from bot.services.planning.plan_store import PlanStore
from bot.services.planning.planner import PlanLine, Planner
from bot.services.planning.playbooks import load_playbooks
from bot.services.review.desk import ReviewDesk
from bot.store.consent import record_consent, suppress
from bot.store.controls import set_control
from bot.store.database import Database
from bot.store.journeys import locked
from bot.store.outreach import Outreach, change_state, list_outreach
from bot.store.planning import Forecast, refusals_of
from bot.store.tables import metadata
from messages.catalogue import Catalogue
from messages.knowledge import Article, KnowledgeIndex
from tests.integration.shop_rows import add_customer, add_order, add_prediction, add_touchpoint, insert

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)  # a Tuesday noon
DAY = timedelta(days=1)
Plan = Callable[..., list[PlanLine]]


def settings_with(**changed: Any) -> Settings:
    tree: dict[str, Any] = {"email": {"enabled": True}, "experiments": {"holdout_share": 0.0}, "shop": {"name": "Shop"}}
    return Settings.model_validate({**tree, **changed})


def planner(database: Database, clock: ManualClock, settings: Settings | None = None, **parts: Any) -> Planner:
    catalogue = Catalogue.load()
    settings = settings or settings_with()
    return Planner(database, clock, settings, catalogue, load_playbooks(settings, catalogue.names), **parts)


def late_order(database: Database, key: str, probability: float = 0.5, now: datetime = NOW, **customer: Any) -> int:
    """A customer whose parcel is a day overdue and predicted to be trouble; returns the customer's id."""
    with database.write() as connection:
        customer_id = add_customer(connection, key, now - 30 * DAY, **customer)
        order_id = add_order(connection, f"o-{key}", customer_id, now - 9 * DAY, promised_at=now - DAY)
        add_prediction(connection, customer_id, order_id, now - timedelta(hours=1), probability)
    return customer_id


def proposed(database: Database, *states: OutreachState) -> list[Outreach]:
    with database.read() as connection:
        return list_outreach(connection, states or None)


def counted(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            name: connection.execute(sa.select(sa.func.count()).select_from(metadata.tables[name])).scalar_one()
            for name in metadata.tables
        }


def test_a_late_order_is_proposed_with_its_words_reasons_and_prediction(database: Database, clock: ManualClock) -> None:
    late_order(database, "c1")
    (line,) = planner(database, clock).plan()
    assert (line.customer_id, line.order_id, line.playbook) == ("c1", "o-c1", "delivery_at_risk")
    assert (line.decision, line.reason, line.arm, line.channel) == ("suggest", None, "treatment", "email")
    (found,) = proposed(database)
    assert found.id == line.outreach_id
    assert found.state is OutreachState.SUGGESTED
    assert found.draft.startswith("Hello Maria,")
    assert "o-c1" in found.draft
    assert found.subject
    assert found.urgent
    assert found.reasons[0]["text"] == "The parcel is three days late."
    assert found.prediction_id is not None
    assert found.not_before == NOW
    assert found.dedupe_key == f"{found.customer_id}:delivery_at_risk:first:2026-03-10"


def test_the_words_of_contracts_are_the_keys_of_a_line(database: Database, clock: ManualClock) -> None:
    late_order(database, "c1")
    (line,) = planner(database, clock).plan(dry_run=True)
    wanted = {"customer_id", "order_id", "playbook", "step", "arm", "decision", "reason", "until"}
    assert wanted <= set(line.line())


def test_a_dry_run_says_the_same_and_writes_nothing(database: Database, clock: ManualClock) -> None:
    for key in ("c1", "c2", "c3"):
        late_order(database, key, email=None if key == "c2" else f"{key}@mail.example")
    before = counted(database)
    dry = planner(database, clock).plan(dry_run=True)
    assert counted(database) == before
    real = planner(database, clock).plan()
    assert [(line.customer_id, line.decision, line.reason, line.draft) for line in dry] == [
        (line.customer_id, line.decision, line.reason, line.draft) for line in real
    ]
    assert counted(database) != before


def test_planning_twice_on_a_date_proposes_nothing_twice(database: Database, clock: ManualClock) -> None:
    for key in ("c1", "c2"):
        late_order(database, key)
    assert len(planner(database, clock).plan()) == 2
    clock.advance(timedelta(hours=3))
    assert planner(database, clock).plan() == []
    assert len(proposed(database)) == 2


def test_a_plan_killed_in_the_middle_is_completed_by_the_next(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        late_order(database, f"c{number}")
    monkeypatch.setattr(planning, "SUGGESTIONS_A_TIME", 2)
    real, calls = PlanStore.suggestions, 0

    def dies(self: PlanStore, *arguments: Any) -> list[PlanLine]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(PlanStore, "suggestions", dies)
    with pytest.raises(KeyboardInterrupt):
        planner(database, clock).plan()
    assert len(proposed(database)) == 4
    planner(database, clock).plan()
    found = proposed(database)
    assert len(found) == 7
    assert len({one.customer_id for one in found}) == 7


def test_the_next_day_does_not_repeat_what_is_open_or_cooling_down(database: Database, clock: ManualClock) -> None:
    customer_id = late_order(database, "c1")
    planner(database, clock).plan()
    clock.advance(DAY)
    with database.write() as connection:
        (first,) = list_outreach(connection)
        add_prediction(connection, customer_id, first.order_id, clock.now(), 0.6)
    (line,) = planner(database, clock).plan()
    assert (line.decision, line.reason) == ("defer", "already_proposed")
    assert line.until is not None
    assert line.until > clock.now()
    desk = ReviewDesk(database, clock, settings_with())
    desk.reject(first.id, first.version, "cli:ana", "not_needed")
    (line,) = planner(database, clock).plan()
    assert (line.decision, line.reason) == ("defer", "cool_down")
    assert line.until == NOW + 14 * DAY


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("no_address", "no_address"),
        ("opt_out", "consent_refused"),
        ("bounce", "suppressed"),
        ("ticket", "open_issue"),
        ("human", "with_a_human"),
        ("stop", "stopped"),
    ],
)
def test_who_must_not_be_contacted_is_refused_by_name_and_stored(
    database: Database, clock: ManualClock, harm: str, reason: str
) -> None:
    customer_id = late_order(database, "c1", email=None if harm == "no_address" else "c1@mail.example")
    with database.write() as connection:
        match harm:
            case "opt_out":
                record_consent(connection, customer_id, "email", "service", False, "email", None, NOW - DAY)
            case "bounce":
                suppress(connection, "email", "C1@mail.example", "bounced", NOW - DAY)
            case "ticket":
                add_touchpoint(connection, "ticket_opened", customer_id, NOW - DAY)
            case "human":
                insert(
                    connection, "conversations", channel="email", thread="t", customer_id=customer_id, state="human",
                    clarifications=0, created_at=NOW, updated_at=NOW,
                )  # fmt: skip
            case "stop":
                set_control(connection, "stopped", True, "cli:ana", NOW)
    (line,) = planner(database, clock).plan()
    assert (line.decision, line.reason, line.until) == ("refuse", reason, None)
    assert proposed(database) == []
    with database.read() as connection:
        (stored,) = refusals_of(connection, customer_id)
    assert (stored.decision, stored.reason, stored.assignment_id) == ("refuse", reason, None)
    planner(database, clock).plan()
    with database.read() as connection:
        assert len(refusals_of(connection, customer_id)) == 1


def test_a_closed_ticket_locks_nobody(database: Database, clock: ManualClock) -> None:
    customer_id = late_order(database, "c1")
    with database.write() as connection:
        add_touchpoint(connection, "ticket_opened", customer_id, NOW - 2 * DAY)
        assert locked(connection, [customer_id], NOW) == {customer_id: (True, False)}
        add_touchpoint(connection, "ticket_closed", customer_id, NOW - DAY)
        assert locked(connection, [customer_id], NOW) == {customer_id: (False, False)}
    (line,) = planner(database, clock).plan()
    assert line.decision == "suggest"


def test_what_is_recorded_later_is_not_seen(database: Database, clock: ManualClock) -> None:
    customer_id = late_order(database, "c1")
    with database.write() as connection:
        add_touchpoint(connection, "ticket_opened", customer_id, NOW - DAY, recorded_at=NOW + DAY)
    (line,) = planner(database, clock).plan()
    assert line.decision == "suggest"


def test_a_cap_defers_and_the_deferred_comes_back_by_itself(database: Database, clock: ManualClock) -> None:
    customer_id = late_order(database, "c1")
    planner(database, clock).plan()
    desk = ReviewDesk(database, clock, settings_with())
    (first,) = proposed(database)
    desk.approve(first.id, first.version, "cli:ana")
    with database.write() as connection:
        for version, target in ((2, OutreachState.SENDING), (3, OutreachState.SENT)):
            source = OutreachState.APPROVED if version == 2 else OutreachState.SENDING
            assert change_state(connection, first.id, version, [source], target, NOW, sent_at=NOW)
        order_id = add_order(connection, "o-second", customer_id, NOW - 60 * DAY)
        add_touchpoint(connection, "delivered", customer_id, NOW - DAY, order_id)
        add_prediction(connection, customer_id, order_id, NOW, 0.1)
    clock.advance(timedelta(hours=1))
    lines = {line.playbook: line for line in planner(database, clock).plan()}
    deferred = lines["how_to_start"]
    assert (deferred.decision, deferred.reason, deferred.until) == ("defer", "cap_day", NOW + DAY)
    assert deferred.until is not None
    clock.set(deferred.until)
    with database.write() as connection:
        add_prediction(connection, customer_id, order_id, clock.now(), 0.1)
    lines = {line.playbook: line for line in planner(database, clock).plan()}
    assert lines["how_to_start"].decision == "suggest"


def test_at_night_it_is_proposed_and_leaves_in_the_customers_morning(database: Database, clock: ManualClock) -> None:
    late_order(database, "c1", timezone="America/New_York")  # eight in the morning there
    late_order(database, "c2", timezone="no such zone")  # the shop's zone then
    lines = {line.customer_id: line for line in planner(database, clock).plan()}
    assert lines["c1"].decision == "suggest"
    assert lines["c1"].not_before == NOW + timedelta(hours=1)
    assert lines["c2"].not_before == NOW


def test_slack_is_preferred_and_email_is_the_way_out(database: Database, clock: ManualClock) -> None:
    ids = {key: late_order(database, key, slack_user_id=f"U{key}", slack_team_id="T1") for key in ("c1", "c2")}
    late_order(database, "c3")
    with database.write() as connection:
        record_consent(connection, ids["c2"], "slack", "service", False, "slack", None, NOW - DAY)
    both = settings_with(slack={"mode": "socket"})
    lines = {line.customer_id: line.channel for line in planner(database, clock, both).plan(dry_run=True)}
    assert lines == {"c1": "slack", "c2": "email", "c3": "email"}
    neither = settings_with(email={"enabled": False})
    assert {line.reason for line in planner(database, clock, neither).plan(dry_run=True)} == {"no_address"}


def test_the_worthiest_get_the_days_room_and_the_others_wait_for_tomorrow(
    database: Database, clock: ManualClock
) -> None:
    for number in range(5):
        late_order(database, f"c{number}", probability=0.4 + number / 10)
    small = settings_with(scheduler={"daily_capacity": 2})
    lines = planner(database, clock, small).plan()
    assert [line.customer_id for line in lines if line.decision == "suggest"] == ["c4", "c3"]
    waiting = [line for line in lines if line.reason == "capacity"]
    assert [(line.customer_id, line.decision) for line in waiting] == [
        ("c2", "defer"),
        ("c1", "defer"),
        ("c0", "defer"),
    ]
    assert {line.until for line in waiting} == {datetime(2026, 3, 11, 8, tzinfo=UTC)}
    clock.advance(timedelta(hours=1))
    assert {line.decision for line in planner(database, clock, small).plan()} == {"defer"}  # the day stays full


def test_one_customer_gets_one_check_in_though_two_playbooks_mean_them(database: Database, clock: ManualClock) -> None:
    customer_id = late_order(database, "c1")
    with database.write() as connection:
        other = add_order(connection, "o-old", customer_id, NOW - 40 * DAY)
        add_touchpoint(connection, "delivered", customer_id, NOW - DAY, other)
        add_prediction(connection, customer_id, other, NOW, 0.2)
    lines = {line.playbook: (line.decision, line.reason) for line in planner(database, clock).plan()}
    assert lines == {"delivery_at_risk": ("suggest", None), "how_to_start": ("defer", "already_proposed")}
    assert len(proposed(database)) == 1


def test_a_holdout_is_left_alone_and_its_draw_is_stored(database: Database, clock: ManualClock) -> None:
    for number in range(60):
        late_order(database, f"c{number}")
    half = settings_with(experiments={"holdout_share": 0.5})
    lines = planner(database, clock, half).plan()
    held = {line.customer_id for line in lines if line.reason == "holdout"}
    treated = {line.customer_id for line in lines if line.decision == "suggest"}
    assert len(held) + len(treated) == 60
    assert 15 <= len(held) <= 45
    assert {line.arm for line in lines if line.customer_id in held} == {"holdout"}
    with database.read() as connection:
        drawn = connection.execute(sa.select(metadata.tables["assignments"])).all()
        refused = connection.execute(sa.select(metadata.tables["refusals"])).all()
    assert {row.arm for row in drawn} == {"holdout", "treatment"}
    assert len(drawn) == 60
    assert {row.propensity for row in drawn} == {0.5}
    assert {row.assignment_id for row in refused} == {row.id for row in drawn if row.arm == "holdout"}


def test_a_draw_stands_though_the_share_changes(database: Database, clock: ManualClock) -> None:
    for number in range(20):
        late_order(database, f"c{number}")
    first = planner(database, clock, settings_with(experiments={"holdout_share": 0.5})).plan()
    held = {line.customer_id for line in first if line.arm == "holdout"}
    assert held
    second = planner(database, clock, settings_with(experiments={"holdout_share": 0.0})).plan()
    assert {line.customer_id for line in second if line.reason == "holdout"} == held


def test_who_is_refused_anyway_does_not_enter_the_experiment(database: Database, clock: ManualClock) -> None:
    late_order(database, "c1", email=None)
    planner(database, clock, settings_with(experiments={"holdout_share": 0.5})).plan()
    assert counted(database)["assignments"] == 0


@pytest.mark.parametrize("kind", ["delivered", "cancelled"])
def test_who_has_left_the_playbook_is_not_in_the_audience(database: Database, clock: ManualClock, kind: str) -> None:
    customer_id = late_order(database, "c1")
    with database.write() as connection:
        order_id = connection.exec_driver_sql("SELECT id FROM orders").scalar_one()
        add_touchpoint(connection, kind, customer_id, NOW - timedelta(hours=2), order_id)
    assert [line for line in planner(database, clock).plan() if line.playbook == "delivery_at_risk"] == []


def test_a_quiet_customer_is_asked_how_it_is_going(database: Database, clock: ManualClock) -> None:
    with database.write() as connection:
        for key, ago in (("quiet", 60), ("fresh", 10), ("gone", 200)):
            customer_id = add_customer(connection, key, NOW - 300 * DAY)
            add_order(connection, f"o-{key}", customer_id, NOW - ago * DAY)
            add_prediction(connection, customer_id, None, NOW, 0.9)
    (line,) = planner(database, clock).plan()
    assert (line.customer_id, line.playbook, line.decision) == ("quiet", "quiet_customer", "suggest")


def test_what_was_not_predicted_today_is_predicted_first_and_once_a_day(database: Database, clock: ManualClock) -> None:
    asked: list[tuple[str, bool]] = []

    def rescore(kind: str, as_of: datetime, save: bool) -> Sequence[Forecast]:
        asked.append((kind, save))
        if kind == "churn":
            raise ModelError("there is nothing to learn from")
        return []

    planner(database, clock, rescore=rescore).plan(dry_run=True)
    assert asked == [("churn", False), ("issue", False)]
    planner(database, clock, rescore=rescore).plan()
    planner(database, clock, rescore=rescore).plan()
    assert asked[2:] == [("churn", True), ("issue", True), ("churn", True)]
    clock.advance(DAY)
    assert planner(database, clock, rescore=rescore).refresh() == 0
    assert asked[5:] == [("churn", True), ("issue", True)]


def test_the_answer_is_attached_from_the_knowledge_base(database: Database, clock: ManualClock) -> None:
    article = Article(
        id="late", title="Late parcels", body="Parcels may take two days longer.",
        questions=["my parcel is late, when will it arrive"],
    )  # fmt: skip
    with database.write() as connection:
        article_id = insert(connection, "articles", external_id="late", active=True)
        version = insert(
            connection, "article_versions", article_id=article_id, version=1, title="Late parcels", body="…",
            locale="en", sha256="0", recorded_at=NOW,
        )  # fmt: skip
    late_order(database, "c1")
    settings = settings_with(knowledge={"answer_threshold": 0.2, "clarify_threshold": 0.1})
    planner(database, clock, settings, index=lambda: KnowledgeIndex.build([article])).plan()
    (found,) = proposed(database)
    assert "Parcels may take two days longer." in found.draft
    assert found.article_version_id == version


def test_explaining_a_customer_shows_the_whole_chain_and_writes_nothing(database: Database, clock: ManualClock) -> None:
    late_order(database, "c1", email=None)
    before = counted(database)
    chain = {link["playbook"]: link for link in planner(database, clock).explain("c1")}
    assert counted(database) == before
    assert (chain["delivery_at_risk"]["audience"], chain["delivery_at_risk"]["reason"]) == ("match", "no_address")
    assert chain["how_to_start"]["audience"] == "no delivered event"
    assert chain["quiet_customer"]["audience"] == "no prediction"
    with pytest.raises(NotFound, match="shop's own"):
        planner(database, clock).explain("nobody")
