"""Whose turn it is: by risk until a model of the gain was promoted, then by gain; and said on every surface."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.errors import ModelError
from bot.services.planning.planner import PlanLine
from bot.services.review.cards import build_card
from bot.store.database import Database
from bot.store.decisions import card_facts
from bot.store.planning import Forecast
from bot.store.tables import metadata
from tests.integration.shop_rows import insert
from tests.integration.test_planning import NOW, late_order, planner, proposed, settings_with

# Of the customers with these risks the second gains most, and the surest trouble nothing can be done about.
RISKS = {"c0": 0.4, "c1": 0.5, "c2": 0.9}
GAINS = {"c0": 0.1, "c1": 0.3, "c2": -0.05}


def gain_champion(database: Database) -> None:
    """Promote a model by whose experiment check-ins avert a quarter of the trouble."""
    with database.write() as connection:
        insert(
            connection, "model_versions", name="uplift-now-45-v1", kind="uplift", moment="now", horizon_days=45,
            version=1, stage="uplift", path="u.joblib", sha256="0" * 64, trained_as_of=NOW, created_at=NOW,
            metrics={"gain_mean": 0.1, "issue_rate_holdout": 0.4}, manifest={}, status="champion",
        )  # fmt: skip


def at_risk(database: Database) -> dict[str, tuple[int, int]]:
    """Store a late order for each of `RISKS`; return the ids of its customer and order."""
    found = {}
    for key, risk in RISKS.items():
        customer_id = late_order(database, key, probability=risk)
        orders = metadata.tables["orders"].c
        with database.read() as connection:
            order_id = connection.scalar(sa.select(orders.id).where(orders.customer_id == customer_id))
        found[key] = (customer_id, int(order_id or 0))
    return found


def gains_of(ids: dict[str, tuple[int, int]], asked: list[tuple[str, bool]]) -> object:
    """Return what predicts gains now, without storing them."""

    def rescore(kind: str, as_of: datetime, save: bool) -> Sequence[Forecast]:
        asked.append((kind, save))
        if kind != "uplift":
            raise ModelError("what was stored today counts")
        return [
            Forecast(
                prediction_id=None, kind=kind, moment="now", customer_id=customer, order_id=order, as_of=as_of,
                probability=GAINS[key], band="low", reasons=(),
            )
            for key, (customer, order) in ids.items()
        ]  # fmt: skip

    return rescore


def order_of(lines: Sequence[PlanLine]) -> list[str]:
    return [line.customer_id for line in lines if line.playbook == "delivery_at_risk"]


def test_without_a_model_of_the_gain_the_plan_says_that_it_is_ranked_by_risk(
    database: Database, clock: ManualClock
) -> None:
    ids, asked = at_risk(database), []  # type: ignore[var-annotated]
    lines = planner(database, clock, rescore=gains_of(ids, asked)).plan(dry_run=True)
    assert order_of(lines) == ["c2", "c1", "c0"]
    assert {(line.line()["ranking"], line.line()["gain"]) for line in lines} == {("risk-ranked", None)}
    assert "uplift" not in {kind for kind, _ in asked}


def test_with_a_champion_check_ins_are_ranked_by_gain(database: Database, clock: ManualClock) -> None:
    ids, asked = at_risk(database), []  # type: ignore[var-annotated]
    gain_champion(database)
    lines = planner(database, clock, rescore=gains_of(ids, asked)).plan(dry_run=True)
    assert order_of(lines) == ["c1", "c0", "c2"]
    assert {line.ranking for line in lines} == {"gain-ranked"}
    assert {line.customer_id: line.gain for line in lines} == GAINS
    assert ("uplift", False) in asked


def test_the_same_gain_is_worth_more_where_more_is_at_stake(database: Database, clock: ManualClock) -> None:
    ids, asked = at_risk(database), []  # type: ignore[var-annotated]
    gain_champion(database)
    orders = metadata.tables["orders"]
    with database.write() as connection:
        connection.execute(sa.update(orders).where(orders.c.id == ids["c0"][1]).values(total=2000.0))
    lines = planner(database, clock, rescore=gains_of(ids, asked)).plan(dry_run=True)
    assert order_of(lines) == ["c0", "c1", "c2"]
    assert {line.customer_id: line.gain for line in lines} == GAINS  # what is said is the gain itself


def store_gains(database: Database, ids: dict[str, tuple[int, int]]) -> None:
    with database.write() as connection:
        for key, (customer_id, order_id) in ids.items():
            insert(
                connection, "predictions", kind="uplift", moment="now", subject=f"o-{key}", customer_id=customer_id,
                order_id=order_id, as_of=NOW, horizon_days=45, probability=GAINS[key], band="low", stage="uplift",
                model="uplift-now-45-v1", reasons=[], fragility={}, recorded_at=NOW,
            )  # fmt: skip


def test_the_days_room_goes_to_those_who_gain_and_the_card_says_so(database: Database, clock: ManualClock) -> None:
    ids = at_risk(database)
    gain_champion(database)
    store_gains(database, ids)
    small = settings_with(scheduler={"daily_capacity": 1})
    lines = planner(database, clock, small).plan()
    assert [line.customer_id for line in lines if line.decision == "suggest"] == ["c1"]
    (found,) = proposed(database)
    with database.read() as connection:
        view = build_card(found, card_facts(connection, [found.id])[found.id], small.shop.zone)
    assert view.ranking == "gain-ranked: a check-in is expected to make a good end 30 points more probable"
    assert [reason.text for reason in view.reasons] == ["The parcel is three days late."]


def test_the_card_of_a_plan_by_risk_says_so(database: Database, clock: ManualClock) -> None:
    at_risk(database)
    planner(database, clock).plan()
    with database.read() as connection:
        for found in proposed(database):
            view = build_card(found, card_facts(connection, [found.id])[found.id], settings_with().shop.zone)
            assert view.ranking == "risk-ranked"


def test_explaining_names_the_ranking_and_the_gain(database: Database, clock: ManualClock) -> None:
    ids = at_risk(database)
    plan = planner(database, clock)
    assert {(link.get("ranking"), link.get("gain")) for link in plan.explain("c1") if link["audience"] == "match"} == {
        ("risk-ranked", None)
    }
    gain_champion(database)
    store_gains(database, ids)
    (link,) = [link for link in plan.explain("c1") if link["audience"] == "match"]
    assert (link["ranking"], link["gain"]) == ("gain-ranked", 0.3)
    message = 0.7 / (0.3 * 80 + 10)  # what it costs, in what is at stake with the usual order
    assert link["worth"] == pytest.approx((0.3 - message) / 0.25, abs=1e-4)
