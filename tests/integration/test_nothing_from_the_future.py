"""Through the real importer and the real tables: what is recorded after an order's moment changes no prediction of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.importing.importer import Importer
from bot.services.prediction.scoring import Scorer
from bot.store import models, promotions
from bot.store.database import Database, open_database
from bot.store.enums import ModelStatus, PromotionWay
from bot.store.tables import metadata
from predictors.issue import LogisticModel
from predictors.labels import LabelledBy
from predictors.learning_rows import labelled_rows
from predictors.model import Stage, TrainedModel
from predictors.moments import Moment
from predictors.registry import save_model
from predictors.training import train_issue
from tests.integration.invented import NOW, write_rows
from tests.unit.shops import START, Rows, invented_shop, snapshot

ORDERS = 160
DAY = timedelta(days=1)
LATER_KINDS = ("delivered", "cancelled", "review", "complaint", "refunded", "exception", "paid", "shipped")
Lines = list[dict[str, Any]]


@cache
def learned(moment: Moment) -> TrainedModel:
    """A model that uses every feature, learned from another shop."""
    seen = snapshot(invented_shop(900, seed=7), START + 200 * DAY)
    rows = labelled_rows(seen, moment, horizon_days=45, due_days=14, mode=LabelledBy.ALL)
    model = train_issue(seen, moment).model
    estimator = LogisticModel().fit(rows.X, rows.target)
    return replace(model, stage=Stage.LOGISTIC, estimator=estimator, features=tuple(rows.features))


def promote(database: Database, folder: Path, moment: Moment) -> None:
    model = learned(moment)
    path, sha256, manifest = save_model(model, folder, f"learned-{moment.value}", {})
    with database.write() as connection:
        stored = models.add_model(
            connection,
            models.ModelVersion(
                id=0, name=path.stem, kind="issue", moment=moment.value, horizon_days=45, version=1, stage="logistic",
                path=path.name, sha256=sha256, trained_as_of=START, created_at=START, metrics={}, manifest=manifest,
                status=ModelStatus.CHALLENGER,
            ),
        )  # fmt: skip
        assert promotions.promote(
            connection, stored, seen=None, below=None, way=PromotionWay.FIRST, actor="system", reason="test", now=START
        )


def empty(database: Database) -> None:
    with database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))


def score(
    database: Database, folder: Path, moment: Moment, versions: list[tuple[Rows, datetime]], cut: datetime
) -> Lines:
    """Import each version of the shop at its time; return the backtest of the weeks before the cut."""
    empty(database)
    home = Settings(home=folder)
    clock = ManualClock(START)
    for rows, at in versions:
        clock.set(at)
        write_rows(folder, rows)
        reports = Importer(database, clock, home).import_paths(sorted(folder.glob("*.csv")), rejects=folder / "rejects")
        assert sum(report.rejected for report in reports) == 0
    clock.set(NOW)
    promote(database, folder / "models", moment)
    scored = Scorer(database, clock, home).score("issue", moment=moment.value, start=cut - 40 * DAY, end=cut)
    return sorted((one.line() for one in scored), key=lambda line: str(line["order_id"]))


def known_by(rows: Rows, cut: datetime) -> Rows:
    return {name: [row for row in of_table if row["recorded_at"] <= cut] for name, of_table in rows.items()}


def told_otherwise(rows: Rows, cut: datetime, luck: Random) -> Rows:
    """What the shop says after the cut: old entities changed, later rows changed or never there, and new ones."""
    later = copy.deepcopy(rows)
    for name, column in (("customers", "region"), ("products", "category"), ("order_lines", "seller_id")):
        for row in later[name]:
            if luck.random() < 0.5:
                row[column] = luck.choice(["changed", "other"])
    for row in later["order_lines"]:
        row["unit_price"] *= luck.choice([1.0, 9.0])
    orders = []
    for row in later["orders"]:
        if row["recorded_at"] > cut and luck.random() < 0.4:
            continue
        row["status"] = luck.choice(["", "cancelled", "delivered"])
        row["promised_at"] += luck.choice([0, 0, 9, -3]) * DAY
        row["total"] *= luck.choice([1.0, 50.0])
        orders.append(row)
    later["orders"] = orders
    kept = {row["order_id"]: row for row in orders}
    later["order_lines"] = [row for row in later["order_lines"] if row["order_id"] in kept]
    points = []
    for row in later["touchpoints"]:
        if row["order_id"] not in kept or (row["recorded_at"] > cut and luck.random() < 0.4):
            continue
        if row["recorded_at"] > cut and luck.random() < 0.4:
            row["kind"], row["value"] = luck.choice(LATER_KINDS), 1.0
        points.append(row)
    for number, order in enumerate(luck.sample(orders, 40)):
        points.append(
            {
                "touchpoint_id": 100_000 + number,
                "customer_id": order["customer_id"],
                "order_id": order["order_id"],
                "kind": luck.choice(LATER_KINDS),
                "occurred_at": order["placed_at"] + timedelta(hours=luck.randint(0, 200)),  # often before the moment
                "recorded_at": cut + timedelta(hours=luck.randint(1, 400)),
                "value": 1.0,
            }
        )
    later["touchpoints"] = points
    return later


@pytest.mark.parametrize("moment", [Moment.PLACED, Moment.DUE])
@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(days=st.integers(50, 190), seed=st.integers(0, 2**32))
def test_what_the_importer_brings_after_the_moment_changes_no_prediction(
    database: Database, tmp_path: Path, moment: Moment, days: int, seed: int
) -> None:
    rows, cut = invented_shop(ORDERS, seed=3), START + days * DAY
    whole = score(database, tmp_path, moment, [(rows, NOW)], cut)
    told = [(known_by(rows, cut), cut), (told_otherwise(rows, cut, Random(seed)), cut + DAY)]
    assert score(database, tmp_path, moment, told, cut) == whole
    assert whole


def test_the_same_change_before_the_moment_does_change_predictions(database: Database, tmp_path: Path) -> None:
    """The counterpart of the property: these rows do reach predictions when they are recorded in time."""
    rows, cut = invented_shop(ORDERS, seed=3), START + 120 * DAY
    whole = score(database, tmp_path, Moment.DUE, [(rows, NOW)], cut)
    early = cut - 60 * DAY
    told = [(known_by(rows, early), early), (told_otherwise(rows, early, Random(1)), early + DAY)]
    assert score(database, tmp_path, Moment.DUE, told, cut) != whole


@pytest.mark.peer
@pytest.mark.parametrize("moment", [Moment.PLACED, Moment.DUE])
def test_both_engines_predict_the_same(sqlite_url: str, postgres_url: str, tmp_path: Path, moment: Moment) -> None:
    rows, cut = invented_shop(ORDERS, seed=3), START + 120 * DAY
    told = [(known_by(rows, cut), cut), (told_otherwise(rows, cut, Random(2)), cut + DAY)]
    found = []
    for url in (sqlite_url, postgres_url):
        database = open_database(url)
        found.append(score(database, tmp_path, moment, told, cut))
        database.close()
    assert found[0] == found[1]
    assert found[0]
