"""Shares that move with outcomes, and customers whom no playbook contacts: stored before the draw, and what was drawn stands."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.bandit import AllocationWay
from bot.services.experiments.allocating import Allocator
from bot.services.experiments.drawing import EVERYWHERE
from bot.services.experiments.paying import EarnedBy, Earner
from bot.services.insight import Insight
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import Playbooks, load_playbooks
from bot.services.prediction.labelling import Labeller
from bot.store.allocations import StoredAllocation, allocations_of
from bot.store.database import Database
from bot.store.notices import notices_since
from bot.store.outcomes import NewOutcome, store_outcomes
from bot.store.tables import metadata
from messages.catalogue import Catalogue
from tests.integration.shop_rows import add_customer, add_order, add_prediction, add_touchpoint, insert

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LATE = """\
id: late
title: Late
goal: prevent_issue
owner: support
autonomy: approve
audience:
  prediction: {kind: issue}
trigger: {event: promised, after: 0d, within: 20d}
steps:
  - {id: first, template: delivery_at_risk}
exit: [delivered]
channels: [email]
cool_down: 30d
variants:
  - {name: short, share: 1, template: delivery_at_risk}
  - {name: long, share: 1, template: delivery_at_risk}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    (tmp_path / "late.yaml").write_text(LATE)
    return settings(tmp_path)


def settings(folder: Path, **experiments: Any) -> Settings:
    return Settings.model_validate(
        {
            "email": {"enabled": True},
            "playbooks": {"dir": str(folder)},
            "experiments": {"holdout_share": 0.2, "allocation": "thompson", **experiments},
        }
    )


def playbooks_of(shop: Settings) -> Playbooks:
    found = load_playbooks(shop, Catalogue.load().names)
    return Playbooks([one for one in found.files if one.playbook.id == "late"])


def plan(database: Database, clock: ManualClock, shop: Settings) -> list[Any]:
    return Planner(database, clock, shop, Catalogue.load(), playbooks_of(shop)).plan()


def late_orders(database: Database, keys: list[str], now: datetime = NOW) -> None:
    with database.write() as connection:
        for key in keys:
            customer_id = add_customer(connection, key, now - 30 * DAY)
            order_id = add_order(connection, f"o-{key}", customer_id, now - 9 * DAY, promised_at=now - DAY)
            add_prediction(connection, customer_id, order_id, now - timedelta(hours=1), 0.5)


def observe(database: Database, arm: str, bad: int, n: int, now: datetime = NOW) -> None:
    """Write down what became of customers who were drawn with even shares."""
    with database.write() as connection:
        for number in range(n):
            customer_id = add_customer(connection, f"{arm}{number}@{now.date()}", now)
            assignment_id = insert(
                connection, "assignments", customer_id=customer_id, playbook="late", experiment="late@aftercare", arm=arm,
                propensity=0.4, salt="aftercare", drawn_at=now - 50 * DAY,
            )  # fmt: skip
            outcome = NewOutcome(
                kind="issue", subject=f"assignment:{assignment_id}", customer_id=customer_id, order_id=None, outreach_id=None,
                assignment_id=assignment_id, prediction_id=None, playbook="late", arm=arm, propensity=0.4, treated=True,
                anchor_at=now - 50 * DAY, horizon_days=45, value=float(number < bad), observed_at=now,
            )  # fmt: skip
            store_outcomes(connection, [outcome], now)


def moves(database: Database) -> list[StoredAllocation]:
    with database.read() as connection:
        return allocations_of(connection, "late@aftercare")


def drawn(database: Database, **where: Any) -> list[Any]:
    table = metadata.tables["assignments"]
    with database.read() as connection:
        return list(connection.execute(sa.select(table).filter_by(**where).order_by(table.c.id)))


def test_shares_move_with_the_outcomes_and_decide_the_draws_after_them(
    database: Database, clock: ManualClock, shop: Settings
) -> None:
    allocator = Allocator(database, clock, shop, playbooks_of(shop))
    assert allocator.allocate() == 1
    assert allocator.allocate() == 0
    (begun,) = moves(database)
    assert begun.way is AllocationWay.BEGUN
    assert dict(begun.shares) == pytest.approx({"holdout": 0.2, "short": 0.4, "long": 0.4})
    observe(database, "short", 12, 40)
    observe(database, "long", 6, 40)
    assert allocator.allocate() == 1
    moved = moves(database)[-1]
    assert (moved.way, moved.number) == (AllocationWay.MOVED, 2)
    assert moved.shares["long"] > 0.7 * 0.8
    assert sum(moved.shares.values()) == pytest.approx(1)
    late_orders(database, [f"c{number}" for number in range(60)])
    plan(database, clock, shop)
    rows = drawn(database, allocation_id=moved.id)
    assert len(rows) == 60
    assert {row.arm: row.propensity for row in rows} == pytest.approx(dict(moved.shares))
    arms = Counter(row.arm for row in rows)
    assert arms["long"] > 3 * arms["short"]


def test_what_was_drawn_stands_when_shares_move(database: Database, clock: ManualClock, shop: Settings) -> None:
    late_orders(database, [f"c{number}" for number in range(12)])
    allocator = Allocator(database, clock, shop, playbooks_of(shop))
    allocator.allocate()
    plan(database, clock, shop)
    before = [(row.customer_id, row.arm, row.propensity) for row in drawn(database)]
    observe(database, "short", 30, 40)
    observe(database, "long", 0, 40)
    assert allocator.allocate() == 1
    clock.advance(DAY)
    plan(database, clock, shop)
    assert [(row.customer_id, row.arm, row.propensity) for row in drawn(database)][:12] == before


def test_a_variant_that_lost_stops_for_good_and_the_end_is_said(
    database: Database, clock: ManualClock, shop: Settings
) -> None:
    allocator = Allocator(database, clock, shop, playbooks_of(shop))
    allocator.allocate()
    observe(database, "short", 35, 40)
    observe(database, "long", 2, 40)
    assert allocator.allocate() == 1
    ended = moves(database)[-1]
    assert (ended.way, ended.stopped, ended.shares["short"]) == (AllocationWay.DECIDED, ["short"], 0.0)
    with database.read() as connection:
        (told,) = notices_since(connection, NOW - DAY)
    assert told.text.startswith("The comparison of variants in late is over: long is left")
    clock.advance(DAY)
    assert allocator.allocate() == 0
    whole, *_ = Insight(database, clock, shop).lift("late")
    assert whole.variants == (
        "variants: over since 2026-03-10: long is left; short stopped with less than a 1% chance of being the best"
    )


def test_an_experiment_expires_and_the_leading_variant_stays(
    database: Database, clock: ManualClock, shop: Settings
) -> None:
    allocator = Allocator(database, clock, shop, playbooks_of(shop))
    allocator.allocate()
    observe(database, "short", 12, 40)
    observe(database, "long", 11, 40)
    clock.advance(180 * DAY)
    assert allocator.allocate() == 1
    ended = moves(database)[-1]
    assert (ended.way, ended.shares["long"], ended.shares["short"]) == (AllocationWay.EXPIRED, 0.8, 0.0)
    assert "after 180 days long leads" in ended.reason
    assert allocator.allocate() == 0


def test_fixed_shares_never_move(database: Database, clock: ManualClock, shop: Settings, tmp_path: Path) -> None:
    fixed = settings(tmp_path, allocation="fixed")
    assert Allocator(database, clock, fixed, playbooks_of(fixed)).allocate() == 0
    late_orders(database, ["c1", "c2", "c3"])
    plan(database, clock, fixed)
    assert {(row.allocation_id, row.band, row.channel) for row in drawn(database)} == {(None, "high", "email")}


def test_who_is_held_out_everywhere_is_in_no_playbooks_experiment_and_is_watched(
    database: Database, clock: ManualClock, shop: Settings, tmp_path: Path
) -> None:
    shop = settings(tmp_path, global_holdout_share=0.4, holdout_share=0.0, allocation="fixed")
    late_orders(database, [f"c{number}" for number in range(30)])
    lines = plan(database, clock, shop)
    whole = {row.customer_id: row for row in drawn(database, playbook=EVERYWHERE)}
    alone = {one for one, row in whole.items() if row.arm == "holdout"}
    assert len(whole) == 30
    assert sorted({row.propensity for row in whole.values()}) == pytest.approx([0.4, 0.6])
    assert 5 < len(alone) < 20
    assert {row.customer_id for row in drawn(database, playbook="late")} == set(whole) - alone
    assert Counter(line.reason for line in lines if line.decision == "refuse") == {"holdout": len(alone)}
    with database.write() as connection:
        add_touchpoint(connection, "complaint", min(alone), NOW + DAY)
    clock.advance(100 * DAY)
    Labeller(database, clock, shop, playbooks_of(shop)).label()
    found = {(one.playbook, one.outcome): one for one in Insight(database, clock, shop).lift()}
    assert found[EVERYWHERE, "issue"].effect.holdout.n == len(alone)
    assert found[EVERYWHERE, "issue"].effect.holdout.value == pytest.approx(1 / len(alone))
    assert found[EVERYWHERE, "churn"].effect.treated.n == 30 - len(alone)


def test_what_messages_earned_is_in_money_and_losers_are_proposed_for_retirement_once_a_month(
    database: Database, clock: ManualClock, shop: Settings
) -> None:
    observe(database, "short", 34, 40)
    observe(database, "long", 4, 40)
    observe(database, "holdout", 6, 40)
    with database.write() as connection:
        for row in connection.execute(sa.select(metadata.tables["customers"].c.id)).all()[:10]:
            add_order(connection, f"o{row.id}", row.id, NOW - 60 * DAY, total=100.0)
    earner = Earner(database, clock, shop)
    (whole,) = earner.report()
    assert (whole.name, whole.worth, whole.line()["currency"]) == ("late", pytest.approx(40.0), "EUR")
    best, worst = earner.report(EarnedBy.MESSAGE)
    assert (best.name, worst.name) == ("long", "short")
    assert worst.paid is not None
    assert worst.paid.value == pytest.approx(-40 * (34 / 40 - 6 / 40) * 40.0 - 40 * 0.7)
    assert (worst.line()["retire"], best.line()["retire"]) == (True, False)
    assert "proposed for retirement, because it does harm" in worst.text
    assert earner.report(EarnedBy.ARTICLE) == []
    assert earner.propose_retirements() >= 1
    assert earner.propose_retirements() == 0
    with database.read() as connection:
        told = [one.text for one in notices_since(connection, clock.now() - DAY)]
    assert any(text.startswith("Message short of late: ") for text in told)
    clock.advance(31 * DAY)
    assert earner.propose_retirements() >= 1


def test_without_order_totals_in_the_shops_currency_no_amount_is_made_up(
    database: Database, clock: ManualClock, shop: Settings
) -> None:
    observe(database, "short", 3, 10)
    observe(database, "holdout", 6, 10)
    (found,) = Earner(database, clock, shop).report()
    assert (found.worth, found.line()["value"], found.line()["retire"]) == (None, None, False)
    assert "no order of these customers in EUR has a total" in found.text
