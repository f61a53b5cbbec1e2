"""The demo on a shop's own files: the present ends fourteen days early, and nobody real can be written to."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bot.demo.data_dir import cut
from bot.errors import UsageError


def rows(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "customers.csv").write_text(
        "customer_id,email,timezone\nC1,real@shop.test,Europe/Paris\nC2,,Europe/Paris\n"
    )
    with gzip.open(folder / "orders.csv.gz", "wt") as stream:
        stream.write(
            "order_id,customer_id,placed_at,promised_at,status\n"
            "O1,C1,2026-01-10 12:00:00,2026-01-16,returned\nO2,C2,2026-01-25 12:00:00,2026-01-31,\n"
        )
    (folder / "touchpoints.jsonl").write_text(
        "".join(
            json.dumps(row) + "\n"
            for row in (
                {
                    "touchpoint_id": "a",
                    "customer_id": "C1",
                    "order_id": "O1",
                    "kind": "paid",
                    "occurred_at": "2026-01-10T12:01:00Z",
                },
                {
                    "touchpoint_id": "b",
                    "customer_id": "C1",
                    "order_id": "O1",
                    "kind": "shipped",
                    "occurred_at": "2026-01-12T08:00:00Z",
                    "recorded_at": "2026-01-20T08:00:00Z",
                },
                {
                    "touchpoint_id": "c",
                    "customer_id": "C2",
                    "order_id": "O2",
                    "kind": "review",
                    "occurred_at": "2026-01-30T23:00:00Z",
                    "value": 2,
                },
            )
        )
    )
    return folder


def test_the_present_ends_fourteen_days_before_the_last_record_in_the_customers_morning(
    own: Path, tmp_path: Path
) -> None:
    data = cut(own, tmp_path / "cut")
    assert data.timezone == "Europe/Paris"
    assert data.now.isoformat() == "2026-01-17T09:30:00+00:00"
    assert (data.later - data.now).total_seconds() == (14 * 24 + 1) * 3600


def test_each_row_is_in_exactly_one_part_by_when_it_was_recorded(own: Path, tmp_path: Path) -> None:
    data = cut(own, tmp_path / "cut")
    present = {row["touchpoint_id"] for row in rows(data.present / "touchpoints.csv")}
    later = {row["touchpoint_id"] for row in rows(data.later_folder / "touchpoints.csv")}
    assert present == {"a"}
    assert later == {"b", "c"}
    assert [row["order_id"] for row in rows(data.present / "orders.csv")] == ["O1"]
    assert [row["customer_id"] for row in rows(data.later_folder / "customers.csv")] == ["C2"]


def test_what_became_of_an_order_is_not_known_in_the_present(own: Path, tmp_path: Path) -> None:
    data = cut(own, tmp_path / "cut")
    assert [row["status"] for row in rows(data.present / "orders.csv")] == [""]


def test_every_address_is_invented_even_where_the_files_had_one(own: Path, tmp_path: Path) -> None:
    data = cut(own, tmp_path / "cut")
    (customer,) = rows(data.present / "customers.csv")
    assert customer["email"].endswith("@example.com")
    assert "real@shop.test" not in (data.present / "customers.csv").read_text()
    assert data.slack_people == ((customer["slack_user_id"], customer["name"]),)


def test_a_folder_without_orders_is_refused_naming_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no customers file"):
        cut(tmp_path, tmp_path / "cut")
