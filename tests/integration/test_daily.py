"""The daily round on both databases: once per local date, resumed after a crash, one of two schedulers."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta

import pytest

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.daily import GIVE_UP, JOB, TRY_AGAIN, DailyRound, Step
from bot.services.delivery.ownership import this_process
from bot.store.database import Database
from bot.store.enums import RunState
from bot.store.runs import run_of

MORNING = datetime(2026, 3, 10, 7, 0, tzinfo=UTC)  # 08:00 in Berlin


def settings(zone: str = "Europe/Berlin", at: str = "08:00") -> Settings:
    return Settings.model_validate({"shop": {"timezone": zone}, "scheduler": {"daily_at": at}})


class Work:
    def __init__(self) -> None:
        self.days: list[str] = []
        self.mood: BaseException | None = None

    def __call__(self) -> int:
        if self.mood is not None:
            raise self.mood
        self.days.append("done")
        return 1


def state_of(database: Database, day: date) -> RunState | None:
    with database.read() as connection:
        run = run_of(connection, JOB, day.isoformat())
    return None if run is None else run.state


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 25, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 8, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("at", ["02:30", "08:00"])
def test_walking_over_a_clock_change_runs_each_local_date_once(
    sqlite_database: Database, zone: str, change: datetime, at: str
) -> None:
    work = Work()
    clock = ManualClock(change - timedelta(days=1))
    daily = DailyRound(sqlite_database, clock, settings(zone, at), [Step(name="plan", work=work)])
    days: list[date] = []
    for _ in range(73):
        report = daily.run_if_due()
        if report is not None:
            days.append(report.day)
        clock.advance(timedelta(hours=1))
    assert len(days) == len(set(days)) == len(work.days)
    assert days == [days[0] + timedelta(days=number) for number in range(len(days))]
    assert len(days) >= 3


def test_it_waits_for_its_time_and_comes_once(database: Database) -> None:
    work, clock = Work(), ManualClock(MORNING - timedelta(seconds=1))
    daily = DailyRound(database, clock, settings(), [Step(name="score", work=work), Step(name="plan", work=work)])
    assert daily.run_if_due() is None
    clock.set(MORNING)
    report = daily.run_if_due()
    assert report is not None
    assert (report.day, report.done) == (date(2026, 3, 10), {"score": 1, "plan": 1})
    assert daily.run_if_due() is None
    assert daily.run_now() is None
    assert len(work.days) == 2


def test_two_schedulers_at_once_run_it_once(database: Database) -> None:
    work, clock = Work(), ManualClock(MORNING)
    rounds = [DailyRound(database, clock, settings(), [Step(name="plan", work=work)]) for _ in range(4)]
    threads = [threading.Thread(target=daily.run_if_due) for daily in rounds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(work.days) == 1


def test_a_failed_round_is_tried_again_a_little_later(database: Database) -> None:
    work, clock = Work(), ManualClock(MORNING)
    daily = DailyRound(database, clock, settings(), [Step(name="plan", work=work)])
    work.mood = ValueError("no luck")
    with pytest.raises(ValueError):
        daily.run_if_due()
    assert state_of(database, date(2026, 3, 10)) == RunState.FAILED
    work.mood = None
    assert daily.run_if_due() is None
    clock.advance(TRY_AGAIN)
    assert daily.run_if_due() is not None
    assert state_of(database, date(2026, 3, 10)) == RunState.DONE


def test_a_round_whose_process_died_is_taken_over_by_one(database: Database) -> None:
    clock = ManualClock(MORNING)
    steps = [Step(name="plan", work=Work())]
    # A pid that cannot run: Linux gives out none above 2^22.
    died = DailyRound(database, clock, settings(), steps, owner=f"{this_process().split(':')[0]}:{2**22 + 1}:1")
    assert died._claim(date(2026, 3, 10))
    work = Work()
    rounds = [DailyRound(database, clock, settings(), [Step(name="plan", work=work)]) for _ in range(3)]
    threads = [threading.Thread(target=daily.run_if_due) for daily in rounds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(work.days) == 1


def test_a_round_on_another_host_is_given_up_after_hours(database: Database) -> None:
    clock = ManualClock(MORNING)
    elsewhere = DailyRound(database, clock, settings(), [], owner="elsewhere:1:1")
    assert elsewhere._claim(date(2026, 3, 10))
    work = Work()
    daily = DailyRound(database, clock, settings(), [Step(name="plan", work=work)])
    assert daily.run_if_due() is None
    clock.advance(GIVE_UP)
    assert daily.run_if_due() is not None
