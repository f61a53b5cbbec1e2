"""What changed is predicted once an hour, by one, and nothing is left out where an hour was missed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.services import hourly
from bot.services.daily import TRY_AGAIN
from bot.services.hourly import HourlyScoring
from bot.services.prediction.scoring import Scorer
from bot.store.database import Database
from bot.store.tables import metadata
from tests.integration.shop_rows import add_customer, add_order, add_touchpoint

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 10, 12, 5, tzinfo=UTC)


class Scored:
    """Remembers which orders were asked for."""

    def __init__(self) -> None:
        self.orders: list[list[int]] = []
        self.fails = False

    def __call__(self, orders: Sequence[int]) -> int:
        if self.fails:
            raise ValueError("no luck")
        self.orders.append(list(orders))
        return len(orders)


def order(database: Database, key: str, now: datetime) -> tuple[int, int]:
    with database.write() as connection:
        customer_id = add_customer(connection, key, now)
        return customer_id, add_order(connection, f"o-{key}", customer_id, now)


def test_only_what_changed_since_the_last_hour_is_predicted_and_once(database: Database) -> None:
    clock, scored = ManualClock(NOON), Scored()
    old_customer, old = order(database, "old", NOON - HOUR)
    rounds = [HourlyScoring(database, clock, scored) for _ in range(2)]
    assert [one.run_if_due() for one in rounds] == [0, None]
    _, new = order(database, "new", clock.now())
    assert rounds[0].run_if_due() is None  # the same hour
    clock.advance(HOUR)
    assert [one.run_if_due() for one in rounds] == [1, None]
    clock.advance(3 * HOUR)  # nobody was there for two hours
    with database.write() as connection:
        add_touchpoint(connection, "exception", old_customer, clock.now(), old)
    assert rounds[1].run_if_due() == 1
    clock.advance(HOUR)
    assert rounds[1].run_if_due() == 0
    assert scored.orders == [[new], [old]]


def test_what_failed_is_tried_again_with_all_that_changed(database: Database) -> None:
    clock, scored = ManualClock(NOON), Scored()
    scoring = HourlyScoring(database, clock, scored)
    scoring.run_if_due()
    _, first = order(database, "c1", clock.now())
    clock.advance(HOUR)
    scored.fails = True
    with pytest.raises(ValueError):
        scoring.run_if_due()
    scored.fails = False
    assert scoring.run_if_due() is None
    clock.advance(TRY_AGAIN)
    assert scoring.run_if_due() == 1
    assert scored.orders == [[first]]


def test_an_import_of_a_whole_shop_is_left_to_the_daily_round(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, scored = ManualClock(NOON), Scored()
    monkeypatch.setattr(hourly, "AT_MOST", 2)
    scoring = HourlyScoring(sqlite_database, clock, scored)
    scoring.run_if_due()
    for number in range(3):
        order(sqlite_database, f"c{number}", clock.now())
    clock.advance(HOUR)
    assert scoring.run_if_due() == 0
    clock.advance(HOUR)
    assert scoring.run_if_due() == 0
    assert scored.orders == []


def test_a_new_order_is_predicted_before_the_next_daily_round(sqlite_database: Database) -> None:
    clock = ManualClock(NOON)
    scorer = Scorer(sqlite_database, clock, Settings())
    scoring = HourlyScoring(sqlite_database, clock, scorer.store_orders)
    scoring.run_if_due()
    _, changed = order(sqlite_database, "c1", clock.now())
    clock.advance(HOUR)
    assert scoring.run_if_due() == 1
    table = metadata.tables["predictions"]
    with sqlite_database.read() as connection:
        (found,) = connection.execute(sa.select(table)).all()
    assert (found.order_id, found.kind, found.recorded_at) == (changed, "issue", clock.now())
