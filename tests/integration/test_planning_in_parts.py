"""A plan made range by range, in one process or by several, is the plan that is made of all customers at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide import policy
from bot.decide.assignment import Assignment
from bot.decide.contact import Priority
from bot.decide.playbook import Window
from bot.services.planning.audience import Considered
from bot.services.planning.large_shop import PLAN, LargeShop, tasks_of
from bot.services.planning.parts import Parts
from bot.services.planning.planner import PlanLine, Planner
from bot.services.planning.playbooks import load_playbooks
from bot.services.planning.ruling import Room, Ruler
from bot.store.consent import suppress
from bot.store.database import Database
from bot.store.parts import customer_ranges
from bot.store.runs import latest_runs
from bot.store.tables import metadata
from messages.catalogue import Catalogue
from tests.integration.shop_rows import add_customer, add_order, add_prediction, add_touchpoint

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
CUSTOMERS, CAPACITY, SIZE = 61, 12, 9
CATALOGUE = Catalogue.load()


def chosen(capacity: int = CAPACITY) -> Settings:
    return Settings.model_validate(
        {
            "email": {"enabled": True},
            "experiments": {"holdout_share": 0.25},
            "scheduler": {"daily_capacity": capacity},
            "shop": {"name": "Shop"},
        }
    )


@pytest.fixture
def crowd(database: Database) -> Database:
    """Customers with one or two late orders: some suppressed, some with an open ticket, one without an address."""
    with database.write() as connection:
        for number in range(CUSTOMERS):
            address = {"email": None} if number == 5 else {}
            customer = add_customer(connection, f"c{number}", NOW - 30 * DAY, **address)
            for copy in range(1 + number % 3 // 2):
                order = add_order(connection, f"o{number}-{copy}", customer, NOW - 9 * DAY, promised_at=NOW - DAY)
                # The order of the ids is not the order of the risk.
                risk = 0.3 + (number * 37 + copy * 11) % 60 / 100
                add_prediction(connection, customer, order, NOW - timedelta(hours=1), risk)
            if number % 7 == 3:
                add_touchpoint(connection, "ticket_opened", customer, NOW - DAY)
            if number % 11 == 4:
                suppress(connection, "email", f"c{number}@example.com", "complaint", NOW)
    return database


def planner(database: Database, capacity: int = CAPACITY, **parts: Any) -> Planner:
    settings = chosen(capacity)
    playbooks = load_playbooks(settings, CATALOGUE.names)
    return Planner(database, ManualClock(NOW), settings, CATALOGUE, playbooks, **parts)


def said(lines: list[PlanLine]) -> Counter[str]:
    return Counter(str(replace(line, outreach_id=None)) for line in lines)


def ranges(database: Database) -> Iterator[tuple[int, int]]:
    with database.read() as connection:
        yield from customer_ranges(connection, SIZE)


def stored(database: Database) -> dict[str, list[Any]]:
    """Everything that a plan leaves behind, without the ids of the rows."""
    outreaches, refusals, assignments = (metadata.tables[name] for name in ("outreaches", "refusals", "assignments"))
    columns = {
        "outreaches": (outreaches, ["dedupe_key", "state", "not_before", "expires_at", "draft", "probability"]),
        "refusals": (refusals, ["dedupe_key", "decision", "reason", "until"]),
        "assignments": (assignments, ["customer_id", "playbook", "arm", "propensity"]),
        "journeys": (metadata.tables["journeys"], ["customer_id", "playbook", "arm", "trigger_at", "step", "due_at"]),
    }
    with database.read() as connection:
        return {
            name: sorted(map(str, connection.execute(sa.select(*(table.c[one] for one in names)))))
            for name, (table, names) in columns.items()
        }


@pytest.mark.parametrize("capacity", [1, 3, CAPACITY, 1000])
def test_going_through_customers_range_by_range_changes_nothing(crowd: Database, capacity: int) -> None:
    whole = planner(crowd, capacity).plan(dry_run=True)
    in_ranges = planner(crowd, capacity, customers_at_a_time=SIZE).plan(dry_run=True)
    assert said(in_ranges) == said(whole)
    suggested = [line.customer_id for line in whole if line.decision == "suggest"]
    assert [line.customer_id for line in in_ranges if line.decision == "suggest"] == suggested
    assert len({line.reason for line in whole}) >= 3


def test_parts_store_what_one_piece_stores(crowd: Database) -> None:
    one = planner(crowd)
    parts = [one.plan_part(NOW, first, last) for first, last in ranges(crowd)]
    # Doing a part again, after its process died, adds nothing.
    parts[2] = one.plan_part(NOW, *list(ranges(crowd))[2])
    count = one.conclude(NOW, parts)
    in_parts = stored(crowd)
    with crowd.write() as connection:
        for name in ("journeys", "refusals", "outreaches", "assignments"):
            connection.execute(sa.delete(metadata.tables[name]))
    lines = planner(crowd).plan()
    assert stored(crowd) == in_parts
    assert count == len(lines)
    assert len(in_parts["outreaches"]) == CAPACITY


def test_a_small_shop_is_planned_in_one_piece_and_a_large_one_in_parts(crowd: Database) -> None:
    for size, parts in ((1000, 0), (SIZE, 7)):
        one = planner(crowd)
        cut = Parts(crowd, ManualClock(NOW), tasks_of(None, one), call=lambda *_: None, size=size)  # type: ignore[arg-type]
        with crowd.write() as connection:
            for name in ("journeys", "refusals", "outreaches", "assignments"):
                connection.execute(sa.delete(metadata.tables[name]))
        shop = LargeShop(crowd, ManualClock(NOW), chosen(), cut, one, [])
        assert shop.plan_today() > CAPACITY
        assert len(stored(crowd)["outreaches"]) == CAPACITY
        with crowd.read() as connection:
            assert len([run for run in latest_runs(connection, "part", 99) if run.key.startswith(PLAN)]) == parts


def candidate(
    customer: int, playbook: str, worth: float, refused: policy.Reason | None, held: bool, channel: str = "email"
) -> Considered:
    facts = policy.Facts(
        now=NOW,
        zone=UTC,
        quiet_hours=policy.QuietHours(start=NOW.time(), end=NOW.time()),
        caps=policy.Caps(day=1, week=3, month=9),
        contacts=(),
        has_address=True,
        open_issue=refused is policy.Reason.OPEN_ISSUE,
        with_a_human=refused is policy.Reason.WITH_A_HUMAN,
    )
    some: Any = SimpleNamespace
    return Considered(
        playbook=some(
            id=playbook,
            expires_after=None,
            priority=list(Priority)["cab".index(playbook)],
            most_per_day=2 if playbook == "b" else None,
        ),
        step=some(id="1"),
        forecast=some(),
        customer=some(id=customer),
        order=None,
        span=Window(opens=NOW - DAY, closes=NOW + DAY),
        channel=channel,
        facts=facts,
        verdict=policy.ask(facts),
        worth=worth,
        drawn=Assignment(arm="holdout" if held else "treatment", propensity=0.5),
        assignment_id=None,
        done=False,
        trigger_at=NOW,
    )


CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.integers(1, 12),
        st.sampled_from("abc"),
        st.sampled_from([0.1, 0.2, 0.3, 0.4]),
        st.sampled_from([None, None, None, policy.Reason.OPEN_ISSUE, policy.Reason.WITH_A_HUMAN]),
        st.booleans(),
        st.sampled_from(["email", "slack"]),
    ),
    max_size=40,
    unique_by=lambda one: (one.customer.id, one.playbook.id),
)


@settings(max_examples=200, deadline=None)
@given(CANDIDATES, st.integers(0, 8), st.integers(1, 12))
def test_sifting_ranges_first_rules_as_ruling_on_all_at_once(found: list[Considered], agents: int, size: int) -> None:
    room = Room(agents=agents)
    ruler = Ruler(chosen())
    nominees: list[Considered] = []
    ruled: list[Any] = []
    for first in range(1, 13, size):
        part = [one for one in found if first <= one.customer.id < first + size]
        left, done = ruler.sift(part, room, NOW)
        nominees, ruled = nominees + left, ruled + done
    ruled += ruler.rule(nominees, room, NOW)

    def by_key(rulings: list[Any]) -> dict[Any, Any]:
        return {(one.customer.id, one.playbook.id): ruling for one, ruling in rulings}

    assert len(ruled) == len(found)
    assert by_key(ruled) == by_key(ruler.rule(found, room, NOW))


def suggested(ruler: Ruler, found: list[Considered], room: Room) -> list[tuple[int, str]]:
    rulings = ruler.rule(found, room, NOW)
    return sorted((one.customer.id, one.playbook.id) for one, ruling in rulings if ruling.decision == "suggest")


@settings(max_examples=200, deadline=None)
@given(CANDIDATES, st.integers(0, 8), st.integers(0, 5), st.integers(1, 12))
def test_sifting_ranges_first_proposes_the_same_within_a_budget(
    found: list[Considered], agents: int, budget: int, size: int
) -> None:
    room = Room(agents=agents, channels={"slack": budget})
    ruler = Ruler(chosen())
    nominees: list[Considered] = []
    for first in range(1, 13, size):
        nominees += ruler.sift([one for one in found if first <= one.customer.id < first + size], room, NOW)[0]
    assert suggested(ruler, nominees, room) == suggested(ruler, found, room)


@settings(max_examples=200, deadline=None)
@given(CANDIDATES, st.integers(0, 30), st.integers(0, 5))
def test_a_day_holds_so_many_one_a_customer_and_what_matters_more_goes_first(
    found: list[Considered], agents: int, budget: int
) -> None:
    rulings = Ruler(chosen()).rule(found, Room(agents=agents, channels={"slack": budget}), NOW)
    chosen_ones = [one for one, ruling in rulings if ruling.decision == "suggest"]
    assert len(chosen_ones) <= agents
    assert sum(one.channel == "slack" for one in chosen_ones) <= budget
    assert len({one.customer.id for one in chosen_ones}) == len(chosen_ones)
    for taken in chosen_ones:
        for one, ruling in rulings:
            more = one.playbook.priority.rank < taken.playbook.priority.rank
            if one.customer.id == taken.customer.id and more:
                # What stands behind it had its turn before: it was refused for a reason of its own.
                assert ruling.reason in ("open_issue", "with_a_human", "holdout", "budget")
