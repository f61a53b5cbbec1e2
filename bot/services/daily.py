"""The daily round: score, plan, label; once per local date of the shop, also after crashes and with two schedulers.

The run of a date is a row that is claimed before the work. A run whose process died is taken over, one that
failed is tried again a little later; every step is idempotent by itself. What the steps do is their services'
business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.decide.daily import date_due
from bot.services.delivery.ownership import certainly_dead, this_process
from bot.store.database import Database
from bot.store.enums import RunState
from bot.store.runs import Run, finish_run, run_of, start_run, take_over_run

__all__ = ["JOB", "DailyReport", "DailyRound", "Step", "claim"]

log = structlog.get_logger()

JOB = "daily"
# A round that failed is tried again after this, one that never reported back is given up after this.
TRY_AGAIN = timedelta(minutes=5)
GIVE_UP = timedelta(hours=3)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One part of the round; `work` returns how much it did. Where it is not `required`, its failure stops no other."""

    name: str
    work: Callable[[], int]
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class DailyReport:
    """What one round did: how much each step did, by name."""

    day: date
    done: dict[str, int]


class DailyRound:
    """Runs the steps of each local date exactly once."""

    def __init__(
        self, database: Database, clock: Clock, settings: Settings, steps: Sequence[Step], *, owner: str | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._steps = tuple(steps)
        self._owner = owner or this_process()

    def run_if_due(self) -> DailyReport | None:
        """Run today's round if its time has come and nobody did or does; None otherwise."""
        day = date_due(self._clock.now(), self._settings.scheduler.daily_at, self._settings.shop.zone)
        return None if day is None else self._run(day)

    def run_now(self) -> DailyReport | None:
        """Run today's round without waiting for its time of day; None where it was done, or is under way."""
        return self._run(local_date(self._clock.now(), self._settings.shop.zone))

    def _run(self, day: date) -> DailyReport | None:
        if not self._claim(day):
            return None
        log.info("daily_round_started", day=day.isoformat())
        done: dict[str, int] = {}
        try:
            for step in self._steps:
                try:
                    done[step.name] = step.work()
                except Exception as error:
                    if step.required:
                        raise
                    log.error("daily_step_failed", step=step.name, day=day.isoformat(), error=type(error).__name__)
        except BaseException as error:
            self._finish(day, RunState.FAILED, {"done": done, "error": type(error).__name__})
            raise
        self._finish(day, RunState.DONE, {"done": done})
        log.info("daily_round_done", day=day.isoformat(), **done)
        return DailyReport(day=day, done=done)

    def _claim(self, day: date) -> bool:
        return claim(self._database, self._clock, JOB, day.isoformat(), self._owner)

    def _finish(self, day: date, state: RunState, detail: dict[str, object]) -> None:
        with self._database.write() as connection:
            finish_run(connection, JOB, day.isoformat(), state, detail, self._clock.now())


def claim(database: Database, clock: Clock, job: str, key: str, owner: str) -> bool:
    """Start a run that nobody did or does; take over one that failed a while ago, or whose process died or never came back."""
    now, detail = clock.now(), {"owner": owner}
    with database.read() as connection:
        seen = run_of(connection, job, key)
    if seen is not None and not _may_take_over(seen, now):
        return False
    with database.write() as connection:
        if seen is None:
            return start_run(connection, job, key, now, detail)
        return take_over_run(connection, seen, detail, now)


def _may_take_over(seen: Run, now: datetime) -> bool:
    if seen.state == RunState.DONE:
        return False
    if seen.state == RunState.FAILED:
        return seen.finished_at is None or seen.finished_at + TRY_AGAIN <= now
    owner = str((seen.detail or {}).get("owner", ""))
    return certainly_dead(owner) or seen.started_at + GIVE_UP <= now
