"""What the predictors read and keep, on SQLite and on PostgreSQL: the same frames, one row a prediction, one champion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.importing.importer import Importer
from bot.store import history
from bot.store.database import Database, open_database
from bot.store.history_mark import next_recorded, orders_touched, written_mark
from bot.store.orders_history import (
    contacts,
    count_orders,
    order_ranges,
    orderless_trouble,
    read_orders,
    read_these_orders,
)
from bot.store.predictions import PREDICTIONS_A_TIME, latest_predictions, save_predictions
from bot.store.tables import metadata
from predictors.snapshot import FRAMES, Snapshot
from tests.integration.shop_rows import add_customer, add_order

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
FILES = {
    "customers": "customer_id,country,region,created_at\nc1,DE,north,2025-12-01\nc2,DE,,2025-12-01T08:00:00.25Z\n",
    "products": "product_id,category,price,weight_g,volume_cm3,photos\np1,lamp,30,500,1200.5,3\np2,,,,many,\n",
    "orders": "order_id,customer_id,placed_at,promised_at,total\n"
    "o1,c1,2026-01-05T10:00:00,2026-01-08,39.90\no2,c2,2026-01-06T10:00:00.123456,,12\n",
    "order_lines": "order_id,line_no,product_id,seller_id,quantity,unit_price,shipping_price,ship_by,seller_region\n"
    "o1,1,p1,s1,1,30,4.5,2026-01-06T12:00:00,south\no2,1,p2,s2,2,,,2026-01-07T12:00:00Z,\n",
    "touchpoints": "touchpoint_id,customer_id,order_id,kind,occurred_at,recorded_at,value,payment_type,installments\n"
    "t1,c1,o1,paid,2026-01-05T11:00:00,2026-01-05T11:30:00,,card,3\n"
    "t2,c1,o1,review,2026-01-12T09:00:00,,1,,\n"
    "t3,c2,,ticket_opened,2026-01-13T09:00:00.5,,,,\n"
    "t4,c2,o2,page_view,2026-01-13T09:00:00,,,,\n",
}
CHANGED = {
    "customers": FILES["customers"].replace("DE,north", "DE,east"),
    "products": FILES["products"].replace("lamp", "chair").replace("1200.5", ""),
    "orders": FILES["orders"].replace("2026-01-08", "2026-01-18"),
    "order_lines": FILES["order_lines"].replace("p1,s1,1", ",s9,2").replace("2026-01-06T12", "2026-01-09T12"),
}


@pytest.fixture
def both(sqlite_url: str, postgres_url: str) -> Iterator[tuple[Database, Database]]:
    opened = open_database(sqlite_url), open_database(postgres_url)
    yield opened
    for database in opened:
        database.close()


def import_texts(database: Database, folder: Path, texts: dict[str, str], at: datetime) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    settings = Settings(home=folder)
    settings = settings.model_copy(update={"shop": settings.shop.model_copy(update={"timezone": "Europe/Berlin"})})
    reports = Importer(database, ManualClock(at), settings).import_paths([folder], rejects=folder / "rejects.csv")
    assert sum(report.rejected for report in reports) == 0


def snapshot_of(database: Database, until: datetime) -> Snapshot:
    with database.read() as connection:
        return history.read_snapshot(connection, until=until, timezone="Europe/Berlin")


def assert_same(first: Snapshot, second: Snapshot) -> None:
    for name in FRAMES:
        frames = (getattr(first, name), getattr(second, name))
        assert_frame_equal(*frames, check_row_order=False)


@pytest.mark.peer
@pytest.mark.parametrize("until", [NOW, NOW + timedelta(hours=36), NOW + timedelta(days=9)])
def test_both_engines_give_the_same_frames_with_what_was_replaced(
    both: tuple[Database, Database], tmp_path: Path, until: datetime
) -> None:
    for database in both:
        import_texts(database, tmp_path / "first", FILES, NOW)
        import_texts(database, tmp_path / "second", CHANGED, NOW + timedelta(days=1))
        again = {"orders": CHANGED["orders"].replace("39.90", "35.00")}
        import_texts(database, tmp_path / "third", again, NOW + timedelta(days=2))
    assert_same(*(snapshot_of(database, until) for database in both))


def test_every_version_of_a_row_is_read_with_its_span(database: Database, tmp_path: Path) -> None:
    changed_at, again_at = NOW + timedelta(days=1), NOW + timedelta(days=2)
    import_texts(database, tmp_path / "first", FILES, NOW)
    import_texts(database, tmp_path / "second", CHANGED, changed_at)
    again = {"orders": CHANGED["orders"].replace("39.90", "35.00")}
    import_texts(database, tmp_path / "third", again, again_at)
    seen = snapshot_of(database, again_at)
    placed = datetime(2026, 1, 5, 9, tzinfo=UTC)  # ten o'clock in Berlin
    promised = datetime(2026, 1, 7, 23, tzinfo=UTC)  # midnight in Berlin
    versions = seen.orders.filter(pl.col("placed_at") == placed).sort("recorded_at")
    assert versions.select("promised_at", "total", "recorded_at", "superseded_at").rows() == [
        (promised, 39.9, placed, changed_at),
        (promised + timedelta(days=10), 39.9, changed_at, again_at),
        (promised + timedelta(days=10), 35.0, again_at, None),
    ]
    lines = seen.order_lines.filter(pl.col("line_no") == 1, pl.col("order_id") == versions["order_id"][0])
    assert lines.sort("recorded_at").select("seller_id", "quantity", "ship_by", "superseded_at").rows() == [
        ("s1", 1.0, datetime(2026, 1, 6, 11, tzinfo=UTC), changed_at),
        ("s9", 2.0, datetime(2026, 1, 9, 11, tzinfo=UTC), None),
    ]
    assert lines.sort("recorded_at")["product_id"].is_null().to_list() == [False, True]
    products = seen.products.sort("recorded_at", "category", nulls_last=True)
    assert products.select("category", "volume_cm3", "photos").rows() == [
        ("lamp", 1200.5, 3.0),
        (None, None, None),
        ("chair", None, 3.0),
    ]
    assert seen.customers.filter(pl.col("region") == "north")["superseded_at"].to_list() == [changed_at]


@pytest.mark.parametrize("until", [NOW, NOW + timedelta(days=9)])
def test_orders_read_one_by_one_are_the_whole_snapshot(database: Database, tmp_path: Path, until: datetime) -> None:
    import_texts(database, tmp_path / "first", FILES, NOW)
    import_texts(database, tmp_path / "second", CHANGED, NOW + timedelta(days=1))
    whole = snapshot_of(database, until)
    with database.read() as connection:
        loose = orderless_trouble(connection, until, "Europe/Berlin")
        reached = contacts(connection, until, "Europe/Berlin")
        ranges = order_ranges(connection, 1)
        parts = [
            read_orders(connection, first, last, until=until, timezone="Europe/Berlin", loose=loose, reached=reached)
            for first, last in ranges
        ]
        assert len(ranges) == count_orders(connection) == 2
        assert order_ranges(connection, 2) == [(ranges[0][0], ranges[1][1])]
        alone = [orderless_trouble(connection, until, "Europe/Berlin", [first]) for first, _ in ranges]
        named = [read_these_orders(connection, [first], until=until, timezone="Europe/Berlin") for first, _ in ranges]
    for name in FRAMES:
        for read in (parts, named):
            together = pl.concat([getattr(part, name) for part in read])
            assert_frame_equal(together.unique(), getattr(whole, name), check_row_order=False)
    # The ticket without an order is about the order of its customer, the second.
    assert [one.touchpoints["order_id"].to_list() for one in alone] == [[], [ranges[1][0]]]
    assert ["ticket_opened" in part.touchpoints["kind"] for part in parts] == [False, True]


def test_the_mark_changes_with_whatever_histories_come_from(database: Database, tmp_path: Path) -> None:
    def mark() -> tuple[int, ...]:
        with database.read() as connection:
            return written_mark(connection)

    marks = [mark()]
    import_texts(database, tmp_path / "first", FILES, NOW)
    marks.append(mark())
    for number, name in enumerate(CHANGED):
        import_texts(database, tmp_path / f"changed-{number}", {name: CHANGED[name]}, NOW + timedelta(days=1))
        marks.append(mark())
    import_texts(
        database, tmp_path / "more", {"touchpoints": FILES["touchpoints"] + "t9,c1,o1,complaint,2026-02-01,,,,\n"}, NOW
    )
    marks.append(mark())
    assert len(set(marks)) == len(marks) == 7
    import_texts(database, tmp_path / "again", CHANGED, NOW + timedelta(days=2))
    assert mark() == marks[-1]
    with database.read() as connection:
        assert next_recorded(connection, NOW - timedelta(days=1)) == NOW + timedelta(days=1)
        assert next_recorded(connection, NOW + timedelta(days=1)) is None


# What is written, one after the other, and the orders that it touches: all of the customer's.
TOUCHING: list[tuple[dict[str, str], set[str]]] = [
    ({"touchpoints": "touchpoint_id,customer_id,order_id,kind,occurred_at\nt8,c1,o1,complaint,2026-02-01\n"}, {"o1"}),
    ({"touchpoints": "touchpoint_id,customer_id,kind,occurred_at\nt9,c2,ticket_opened,2026-02-01\n"}, {"o2", "o3"}),
    ({"orders": "order_id,customer_id,placed_at,total\no1,c1,2026-01-05,7.00\n"}, {"o1"}),
    ({"order_lines": "order_id,line_no,seller_id\no3,1,s2\n"}, {"o2", "o3"}),
    ({"order_lines": "order_id,line_no,seller_id\no1,1,s2\n"}, {"o1"}),
    ({"customers": "customer_id,region\nc3,south\n"}, set()),
    # A new region counts for orders that are placed or become known from then on: there are none.
    ({"customers": "customer_id,region\nc2,south\n"}, set()),
    ({"orders": "order_id,customer_id,placed_at,total\no4,c2,2026-01-05,7.00\n"}, {"o2", "o3", "o4"}),
]


def test_what_is_written_touches_all_orders_of_its_customers(database: Database, tmp_path: Path) -> None:
    shop = {
        "customers": "customer_id,region\nc1,north\nc2,north\n",
        "orders": "order_id,customer_id,placed_at,total\no1,c1,2026-01-05,5.00\no2,c2,2026-01-06,5.00\no3,c2,2026-01-07,5.00\n",
        "order_lines": "order_id,line_no,seller_id\no1,1,s1\n",
    }
    import_texts(database, tmp_path / "first", shop, NOW)
    for number, (written, expected) in enumerate(TOUCHING):
        with database.read() as connection:
            before = written_mark(connection)
        import_texts(database, tmp_path / f"then-{number}", written, NOW + timedelta(days=1 + number))
        with database.read() as connection:
            now = written_mark(connection)
            named = connection.execute(sa.select(metadata.tables["orders"].c["id", "external_id"])).all()
            touched = orders_touched(connection, before, now, 3)
            assert touched is not None
            assert {row.external_id for row in named if row.id in touched} == expected
            if expected:
                assert orders_touched(connection, before, now, len(expected) - 1) is None
    # Something was taken away: nobody knows whom it concerned.
    with database.read() as connection:
        assert orders_touched(connection, now, now._replace(erased=1), 3) is None
        assert orders_touched(connection, now, now._replace(orders=now.orders - 1), 3) is None


def test_an_order_that_was_placed_since_a_product_was_described_anew_is_touched(
    database: Database, tmp_path: Path
) -> None:
    since = NOW + timedelta(days=1)
    import_texts(database, tmp_path / "first", FILES, NOW)
    with database.read() as connection:
        before = written_mark(connection)
    import_texts(database, tmp_path / "second", {"products": CHANGED["products"]}, since)
    with database.read() as connection:
        assert orders_touched(connection, before, written_mark(connection), 9) == []
    with database.write() as connection:
        order = connection.execute(
            sa.update(metadata.tables["orders"]).values(recorded_at=since).returning(metadata.tables["orders"].c.id)
        ).scalars()
        ids = sorted(order)
    with database.read() as connection:
        assert orders_touched(connection, before, written_mark(connection), 9) == ids
        assert next_recorded(connection, NOW, before) == since
        assert next_recorded(connection, since, before) is None


def test_times_keep_their_microseconds_and_attributes_their_types(database: Database, tmp_path: Path) -> None:
    import_texts(database, tmp_path, FILES, NOW)
    seen = snapshot_of(database, NOW)
    assert datetime(2026, 1, 6, 9, 0, 0, 123456, tzinfo=UTC) in seen.orders["placed_at"].to_list()
    assert datetime(2025, 12, 1, 8, 0, 0, 250000, tzinfo=UTC) in seen.customers["recorded_at"].to_list()
    assert datetime(2026, 1, 7, 12, tzinfo=UTC) in seen.order_lines["ship_by"].to_list()
    points = seen.touchpoints.sort("occurred_at")
    assert points.select("kind", "value", "payment_type", "installments").rows() == [
        ("paid", None, "card", 3.0),
        ("review", 1.0, None, None),
        ("ticket_opened", None, None, None),
    ]


def test_what_is_recorded_later_is_not_read(database: Database, tmp_path: Path) -> None:
    import_texts(database, tmp_path, FILES, NOW)
    seen = snapshot_of(database, datetime(2026, 1, 5, 10, 15, tzinfo=UTC))
    assert (seen.orders.height, seen.order_lines.height, seen.touchpoints.height) == (1, 1, 0)
    nothing = snapshot_of(database, datetime(1969, 1, 1, tzinfo=UTC))
    assert [getattr(nothing, name).height for name in FRAMES] == [0] * len(FRAMES)


# --- Predictions -------------------------------------------------------------------------------------


def prediction(customer_id: int, order_id: int | None, **changed: Any) -> dict[str, Any]:
    return {
        "kind": "issue", "moment": "due", "subject": "o1", "customer_id": customer_id, "order_id": order_id,
        "as_of": NOW, "horizon_days": 45, "probability": 0.25, "band": "medium", "stage": "rules", "model": "rules",
        "model_version_id": None, "reasons": [{"feature": "arrival", "text": "late", "effect": 0.1}],
        "fragility": {"level": "low", "shocks": []}, "recorded_at": NOW, **changed,
    }  # fmt: skip


@pytest.fixture
def ids(database: Database) -> tuple[int, int]:
    with database.write() as connection:
        customer_id = add_customer(connection, "c1", NOW - timedelta(days=20))
        return customer_id, add_order(connection, "o1", customer_id, NOW - timedelta(days=10))


def framed(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Bring rows to the form in which predictions are saved: JSON written, instants in UTC."""
    frame = pl.DataFrame(
        [{**row, "reasons": json.dumps(row["reasons"]), "fragility": json.dumps(row["fragility"])} for row in rows],
        infer_schema_length=None,
    )
    return frame.with_columns(pl.col("as_of", "recorded_at").dt.cast_time_unit("us"))


def kept_rows(database: Database) -> list[sa.Row[Any]]:
    with database.read() as connection:
        return list(connection.execute(sa.select(metadata.tables["predictions"]).order_by(sa.text("id"))))


def test_saving_again_renews_the_same_rows(database: Database, ids: tuple[int, int]) -> None:
    rows = [prediction(*ids, subject=f"o{number}") for number in range(5)]
    with database.write() as connection:
        save_predictions(connection, framed(rows))
    first = {row.subject: row.id for row in kept_rows(database)}
    later = [{**row, "probability": 0.5, "band": "high", "recorded_at": NOW + timedelta(days=1)} for row in rows]
    with database.write() as connection:
        save_predictions(connection, framed([*reversed(later), prediction(*ids, subject="new")]))
    kept = kept_rows(database)
    assert {row.subject: row.id for row in kept if row.subject != "new"} == first
    assert [(row.probability, row.band) for row in kept] == [(0.5, "high")] * 5 + [(0.25, "medium")]
    assert kept[0].recorded_at == NOW + timedelta(days=1)
    assert kept[0].reasons == [{"feature": "arrival", "text": "late", "effect": 0.1}]
    with database.write() as connection:
        save_predictions(connection, framed(rows).clear())
    assert kept_rows(database) == kept


def test_a_full_batch_of_predictions_fits_one_statement(database: Database, ids: tuple[int, int]) -> None:
    rows = [prediction(*ids, subject=f"o{number}") for number in range(PREDICTIONS_A_TIME)]
    with database.write() as connection:
        save_predictions(connection, framed(rows))
    assert {row.subject for row in kept_rows(database)} == {row["subject"] for row in rows}


def test_the_latest_prediction_of_each_subject_is_what_was_known_by_then(
    database: Database, ids: tuple[int, int]
) -> None:
    day = timedelta(days=1)
    rows = [
        prediction(*ids, as_of=NOW, recorded_at=NOW),
        prediction(*ids, as_of=NOW + day, recorded_at=NOW + day),
        prediction(*ids, as_of=NOW + day, recorded_at=NOW + 3 * day, model="issue-due-45-v1"),
        prediction(*ids, as_of=NOW, recorded_at=NOW, subject="o2"),
        prediction(ids[0], None, kind="churn", moment="now", subject="c1"),
    ]
    with database.write() as connection:
        save_predictions(connection, framed(rows))
    numbers = [row.id for row in kept_rows(database)]

    def latest(until: datetime, subjects: list[str] | None = None) -> list[int]:
        with database.read() as connection:
            return [row.id for row in latest_predictions(connection, "issue", until=until, subjects=subjects)]

    assert latest(NOW - day) == []
    assert latest(NOW) == [numbers[0], numbers[3]]
    assert latest(NOW + 2 * day, ["o1"]) == [numbers[1]]
    assert latest(NOW + 3 * day) == [numbers[2], numbers[3]]
