"""The memory of jobs: each (job, key) is started at most once, whoever asks and however often.

What a job does, and when it is due, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import RunState
from bot.store.once import insert_once
from bot.store.tables import runs

__all__ = ["Run", "finish_run", "latest_runs", "run_of", "runs_in", "start_run", "take_over_run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a job under a key, such as the daily round of one local date."""

    job: str
    key: str
    state: RunState
    started_at: datetime
    finished_at: datetime | None
    detail: Mapping[str, Any] | None


def start_run(
    connection: Connection, job: str, key: str, now: datetime, detail: Mapping[str, Any] | None = None
) -> bool:
    """Claim a run; False says that somebody started it before."""
    values: dict[str, Any] = {"job": job, "key": key, "state": RunState.RUNNING.value, "started_at": now}
    if detail is not None:
        values["detail"] = dict(detail)
    return insert_once(connection, runs, values) is not None


def take_over_run(connection: Connection, seen: Run, detail: Mapping[str, Any] | None, now: datetime) -> bool:
    """Start a run again that died or failed, unless somebody else did so since it was `seen`."""
    statement = (
        sa.update(runs)
        .where(runs.c.job == seen.job, runs.c.key == seen.key)
        .where(runs.c.state == seen.state.value, runs.c.started_at == seen.started_at)
        .values(
            state=RunState.RUNNING.value,
            started_at=max(now, seen.started_at + timedelta(microseconds=1)),  # another look sees another start
            finished_at=None,
            detail=None if detail is None else dict(detail),
        )
    )
    return connection.execute(statement).rowcount == 1


def finish_run(
    connection: Connection, job: str, key: str, state: RunState | str, detail: Mapping[str, Any] | None, now: datetime
) -> None:
    """Write down how a run ended."""
    connection.execute(
        sa.update(runs)
        .where(runs.c.job == job, runs.c.key == key)
        .values(state=RunState(state).value, finished_at=now, detail=None if detail is None else dict(detail))
    )


def run_of(connection: Connection, job: str, key: str) -> Run | None:
    """Return the run of a job under a key, None where it never started."""
    row = connection.execute(sa.select(runs).where(runs.c.job == job, runs.c.key == key)).first()
    return None if row is None else _run(row)


def latest_runs(connection: Connection, job: str, limit: int = 10) -> list[Run]:
    """Return the newest runs of a job, newest first."""
    statement = sa.select(runs).where(runs.c.job == job).order_by(runs.c.started_at.desc(), runs.c.id.desc())
    return [_run(row) for row in connection.execute(statement.limit(limit))]


def runs_in(connection: Connection, job: str, state: RunState) -> list[Run]:
    """Return the runs of a job in a state, in the order of their start."""
    statement = sa.select(runs).where(runs.c.job == job, runs.c.state == state.value)
    return [_run(row) for row in connection.execute(statement.order_by(runs.c.started_at, runs.c.id))]


def _run(row: Any) -> Run:
    return Run(
        job=row.job,
        key=row.key,
        state=RunState(row.state),
        started_at=row.started_at,
        finished_at=row.finished_at,
        detail=row.detail,
    )
