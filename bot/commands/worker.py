"""`aftercare worker`: one process that sends, ticks and scores, beside any number of others."""

from __future__ import annotations

import json
import os
import signal
import sys
from types import FrameType

import click
import structlog

from bot.commands.base import application, config_option
from bot.config import Settings
from bot.errors import ConfigurationError, UsageError
from bot.lazy import OnFirstUse
from bot.store.jobs import DELIVER

# Only installations with workers have Procrastinate.
WorkerProcess = OnFirstUse("bot.worker", "WorkerProcess")

log = structlog.get_logger()

QUEUES = (DELIVER, "ticks", "work")


@click.command("worker")
@config_option
@click.option("--queues", metavar="QUEUES", help=f"Serve only some queues, of {','.join(QUEUES)}.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many pieces of long work (scoring, the daily round) at once; sending has delivery.connections.",
)
def worker_command(queues: str | None, concurrency: int) -> int:
    """Send and work through what is due, beside any number of other workers (delivery.engine: workers).

    Prints one line of JSON when it works. SIGTERM or Ctrl-C drains and ends.
    """
    wanted = _queues(queues)
    with application() as app:
        _check(app.settings)
        try:
            process = WorkerProcess(app, wanted, concurrency)
        except ModuleNotFoundError as error:
            if error.name not in ("procrastinate", "psycopg_pool"):
                raise
            advice = "workers need Procrastinate: pip install 'aftercare-bot[scale]'"
            raise ConfigurationError([("delivery.engine", advice)]) from error

        def end(_signal: int, _frame: FrameType | None) -> None:
            process.ask_to_end()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        if not process.run(lambda ready: click.echo(json.dumps(ready))):
            # A thread that hangs in a call would keep the interpreter from ending; its row is shown as uncertain.
            log.error("ended_without_draining")
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    return 0


def _queues(queues: str | None) -> tuple[str, ...]:
    if queues is None:
        return QUEUES
    wanted = tuple(queue.strip() for queue in queues.split(",") if queue.strip())
    if not wanted or set(wanted) - set(QUEUES):
        raise UsageError(f"--queues takes some of {','.join(QUEUES)}, with commas; found {queues!r}")
    return wanted


def _check(settings: Settings) -> None:
    if not settings.delivery.by_workers:
        advice = "write workers (and a PostgreSQL database.url); with embedded, `aftercare run` sends by itself"
        raise ConfigurationError([("delivery.engine", advice)])
