"""The ticks: fixed jobs in UTC that call one service each. What is due lives in our tables, not here.

APScheduler only ticks: one instance of a job at a time, missed ticks become one, nothing is stored. Each job has
a thread of its own, so that a long daily round starves neither the cards nor the deliveries. A job that raises is
logged and shown in the health page, and comes again at its next tick.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from bot.clock import SystemClock

__all__ = ["Job", "Scheduler"]

log = structlog.get_logger()

# A job that has not come round for so many of its ticks, and at least so many seconds, is stalled.
STALLED_TICKS = 20
STALLED_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One thing that is done at every tick.

    Attributes
    ----------
    seconds : float
        Real time between ticks.
    patience_seconds : float
        How long one run may take before the health page calls it stalled.
    """

    name: str
    work: Callable[[], object]
    seconds: float
    patience_seconds: float = STALLED_SECONDS


@dataclass(kw_only=True)
class _Record:
    """What is known about a job's latest runs, in the machine's own seconds."""

    began: float | None = None
    ended: float
    error: str | None = None


class Scheduler:
    """Ticks the jobs from `start` to `stop`."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = tuple(jobs)
        self._records = {job.name: _Record(ended=time.monotonic()) for job in self._jobs}
        self._idle = threading.Condition()
        self._stopping = False
        # Its own lines about skipped ticks say nothing that the health page does not say better.
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        self._scheduler = BackgroundScheduler(
            executors={job.name: ThreadPoolExecutor(1) for job in self._jobs},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
            timezone=UTC,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the jobs."""
        return tuple(job.name for job in self._jobs)

    def start(self) -> None:
        """Begin to tick; the first tick is at once."""
        now = SystemClock().now()
        for job in self._jobs:
            self._scheduler.add_job(
                self._run,
                IntervalTrigger(seconds=job.seconds, timezone=UTC),
                args=(job,),
                id=job.name,
                executor=job.name,
                next_run_time=now,
            )
        self._scheduler.start()

    def trouble(self) -> dict[str, str]:
        """Return what is wrong, by job; empty where all is well."""
        if not self._scheduler.running:
            return dict.fromkeys(self.names, "not running")
        found: dict[str, str] = {}
        now = time.monotonic()
        for job in self._jobs:
            record = self._records[job.name]
            patience = max(job.patience_seconds, STALLED_TICKS * job.seconds)
            if record.error is not None:
                found[job.name] = f"failed with {record.error}; see the log"
            elif now - (record.began or record.ended) > patience:
                found[job.name] = "stalled"
        return found

    def stop(self, seconds: float) -> bool:
        """Begin no further tick and wait for those under way; False: some did not end in time."""
        with self._idle:
            self._stopping = True
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        return self.wait(seconds)

    def wait(self, seconds: float) -> bool:
        """Wait until no job runs; False: some did not end in time."""
        with self._idle:
            return self._idle.wait_for(
                lambda: all(record.began is None for record in self._records.values()), timeout=max(seconds, 0)
            )

    def _run(self, job: Job) -> None:
        record = self._records[job.name]
        with self._idle:
            if self._stopping:
                return
            record.began = time.monotonic()
        error: str | None = None
        try:
            job.work()
        except Exception as problem:  # the edge of a job: it must come again
            error = type(problem).__name__
            log.exception("job_failed", job=job.name)
        finally:
            with self._idle:
                record.began, record.ended, record.error = None, time.monotonic(), error
                self._idle.notify_all()
