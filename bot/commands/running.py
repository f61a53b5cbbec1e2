"""`aftercare run`: the bot without a terminal, or one job once."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import click
import structlog

from bot.commands.base import application, config_option, print_json
from bot.errors import Refused, UsageError
from bot.running import PARTS, Running
from bot.wiring import App

log = structlog.get_logger()


def _once_daily(app: App) -> dict[str, Any]:
    report = app.daily.run_now()
    return {"day": report.day.isoformat(), **report.done} if report else {"already": True}


def _once_deliver(app: App) -> dict[str, Any]:
    recovered = app.deliverer.recover()
    report = app.deliverer.drain(limit=sys.maxsize)
    return {**vars(report), "recovered": recovered, "reconciled": app.deliverer.reconcile()}


def _once_score(app: App) -> dict[str, Any]:
    return {kind: app.scorer.store(kind) for kind in ("issue", "churn")}


def _once_label(app: App) -> dict[str, Any]:
    return {"outcomes": app.labeller.label()}


def _once_retrain(app: App) -> dict[str, Any]:
    reports = [report for kind in ("issue", "churn") for report in app.trainer.train(kind)]
    return {"models": [report.line() for report in reports]}


def _once_digest(app: App) -> dict[str, Any]:
    if app.slack is None:
        raise Refused("there is no review channel to bring up to date: slack.mode is off")
    app.slack.start()
    try:
        return {"touched": app.slack.sync()}
    finally:
        app.slack.stop()


ONCE: dict[str, Callable[[App], dict[str, Any]]] = {
    "daily": _once_daily,
    "digest": _once_digest,
    "deliver": _once_deliver,
    "score": _once_score,
    "label": _once_label,
    "retrain": _once_retrain,
}


@click.command("run")
@config_option
@click.option("--once", type=click.Choice(sorted(ONCE)), help="Do one job now, print what it did, and end.")
@click.option("--only", metavar="PARTS", help=f"Run only some parts, of {','.join(PARTS)}.")
def run_command(once: str | None, only: str | None) -> int:
    """Run the bot: web, Slack, scheduler, delivery.

    Prints one line of JSON when everything works. SIGTERM or Ctrl-C drains and ends.
    """
    parts = _parts(only)
    with application() as app:
        if once is not None:
            print_json([{"event": once, **ONCE[once](app)}])
            return 0
        return _run(app, parts)


def _parts(only: str | None) -> tuple[str, ...]:
    if only is None:
        return PARTS
    wanted = tuple(part.strip() for part in only.split(",") if part.strip())
    if not wanted or set(wanted) - set(PARTS):
        raise UsageError(f"--only takes parts of {','.join(PARTS)}, with commas; found {only!r}")
    return wanted


def _run(app: App, parts: tuple[str, ...]) -> int:
    running = Running(app, parts)

    def end(_signal: int, _frame: FrameType | None) -> None:
        running.ask_to_end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    drained = True
    try:
        ready = running.start()
        if ready is not None:
            click.echo(json.dumps(ready))
            running.wait()
    finally:
        drained = running.stop()
    if not drained:
        # A thread that hangs in a call would keep the interpreter from ending; its row is shown as uncertain at
        # the next start.
        log.error("ended_without_draining")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0
