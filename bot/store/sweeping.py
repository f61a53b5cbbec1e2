"""Looking after the workers' queue: what is due and has no job, and how the workers are.

The outreach table is the queue; a job only says that somebody shall look. One that was lost is made again here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import OutreachState
from bot.store.answers import pending_answers
from bot.store.controls import STOPPED, get_control
from bot.store.delivery import held_since
from bot.store.jobs import DELIVER, NewJob, enqueue_unless_waiting
from bot.store.tables import metadata

__all__ = ["WorkersState", "call_again", "drop_jobs", "due_count", "soon_due", "sweep", "waiting_jobs", "workers_state"]

outreaches = metadata.tables["outreaches"]
# A worker says every few seconds that it lives; one that was silent for so long is taken for dead.
SILENT_SECONDS = 20
# A job's clock and ours may differ a little: what is due within so much is waited for, not left to the sweep.
SOON = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class WorkersState:
    """How the workers are.

    Attributes
    ----------
    alive : int
        Lanes of workers (each process has up to three) that lately said they live.
    waiting_seconds : float
        How long the oldest job that may start has waited; long work, which may wait for other long work, left out.
    failed : int
        Jobs that failed for good and were not deleted yet.
    """

    alive: int
    waiting_seconds: float
    failed: int


def due_count(connection: Connection, now: datetime, channels: Collection[str], limit: int) -> int:
    """Count what may be claimed, or must expire, by an instant; at most `limit`, none while all is stopped."""
    if get_control(connection, STOPPED):
        return 0
    columns = outreaches.c
    ready = (columns.not_before <= now) & (columns.next_attempt_at.is_(None) | (columns.next_attempt_at <= now))
    held_up_to = held_since(connection)
    if held_up_to is not None:
        ready &= columns.decided_at > held_up_to
    query = sa.select(columns.id).where(
        columns.state == OutreachState.APPROVED.value,
        columns.channel.in_(list(channels)),
        ready | (columns.expires_at <= now),
    )
    return int(connection.execute(sa.select(sa.func.count()).select_from(query.limit(limit).subquery())).scalar_one())


def soon_due(connection: Connection, outreach_ids: Sequence[int], now: datetime) -> timedelta | None:
    """Return the time until the first of some outreaches is due, if that is soon; None where none is."""
    if not outreach_ids:
        return None
    columns = outreaches.c
    due = sa.case(
        (columns.next_attempt_at > columns.not_before, columns.next_attempt_at),
        else_=columns.not_before,
    )
    query = sa.select(sa.func.min(sa.type_coerce(due, columns.not_before.type))).where(
        columns.id.in_(list(outreach_ids)), columns.state == OutreachState.APPROVED.value, due > now, due <= now + SOON
    )
    first = connection.execute(query).scalar_one_or_none()
    return None if first is None else first - now


def call_again(connection: Connection, delay: timedelta = timedelta(0)) -> bool:
    """Make sure that a job to deliver exists that may start by then."""
    return enqueue_unless_waiting(connection, NewJob(queue=DELIVER, task=DELIVER, delay=delay))


def waiting_jobs(connection: Connection) -> list[int]:
    """Return jobs that may start now and only say that check-ins are due, oldest first, a few hundred at most."""
    return list(connection.execute(_WAITING, {"queue": DELIVER}).scalars())


def drop_jobs(connection: Connection, jobs: Sequence[int]) -> None:
    """Take back jobs that nobody has begun."""
    if jobs:
        connection.execute(_DROP, {"jobs": list(jobs)})


def sweep(connection: Connection, now: datetime, channels: Collection[str]) -> bool:
    """Enqueue a job where something is due and none waits; return whether one was missing."""
    due = due_count(connection, now, channels, 1) > 0
    if not due and not get_control(connection, STOPPED):
        due = bool(pending_answers(connection, now=now, channels=channels, limit=1))
    return due and call_again(connection)


def workers_state(connection: Connection) -> WorkersState:
    """Return how the workers are; by the database's clock, which they report to."""
    row = connection.execute(_STATE, {"silent": SILENT_SECONDS}).one()
    return WorkersState(alive=row.alive, waiting_seconds=float(row.waiting or 0.0), failed=row.failed)


_WAITING = sa.text(
    """
    SELECT id FROM procrastinate_jobs
    WHERE queue_name = :queue AND status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())
        AND NOT jsonb_exists(args, 'utterances')
    ORDER BY id LIMIT 500
"""
)
_DROP = sa.text("SELECT procrastinate_cancel_job_v1(job, false, true) FROM unnest(CAST(:jobs AS bigint[])) AS job")
_STATE = sa.text(
    """
    SELECT
        (SELECT count(*) FROM procrastinate_workers
            WHERE last_heartbeat > now() - :silent * interval '1 second') AS alive,
        (SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed') AS failed,
        (SELECT extract(epoch FROM now() - min(coalesce(job.scheduled_at, enqueued.at)))
            FROM procrastinate_jobs AS job
            JOIN procrastinate_events AS enqueued ON enqueued.job_id = job.id AND enqueued.type = 'deferred'
            WHERE job.status = 'todo' AND job.queue_name <> 'work' AND (job.scheduled_at IS NULL OR job.scheduled_at <= now())) AS waiting
"""
)
