"""Labels at the horizon and what is read out of them, on both engines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.effect import Reading
from bot.decide.lifecycle import OutreachState
from bot.services.insight import Insight
from bot.services.planning.playbooks import load_playbooks
from bot.services.prediction.labelling import Labeller
from bot.services.review.desk import ReviewDesk
from bot.store.database import Database
from bot.store.experiments import Segmentation
from bot.store.outreach import NewOutreach, Outreach, change_state, insert_outreach, outreach
from bot.store.tables import metadata
from tests.integration.shop_rows import add_customer, add_order, add_touchpoint, insert, propose

DAY = timedelta(days=1)
HORIZON = 45 * DAY


@pytest.fixture
def labeller(database: Database, clock: ManualClock) -> Labeller:
    return Labeller(database, clock, Settings(), load_playbooks(Settings()))


def draw(
    database: Database,
    key: str,
    now: datetime,
    arm: str = "holdout",
    playbook: str = "delivery_at_risk",
    propensity: float | None = None,
    **order: Any,
) -> tuple[int, int]:
    """A customer drawn into an arm; returns the customer's and the order's id."""
    probable = propensity or (0.1 if arm == "holdout" else 0.9)
    with database.write() as connection:
        customer_id = add_customer(connection, key, now - 30 * DAY)
        order_id = add_order(connection, f"o-{key}", customer_id, now - 9 * DAY, **order)
        assignment_id = insert(
            connection, "assignments", customer_id=customer_id, playbook=playbook, experiment=playbook, arm=arm,
            propensity=probable, salt="s", drawn_at=now,
        )  # fmt: skip
        insert(
            connection, "refusals", customer_id=customer_id, order_id=order_id, playbook=playbook, step="first",
            assignment_id=assignment_id, decision="refuse", reason="holdout", local_date="2026-03-10", dedupe_key=key,
            recorded_at=now,
        )  # fmt: skip
    return customer_id, order_id


def send(database: Database, one: Outreach, now: datetime) -> None:
    with database.write() as connection:
        assert change_state(connection, one.id, one.version, [one.state], OutreachState.SENDING, now)
        assert change_state(
            connection, one.id, one.version + 1, [OutreachState.SENDING], OutreachState.SENT, now, sent_at=now
        )


def rows(database: Database, kind: str) -> list[Any]:
    table = metadata.tables["outcomes"]
    with database.read() as connection:
        return list(connection.execute(sa.select(table).where(table.c.kind == kind).order_by(table.c.id)))


def test_nothing_is_labelled_before_the_horizon_and_nothing_twice(
    database: Database, clock: ManualClock, labeller: Labeller
) -> None:
    customer_id, order_id = draw(database, "c1", clock.now())
    with database.write() as connection:
        add_touchpoint(connection, "ticket_opened", customer_id, clock.now() + DAY, order_id)
    clock.advance(HORIZON - timedelta(seconds=1))
    assert labeller.label() == 0
    clock.advance(timedelta(seconds=1))
    assert labeller.label() == 1
    assert labeller.label() == 0
    (found,) = rows(database, "issue")
    assert (found.value, found.arm, found.propensity, found.treated) == (1.0, "holdout", 0.1, False)
    assert (found.order_id, found.outreach_id, found.horizon_days) == (order_id, None, 45)


@pytest.mark.parametrize(
    ("kind", "value", "after", "label"),
    [
        ("complaint", None, DAY, 1.0),
        ("refunded", None, HORIZON, 1.0),
        ("review", 2.0, DAY, 1.0),
        ("review", 3.0, DAY, 0.0),
        ("csat", 1.0, DAY, 1.0),
        ("shipped", None, DAY, 0.0),
        ("complaint", None, -DAY, 0.0),  # before the draw
        ("complaint", None, HORIZON + timedelta(seconds=1), 0.0),  # after the horizon
    ],
)
def test_an_issue_is_trouble_within_the_horizon_after_the_draw(
    database: Database,
    clock: ManualClock,
    labeller: Labeller,
    kind: str,
    value: float | None,
    after: timedelta,
    label: float,
) -> None:
    customer_id, order_id = draw(database, "c1", clock.now())
    with database.write() as connection:
        add_touchpoint(connection, kind, customer_id, clock.now() + after, order_id, value=value)
        other = add_customer(connection, "other", clock.now())
        add_touchpoint(connection, "ticket_opened", other, clock.now())  # so that silence is an answer
    clock.advance(HORIZON + DAY)
    labeller.label()
    assert [row.value for row in rows(database, "issue")] == [label]


def test_trouble_with_another_order_or_recorded_later_does_not_count(
    database: Database, clock: ManualClock, labeller: Labeller
) -> None:
    customer_id, order_id = draw(database, "c1", clock.now())
    with database.write() as connection:
        other = add_order(connection, "other", customer_id, clock.now() - 20 * DAY)
        add_touchpoint(connection, "ticket_opened", customer_id, clock.now() + DAY, other)
        add_touchpoint(
            connection, "complaint", customer_id, clock.now() + DAY, order_id, recorded_at=clock.now() + 2 * HORIZON
        )
    clock.advance(HORIZON)
    labeller.label()
    assert [row.value for row in rows(database, "issue")] == [0.0]


def test_where_only_ratings_are_recorded_silence_is_no_outcome(
    database: Database, clock: ManualClock, labeller: Labeller
) -> None:
    draw(database, "silent", clock.now())
    rated, order_id = draw(database, "rated", clock.now())
    with database.write() as connection:
        add_touchpoint(connection, "review", rated, clock.now() + DAY, order_id, value=5.0)
    clock.advance(HORIZON)
    assert labeller.label() == 1
    assert [(row.customer_id, row.value) for row in rows(database, "issue")] == [(rated, 0.0)]


def test_who_orders_again_has_not_left(database: Database, clock: ManualClock, labeller: Labeller) -> None:
    stays, _ = draw(database, "stays", clock.now(), playbook="quiet_customer")
    leaves, _ = draw(database, "leaves", clock.now(), playbook="quiet_customer")
    with database.write() as connection:
        add_order(connection, "again", stays, clock.now() + 80 * DAY)
        add_order(connection, "too late", leaves, clock.now() + 91 * DAY)
    clock.advance(90 * DAY)
    assert labeller.label() == 2
    assert {row.customer_id: row.value for row in rows(database, "churn")} == {stays: 0.0, leaves: 1.0}


def test_a_sent_check_in_gets_its_reply_and_rating(database: Database, clock: ManualClock, labeller: Labeller) -> None:
    desk = ReviewDesk(database, clock, Settings())
    sent = []
    for key in ("answers", "silent"):
        card = propose(database, clock.now(), key)
        sent.append(desk.approve(card.id, card.version, "cli:ana"))
        send(database, sent[-1], clock.now())
    with database.write() as connection:
        add_touchpoint(connection, "reply", sent[0].customer_id, clock.now() + DAY)
        add_touchpoint(connection, "csat", sent[0].customer_id, clock.now() + 2 * DAY, value=4.0)
    clock.advance(14 * DAY)
    assert labeller.label() == 3
    assert [row.value for row in rows(database, "reply")] == [1.0, 0.0]
    assert [(row.value, row.treated, row.arm) for row in rows(database, "csat")] == [(4.0, True, "treatment")]
    clock.advance(HORIZON)
    labeller.label()
    assert {row.treated for row in rows(database, "issue")} == {True}


def test_lift_is_read_by_the_arm_drawn_with_its_interval(
    database: Database, clock: ManualClock, labeller: Labeller
) -> None:
    start = clock.now()
    for number in range(80):
        customer_id, order_id = draw(database, f"t{number}", start, arm="treatment", propensity=0.5)
        held, held_order = draw(database, f"h{number}", start, propensity=0.5)
        with database.write() as connection:
            if number % 10 == 0:
                add_touchpoint(connection, "complaint", customer_id, start + DAY, order_id)
            if number % 2 == 0:
                add_touchpoint(connection, "complaint", held, start + DAY, held_order)
    insight = Insight(database, clock, Settings())
    assert insight.lift() == []
    clock.advance(HORIZON)
    labeller.label()
    (found,) = insight.lift()
    assert (found.playbook, found.outcome, found.arm, found.sent_share) == ("delivery_at_risk", "issue", "treated", 0.0)
    assert (found.effect.treated.value, found.effect.holdout.value) == pytest.approx((0.1, 0.5))
    assert found.effect.low < -0.4 < found.effect.high < 0
    assert found.effect.reading is Reading.HELPS
    assert "it helps" in found.text
    assert insight.lift("how_to_start") == []


def test_arms_of_other_sizes_than_drawn_block_the_reading_and_say_what_to_look_for(
    database: Database, clock: ManualClock, labeller: Labeller
) -> None:
    for number in range(60):
        draw(database, f"t{number}", clock.now(), arm="treatment", propensity=0.5)
        if number % 4 == 0:
            draw(database, f"h{number}", clock.now(), propensity=0.5)
    with database.write() as connection:
        add_touchpoint(connection, "complaint", add_customer(connection, "x", clock.now()), clock.now())
    clock.advance(HORIZON)
    labeller.label()
    (found,) = Insight(database, clock, Settings()).lift()
    assert found.line()["reading"] == "mismatch"
    assert "15 in holdout where about 38 were meant" in found.text
    assert "look for outcomes that are seen in one arm only" in found.text


def test_harm_stands_beside_the_benefit_and_counts_only_within_the_horizon(
    database: Database, clock: ManualClock, labeller: Labeller
) -> None:
    start = clock.now()
    for number in range(10):
        wrote, _ = draw(database, f"t{number}", start, arm="treatment", propensity=0.5)
        held, _ = draw(database, f"h{number}", start, propensity=0.5)
        with database.write() as connection:
            add_touchpoint(connection, "ticket_opened", held, start - DAY)
            if number < 4:
                add_touchpoint(connection, "opt_out", wrote, start + DAY)
                add_touchpoint(connection, "opt_out", wrote, start + 2 * DAY)
            if number == 9:
                add_touchpoint(connection, "opt_out", held, start + HORIZON + DAY)
    clock.advance(HORIZON + 2 * DAY)
    labeller.label()
    (found,) = Insight(database, clock, Settings()).lift()
    (opted, complained, asked) = found.line()["harm"]
    assert (opted["kind"], opted["treated"]["rate"], opted["holdout"]["rate"]) == ("opt_out", 0.4, 0.0)
    assert (complained["kind"], asked["kind"]) == ("complaint", "ticket_opened")
    assert asked["treated"]["rate"] == asked["holdout"]["rate"] == 0.0
    assert "40.0% of those drawn to be contacted opted out, 0.0% of those held out" in found.harms[0].text


def test_lift_is_read_by_segment_where_only_what_is_no_chance_is_called_an_effect(
    database: Database, clock: ManualClock, labeller: Labeller
) -> None:
    start = clock.now()
    for number in range(80):
        wrote, order_id = draw(database, f"t{number}", start, arm="treatment", propensity=0.5)
        held, held_order = draw(database, f"h{number}", start, propensity=0.5)
        country = "DE" if number % 2 else "FR"
        with database.write() as connection:
            table = metadata.tables["customers"]
            connection.execute(sa.update(table).where(table.c.id.in_([wrote, held])).values(country=country))
            if country == "FR" and number % 4 == 0:
                add_touchpoint(connection, "complaint", wrote, start + DAY, order_id)
            if country == "DE" or number % 4 == 0:
                add_touchpoint(connection, "complaint", held, start + DAY, held_order)
    clock.advance(HORIZON)
    labeller.label()
    insight = Insight(database, clock, Settings())
    germany, france = insight.lift(by=Segmentation.COUNTRY)
    assert (germany.segment, germany.reading) == ("DE", Reading.HELPS)
    assert (france.segment, france.reading) == ("FR", Reading.UNDECIDED)
    assert germany.shrunk is not None
    assert germany.effect.difference < germany.shrunk < (france.shrunk or 0)
    for by in (Segmentation.BAND, Segmentation.CATEGORY, Segmentation.LOCALE, Segmentation.CHANNEL):
        (whole,) = insight.lift(by=by)
        assert (whole.by, whole.segment, whole.effect.treated.n) == (by.value, "unknown", 80)


def test_little_is_called_too_few(database: Database, clock: ManualClock, labeller: Labeller) -> None:
    customer_id, order_id = draw(database, "c1", clock.now())
    with database.write() as connection:
        add_touchpoint(connection, "complaint", customer_id, clock.now() + DAY, order_id)
    clock.advance(HORIZON)
    labeller.label()
    (found,) = Insight(database, clock, Settings()).lift()
    assert found.line()["reading"] == "too few"
    assert found.text.startswith("too few to say: 0 customers drawn to be contacted, 1 held out")


def test_figures_count_what_happened_and_hold_it_against_the_targets(database: Database, clock: ManualClock) -> None:
    desk = ReviewDesk(database, clock, Settings())
    cards = [propose(database, clock.now(), f"c{number}") for number in range(4)]
    sent = desk.approve(cards[0].id, 1, "cli:ana")
    desk.edit(cards[1].id, 1, "cli:ana", "Other words")
    desk.reject(cards[2].id, 1, "cli:ana", "other")
    send(database, sent, clock.now())
    with database.write() as connection:
        add_touchpoint(connection, "reply", sent.customer_id, clock.now() + timedelta(hours=1))
    clock.advance(DAY)
    settings = Settings.model_validate(
        {"journey": {"reply_rate": {"at_least": 0.3}, "approval_rate": {"at_least": 0.9}}}
    )
    found = {kpi.name: kpi for kpi in Insight(database, clock, settings).kpis()}
    assert found["proposed"].value == 4
    assert (found["approval_rate"].value, found["approval_rate"].n) == (pytest.approx(2 / 3), 3)
    assert found["edit_rate"].value == 0.5
    assert (found["sent"].value, found["reply_rate"].value) == (1, 1.0)
    assert (found["reply_rate"].met, found["approval_rate"].met, found["sent"].met) == (True, False, None)
    assert found["state.rejected"].value == 1
    assert found["answer_rate"].value is None
    clock.advance(31 * DAY)
    later = {kpi.name: kpi for kpi in Insight(database, clock, settings).kpis()}
    assert (later["proposed"].value, later["approval_rate"].value) == (0, None)


def test_treated_is_whoever_was_sent_anything_though_an_earlier_proposal_was_not(
    database: Database, clock: ManualClock, labeller: Labeller
) -> None:
    unsent = propose(database, clock.now())
    now = clock.now() + 15 * DAY
    with database.write() as connection:
        values = {name: getattr(unsent, name) for name in NewOutreach.__dataclass_fields__}
        again = insert_outreach(connection, NewOutreach(**{**values, "dedupe_key": "again"}), now)
        assert again is not None
        second = outreach(connection, again)
        for one, state in ((unsent, OutreachState.REJECTED), (second, OutreachState.APPROVED)):
            assert change_state(connection, one.id, one.version, [one.state], state, now)
        second = outreach(connection, again)
        other = add_customer(connection, "other", now)
        add_touchpoint(connection, "ticket_opened", other, now)  # so that silence is an answer
    send(database, second, now)
    clock.advance(HORIZON + DAY)
    labeller.label()
    (found,) = rows(database, "issue")
    assert (found.treated, found.outreach_id) == (True, second.id)
