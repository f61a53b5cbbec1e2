"""`plan`, `playbook`, `outreach` and `report`, as scripts use them: JSON, exit status, nothing written by looking."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.cli import run
from bot.services.planning.playbooks import SHIPPED

CONFIG = """\
shop: {name: Kettle & Co, timezone: Europe/Berlin}
email: {enabled: true, outbox: outbox}
experiments: {holdout_share: 0.0}
knowledge: {dir: articles}
"""
ARTICLE = """\
---
id: late
title: Late parcels
questions: [my parcel is late, when will it arrive]
---
Parcels may take two days longer.
"""
CUSTOMERS = "customer_id,email,name,timezone\nc1,maria@mail.example,Maria Santos,Europe/Berlin\nc2,,Jo Ito,Asia/Tokyo\n"
ORDERS = (
    "order_id,customer_id,placed_at,total,promised_at\n"
    "o1,c1,2026-03-01T10:00:00,80,2026-03-07\no2,c2,2026-03-01T10:00:00,80,2026-03-07\n"
)
TOUCHPOINTS = "touchpoint_id,customer_id,order_id,kind,occurred_at\nt1,c1,o1,paid,2026-03-01T10:05:00\n"
Cli = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERCARE_NOW", "2026-03-10T12:00:00Z")
    monkeypatch.setenv("AFTERCARE_SECRET_KEY", "a long random text for tests only")
    Path("config.yaml").write_text(CONFIG)
    Path("articles").mkdir()
    Path("articles/late.md").write_text(ARTICLE)
    shop = Path("shop")
    shop.mkdir()
    for name, text in (("customers", CUSTOMERS), ("orders", ORDERS), ("touchpoints", TOUCHPOINTS)):
        (shop / f"{name}.csv").write_text(text)

    def call(*words: str) -> tuple[int, list[dict[str, Any]]]:
        status = run(words)
        out = capsys.readouterr().out
        return status, [json.loads(line) for line in out.splitlines() if line.startswith("{")]

    assert call("import", "shop")[0] == 0
    return call


def contents() -> list[str]:
    """Every row of the database, as SQL."""
    with closing(sqlite3.connect("aftercare.db")) as connection:
        return list(connection.iterdump())


def test_from_plan_to_decision_on_the_command_line(cli: Cli) -> None:
    before = contents()
    status, dry = cli("plan", "--dry-run", "--json")
    assert status == 0
    assert contents() == before
    by_customer = {line["customer_id"]: line for line in dry if line["playbook"] == "delivery_at_risk"}
    assert (by_customer["c1"]["decision"], by_customer["c1"]["order_id"]) == ("suggest", "o1")
    assert (by_customer["c2"]["decision"], by_customer["c2"]["reason"]) == ("refuse", "no_address")
    assert set(by_customer["c1"]) >= {
        "customer_id",
        "order_id",
        "playbook",
        "step",
        "arm",
        "decision",
        "reason",
        "until",
    }
    status, real = cli("plan", "--json")
    assert status == 0
    assert [(line["customer_id"], line["decision"]) for line in real] == [
        (line["customer_id"], line["decision"]) for line in dry
    ]
    _, (card,) = cli("outreach", "list", "--json")
    assert set(card) >= {
        "id", "version", "state", "customer_id", "order_id", "playbook", "step", "channel", "arm", "draft",
        "not_before", "expires_at", "refusal", "deliveries",
    }  # fmt: skip
    assert (card["state"], card["customer_id"], card["arm"], card["deliveries"]) == ("suggested", "c1", "treatment", [])
    assert card["draft"].startswith("Hello Maria")
    assert "two days longer" in card["draft"]
    assert (card["article"], by_customer["c1"]["article"]) == ("late", "late")
    assert card["draft"] == by_customer["c1"]["draft"]

    number = str(card["id"])
    status, (approved,) = cli("outreach", "approve", number, "--as", "ana", "--json")
    assert (status, approved["state"], approved["decided_by"]) == (0, "approved", "cli:ana")
    assert cli("outreach", "reject", number, "--reason", "other", "--version", "1")[0] == 4
    status, (back,) = cli("outreach", "undo", number, "--json")
    assert (status, back["state"]) == (0, "suggested")
    status, (snoozed,) = cli("outreach", "snooze", number, "--until", "2026-03-10T15:00", "--json")
    assert (status, snoozed["state"], snoozed["snoozed_until"]) == (0, "snoozed", "2026-03-10T14:00:00+00:00")
    status, (edited,) = cli("outreach", "edit", number, "--text", "Other words", "--json")
    assert (status, edited["state"], edited["draft"]) == (0, "approved", "Other words")
    assert cli("outreach", "claim", number)[0] == 4
    assert cli("outreach", "retry", number)[0] == 4
    status, (shown,) = cli("outreach", "show", number, "--json")
    assert (status, shown["version"]) == (0, edited["version"])


def test_what_people_read_names_no_address(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    cli("plan")
    for words in (["plan", "--dry-run"], ["outreach", "list"], ["outreach", "show", "1"], ["plan", "--explain", "c1"]):
        assert run(words) == 0
        out = capsys.readouterr().out
        assert out.strip()
        assert "maria@mail.example" not in out


def test_explaining_shows_each_playbook(cli: Cli) -> None:
    status, chain = cli("plan", "--explain", "c2", "--json")
    assert status == 0
    found = {link["playbook"]: link for link in chain}
    assert set(found) == {"delivery_at_risk", "how_to_start", "quiet_customer"}
    assert found["delivery_at_risk"]["reason"] == "no_address"
    assert cli("plan", "--explain", "nobody")[0] == 2


def test_playbooks_are_listed_checked_shown_and_tried_out(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    status, listed = cli("playbook", "list", "--json")
    assert (status, [one["id"] for one in listed if one["on"]]) == (
        0,
        ["delivery_at_risk", "how_to_start", "quality_pattern", "quiet_customer"],
    )
    assert len(listed) >= 14
    assert cli("playbook", "lint")[0] == 0
    assert run(["playbook", "show", "quiet_customer"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Somebody who used to order")
    Path("mine.yaml").write_text(
        text.replace("goal: keep_customer", "goal: more_money").replace("kind: churn", "kind: rain")
    )
    assert run(["playbook", "lint", "mine.yaml"]) == 2
    assert "mine.yaml:4: goal" in (errors := capsys.readouterr().err)
    assert "audience.prediction.kind" in errors
    status, rows = cli("playbook", "simulate", "delivery_at_risk", "--json")
    assert status == 0
    assert {(row["decision"], row["reason"], row["customers"]) for row in rows} == {
        ("suggest", None, 1),
        ("refuse", "no_address", 1),
    }
    assert cli("playbook", "show", "nope")[0] == 2


def test_reports_say_what_there_is_and_that_there_is_little(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    cli("plan")
    status, kpis = cli("report", "kpis", "--json")
    found = {kpi["kpi"]: kpi["value"] for kpi in kpis}
    assert (status, found["proposed"], found["approval_rate"]) == (0, 1.0, None)
    assert found["kept_back.no_address"] == 1
    assert cli("report", "lift", "--json") == (0, [])
    assert run(["report", "lift"]) == 0
    assert "No outcomes yet" in capsys.readouterr().out
    assert cli("report", "lift", "--by", "country", "--json") == (0, [])
    assert cli("report", "value", "--by", "message", "--json") == (0, [])
    assert run(["report", "value", "--by", "playbook"]) == 0
    assert "No outcomes yet" in capsys.readouterr().out
    assert run(["report", "kpis"]) == 0


def test_autonomy_is_shown_and_set_within_what_the_file_says(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    status, (record,) = cli("playbook", "autonomy", "how_to_start", "--json")
    assert (status, record["level"], record["ceiling"], record["steps"]) == (0, "approve", "approve", [])
    assert cli("playbook", "autonomy", "how_to_start", "--to", "auto")[0] == 4
    status, (record,) = cli("playbook", "autonomy", "how_to_start", "--to", "draft", "--as", "ana", "--json")
    assert (status, record["level"], record["steps"][0]["actor"]) == (0, "draft", "cli:ana")
    _, listed = cli("playbook", "list", "--json")
    assert {one["id"]: (one["autonomy"], one["level"]) for one in listed}["how_to_start"] == ("approve", "draft")
    assert run(["playbook", "show", "how_to_start"]) == 0
    assert "in force: draft" in capsys.readouterr().out
    assert run(["playbook", "autonomy", "how_to_start"]) == 0
    assert "cli:ana" in capsys.readouterr().out
    assert cli("playbook", "autonomy", "nobody")[0] == 2


def test_past_days_are_walked_without_writing_and_ways_are_moved_to_a_new_version(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents()
    status, walked = cli("playbook", "simulate", "delivery_at_risk", "--days", "3", "--json")
    assert status == 0
    steps = [(row["customer_id"], row["step"], row["decision"], row["at"][:10]) for row in walked]
    assert ("c1", "first", "suggest", "2026-03-08") in steps
    assert ("c1", "first", "end", "2026-03-08") in steps
    assert ("c2", "first", "refuse", "2026-03-10") in steps
    status, theirs = cli("playbook", "simulate", "delivery_at_risk", "--customer", "c2", "--json")
    assert (status, [row["reason"] for row in theirs]) == (0, ["no_address"])
    assert cli("playbook", "simulate", "delivery_at_risk", "--customer", "nobody")[0] == 2
    assert contents() == before
    cli("plan")
    text = Path(SHIPPED / "delivery_at_risk.yaml").read_text()
    Path("own").mkdir()
    Path("own/mine.yaml").write_text(text + "# edited\n")
    Path("config.yaml").write_text(CONFIG + "playbooks: {dir: own}\n")
    assert run(["playbook", "move", "delivery_at_risk"]) == 0
    assert capsys.readouterr().out.startswith("1 moved to version ")
    assert run(["playbook", "move", "delivery_at_risk", "--customer", "nobody"]) == 2
