"""`report value`: what customers are worth and how much of it is at risk, as a script and a reader meet it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.cli import run
from tests.unit.buyers import DAYS, UNTIL, order, repeat_orders

CONFIG = "shop: {timezone: UTC, currency: EUR}\npredictors: {churn: {horizon_days: 40}}\n"
ASKED = ["as_of", "horizon_days", "risk_days", "yearly_discount", "model"]
SEGMENT = [
    "row", "segment", "band", "currency", "customers", "expected_purchases", "expected_value", "churn_probability",
    "value_at_risk", *ASKED,
]  # fmt: skip
CUSTOMER = [
    "row", "customer_id", "source", "segment", "band", "currency", "purchases", "last_bought_at", "alive",
    "expected_purchases", "expected_order_value", "expected_value", "churn_probability", "value_at_risk",
    "next_order_at", *ASKED,
]  # fmt: skip
Report = Callable[[str], tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def report(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[dict[str, Any]]], Report]:
    """Import orders and return the command on them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERCARE_NOW", UNTIL.isoformat())
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")

    def imported(orders: list[dict[str, Any]]) -> Report:
        with (tmp_path / "customers.csv").open("w", newline="", encoding="utf-8") as file:
            people = csv.writer(file)
            people.writerow(("customer_id", "email", "name"))
            people.writerows(
                (f"c{n}", f"c{n}@shop.example", f"Ann {n}") for n in {row["customer_id"] for row in orders}
            )
        with (tmp_path / "orders.csv").open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(("order_id", "customer_id", "placed_at", "currency", "total"))
            for row in orders:
                placed = row["placed_at"].isoformat()
                lines.writerow((row["order_id"], f"c{row['customer_id']}", placed, row.get("currency"), row["total"]))
        if orders:
            assert run(["import", "customers.csv", "orders.csv"]) == 0

        def call(line: str) -> tuple[int, list[dict[str, Any]], str]:
            capsys.readouterr()
            status = run(["report", "value", *line.split()])
            printed = capsys.readouterr()
            found = [json.loads(one) for one in printed.out.splitlines()] if "--json" in line else []
            return status, found, printed.out + printed.err

        return call

    return imported


def rows(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["row"] == kind]


def test_segments_hold_everybody_and_customers_are_ranked_by_value_at_risk(report: Any) -> None:
    orders = repeat_orders(200)
    status, lines, printed = report(orders)("--json --top 500")
    segments, customers = rows(lines, "segment"), rows(lines, "customer")
    assert status == 0
    assert {tuple(line) for line in segments} == {tuple(SEGMENT)}
    assert {tuple(line) for line in customers} == {tuple(CUSTOMER)}
    assert sum(line["customers"] for line in segments) == len(customers) == 200
    at_risk = [line["value_at_risk"] for line in customers]
    assert at_risk == sorted(at_risk, reverse=True)
    for line in customers:
        assert line["value_at_risk"] == pytest.approx(line["expected_value"] * line["churn_probability"], abs=0.05)
        assert (line["segment"] == "repeat") == (line["purchases"] > 1)
        assert 0 <= line["alive"] <= 1
    for name in ("expected_value", "value_at_risk", "expected_purchases"):
        total = sum(line[name] for line in customers)
        assert sum(line[name] for line in segments) == pytest.approx(total, rel=1e-3)
    assert {(line["horizon_days"], line["risk_days"], line["model"]) for line in lines} == {(365, 40, "untrained")}
    assert "@" not in printed
    assert "Ann" not in printed


def test_amounts_of_two_currencies_are_neither_summed_nor_ranked_together(report: Any) -> None:
    orders = repeat_orders(120)
    for row in orders:
        row["currency"] = "JPY" if row["customer_id"] % 2 else None  # none: shop.currency
    both = {"currency": "USD", "customer_id": 0, "order_id": 9999}
    lines = report([*orders, order(9999, 0, 150) | both])("--json --top 3")[1]
    customers = rows(lines, "customer")
    assert [line["currency"] for line in customers] == ["EUR"] * 3 + ["JPY"] * 3
    torn = [line for line in rows(lines, "segment") if line["currency"] is None]
    assert [(line["customers"], line["expected_value"], line["value_at_risk"]) for line in torn] == [(1, None, None)]


def test_a_trained_model_says_the_risk_and_an_earlier_instant_sees_less(report: Any) -> None:
    ask = report(repeat_orders(300))
    assert run(["train", "--kind", "churn"]) == 0
    lines = ask("--json")[1]
    assert {line["model"] for line in lines} == {"churn-now-40-v1"}
    earlier = ask(f"--json --as-of {(UNTIL - timedelta(days=DAYS - 20)).date()}")[1]
    counted = [sum(line["customers"] for line in rows(found, "segment")) for found in (earlier, lines)]
    assert 0 < counted[0] < counted[1] == 300


def test_the_horizon_the_discount_and_the_number_are_as_asked(report: Any) -> None:
    ask = report(repeat_orders(80))

    def total(line: str) -> float:
        return sum(one["expected_value"] for one in rows(ask(f"--json {line}")[1], "segment"))

    assert total("--horizon-days 90") < total("--horizon-days 300 --discount 0.5") < total("--horizon-days 300")
    assert rows(ask("--json --top 0")[1], "customer") == []


def test_people_read_two_tables_or_what_to_do(report: Any) -> None:
    status, _, printed = report(repeat_orders(60))("--top 2")
    assert status == 0
    assert "Most at risk" in printed
    assert "EUR" in printed
    assert "@" not in printed


def test_an_empty_shop_and_impossible_options(report: Any) -> None:
    ask = report([])
    assert ask("--json")[:2] == (0, [])
    assert "aftercare import" in ask("")[2]
    for wrong in ("--horizon-days 0", "--discount -1", "--top -1", "--as-of soon"):
        assert ask(wrong)[0] == 2


def test_orders_without_a_value_are_expected_but_not_valued(report: Any) -> None:
    lines = report([row | {"total": None} for row in repeat_orders(60)])("--json")[1]
    assert rows(lines, "customer") == []
    assert {line["expected_value"] for line in lines} == {None}
    assert sum(line["expected_purchases"] for line in lines) > 0
