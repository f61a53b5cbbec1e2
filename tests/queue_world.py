"""A database with the workers' queue in it, for the tests of jobs and workers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from bot.store.database import Database, open_database
from bot.store.jobs import attach_jobs
from bot.store.queue_schema import install_queue
from bot.tasks import queue_schema

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def queue_url(postgres_url: str) -> str:
    """The URL of a fresh schema with our tables and the queue's."""
    database = open_database(postgres_url)
    install_queue(database, queue_schema(), NOON)
    database.close()
    return postgres_url


@pytest.fixture
def queue(queue_url: str) -> Iterator[Database]:
    """A database whose commits enqueue, five ids a job."""
    database = open_database(queue_url)
    attach_jobs(database, batch_size=5)
    yield database
    database.close()


def jobs_in(database: Database) -> list[dict[str, Any]]:
    """The jobs that stand in the queue, oldest first, with the seconds until each may start."""
    statement = sa.text(
        "SELECT id, queue_name, task_name, args, priority, status, lock, "
        "coalesce(extract(epoch FROM scheduled_at - now()), 0)::float AS seconds FROM procrastinate_jobs ORDER BY id"
    )
    with database.read() as connection:
        return [dict(row._mapping) for row in connection.execute(statement)]
