"""Enqueuing the workers' jobs inside our own transactions; a job carries ids and nothing else.

Whoever changes what must leave says so by `wake_outreach` or `wake_utterance`; what was said in a transaction is
enqueued with its commit, as few jobs as possible, and a rollback leaves none. Without `attach_jobs` (one process,
SQLite) all of this does nothing. What jobs do is `bot.tasks`' business, which rows lack one `bot.store.sweeping`'s.

Due times are counted by our Clock, a job's `scheduled_at` by the database's. So a job is given the time that is left,
not the instant, and whoever runs it asks our Clock again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, event

from bot.store.database import Database

__all__ = [
    "DELIVER",
    "PARTS",
    "WORK",
    "NewJob",
    "attach_jobs",
    "call_helpers",
    "enqueue",
    "enqueue_unless_waiting",
    "wake_outreach",
    "wake_utterance",
]

# The queue and the task of what must leave; the queue of what takes its time, and the task that does parts of it.
DELIVER = "deliver"
WORK = "work"
PARTS = "parts"
# Somebody waits for an answer; a check-in was due today.
ANSWERS_FIRST = 10
_SAID = "aftercare_to_wake"
# Jobs are due at so many tenths of a second after the present: what leaves together shares one.
_TENTHS = 10


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """One job to be enqueued.

    Attributes
    ----------
    delay : timedelta
        From now on, by the database's clock; nothing for at once.
    """

    queue: str
    task: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    delay: timedelta = timedelta(0)
    priority: int = 0


@dataclass(kw_only=True)
class _Said:
    """What one transaction said is to leave: tenths of a second until then, and ids."""

    outreaches: dict[int, int] = field(default_factory=dict)
    utterances: dict[int, None] = field(default_factory=dict)


def attach_jobs(database: Database, batch_size: int) -> None:
    """From now on, every commit on this database enqueues what its transaction said is to leave.

    Parameters
    ----------
    batch_size : int
        At most so many ids a job.
    """

    @event.listens_for(database.engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.info[_SAID] = _Said()

    @event.listens_for(database.engine, "rollback")
    def _forget(connection: Connection) -> None:
        connection.info[_SAID] = _Said()

    @event.listens_for(database.engine, "commit")
    def _enqueue(connection: Connection) -> None:
        said: _Said | None = connection.info.get(_SAID)
        if said is not None and (said.outreaches or said.utterances):
            connection.info[_SAID] = _Said()
            enqueue(connection, _jobs_for(said, batch_size))


def wake_outreach(connection: Connection, outreach_id: int, due: datetime, now: datetime) -> None:
    """Say that an outreach is to leave, not before `due`; both times by our Clock. The last word counts."""
    said: _Said | None = connection.info.get(_SAID)
    if said is not None:
        said.outreaches[outreach_id] = max(math.ceil((due - now).total_seconds() * _TENTHS), 0)


def wake_utterance(connection: Connection, utterance_id: int) -> None:
    """Say that an answer is to leave now."""
    said: _Said | None = connection.info.get(_SAID)
    if said is not None:
        said.utterances[utterance_id] = None


def enqueue(connection: Connection, jobs: Sequence[NewJob]) -> int:
    """Enqueue jobs in the caller's transaction, by Procrastinate's own function; return how many."""
    if jobs:
        connection.execute(_DEFER, {"jobs": json.dumps([_row(job) for job in jobs])})
    return len(jobs)


def enqueue_unless_waiting(connection: Connection, job: NewJob) -> bool:
    """Enqueue a job unless one of its queue waits already and may start by the same time; return whether it was."""
    seconds = job.delay.total_seconds()
    given = {"jobs": json.dumps([_row(job)]), "queue": job.queue, "seconds": seconds}
    return connection.execute(_DEFER_UNLESS, given).first() is not None


def call_helpers(connection: Connection, run: str, count: int) -> None:
    """Ask so many workers to help with what is done in parts."""
    enqueue(connection, [NewJob(queue=WORK, task=PARTS, arguments={"run": run})] * count)


def _jobs_for(said: _Said, batch_size: int) -> list[NewJob]:
    by_time: dict[int, list[int]] = {}
    for one, tenths in said.outreaches.items():
        by_time.setdefault(tenths, []).append(one)
    jobs = [
        NewJob(queue=DELIVER, task=DELIVER, arguments={"outreaches": ids}, delay=timedelta(seconds=tenths / _TENTHS))
        for tenths, of_time in by_time.items()
        for ids in _batches(of_time, batch_size)
    ]
    answers = _batches(list(said.utterances), batch_size)
    return jobs + [
        NewJob(queue=DELIVER, task=DELIVER, arguments={"utterances": ids}, priority=ANSWERS_FIRST) for ids in answers
    ]


def _batches(ids: Sequence[int], size: int) -> Iterable[list[int]]:
    for first in range(0, len(ids), size):
        yield list(ids[first : first + size])


def _row(job: NewJob) -> dict[str, Any]:
    return {
        "queue_name": job.queue,
        "task_name": job.task,
        "priority": job.priority,
        "args": dict(job.arguments),
        "seconds": job.delay.total_seconds(),
    }


# https://procrastinate.readthedocs.io/en/stable/howto/production/external_connection.html names the function.
# No `lock`: one that waits for its retry would block all behind it.
_ROWS = """
    SELECT procrastinate_defer_jobs_v1(array_agg(ROW(
        job.queue_name, job.task_name, job.priority, NULL, NULL, job.args,
        CASE WHEN job.seconds > 0 THEN clock_timestamp() + job.seconds * interval '1 second' END
    )::procrastinate_job_to_defer_v1))
    FROM jsonb_to_recordset(CAST(:jobs AS jsonb))
        AS job(queue_name text, task_name text, priority integer, args jsonb, seconds double precision)
"""
_DEFER = sa.text(_ROWS)
_DEFER_UNLESS = sa.text(
    _ROWS  # noqa: S608 - both parts are written here
    + """
    WHERE NOT EXISTS (
        SELECT 1 FROM procrastinate_jobs AS other
        WHERE other.queue_name = :queue AND other.status = 'todo'
        AND (other.scheduled_at IS NULL OR other.scheduled_at <= clock_timestamp() + :seconds * interval '1 second')
    )
    HAVING count(*) > 0
"""
)
