"""Promise 9: on days with a clock change each local-date check-in happens exactly once, in every zone.

The rule itself is walked by the half hour in `tests/unit/test_daily_due.py`; here the daily round and the plan keep it,
with their tables, at every change from 2025 to 2027. Zones whose clocks agree in those years are walked once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.services.daily import DailyRound, Step
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import load_playbooks
from bot.settings import Settings
from bot.store.database import Database
from bot.store.planning import Forecast
from bot.store.tables import metadata
from messages.catalogue import Catalogue
from tests.integration.shop_rows import add_customer, add_order, add_prediction

FIRST, LAST = datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 12, 31, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CATALOGUE = Catalogue.load()
Changes = tuple[tuple[datetime, timedelta, timedelta], ...]


def changes(zone: ZoneInfo) -> Iterator[tuple[datetime, timedelta, timedelta]]:
    """Yield each change of a zone's clock, to the hour: when, and the offsets before and after."""
    day = FIRST
    while day < LAST:
        if _offset(day, zone) != _offset(day + DAY, zone):
            now = day
            while _offset(now + HOUR, zone) == _offset(day, zone):
                now += HOUR
            yield now + HOUR, _offset(day, zone), _offset(day + DAY, zone)
        day += DAY


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    found = at.astimezone(zone).utcoffset()
    assert found is not None
    return found


@cache
def walked() -> dict[Changes, str]:
    """Return one zone of each kind of clock that changes in these years."""
    found: dict[Changes, str] = {}
    for name in sorted(available_timezones()):
        if history := tuple(changes(ZoneInfo(name))):
            found.setdefault(history, name)
    return found


def settings(zone: str, at: str = "08:00") -> Settings:
    return Settings.model_validate(
        {
            "shop": {"timezone": zone},
            "scheduler": {"daily_at": at},
            "email": {"enabled": True},
            "experiments": {"holdout_share": 0.0},
            "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
        }
    )


@pytest.fixture
def quick(sqlite_database: Database) -> Database:
    """A database that does not wait for the disk: nothing is killed here."""

    @sa.event.listens_for(sqlite_database.engine, "connect")
    def _prepare(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")  # type: ignore[attr-defined]

    sqlite_database.engine.dispose()
    return sqlite_database


def begin_anew(database: Database, *tables: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for name in tables or metadata.tables:
            connection.exec_driver_sql(f"DELETE FROM {name}")


def nothing() -> int:
    return 0


# The time of day that is skipped and repeated is walked at every change, others at those of one year.
@pytest.mark.parametrize(("at", "years"), [("02:30", {2025, 2026, 2027}), ("00:00", {2026}), ("08:00", {2026})])
def test_the_daily_round_happens_once_per_local_date_at_every_change(quick: Database, at: str, years: set[int]) -> None:
    directions = set()
    for history, name in walked().items():
        zone = ZoneInfo(name)
        for change, before, after in history:
            if change.year not in years:
                continue
            directions.add(after > before)
            begin_anew(quick, "runs")
            clock = ManualClock(change - 27 * HOUR)
            daily = DailyRound(quick, clock, settings(name, at), [Step(name="plan", work=nothing)])
            days: list[date] = []
            there: set[date] = set()
            for _ in range(54):
                report = daily.run_if_due()
                if report is not None:
                    days.append(report.day)
                there.add(clock.now().astimezone(zone).date())
                clock.advance(HOUR)
            # Each date is there once, in order; only the last may not have come to its time of day.
            assert days == sorted(set(days)), (name, change)
            assert there - set(days) <= {max(there)}, (name, change)
    assert directions == {True, False}


def test_a_check_in_of_a_local_date_is_proposed_once_at_every_change(quick: Database) -> None:
    """Plan again and again around a change, in the repeated hour as well: each date proposes once."""
    for history, name in walked().items():
        zone = ZoneInfo(name)
        year = [one for one in history if one[0].year == 2026] or list(history[:2])
        for change, _, _ in year:
            begin_anew(quick)
            clock = ManualClock(change - 20 * HOUR)
            planner = _planner(quick, clock, name)
            there = set()
            for step in (-20, -12, -6, -2, -1, 0, 1, 2, 12, 24):
                clock.set(change + step * HOUR)
                there.add(clock.now().astimezone(zone).date().isoformat())
                planner.plan()
            rows = metadata.tables["outreaches"]
            with quick.read() as connection:
                found = list(connection.execute(sa.select(rows.c.customer_id, rows.c.local_date)))
                people = connection.execute(sa.select(sa.func.count()).select_from(metadata.tables["customers"]))
                count = people.scalar_one()
            # Each local date brought one new customer, and one check-in to them.
            assert sorted(row.local_date for row in found) == sorted(there), (name, change)
            assert len({row.customer_id for row in found}) == count == len(there), (name, change)


def _planner(database: Database, clock: ManualClock, zone: str) -> Planner:
    chosen = settings(zone)

    def predict(kind: str, as_of: datetime, _save: bool) -> Sequence[Forecast]:
        """Find, at the one scoring of a local date, one new customer whose parcel is late."""
        if kind == "issue":
            with database.write() as connection:
                person = add_customer(connection, f"c{as_of.isoformat()}", as_of - 30 * DAY, timezone=zone)
                order = add_order(connection, f"o{as_of.isoformat()}", person, as_of - 9 * DAY, promised_at=as_of - DAY)
                add_prediction(connection, person, order, as_of)
        return []

    return Planner(database, clock, chosen, CATALOGUE, load_playbooks(chosen, CATALOGUE.names), rescore=predict)


def test_the_years_hold_changes_in_both_hemispheres_and_of_less_than_an_hour() -> None:
    found = walked()
    assert len(found) >= 25  # more than there will be in any release of the time zones' data soon
    steps = {after - before for history in found for _, before, after in history}
    assert {HOUR, -HOUR, timedelta(minutes=30), -timedelta(minutes=30)} <= steps
