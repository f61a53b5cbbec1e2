"""Playbooks of several steps: they go on over restarts and edits, each step once, and end where their exits say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.services.experiments import drawing
from bot.services.planning import plan_store
from bot.services.planning.planner import PlanLine, Planner
from bot.services.planning.playbooks import PlaybookFile, Playbooks, read_text
from bot.services.review.overdue import Overdue
from bot.store.database import Database
from bot.store.enums import JourneyState
from bot.store.instances import StoredJourney, journeys_of, move_journeys
from bot.store.outreach import Outreach, change_state, list_outreach
from bot.store.planning import refusals_of
from messages.catalogue import Catalogue
from tests.integration.shop_rows import add_customer, add_order, add_touchpoint, insert

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)  # a Tuesday noon
DAY = timedelta(days=1)
CATALOGUE = Catalogue.load()
TEXT = """
id: after_ticket
title: After a ticket
goal: listen
owner: support
priority: high
audience: {}
trigger: {event: ticket_closed, after: 1h, within: 3d}
steps:
  - {id: ask, template: how_to_start}
  - {id: again, template: how_to_start, wait: 4d, when: not_answered}
  - {id: last, template: how_to_start, wait: 4d}
exit: [csat, complaint]
time_to_live: 30d
cool_down: 60d
"""


def settings_with(holdout: float = 0.0) -> Settings:
    tree = {"email": {"enabled": True}, "experiments": {"holdout_share": holdout}, "policy": {"caps": {"month": 30}}}
    return Settings.model_validate(tree)


def playbooks_of(*texts: str, enabled: bool = True) -> Playbooks:
    found = [read_text(text, "p.yaml", CATALOGUE.names) for text in texts]
    return Playbooks(
        [
            PlaybookFile(playbook=one, path=Path(), shipped=False, text=text, enabled=enabled)
            for one, text in zip(found, texts, strict=True)
        ]
    )


def planner(database: Database, clock: ManualClock, text: str = TEXT, holdout: float = 0.0, **kw: Any) -> Planner:
    return Planner(database, clock, settings_with(holdout), CATALOGUE, playbooks_of(text, **kw))


def ticket_closed(database: Database, key: str = "c1", at: datetime = NOW - timedelta(hours=3), **customer: Any) -> int:
    with database.write() as connection:
        customer_id = add_customer(connection, key, at - 30 * DAY, **customer)
        order_id = add_order(connection, f"o-{key}", customer_id, at - 20 * DAY)
        add_touchpoint(connection, "ticket_opened", customer_id, at - DAY, order_id)
        add_touchpoint(connection, "ticket_closed", customer_id, at, order_id)
    return customer_id


def send_all(database: Database, now: datetime) -> list[Outreach]:
    """Let everything that waits be approved and leave."""
    with database.write() as connection:
        waiting = list_outreach(connection, [OutreachState.SUGGESTED])
        for one in waiting:
            states = [OutreachState.SUGGESTED, OutreachState.APPROVED, OutreachState.SENDING, OutreachState.SENT]
            for place, (source, target) in enumerate(pairwise(states)):
                sent = {"sent_at": now} if target is OutreachState.SENT else {}
                assert change_state(connection, one.id, one.version + place, [source], target, now, **sent)
    return waiting


def ways(database: Database, customer_id: int) -> list[StoredJourney]:
    with database.read() as connection:
        return journeys_of(connection, customer_id)


def steps(database: Database) -> list[str]:
    with database.read() as connection:
        return [one.step for one in sorted(list_outreach(connection), key=lambda one: one.id)]


def said(lines: list[PlanLine]) -> list[tuple[str, str, str | None]]:
    return [(line.step, line.decision.value, line.reason) for line in lines]


def test_a_playbook_without_a_prediction_finds_its_customers_by_what_happened(
    database: Database, clock: ManualClock
) -> None:
    ticket_closed(database)
    ticket_closed(database, "too-late", NOW - 4 * DAY)
    ticket_closed(database, "too-early", NOW - timedelta(minutes=30))
    answered = ticket_closed(database, "answered")
    with database.write() as connection:
        add_touchpoint(connection, "csat", answered, NOW - timedelta(hours=1), value=5.0)
    (line,) = planner(database, clock).plan()
    assert (line.customer_id, line.step, line.decision, line.probability) == ("c1", "ask", "suggest", None)
    with database.read() as connection:
        (found,) = list_outreach(connection)
    assert found.probability is None
    assert found.prediction_id is None
    assert found.reasons[0]["text"] == "A ticket was closed today."


def test_each_step_is_proposed_once_though_every_day_is_planned_twice(database: Database, clock: ManualClock) -> None:
    customer_id = ticket_closed(database)
    for _ in range(14):
        for _ in range(2):  # by two processes, or one that was started again: nothing is remembered but rows
            planner(database, clock).plan()
            send_all(database, clock.now())
        clock.advance(DAY)
    assert steps(database) == ["ask", "again", "last"]
    (way,) = ways(database, customer_id)
    assert (way.state, way.exit_reason, way.step) == (JourneyState.ENDED, "completed", "last")


@pytest.mark.parametrize(("kind", "after"), [("csat", "ask"), ("complaint", "again")])
def test_an_exit_ends_the_way_and_no_further_step_is_proposed(
    database: Database, clock: ManualClock, kind: str, after: str
) -> None:
    customer_id = ticket_closed(database)
    for _ in range(12):
        planner(database, clock).plan()
        sent = [one.step for one in send_all(database, clock.now())]
        clock.advance(DAY)
        if after in sent:
            with database.write() as connection:
                add_touchpoint(connection, kind, customer_id, clock.now(), value=4.0)
    assert steps(database)[-1] == after
    (way,) = ways(database, customer_id)
    assert way.exit_reason == kind


def test_who_is_held_out_has_a_way_too_on_which_they_are_only_observed(database: Database, clock: ManualClock) -> None:
    customer_id = ticket_closed(database)
    lines = planner(database, clock, holdout=0.9).plan()
    if said(lines) != [("ask", "refuse", "holdout")]:  # pragma: no cover
        pytest.fail(f"the draw of this test's customer has changed: {said(lines)}")
    (way,) = ways(database, customer_id)
    assert (way.arm, way.outreach_id, way.state) == ("holdout", None, JourneyState.ACTIVE)
    with database.read() as connection:
        (refusal,) = refusals_of(connection, customer_id)
    assert refusal.assignment_id == way.assignment_id
    clock.advance(31 * DAY)
    assert planner(database, clock, holdout=0.9).plan() == []
    (way,) = ways(database, customer_id)
    assert (way.exit_reason, steps(database)) == ("over", [])


def test_a_way_keeps_to_the_version_with_which_it_began_unless_it_is_moved(
    database: Database, clock: ManualClock
) -> None:
    first, second = ticket_closed(database), ticket_closed(database, "c2")
    planner(database, clock).plan()
    send_all(database, clock.now())
    edited = TEXT.replace("id: again", "id: gently").replace("wait: 4d, when", "wait: 2d, when")
    clock.advance(2 * DAY)
    assert planner(database, clock, edited).plan() == []
    version = read_text(edited, "p.yaml").version
    with database.write() as connection:
        assert move_journeys(connection, "after_ticket", version, ["ask", "gently", "last"], second) == (1, 0)
    assert said(planner(database, clock, edited).plan()) == [("gently", "suggest", None)]
    clock.advance(2 * DAY)
    lines = planner(database, clock, edited).plan()
    assert [(line.customer_id, line.step) for line in lines if line.decision == "suggest"] == [("c1", "again")]
    with database.write() as connection:  # the step at which the other stands is not there any more
        assert move_journeys(connection, "after_ticket", version, ["ask", "gently", "last"], first) == (0, 1)


def test_a_playbook_that_is_switched_off_ends_its_ways(database: Database, clock: ManualClock) -> None:
    customer_id = ticket_closed(database)
    planner(database, clock).plan()
    send_all(database, clock.now())
    clock.advance(5 * DAY)
    assert planner(database, clock, enabled=False).plan() == []
    assert ways(database, customer_id)[0].exit_reason == "withdrawn"


class Killed(BaseException):
    """Ends a process where it stands."""


WRITES = (
    "store_arm", "insert_outreach", "keep_version", "begin_journey", "stands", "step_on", "end_journey", "store_refusals",
)  # fmt: skip
# What a transaction that was cut off leaves behind is the same for every write: on PostgreSQL two of them show it.
ON_POSTGRES = ("store_arm", "begin_journey")


@pytest.mark.parametrize(
    ("database", "call"),
    [
        *(("sqlite", call) for call in WRITES),
        *(pytest.param("postgres", call, marks=pytest.mark.peer) for call in ON_POSTGRES),
    ],
    indirect=["database"],
)
def test_killed_before_or_after_any_write_the_next_plan_goes_on_and_each_step_is_proposed_once(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    ticket_closed(database)
    ticket_closed(database, "c2")
    ticket_closed(database, "c3", email=None)  # refused: there is no address
    place = drawing if call == "store_arm" else plan_store
    real: Callable[..., Any] = getattr(place, call)
    deaths = {"before": 0, "after": 0}
    for number in range(14):
        for when in deaths:

            def dying(*arguments: Any, when: str = when, **named: Any) -> Any:
                if when == "after":
                    real(*arguments, **named)
                deaths[when] += 1
                raise Killed

            monkeypatch.setattr(place, call, dying)
            with suppress(Killed):
                planner(database, clock).plan()
            monkeypatch.setattr(place, call, real)
        planner(database, clock).plan()
        planner(database, clock).plan()
        send_all(database, clock.now())
        clock.advance(DAY)
        assert number < 14
    assert all(deaths.values())
    assert sorted(steps(database)) == sorted(["ask", "again", "last"] * 2)
    for customer_id in (1, 2):
        assert [(one.state, one.exit_reason) for one in ways(database, customer_id)] == [
            (JourneyState.ENDED, "completed")
        ]


OTHERS = {
    "placed": ("placed, after: 1d, within: 3d", 2),
    "promised": ("promised, after: -2d, within: 3d", 6),
    "delivered": ("delivered, after: 1d, within: 3d, without: [activated]", 2),
    "late_delivery": ("late_delivery, after: 1d, within: 3d", 2),
    "last_order": ("last_order, after: 1d, within: 3d", 2),
    "first_order": ("first_order, after: 0m, within: 1d", 365),
    "replenishment": ("replenishment, after: -1d, within: 3d, days: 30", 30),
    "every": ("placed, after: 0m, within: 2d, every: 30d", 61),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_of_trigger_finds_whom_it_means_and_nobody_else(
    database: Database, clock: ManualClock, name: str
) -> None:
    trigger, days = OTHERS[name]
    text = TEXT.replace("ticket_closed, after: 1h, within: 3d", trigger).replace("time_to_live: 30d\n", "")
    for key, ago in (("means", days), ("other", days + 9)):
        with database.write() as connection:
            customer_id = add_customer(connection, key, NOW - 400 * DAY)
            order_id = add_order(connection, f"o-{key}", customer_id, NOW - ago * DAY)
            if "deliver" in name:
                promised = {"promised_at": NOW - (ago + 3) * DAY} if name == "late_delivery" else {}
                insert_order = add_order(connection, f"p-{key}", customer_id, NOW - (ago + 9) * DAY, **promised)
                add_touchpoint(connection, "delivered", customer_id, NOW - ago * DAY, insert_order)
            if name == "replenishment":
                product = insert(
                    connection, "products", source="files", external_id=key, fingerprint=key, recorded_at=NOW
                )
                insert(
                    connection, "order_lines", order_id=order_id, line_no=1, product_id=product, fingerprint=key,
                    recorded_at=NOW,
                )  # fmt: skip
    found = planner(database, clock, text).plan()
    assert [(line.customer_id, line.decision.value) for line in found] == [("means", "suggest")]


def test_a_playbook_begins_no_more_a_day_than_its_limit_and_the_rest_follows(
    database: Database, clock: ManualClock
) -> None:
    for number in range(5):
        ticket_closed(database, f"c{number}")
    limited = TEXT + "limits: {per_day: 2}\n"
    for _ in range(2):
        planner(database, clock, limited).plan()
    assert steps(database) == ["ask"] * 2
    clock.advance(DAY)
    planner(database, clock, limited).plan()
    assert steps(database) == ["ask"] * 4


def test_a_card_that_waits_names_its_owner_and_then_the_one_it_is_escalated_to_each_once(
    database: Database, clock: ManualClock
) -> None:
    timed = TEXT + "due_after: 4h\nescalate: {after: 8h, to: the team lead}\n"
    ticket_closed(database)
    planner(database, clock, timed).plan()
    overdue = Overdue(database, clock, playbooks_of(timed).all)
    said: list[tuple[int, str, bool]] = []
    for _ in range(11):
        marked = overdue.run()
        assert overdue.run() == 0
        with database.read() as connection:
            (card,) = list_outreach(connection)
        said.append((marked, str(card.reasons[0]["text"]), card.urgent))
        clock.advance(timedelta(hours=1))
    assert [number for number, (marked, _, _) in enumerate(said) if marked] == [4, 8]
    assert said[4][1:] == ("It has waited for more than 4 hours: support, please decide.", False)
    assert said[8][1:] == ("It has waited for more than 8 hours: the team lead, please decide.", True)
    assert len(card.reasons) == 2
