"""The workers' tasks for Procrastinate: which there are, how often they come, and in which lane they run.

Each task calls one duty that it is handed; what the duties do is their services' business, running the lanes
`bot.worker`'s. A lane has a connection, a heartbeat and threads of its own, so that a long daily round starves neither
the ticks nor the deliveries. Procrastinate is imported here only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import procrastinate
import structlog
from procrastinate import exceptions
from procrastinate.jobs import Status

from bot.store.jobs import DELIVER, PARTS, WORK
from bot.store.queue_schema import QueueSchema

__all__ = ["LANES", "TICKS", "Duties", "Lane", "Tick", "build_lanes", "cron_every", "queue_schema"]

log = structlog.get_logger()

# The lanes, which are queues: what leaves; small things that come often; what takes its time.
TICKS = "ticks"
LANES = (DELIVER, TICKS, WORK)

HEARTBEAT_SECONDS = 5.0
# A worker that was silent for so long is dead, or cut off: its jobs are given to others.
STALLED_SECONDS = 20.0
# A job whose workers died so often is not tried again: perhaps it kills them.
MOST_TRIES = 5
# Jobs that failed for good can be looked at for so long.
KEEP_FAILED_HOURS = 7 * 24
# A job that may start at a later time is found by looking, this often.
LOOK_SECONDS = {DELIVER: 0.5, TICKS: 5.0, WORK: 5.0}


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Something that comes round: whoever of the workers is free does it, one of them."""

    name: str
    work: Callable[[], object]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Duties:
    """What the tasks call.

    Attributes
    ----------
    deliver : callable
        Sends what is due; is given the ids of outreaches and of utterances that a job carries.
    help : callable
        Helps with the parts of a large task, by its name, until none is left.
    ticks, rounds : sequences of Tick
        In the lanes of the ticks and of the work.
    """

    deliver: Callable[[Sequence[int], Sequence[int]], object]
    help: Callable[[str], object]
    ticks: Sequence[Tick]
    rounds: Sequence[Tick]


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One queue with its tasks, and how a worker runs it."""

    name: str
    app: procrastinate.App
    concurrency: int
    keep_failed: bool

    async def run(self, worker: str) -> None:
        """Work until cancelled, or until the database is lost."""
        await self.app.run_worker_async(
            queues=[self.name],
            name=f"{worker}:{self.name}",
            concurrency=self.concurrency,
            install_signal_handlers=False,
            fetch_job_polling_interval=LOOK_SECONDS[self.name],
            delete_jobs="successful" if self.keep_failed else "always",
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
        )


def build_lanes(conninfo: str, duties: Duties, *, concurrency: int) -> dict[str, Lane]:
    """Build every lane.

    Parameters
    ----------
    conninfo : str
        The database, as libpq reads it.
    concurrency : int
        How many pieces of long work at once.
    """
    # What its log says is logged by us with less of it; a job's arguments are ids, but errors may hold more.
    for name in ("procrastinate", "psycopg.pool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    deliver, ticks, work = (_app(conninfo) for _ in LANES)

    @deliver.task(name=DELIVER, queue=DELIVER)
    def _deliver(outreaches: Sequence[int] = (), utterances: Sequence[int] = ()) -> None:
        _logged(DELIVER, lambda: duties.deliver(outreaches, utterances))

    @work.task(name=PARTS, queue=WORK)
    def _parts(run: str) -> None:
        _logged(PARTS, lambda: duties.help(run))

    for tick in duties.ticks:
        _register(ticks, TICKS, tick)
    for tick in duties.rounds:
        _register(work, WORK, tick)
    _register_housekeeping(ticks)
    # Deliveries: one job at a time, for it sends on many connections at once; another process is another lane.
    return {
        DELIVER: Lane(name=DELIVER, app=deliver, concurrency=1, keep_failed=False),
        TICKS: Lane(name=TICKS, app=ticks, concurrency=4, keep_failed=False),
        WORK: Lane(name=WORK, app=work, concurrency=concurrency, keep_failed=True),
    }


def cron_every(seconds: float) -> str:
    """Return the cron expression, seconds last, that comes about every so often: never more than once a second."""
    whole = max(round(seconds), 1)
    if whole < 60:
        return f"* * * * * */{whole}"
    minutes = min(round(whole / 60), 59)
    return f"*/{minutes} * * * * 0" if whole < 3600 else "0 * * * * 0"


def queue_schema() -> QueueSchema:
    """Return the SQL of Procrastinate's tables, as the installed version brings it."""
    folder = files("procrastinate").joinpath("sql")
    found = [one for one in folder.joinpath("migrations").iterdir() if one.name.endswith(".sql")]
    steps = sorted((one.name.removesuffix(".sql"), one.read_text(encoding="utf-8")) for one in found)
    return QueueSchema(whole=folder.joinpath("schema.sql").read_text(encoding="utf-8"), migrations=tuple(steps))


def _app(conninfo: str) -> procrastinate.App:
    # A server that vanished without a word is noticed within half a minute, not after TCP's two hours.
    patience: dict[str, Any] = {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    connector = procrastinate.PsycopgConnector(
        conninfo=conninfo,
        kwargs=patience,
        configure=_forgetful,
        min_size=1,
        max_size=4,
        timeout=10.0,
        reconnect_timeout=10.0,
    )
    return procrastinate.App(connector=connector)


async def _forgetful(connection: Any) -> None:
    """Let PostgreSQL confirm before the disk has it that a job was begun or ended.

    Should the server crash within that moment, a job is done once more and finds nothing to do. Jobs are enqueued on
    our own connections, which wait for the disk.
    """
    await connection.execute("SET synchronous_commit TO off")
    await connection.commit()


def _register(app: procrastinate.App, queue: str, tick: Tick) -> None:
    # One waits at most: workers that were away for an hour do not make up for its ticks.
    @app.periodic(cron=cron_every(tick.seconds))
    @app.task(name=tick.name, queue=queue, queueing_lock=tick.name)
    def _tick(timestamp: int) -> None:
        _logged(tick.name, tick.work)


def _register_housekeeping(app: procrastinate.App) -> None:
    manager = app.job_manager

    @app.periodic(cron=cron_every(10))
    @app.task(name="stalled", queue=TICKS, queueing_lock="stalled")
    async def _stalled(timestamp: int) -> None:
        """Give the jobs of dead workers to others."""
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
            try:
                if job.queueing_lock is not None:  # it comes round anyway
                    await manager.finish_job(job, Status.FAILED, delete_job=True)
                elif job.attempts + 1 >= MOST_TRIES:
                    await manager.finish_job(job, Status.FAILED, delete_job=False)
                    log.error("job_given_up", job=job.task_name, id=job.id)
                else:
                    await manager.retry_job(job)
                    log.warning("job_of_dead_worker", job=job.task_name, id=job.id)
            except exceptions.ConnectorException:  # its worker lives after all and has ended it
                log.info("job_ended_meanwhile", job=job.task_name, id=job.id)

    @app.periodic(cron="17 * * * * 0")
    @app.task(name="tidy", queue=TICKS, queueing_lock="tidy")
    async def _tidy(timestamp: int) -> None:
        """Delete what ended long ago, and workers that are no more."""
        await manager.delete_old_jobs(
            nb_hours=KEEP_FAILED_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
        )
        await manager.prune_stalled_workers(STALLED_SECONDS)


def _logged(name: str, work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:  # the edge of a job: Procrastinate writes down that it failed
        log.exception("job_failed", job=name)
        raise
