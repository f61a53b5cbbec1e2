"""`aftercare db upgrade|backup|restore|release`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bot.clock import Clock, clock_from_environment
from bot.commands.base import cli_actor, config_option, json_option, print_json
from bot.config import Settings, load_settings
from bot.errors import ConfigurationError
from bot.lazy import OnFirstUse
from bot.store import backup, migrations
from bot.store.database import Database, open_database, ping
from bot.store.queue_schema import install_queue, queue_version

# Only installations with workers have Procrastinate.
queue_schema = OnFirstUse("bot.tasks", "queue_schema")


@click.group("db")
@config_option
def db_command() -> None:
    """Upgrade, back up or restore the database."""


@db_command.command("upgrade")
@config_option
@json_option
def upgrade(as_json: bool) -> None:
    """Bring the database to this version, after a backup where it holds anything."""
    with _unmigrated() as (database, settings, clock):
        ping(database)
        before = migrations.current_revision(database)
        kept = backup.upgrade_safely(database, _folder(settings), clock.now())
        now = migrations.current_revision(database)
        installed = _install_queue(database, settings, clock)
        if as_json:
            queue = {"queue": queue_version(database)} if settings.delivery.by_workers else {}
            print_json([{"from": before, "to": now, "backup": str(kept) if kept else None, **queue}])
            return
        if installed:
            click.echo(f"The workers' queue was brought to {queue_version(database)}.")
        if before == now:
            click.echo(f"The database is up to date (revision {now}).")
        else:
            click.echo(
                f"The database went from revision {before or 'none'} to {now}." + (f" Backup: {kept}" if kept else "")
            )


def _install_queue(database: Database, settings: Settings, clock: Clock) -> bool:
    if not settings.delivery.by_workers:
        return False
    try:
        schema = queue_schema()
    except ModuleNotFoundError as error:
        advice = "workers need Procrastinate: pip install 'aftercare-bot[scale]'"
        raise ConfigurationError([("delivery.engine", advice)]) from error
    return install_queue(database, schema, clock.now())


@db_command.command("backup")
@config_option
@json_option
def back_up(as_json: bool) -> None:
    """Write a consistent copy to database.backups while the bot may be running."""
    with _unmigrated() as (database, settings, clock):
        ping(database)
        file = backup.back_up(database, _folder(settings), clock.now())
        if as_json:
            print_json([{"file": str(file), "bytes": file.stat().st_size}])
        else:
            click.echo(f"{file} ({file.stat().st_size:,} bytes)")


@db_command.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@json_option
def restore(file: Path, as_json: bool) -> None:
    """Replace the database by a backup. What was due is held until `aftercare db release`."""
    with _unmigrated() as (database, settings, clock):
        kept = backup.restore(database, file, _folder(settings), cli_actor(), clock.now())
        if lacks_queue := settings.delivery.by_workers and queue_version(database) is None:
            click.echo(
                "The backup holds no queue of the workers; run `aftercare db upgrade` before they start.", err=True
            )
        if as_json:
            queue = {"queue": None} if lacks_queue else {}
            print_json([{"restored": str(file), "backup": str(kept) if kept else None, "held": True, **queue}])
            return
        if kept:
            click.echo(f"What stood there before is kept in {kept}.")
        click.echo(f"Restored {file}. Nothing that was due goes out until you confirm: aftercare db release")


@db_command.command("release")
@config_option
@json_option
def release(as_json: bool) -> None:
    """After a restore: let what was due go out."""
    with _unmigrated() as (database, _, clock):
        backup.require_current(database)
        released = backup.release(database, cli_actor(), clock.now())
        if as_json:
            print_json([{"released": released}])
        else:
            click.echo("What was due may go out now." if released else "Nothing is held.")


@contextmanager
def _unmigrated() -> Iterator[tuple[Database, Settings, Clock]]:
    """Open the database as it is: these commands must work on one that is behind."""
    settings = load_settings(click.get_current_context().ensure_object(dict).get("config_path"))
    clock = clock_from_environment()
    database = open_database(settings.database.url, home=settings.home)
    try:
        yield database, settings, clock
    finally:
        database.close()


def _folder(settings: Settings) -> Path:
    return settings.path(settings.database.backups)
