"""Uplift from outcomes of experiments: locked with the counts, then learned, kept and scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from bot.cli import run
from bot.errors import NotFound, Refused, UsageError
from bot.services.prediction.experience import observed_outcomes
from bot.store.database import Database
from bot.store.experiments import first_outcomes
from bot.store.models import list_models
from bot.store.tables import metadata
from tests.integration.invented import NOW, Shop, imported_shop, write_shop
from tests.unit.shops import START, invented_shop

ORDERS = 1600

HORIZON = 20
SEEN = START + timedelta(days=190)


@pytest.fixture(scope="module")
def imported(_migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a shop, imported once."""
    return imported_shop(_migrated_file, tmp_path_factory.mktemp("imported"), orders=ORDERS)


@pytest.fixture
def shop(imported: Path, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop.copied(imported, tmp_path)
    yield shop
    shop.close()


def observe(
    database: Database, arms: Sequence[str], orders_of_shop: int = ORDERS, propensities: Sequence[float] | None = None
) -> None:
    """Write down the outcome of each customer's first order: a check-in helps where the parcel came late only.

    `propensities` are of the arms that were drawn; without them each is .5.
    """
    rows = invented_shop(orders_of_shop, seed=3)
    points = {(row["order_id"], row["kind"]): row["occurred_at"] for row in rows["touchpoints"]}
    rng = np.random.default_rng(11)
    tables = metadata.tables
    with database.write() as connection:
        orders = tables["orders"].c
        ours = {
            int(row.external_id): row
            for row in connection.execute(sa.select(orders.id, orders.customer_id, orders.external_id))
        }
        for number, arm in enumerate(arms):
            order, drawn_at = ours[number], rows["orders"][number]["promised_at"] + timedelta(days=1)
            late = points[number, "delivered"] > drawn_at
            contacted = arm != "holdout"
            bad = rng.random() < (0.8 if late and not contacted else 0.2)
            key = {"customer_id": order.customer_id, "playbook": "delivery_at_risk", "arm": arm}
            key["propensity"] = 0.5 if propensities is None else propensities[number]
            assignment = connection.execute(
                sa.insert(tables["assignments"])
                .values(**key, experiment="delivery_at_risk", salt="s", drawn_at=drawn_at)
                .returning(tables["assignments"].c.id)
            ).scalar_one()
            ends = drawn_at + timedelta(days=HORIZON)
            outcome = {
                "kind": "issue", "subject": f"assignment:{assignment}", "order_id": order.id, "treated": contacted,
                "assignment_id": assignment, "anchor_at": drawn_at, "horizon_days": HORIZON, "value": float(bad),
                "observed_at": ends, "recorded_at": ends,
            }  # fmt: skip
            connection.execute(sa.insert(tables["outcomes"]).values(**key, **outcome))


def mixed(treated: int, holdout: int) -> list[str]:
    arms = ["treatment"] * treated + ["holdout"] * holdout
    return [str(arm) for arm in np.random.default_rng(5).permutation(arms)]


def test_below_the_stated_number_it_is_locked_and_says_what_is_missing(shop: Shop) -> None:
    observe(shop.database, mixed(320, 299))
    for attempt in (shop.trainer.train, shop.scorer.score):
        with pytest.raises(Refused, match=r"locked.* 320 customers .* 299 held out .* needs 300 of each"):
            attempt("uplift")
    assert shop.promoter.list_models() == []


def test_with_enough_outcomes_it_learns_who_gains(shop: Shop) -> None:
    observe(shop.database, mixed(380, 380))
    with pytest.raises(Refused, match="run `aftercare train --kind uplift`"):
        shop.scorer.score("uplift")
    (report,) = shop.trainer.train("uplift")
    assert (report.name, report.stage, report.promoted, report.rows) == ("uplift-now-20-v1", "uplift", True, 760)
    assert (report.metrics["contacted"], report.metrics["holdout"]) == (380, 380)
    assert report.metrics["issue_rate_contacted"] < report.metrics["issue_rate_holdout"]

    scored = shop.scorer.score("uplift", as_of=SEEN)
    assert {one.model for one in scored} == {report.name}
    assert all(-1 <= one.probability <= 1 for one in scored)
    assert all(one.as_of == SEEN and one.moment == "now" for one in scored)
    stored = metadata.tables["predictions"].c
    with shop.database.read() as connection:
        kept = connection.scalars(sa.select(stored.probability).where(stored.kind == "uplift")).all()
    assert sorted(kept) == pytest.approx(sorted(one.probability for one in scored))
    points = {
        (str(row["order_id"]), row["kind"]): row["occurred_at"] for row in invented_shop(ORDERS, seed=3)["touchpoints"]
    }
    gains: dict[bool, list[float]] = {True: [], False: []}
    for one in scored:
        promise_over = one.as_of - timedelta(days=8)
        placed = points[str(one.order_key), "paid"]
        if placed < promise_over:
            gains[points[str(one.order_key), "delivered"] > SEEN].append(one.probability)
    assert gains[True]
    assert np.mean(gains[True]) > np.mean(gains[False]) + 0.1
    best = max(scored, key=lambda one: one.probability)
    assert best.reasons
    assert {name for name, _ in best.fragility.shocks} == {"two days later", "one more complaint"}

    (one,) = shop.scorer.score("uplift", order_id="3")
    assert one.order_key == "3"
    with pytest.raises(NotFound):
        shop.scorer.score("uplift", order_id="nothing")
    with pytest.raises(UsageError, match="--as-of"):
        shop.scorer.score("uplift", moment="due")
    with pytest.raises(UsageError, match="moment"):
        shop.trainer.train("uplift", moment="due")


def test_the_stored_propensities_reach_the_model_and_certain_contacts_do_not(shop: Shop) -> None:
    arms = mixed(400, 320)
    told = [0.8 if arm == "treatment" else 0.2 for arm in arms]
    certain = [number for number, arm in enumerate(arms) if arm == "treatment"][:40]
    for number in certain:
        told[number] = 1.0  # nobody could be held out: nothing to compare
    observe(shop.database, arms, propensities=told)
    seen = observed_outcomes(shop.database, HORIZON, NOW)
    assert seen["contacted"].value_counts(sort=True)["count"].to_list() == [360, 320]
    assert seen["propensity"].unique().to_list() == [0.8]
    (report,) = shop.trainer.train("uplift")
    assert report.metrics["propensities"] == [0.8]
    assert report.rows == 680
    found = report.metrics["ranking"]["qini"]
    assert found["low"] < found["value"] < found["high"]


def test_a_retrain_on_fewer_outcomes_is_kept_out(shop: Shop) -> None:
    observe(shop.database, mixed(400, 400))
    with pytest.raises(Refused, match="locked"):
        shop.trainer.train("uplift", as_of=START + timedelta(days=60))  # most were not known yet
    first, second = (shop.trainer.train("uplift")[0] for _ in range(2))
    assert (second.promoted, second.previous) == (True, first.name)
    (fewer,) = shop.trainer.train("uplift", as_of=START + timedelta(days=122))
    assert (fewer.promoted, fewer.previous) == (False, second.name)
    assert fewer.rows < second.rows
    with shop.database.read() as connection:
        assert {one.name for one in list_models(connection) if one.status.value == "champion"} == {second.name}


def test_the_command_ends_with_4_while_locked(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("shop: {timezone: UTC}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERCARE_NOW", NOW.isoformat())
    for command in ("train", "score"):
        assert run([command, "--kind", "uplift", "--json"]) == 4
        said = capsys.readouterr()
        assert said.out == ""
        assert "0 customers drawn to be contacted and of 0 held out" in said.err
        assert "300 of each" in said.err


def test_each_customer_counts_once_as_of_an_instant_on_both_engines(database: Database, tmp_path: Path) -> None:
    write_shop(tmp_path, orders=12)
    shop = Shop(database, tmp_path)
    shop.read_files()
    observe(database, ["treatment", "holdout", "treatment", "holdout"], 12)
    drawn = [row["promised_at"] + timedelta(days=1) for row in invented_shop(12, seed=3)["orders"]]
    table = metadata.tables["outcomes"]
    with database.write() as connection:
        first = connection.execute(sa.select(table).order_by(table.c.id)).first()
        assert first is not None
        again = {
            **first._mapping,
            "subject": "assignment:later",
            "anchor_at": drawn[0] + timedelta(days=9),
            "arm": "holdout",
        }
        churn = {**first._mapping, "kind": "churn"}
        longer = {**first._mapping, "horizon_days": 45, "subject": "other"}
        for row in (again, churn, longer):
            del row["id"]
            connection.execute(sa.insert(table).values(**row))

    def seen(until: Any) -> list[tuple[str, Any]]:
        with database.read() as connection:
            return [(one.arm, one.anchor_at) for one in first_outcomes(connection, "issue", HORIZON, until)]

    everything = list(zip(["treatment", "holdout", "treatment", "holdout"], drawn[:4], strict=True))
    assert seen(NOW + timedelta(days=999)) == everything
    assert seen(drawn[1] + timedelta(days=HORIZON)) == everything[:2]
