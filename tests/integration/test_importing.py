"""`import`: what lands, what is refused with place and reason, and that a second time changes nothing."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.errors import ConfigurationError, InputError, UsageError
from bot.services.importing.importer import FileReport, Importer
from bot.store import shop
from bot.store.consent import consent_of
from bot.store.database import Database
from bot.store.tables import metadata

CUSTOMERS = "customer_id,name,email,city\nc1,Ann Lee,ann@example.org,Kiel\nc2,Bob,,\n"
PRODUCTS = "product_id,name,price\np1,Kettle,39.90\n"
ORDERS = "order_id,customer_id,placed_at,total,promised_at,gift\no1,c1,2026-01-05T10:00:00,39.90,2026-01-09,yes\n"
LINES = "order_id,line_no,product_id,quantity,unit_price\no1,1,p1,1,39.90\n"
TOUCHPOINTS = (
    "touchpoint_id,customer_id,order_id,kind,occurred_at,value,text\nt1,c1,o1,review,2026-01-12 09:00,2,dented\n"
)
FILES = {
    "customers": CUSTOMERS,
    "products": PRODUCTS,
    "orders": ORDERS,
    "order_lines": LINES,
    "touchpoints": TOUCHPOINTS,
}


@pytest.fixture
def importer(database: Database, clock: ManualClock) -> Importer:
    return Importer(database, clock, Settings.model_validate({"shop": {"timezone": "Europe/Berlin"}}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def counts(report: FileReport) -> tuple[int, int, int, int]:
    assert report.read == report.new + report.updated + report.unchanged + report.rejected
    return report.new, report.updated, report.unchanged, report.rejected


def rows(database: Database, table: str, *columns: str) -> list[tuple[Any, ...]]:
    chosen = metadata.tables[table]
    with database.read() as connection:
        found = connection.execute(sa.select(*(chosen.c[name] for name in columns)).order_by(chosen.c.id))
        return [tuple(row) for row in found]


def write(tmp_path: Path, name: str, lines: Sequence[str]) -> Path:
    file = tmp_path / name
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def rejects(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_a_folder_lands_in_the_order_of_references_and_again_changes_nothing(
    importer: Importer, folder: Path, database: Database
) -> None:
    reports = importer.import_paths([folder])
    assert [Path(report.file).stem for report in reports] == list(FILES)
    assert [counts(report) for report in reports] == [(2, 0, 0, 0), *[(1, 0, 0, 0)] * 4]
    again = importer.import_paths(sorted(folder.iterdir(), reverse=True))
    assert [counts(report) for report in again] == [(0, 0, 2, 0), *[(0, 0, 1, 0)] * 4]
    assert rows(database, "revisions", "id") == []


def test_a_backfilled_history_is_known_as_of_its_own_time(importer: Importer, folder: Path, database: Database) -> None:
    importer.import_paths([folder])
    placed = datetime(2026, 1, 5, 9, tzinfo=UTC)  # ten o'clock in Berlin
    assert rows(database, "orders", "placed_at", "recorded_at") == [(placed, placed)]
    assert rows(database, "orders", "promised_at") == [(datetime(2026, 1, 8, 23, tzinfo=UTC),)]
    assert rows(database, "order_lines", "recorded_at") == [(placed,)]
    reviewed = datetime(2026, 1, 12, 8, tzinfo=UTC)
    assert rows(database, "touchpoints", "occurred_at", "recorded_at") == [(reviewed, reviewed)]
    for table in ("customers", "products"):
        assert all(recorded.year == 1970 for (recorded,) in rows(database, table, "recorded_at"))


def test_unknown_columns_are_kept_as_attributes(importer: Importer, folder: Path, database: Database) -> None:
    importer.import_paths([folder])
    assert rows(database, "orders", "attributes") == [({"gift": "yes"},)]


def test_changed_content_updates_entities_and_keeps_the_old_as_a_revision(
    importer: Importer, folder: Path, database: Database, clock: ManualClock
) -> None:
    importer.import_paths([folder])
    clock.advance(timedelta(days=1))
    (folder / "orders.csv").write_text(ORDERS.replace("39.90", "35.00"), encoding="utf-8")
    (folder / "order_lines.csv").write_text(LINES.replace("o1,1,p1,1", "o1,1,,2"), encoding="utf-8")
    reports = {Path(report.file).stem: counts(report) for report in importer.import_paths([folder])}
    assert reports["orders"] == reports["order_lines"] == (0, 1, 0, 0)
    assert rows(database, "orders", "total", "recorded_at") == [(35.0, clock.now())]
    assert rows(database, "order_lines", "product_id", "quantity") == [(None, 2.0)]
    kept = rows(database, "revisions", "entity", "recorded_at", "superseded_at", "content")
    assert [(entity, since, until) for entity, since, until, _ in kept] == [
        (entity, datetime(2026, 1, 5, 9, tzinfo=UTC), clock.now()) for entity in ("orders", "order_lines")
    ]
    assert kept[0][3]["total"] == 39.9
    assert kept[0][3]["placed_at"] == "2026-01-05T09:00:00+00:00"


def test_touchpoints_are_append_only(importer: Importer, folder: Path, database: Database, tmp_path: Path) -> None:
    importer.import_paths([folder])
    file = folder / "touchpoints.csv"
    file.write_text(TOUCHPOINTS.replace("dented", "fine"), encoding="utf-8")
    (report,) = importer.import_paths([file], rejects=tmp_path / "r.csv")
    assert counts(report) == (0, 0, 0, 1)
    assert "append-only" in rejects(tmp_path / "r.csv")[0]["reason"]
    assert rows(database, "touchpoints", "text") == [("dented",)]


def test_ids_are_unique_within_their_source_only(importer: Importer, folder: Path, database: Database) -> None:
    importer.import_paths([folder])
    assert [counts(report)[0] for report in importer.import_paths([folder], source="shop2")] == [2, 1, 1, 1, 1]
    owners = rows(database, "orders", "source", "customer_id")
    assert owners[0][1] != owners[1][1]


def test_the_same_id_twice_in_a_file_follows_the_same_rules(
    importer: Importer, database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    file = write(tmp_path, "products.csv", ["product_id,name", "p1,a", "p1,a", "p1,b", "p2,x"])
    (report,) = importer.import_paths([file])
    assert counts(report) == (2, 1, 1, 0)
    assert rows(database, "products", "external_id", "name", "recorded_at")[0] == ("p1", "b", clock.now())


BROKEN = {
    "no fields": ("x", ""),
    "too many": ("o{n},c1,2026-01-05,1,2026-01-09,EUR,more", ""),
    "no id": (",c1,2026-01-05,1,2026-01-09,EUR", "order_id"),
    "blank customer": ("o{n},  ,2026-01-05,1,2026-01-09,EUR", "customer_id"),
    "unknown customer": ("o{n},c9,2026-01-05,1,2026-01-09,EUR", "customer_id"),
    "no time": ("o{n},c1,,1,2026-01-09,EUR", "placed_at"),
    "bad time": ("o{n},c1,05.01.2026,1,2026-01-09,EUR", "placed_at"),
    "not a number": ("o{n},c1,2026-01-05,nan,2026-01-09,EUR", "total"),
    "decimal comma": ('o{n},c1,2026-01-05,"12,50",2026-01-09,EUR', "total"),
    "bad promise": ("o{n},c1,2026-01-05,1,2026-02-30,EUR", "promised_at"),
}


def test_ten_broken_rows_in_a_thousand_are_named_and_the_rest_lands(
    importer: Importer, folder: Path, tmp_path: Path, database: Database
) -> None:
    importer.import_paths([folder / "customers.csv"])
    lines = ["order_id,customer_id,placed_at,total,promised_at,currency"]
    lines += [f"o{n},c1,2026-01-05T10:00:00,{n}.50,2026-01-09,EUR" for n in range(1000)]
    expected = []
    for place, (text, column) in zip(range(50, 1000, 100), BROKEN.values(), strict=True):
        lines[place] = text.format(n=place)
        expected.append((str(place + 1), column))
    file = write(tmp_path, "orders.csv", lines)
    (report,) = importer.import_paths([file], rejects=tmp_path / "r.csv")
    assert (report.read, counts(report)) == (1000, (990, 0, 0, 10))
    found = rejects(tmp_path / "r.csv")
    assert [(row["line"], row["column"]) for row in found] == expected
    assert all(row["file"] == str(file) and row["reason"] for row in found)
    assert len(rows(database, "orders", "id")) == 990


@pytest.mark.parametrize(
    ("file", "line", "column"),
    [
        ("customers", "c3,Cy,not-a-mail,", "email"),
        ("customers", "c3,Cy,two@ats@example.org,", "email"),
        ("customers", f"{'c' * 300},Cy,,", "customer_id"),
        ("products", "p2,x,1_000", "price"),
        ("products", "p2,x,inf", "price"),
        ("products", "p2,x,٣", "price"),
        ("order_lines", "o9,1,p1,1,1", "order_id"),
        ("order_lines", "o1,2,p9,1,1", "product_id"),
        ("order_lines", "o1,-1,p1,1,1", "line_no"),
        ("order_lines", "o1,1.5,p1,1,1", "line_no"),
        ("order_lines", "o1,4294967296,p1,1,1", "line_no"),
        ("touchpoints", "t2,c9,o1,review,2026-01-12,5,", "customer_id"),
        ("touchpoints", "t2,c1,o9,review,2026-01-12,5,", "order_id"),
        ("touchpoints", "t2,c2,o1,review,2026-01-12,5,", "customer_id"),
        ("touchpoints", "t2,c1,o1,review,2026-01-12,6,", "value"),
        ("touchpoints", "t2,c1,o1,nps,2026-01-12,-1,", "value"),
        ("touchpoints", "t2,c1,o1,review,9999-12-31T23:59:59-10:00,5,", "occurred_at"),
        ("touchpoints", "t2,c1,o1,,2026-01-12,5,", "kind"),
    ],
)
def test_a_row_that_is_not_as_it_should_be_is_refused_by_column(
    importer: Importer, folder: Path, tmp_path: Path, file: str, line: str, column: str
) -> None:
    with (folder / f"{file}.csv").open("a", encoding="utf-8") as opened:
        opened.write(line + "\n")
    reports = importer.import_paths([folder], rejects=tmp_path / "r.csv")
    assert sum(report.rejected for report in reports) == 1
    (refused,) = rejects(tmp_path / "r.csv")
    assert refused["column"] == column
    assert refused["reason"]


def test_an_unknown_kind_of_touchpoint_is_kept(importer: Importer, folder: Path, database: Database) -> None:
    with (folder / "touchpoints.csv").open("a", encoding="utf-8") as opened:
        opened.write("t2,c2,,moon_landing,2026-01-12,99,\n")
    importer.import_paths([folder])
    assert ("moon_landing", 99.0) in rows(database, "touchpoints", "kind", "value")


def test_nothing_is_recorded_before_it_happened(importer: Importer, folder: Path, database: Database) -> None:
    row = {"touchpoint_id": "t9", "customer_id": "c1", "kind": "used", "occurred_at": "2026-01-20T00:00:00Z"}
    importer.import_paths([folder / "customers.csv"])
    importer.import_rows("touchpoints", [{**row, "recorded_at": "2026-01-19T00:00:00Z"}])
    assert rows(database, "touchpoints", "recorded_at") == [(datetime(2026, 1, 20, tzinfo=UTC),)]


def test_rows_that_arrive_by_themselves_are_recorded_at_their_arrival_and_once(
    importer: Importer, folder: Path, database: Database, clock: ManualClock
) -> None:
    importer.import_paths([folder / "customers.csv"])
    row = {"touchpoint_id": "t9", "customer_id": "c1", "kind": "used", "occurred_at": "2026-01-20T00:00:00Z"}
    report, refused = importer.import_rows("touchpoints", [row], arrived_at=clock.now())
    again, _ = importer.import_rows("touchpoints", [row], arrived_at=clock.now() + timedelta(days=1))
    assert (counts(report), counts(again), refused) == ((1, 0, 0, 0), (0, 0, 1, 0), [])
    assert rows(database, "touchpoints", "recorded_at") == [(clock.now(),)]
    _, refused = importer.import_rows("touchpoints", [{**row, "touchpoint_id": True}, {}])
    assert [(line, column) for line, column, _ in refused] == [(1, "touchpoint_id"), (2, "touchpoint_id")]


def test_json_lines_mean_the_same_as_csv(importer: Importer, folder: Path) -> None:
    importer.import_paths([folder])
    lines = [json.dumps(dict(row)) for row in csv.DictReader(ORDERS.splitlines())]
    (report,) = importer.import_paths([write(folder, "orders.jsonl", lines)])
    assert counts(report) == (0, 0, 1, 0)
    typed = {"order_id": "o1", "customer_id": "c1", "placed_at": "2026-01-05T10:00:00", "total": 39.9,
             "promised_at": "2026-01-09", "gift": "yes", "status": None}  # fmt: skip
    (report,) = importer.import_paths([write(folder, "orders.jsonl", [json.dumps(typed)])])
    assert counts(report) == (0, 0, 1, 0)


def test_a_mapping_brings_a_shops_own_export(
    importer: Importer, folder: Path, database: Database, tmp_path: Path
) -> None:
    importer.import_paths([folder / "customers.csv"])
    file = write(
        tmp_path, "Bestellungen.csv", ["Nummer,Kunde,Datum,Stand,order_id", "7,c1,2026-01-05,9,their own", "8,,x,9,"]
    )
    mapping = write(
        tmp_path,
        "mapping.yaml",
        ["files: {Bestellungen: orders}", "orders:", "  order_id: Nummer", "  customer_id: Kunde", "  placed_at: Datum",
         "  currency: {constant: EUR}", "  status: {column: Stand, values: {9: cancelled}}"],
    )  # fmt: skip
    (report,) = importer.import_paths([file], mapping=mapping, rejects=tmp_path / "r.csv")
    assert counts(report) == (1, 0, 0, 1)
    assert rows(database, "orders", "external_id", "currency", "status", "attributes") == [
        ("7", "EUR", "cancelled", {"order_id": "their own"})
    ]
    assert rejects(tmp_path / "r.csv")[0]["column"] == "Datum"


def test_a_mapping_to_columns_that_are_not_there_is_refused(importer: Importer, folder: Path, tmp_path: Path) -> None:
    mapping = write(tmp_path, "mapping.yaml", ["orders: {total: Summe}"])
    with pytest.raises(InputError, match="Summe"):
        importer.import_paths([folder], mapping=mapping)
    mapping = write(tmp_path, "mapping.yaml", ["orders: {placed_at: {constant: yesterday}}"])
    with pytest.raises(InputError, match="constant"):
        importer.import_paths([folder], mapping=mapping)
    with pytest.raises(ConfigurationError):
        importer.import_paths([folder], mapping=tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "header",
    ["order_id,customer_id", "order_id;customer_id;placed_at", "order_id,customer_id,placed_at,total,total", "order_id,customer_id,placed_at,,x"],
)  # fmt: skip
def test_a_wrong_header_is_refused_before_anything_lands(
    importer: Importer, folder: Path, database: Database, header: str
) -> None:
    (folder / "orders.csv").write_text(header + "\n", encoding="utf-8")
    (folder / "products.csv").write_text("name\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        importer.import_paths([folder])
    assert "orders.csv" in str(caught.value)
    assert "products.csv" in str(caught.value)
    assert rows(database, "customers", "id") == []


def test_paths_that_hold_nothing_are_refused(importer: Importer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "none", write(tmp_path, "people.csv", ["a"])):
        with pytest.raises(InputError, match=path.name):
            importer.import_paths([folder, path])
    with pytest.raises(UsageError, match="--rejects"):
        importer.import_paths([folder], rejects=tmp_path / "none" / "r.csv")


def test_a_file_that_breaks_off_leaves_whole_batches_and_the_whole_file_completes_them(
    importer: Importer, tmp_path: Path, database: Database
) -> None:
    lines = ["product_id,name", *(f"p{n},name {n * 7919 % 10_007}" for n in range(9000))]
    whole = gzip.compress(("\n".join(lines) + "\n").encode())
    file = tmp_path / "products.csv.gz"
    file.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match=r"products\.csv\.gz.*after line \d+.*landed"):
        importer.import_paths([file])
    landed = len(rows(database, "products", "id"))
    assert 0 < landed < 9000
    assert landed % 2000 == 0
    file.write_bytes(whole)
    (report,) = importer.import_paths([file])
    assert counts(report) == (9000 - landed, 0, landed, 0)


def test_a_list_of_rejects_of_an_earlier_import_does_not_stay(importer: Importer, folder: Path, tmp_path: Path) -> None:
    old = write(tmp_path, "r.csv", ["file,line,column,reason", "x,1,,y"])
    other = write(tmp_path, "mine.csv", ["something of my own"])
    importer.import_paths([folder], rejects=old)
    importer.import_paths([folder], rejects=other)
    assert not old.exists()
    assert other.exists()


def test_an_opt_out_in_a_file_counts_as_one(importer: Importer, folder: Path, database: Database) -> None:
    with (folder / "touchpoints.csv").open("a", encoding="utf-8") as opened:
        opened.write("t2,c1,,opt_out,2026-01-20,,\n")
    importer.import_paths([folder])
    importer.import_paths([folder])
    with database.read() as connection:
        customer = shop.customer_by_key(connection, "c1")
        assert customer is not None
        for channel in ("email", "slack"):
            assert consent_of(connection, [customer.id], channel) == {customer.id: False}
    assert len(rows(database, "consents", "id")) == 2


def test_placed_is_derived_from_the_order_and_never_doubled(
    importer: Importer, folder: Path, database: Database, clock: ManualClock
) -> None:
    with (folder / "touchpoints.csv").open("a", encoding="utf-8") as opened:
        opened.write("t2,c1,o1,placed,2026-01-05T10:00:00,,\n")
    importer.import_paths([folder])
    with database.read() as connection:
        customer = shop.customer_by_email(connection, "ANN@example.org")
        assert customer is not None
        assert customer.first_name == "Ann"
        kinds = [point.kind for point in shop.touchpoints_of(connection, customer.id, clock.now())]
        before = shop.touchpoints_of(connection, customer.id, datetime(2026, 1, 6, tzinfo=UTC))
        (order,) = shop.orders_of(connection, customer.id, clock.now())
        (line,) = shop.lines_of(connection, order.id)
    assert kinds == ["placed", "review"]
    assert [point.kind for point in before] == ["placed"]
    assert (line.product_name, line.quantity) == ("Kettle", 1.0)
