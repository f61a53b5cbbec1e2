"""`train`, `score`, `evaluate` and `models`, as scripts use them: exact keys, exit statuses, every option."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.cli import run
from tests.integration.invented import NOW, write_shop
from tests.unit.shops import START, invented_shop

# So many that a model learned at purchase.
ORDERS = 1500
ZONE = ZoneInfo("America/Sao_Paulo")
CONFIG = """\
shop: {timezone: America/Sao_Paulo}
predictors: {issue: {horizon_days: 20}, churn: {horizon_days: 30}}
"""
SCORE_KEYS = [
    "subject", "order_id", "customer_id", "kind", "moment", "as_of", "horizon_days", "probability", "band", "stage",
    "model", "reasons", "fragility", "clears", "issue_kinds",
]  # fmt: skip
TRAIN_KEYS = [
    "model", "kind", "moment", "horizon_days", "stage", "promoted", "reason", "previous", "rows", "positives",
    "trained_as_of", "metrics",
]  # fmt: skip
MODEL_KEYS = [
    "model", "kind", "moment", "horizon_days", "version", "status", "stage", "sha256", "trained_as_of", "metrics",
]  # fmt: skip
FROM, TO = ((START + timedelta(days=days)).date() for days in (150, 170))
# So early that no later outcome is there to judge a challenger by.
TOO_EARLY = (START + timedelta(days=25)).date()
SPAN = f"--from {FROM} --to {TO}"
TRAINED = "trained.jsonl"
Cli = Callable[[str], tuple[int, list[dict[str, Any]], str]]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shop, imported once."""
    home = tmp_path_factory.mktemp("imported")
    (home / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (home / "shop").mkdir()
    write_shop(home / "shop", orders=ORDERS)
    assert _run(home, ["import", "shop"]) == 0
    return home


@pytest.fixture(scope="module")
def trained(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same shop with the first models of both kinds, and what their training printed in `TRAINED`."""
    home = shutil.copytree(imported, tmp_path_factory.mktemp("trained") / "home")
    with redirect_stdout(io.StringIO()) as printed:
        assert _run(home, ["train", "--as-of", str(FROM), "--json"]) == 0
    (home / TRAINED).write_text(printed.getvalue(), encoding="utf-8")
    return home


@pytest.fixture
def first_day(imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line of a shop that has trained nothing."""
    return _cli(shutil.copytree(imported, tmp_path / "home"), capsys)


@pytest.fixture
def cli(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line of a shop with champions."""
    return _cli(shutil.copytree(trained, tmp_path / "home"), capsys)


def _run(home: Path, words: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("AFTERCARE_NOW", NOW.isoformat())
        return run(words)


def _cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(line: str) -> tuple[int, list[dict[str, Any]], str]:
        capsys.readouterr()
        status = _run(home, line.split())
        printed = capsys.readouterr()
        found = [json.loads(row) for row in printed.out.splitlines()] if "--json" in line else []
        return status, found, printed.out + printed.err

    return call


def assert_score_line(line: dict[str, Any]) -> None:
    assert list(line) == SCORE_KEYS
    assert 0 <= line["probability"] <= 1
    assert line["band"] in ("low", "medium", "high")
    assert all(list(reason) == ["feature", "text", "effect"] for reason in line["reasons"])
    assert list(line["fragility"]) == ["level", "shocks", "text"]
    assert all(list(shock) == ["shock", "probability"] for shock in line["fragility"]["shocks"])


# --- train -------------------------------------------------------------------------------------------


def test_training_makes_a_champion_of_each_kind_and_moment(trained: Path, cli: Cli) -> None:
    lines = [json.loads(line) for line in (trained / TRAINED).read_text(encoding="utf-8").splitlines()]
    assert [list(line) for line in lines] == [TRAIN_KEYS] * 3
    assert [(line["kind"], line["moment"], line["horizon_days"]) for line in lines] == [
        ("issue", "placed", 20), ("issue", "due", 20), ("churn", "now", 30),
    ]  # fmt: skip
    midnight = datetime.combine(FROM, time(0), ZONE)
    assert {(line["promoted"], datetime.fromisoformat(line["trained_as_of"])) for line in lines} == {(True, midnight)}
    _, models, _ = cli("models list --json")
    assert [list(model) for model in models] == [MODEL_KEYS] * 3
    assert {model["status"] for model in models} == {"champion"}
    assert all(len(model["sha256"]) == 64 for model in models)


def test_only_the_kind_moment_and_horizon_asked_for_are_trained(first_day: Cli) -> None:
    status, (line,), _ = first_day(f"train --kind issue --moment due --horizon-days 10 --as-of {FROM} --json")
    assert (status, line["model"], line["horizon_days"]) == (0, "issue-due-10-v1", 10)
    status, (line,), _ = first_day(f"train --kind churn --as-of {FROM} --json")
    assert (status, line["model"]) == (0, "churn-now-30-v1")


@pytest.mark.parametrize("what", ["--kind issue --moment placed", "--kind churn"])
def test_a_challenger_that_the_gate_keeps_out_ends_with_4_and_the_old_one_scores_on(cli: Cli, what: str) -> None:
    status, (line,), said = cli(f"train {what} --as-of {TOO_EARLY} --json")
    assert (status, line["promoted"], line["previous"]) == (4, False, line["model"].replace("-v2", "-v1"))
    assert f"{line['model']} was not promoted" in said
    _, models, _ = cli("models list --json")
    statuses = {model["model"]: model["status"] for model in models}
    assert (statuses[line["model"]], statuses[line["previous"]]) == ("challenger", "champion")


def test_a_champion_that_learned_nothing_is_replaced_by_the_next(first_day: Cli) -> None:
    """In the shop's first weeks there is nothing to learn from, and a retrain of the rules loses nothing."""
    for day in (TOO_EARLY, TOO_EARLY + timedelta(days=1)):
        status, (line,), _ = first_day(f"train --kind issue --moment due --as-of {day} --json")
        assert (status, line["promoted"], line["stage"]) == (0, True, "rules")
    assert "had learned nothing" in line["reason"]


# --- score -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["placed", "due"])
def test_a_backtest_scores_each_order_at_its_own_moment_in_the_half_open_span(cli: Cli, moment: str) -> None:
    status, lines, _ = cli(f"score --moment {moment} {SPAN} --json")
    assert status == 0
    start, end = (datetime.combine(day, time(0), ZONE) for day in (FROM, TO))
    for line in lines:
        assert_score_line(line)
        assert start <= datetime.fromisoformat(line["as_of"]) < end
        assert (line["kind"], line["moment"], line["horizon_days"]) == ("issue", moment, 20)
        assert line["subject"] == line["order_id"]
        assert line["model"] == f"issue-{moment}-20-v1"
    placed = {str(row["order_id"]): row["placed_at"] for row in invented_shop(ORDERS, seed=3)["orders"]}
    within = {key for key, at in placed.items() if start <= at < end}
    found = {line["order_id"] for line in lines}
    assert len(found) == len(lines)
    if moment == "placed":
        assert found == within
    else:  # what counts is when an order falls due, not when it was placed
        assert found - within
        assert within - found


def test_a_backtest_of_both_moments_is_the_two_together(cli: Cli) -> None:
    both = cli(f"score {SPAN} --json")[1]
    apart = [line for moment in ("placed", "due") for line in cli(f"score --moment {moment} {SPAN} --json")[1]]
    assert both == apart


def test_rules_score_before_anything_was_trained(first_day: Cli) -> None:
    lines = first_day(f"score {SPAN} --json")[1]
    assert {(line["stage"], line["model"]) for line in lines} == {("rules", "rules")}
    churn = first_day(f"score --kind churn --as-of {TO} --json")[1]
    assert {(line["stage"], line["model"]) for line in churn} == {("bgnbd", "untrained")}


def test_as_of_scores_all_that_is_recent_then_at_the_later_moment_that_has_passed(cli: Cli) -> None:
    status, lines, _ = cli(f"score --as-of {TO} --json")
    assert status == 0
    until = datetime.combine(TO, time(0), ZONE)
    for line in lines:
        assert_score_line(line)
        assert datetime.fromisoformat(line["as_of"]) <= until
    assert {line["moment"] for line in lines} == {"placed", "due"}
    assert len({line["order_id"] for line in lines}) == len(lines)
    only = cli(f"score --as-of {TO} --moment due --json")[1]
    assert only == [line for line in lines if line["moment"] == "due"]


def test_one_order_is_scored_however_old(cli: Cli) -> None:
    status, (line,), _ = cli("score --order 420 --moment placed --json")
    assert (status, line["order_id"], line["customer_id"]) == (0, "420", str(420 % (ORDERS // 2 + 1)))
    assert_score_line(line)
    assert cli("score --order nothing --json")[0] == 2
    assert cli(f"score --order 420 --as-of {TOO_EARLY} --json")[0] == 2  # nobody had heard of it then


def test_an_order_that_is_not_due_yet_is_refused(cli: Cli) -> None:
    placed = next(row["placed_at"] for row in invented_shop(ORDERS, seed=3)["orders"] if row["order_id"] == 420)
    hour_later = (placed + timedelta(hours=1)).isoformat()
    status, _, said = cli(f"score --order 420 --moment due --as-of {hour_later}")
    assert status == 4
    assert "not due yet" in said
    assert cli(f"score --order 420 --as-of {hour_later} --json")[1][0]["moment"] == "placed"


def test_churn_is_scored_for_every_customer_with_an_order(cli: Cli) -> None:
    status, lines, _ = cli(f"score --kind churn --as-of {FROM} --json")
    assert status == 0
    for line in lines:
        assert_score_line(line)
        assert (line["subject"], line["order_id"], line["moment"]) == (line["customer_id"], None, "now")
    until = datetime.combine(FROM, time(0), ZONE)
    rows = invented_shop(ORDERS, seed=3)["orders"]
    assert {line["customer_id"] for line in lines} == {
        str(row["customer_id"]) for row in rows if row["placed_at"] <= until
    }


def test_people_read_a_table_of_the_highest(cli: Cli) -> None:
    status, _, said = cli(f"score {SPAN} --moment due --limit 3")
    assert status == 0
    assert "the 3 highest of" in said
    assert "issue-due-20-v1" in said


@pytest.mark.parametrize(
    "line",
    [
        "score --from yesterday --to 2026-06-01",
        "score --as-of 2026-13-01",
        "score --from 2026-06-01",
        "score --to 2026-06-01",
        "score --from 2026-06-02 --to 2026-06-01",
        "score --from 2026-06-01 --to 2026-06-01",
        "score --from 2026-06-01 --to 2026-06-02 --as-of 2026-06-01",
        "score --kind churn --moment due",
        "score --kind churn --order 1",
        "score --kind weather",
        "score --moment later",
        "score --horizon-days 0",
        "train --as-of soon",
        "train --moment now",
        "evaluate issue --from 2026-06-01",
        "evaluate issue --from 2026-06-02 --to 2026-06-01",
        "evaluate issue --from x --to 2026-06-01",
        "evaluate uplift --from 2026-06-01 --to 2026-06-02",
        "evaluate issue --from 2026-06-01 --to 2026-06-01",
        "evaluate churn --from 2026-06-01 --to 2026-07-01 --moment due",
        "evaluate issue --from 2026-06-01 --to 2026-07-01 --refit never",
        "evaluate issue --from 2026-06-01 --to 2026-07-01 --report nowhere/page.html",
        "models show nothing",
        "models promote nothing",
        "models rollback --kind churn --moment due",
    ],
)
def test_what_does_not_fit_is_a_usage_error(imported: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    status, _, said = _cli(imported, capsys)(line)
    assert status == 2
    assert "Traceback" not in said
    assert said.strip()


# --- evaluate ----------------------------------------------------------------------------------------


def test_evaluating_puts_our_model_beside_baselines_with_intervals(first_day: Cli) -> None:
    status, lines, _ = first_day(f"evaluate issue {SPAN} --moment due --json")
    assert status == 0
    (line,) = lines
    assert list(line) == ["kind", "moment", "n", "positives", "models", "differences", "refits", "verdict"]
    assert (line["kind"], line["moment"]) == ("issue", "due")
    assert 0 < line["positives"] < line["n"]
    assert set(line["models"]) >= {"aftercare", "base_rate", "rules", "late_by_due"}
    assert set(line["differences"]) == set(line["models"]) - {"aftercare"}
    for metrics in line["models"].values():
        assert set(metrics) >= {"auc", "average_precision", "brier", "ece"}
        assert all(list(values) == ["value", "low", "high"] for values in metrics.values())
    auc = line["models"]["aftercare"]["auc"]
    assert auc["low"] <= auc["value"] <= auc["high"]
    assert first_day("models list --json")[1] == []


def test_churn_is_evaluated_over_the_span(first_day: Cli) -> None:
    status, (line,), _ = first_day(f"evaluate churn --from {FROM} --to {FROM + timedelta(days=40)} --json")
    assert (status, line["kind"], line["moment"]) == (0, "churn", "now")
    assert set(line["models"]) >= {"aftercare"}


def test_a_span_without_known_outcomes_is_refused(first_day: Cli) -> None:
    status, _, said = first_day("evaluate issue --from 2027-01-01 --to 2027-02-01")
    assert status == 4
    assert "future" in said
    assert "--from" in said


# --- models ------------------------------------------------------------------------------------------


def test_a_model_is_shown_promoted_and_rolled_back(cli: Cli) -> None:
    assert cli("models rollback --kind issue --moment placed")[0] == 4  # there is none before it
    assert cli(f"train --kind issue --moment placed --as-of {TOO_EARLY}")[0] == 4
    status, (shown,), _ = cli("models show issue-placed-20-v2 --json")
    assert (status, list(shown)) == (0, [*MODEL_KEYS, "manifest"])
    assert shown["manifest"]["sha256"] == shown["sha256"]
    assert '"trained_as_of"' in cli("models show issue-placed-20-v2")[2]

    def scoring() -> set[str]:
        return {line["model"] for line in cli(f"score {SPAN} --moment placed --json")[1]}

    assert scoring() == {"issue-placed-20-v1"}
    assert cli("models promote issue-placed-20-v2")[0] == 0  # by hand, whatever the gate said
    assert scoring() == {"issue-placed-20-v2"}
    assert cli("models rollback --kind issue --moment placed")[0] == 0
    assert scoring() == {"issue-placed-20-v1"}
    status, _, said = cli("models list")
    assert status == 0
    assert "champion" in said
