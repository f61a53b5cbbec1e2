"""Training, scoring and evaluating through the tables: contracts, hashes, the gate, and nothing from the future."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.errors import ModelError, NotFound, Refused, UsageError
from bot.services.prediction import order_features
from bot.services.prediction.scoring import Scorer
from bot.store.database import Database
from bot.store.predictions import latest_predictions
from predictors.backtest import Refit
from predictors.kept import KeptHistories
from tests.integration.invented import NOW, SCORED_FROM, SCORED_TO, Shop, imported_shop, write_shop
from tests.unit.shops import START, invented_shop


@pytest.fixture(scope="module")
def imported(_migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a shop, imported once."""
    return imported_shop(_migrated_file, tmp_path_factory.mktemp("imported"))


@pytest.fixture
def shop(imported: Path, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop.copied(imported, tmp_path)
    yield shop
    shop.close()


def test_a_line_has_the_keys_of_the_contract_and_rules_score_from_the_first_day(shop: Shop) -> None:
    scored = shop.scorer.score("issue", moment="due", start=SCORED_FROM, end=SCORED_TO)
    assert scored
    line = scored[0].line()
    assert list(line) == [
        "subject", "order_id", "customer_id", "kind", "moment", "as_of", "horizon_days", "probability", "band",
        "stage", "model", "reasons", "fragility", "clears", "issue_kinds",
    ]  # fmt: skip
    assert (line["stage"], line["model"], line["kind"]) == ("rules", "rules", "issue")
    late = max(scored, key=lambda one: one.probability)
    assert late.reasons[0].text.startswith("The parcel had not arrived")
    assert late.reasons[0].effect > 0.2
    assert {one.fragility.level for one in scored} <= {"low", "medium", "high"}
    assert late.line()["clears"] == {
        "feature": late.reasons[0].feature,
        "text": late.reasons[0].text,
        "probability": pytest.approx(late.probability - late.reasons[0].effect, abs=1e-4),
    }
    assert late.line()["clears"]["probability"] < shop.settings.predictors.bands.high <= late.probability


def test_a_backtest_asks_about_every_order_whose_own_moment_lies_in_the_span_whenever_it_was_placed(shop: Shop) -> None:
    at_purchase = {
        one.order_key: one.as_of for one in shop.scorer.score("issue", moment="placed", start=START, end=NOW)
    }
    due = {one.order_key: one.as_of for one in shop.scorer.score("issue", moment="due", start=START, end=NOW)}
    asked = {one.order_key for one in shop.scorer.score("issue", moment="due", start=SCORED_FROM, end=SCORED_TO)}
    assert asked == {order for order, instant in due.items() if SCORED_FROM <= instant < SCORED_TO}
    assert any(at_purchase[order] < SCORED_FROM for order in asked & at_purchase.keys())


def test_a_learned_stage_is_promoted_scores_and_is_better_than_chance(
    sqlite_database: Database, tmp_path: Path
) -> None:
    write_shop(tmp_path, orders=1500)
    shop = Shop(sqlite_database, tmp_path)
    shop.read_files()
    reports = shop.trainer.train("issue", as_of=SCORED_FROM)
    assert [report.promoted for report in reports] == [True, True]
    due = next(report for report in reports if report.moment == "due")
    assert due.stage in ("logistic", "boosting")
    scored = shop.scorer.score("issue", moment="due", start=SCORED_FROM, end=SCORED_TO)
    assert {one.model for one in scored} == {due.name}
    # Refitted once, the prior is one number and ranks nothing.
    (evaluation,) = shop.evaluator.evaluate("issue", start=SCORED_FROM, end=SCORED_TO, moment="due", refit=Refit.ONCE)
    line = evaluation.line()
    assert list(line) == ["kind", "moment", "n", "positives", "models", "differences", "refits", "verdict"]
    assert {"aftercare", "base_rate", "rules", "late_by_due", "logistic"} <= set(line["models"])
    auc = {name: values["auc"]["value"] for name, values in line["models"].items()}
    assert auc["aftercare"] > 0.75
    assert auc["base_rate"] == pytest.approx(0.5)
    assert line["models"]["aftercare"]["brier"]["value"] < line["models"]["base_rate"]["brier"]["value"]


def test_an_altered_model_file_is_refused_before_it_is_opened(shop: Shop) -> None:
    report = shop.trainer.train("issue", moment="due", as_of=SCORED_FROM)[0]
    file = shop.folder / "models" / f"{report.name}.joblib"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ModelError, match="altered"):
        shop.scorer.score("issue", moment="due", start=SCORED_FROM, end=SCORED_TO)


def test_scoring_again_confirms_the_same_predictions(shop: Shop) -> None:
    at = SCORED_TO

    def stored() -> dict[str, int]:
        with shop.database.read() as connection:
            return {row.subject: row.id for row in latest_predictions(connection, "issue", until=at)}

    first = shop.scorer.score("issue", as_of=at)
    kept = stored()
    assert first == shop.scorer.score("issue", as_of=at)
    assert kept == stored()
    assert kept.keys() == {one.subject for one in first}
    assert {one.moment for one in first} == {"placed", "due"}


def test_one_order_is_scored_on_demand(shop: Shop) -> None:
    (one,) = shop.scorer.score("issue", order_id="899", as_of=START + timedelta(days=200))
    assert one.order_key == "899"
    with pytest.raises(NotFound, match="no order"):
        shop.scorer.score("issue", order_id="nothing")


@pytest.mark.parametrize(("renewed_at_most", "readings"), [(2000, 1), (10, 2)])
def test_one_order_is_scored_as_among_all_others_also_once_there_is_news(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, renewed_at_most: int, readings: int
) -> None:
    at = START + timedelta(days=185)
    monkeypatch.setattr(order_features, "RENEWED_AT_MOST", renewed_at_most)
    read: list[KeptHistories] = []
    monkeypatch.setattr(order_features, "KeptHistories", lambda facts: read.append(KeptHistories(facts)) or read[-1])

    def among_all() -> dict[str, dict[str, Any]]:
        fresh = Scorer(shop.database, shop.clock, shop.settings)
        return {one.line()["order_id"]: one.line() for one in fresh.score("issue", as_of=at, save=False)}

    before = among_all()
    chosen = list(before)[::40]
    for order in chosen:
        (one,) = shop.scorer.score("issue", order_id=order, as_of=at, save=False)
        assert one.line() == before[order]
    # Now everybody turns out to have complained, and what is kept must not answer any more.
    with (shop.folder / "touchpoints.csv").open("a", newline="") as file:
        for order in range(880):
            when = (START + timedelta(days=60, minutes=order)).isoformat()
            file.write(f"new-{order},{order % 451},{order},complaint,{when},{when},\n")
    shop.read_files()
    after = among_all()
    assert any(before[order]["probability"] != after[order]["probability"] for order in chosen)
    for order in chosen:
        (one,) = shop.scorer.score("issue", order_id=order, as_of=at, save=False)
        assert one.line() == after[order]
    assert len(read) == readings


def test_stored_predictions_say_what_their_lines_say(shop: Shop) -> None:
    scored = {one.subject: one for one in shop.scorer.score("issue", moment="due", as_of=SCORED_TO)}
    with shop.database.read() as connection:
        rows = {row.subject: row for row in latest_predictions(connection, "issue", until=SCORED_TO)}
    assert rows.keys() == scored.keys()
    for subject, row in rows.items():
        one = scored[subject]
        assert row.reasons == one.line()["reasons"]
        assert row.fragility == one.line()["fragility"]
        assert (row.probability, row.band, row.stage, row.model) == (one.probability, one.band, one.stage, one.model)
        assert (row.customer_id, row.order_id, row.as_of) == (one.customer_id, one.order_id, one.as_of)
        assert (row.recorded_at, row.horizon_days, row.model_version_id) == (SCORED_TO, 20, None)
    assert any(len(row.reasons) > 1 for row in rows.values())


def test_every_customer_with_an_order_gets_a_churn_prediction(shop: Shop) -> None:
    report = shop.trainer.train("churn", as_of=SCORED_FROM, horizon_days=30)[0]
    scored = shop.scorer.score("churn", as_of=SCORED_FROM, horizon_days=30)
    rows = invented_shop(900, seed=3)
    expected = {str(row["customer_id"]) for row in rows["orders"] if row["recorded_at"] <= SCORED_FROM}
    assert {one.customer_key for one in scored} == expected
    assert {one.model for one in scored} == {report.name}
    assert all(0 <= one.probability <= 1 for one in scored)


def test_uplift_says_that_it_is_locked(shop: Shop) -> None:
    with pytest.raises(Refused, match="locked"):
        shop.scorer.score("uplift")


def test_arguments_that_do_not_fit_are_named(shop: Shop) -> None:
    with pytest.raises(UsageError, match="--to"):
        shop.scorer.score("issue", start=SCORED_FROM)
    with pytest.raises(UsageError, match="before"):
        shop.scorer.score("issue", start=SCORED_TO, end=SCORED_FROM)


@pytest.mark.parametrize("moment", ["placed", "due"])
def test_what_the_shop_says_later_changes_no_prediction_of_the_past(shop: Shop, moment: str) -> None:
    shop.trainer.train("issue", moment=moment, as_of=SCORED_FROM)
    before = shop.backtest(moment)
    # Much later the shop sends other content for everything, and orders and complaints that nobody had heard of.
    rows = {
        name: list(csv.reader((shop.folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
        for name in ("customers", "orders", "order_lines", "products")
    }
    for name, table in rows.items():
        columns = {"customers": 2, "orders": 4, "order_lines": 3, "products": 1}
        for row in table[1:]:
            row[columns[name]] = "7777" if name == "orders" else "changed"
            if name == "orders":
                row[3] = (datetime.fromisoformat(row[3]) + timedelta(days=9)).isoformat()
                row[5] = "cancelled"
        with (shop.folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(table)
    with (shop.folder / "touchpoints.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["touchpoint_id", "customer_id", "order_id", "kind", "occurred_at", "recorded_at", "value"])
        for order in range(900):
            writer.writerow([f"later-{order}", order % 451, order, "complaint", START.isoformat(), NOW.isoformat(), ""])
    shop.clock.advance(timedelta(days=1))
    shop.read_files()
    assert shop.backtest(moment) == before
