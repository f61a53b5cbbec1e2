"""`playbook autonomy`: how far a playbook may go by itself, why, and setting it."""

from __future__ import annotations

import getpass
from typing import Any

import click

from bot.commands.base import application, config_option, json_option, print_json, print_table
from bot.decide.playbook import Autonomy
from bot.services.review.earning import Record

__all__ = ["autonomy_command"]


@click.command("autonomy")
@click.argument("playbook_id", metavar="ID")
@click.option(
    "--to", "level", type=click.Choice([one.value for one in Autonomy]), help="Go up to this level from now on."
)
@click.option("--as", "actor", help="Who decides (default: the user of this machine).")
@config_option
@json_option
def autonomy_command(playbook_id: str, level: str | None, actor: str | None, as_json: bool) -> int:
    """How far a playbook may go by itself, the numbers, and every step so far; `--to` decides anew.

    Nothing goes beyond what the playbook's file says; sending at once must have been earned.
    """
    with application() as app:
        if level is not None:
            app.earning.set(playbook_id, Autonomy(level), f"cli:{actor or _user()}")
        record = app.earning.record(playbook_id)
    if as_json:
        print_json([_line(record)])
        return 0
    click.echo(f"{record.title} ({record.playbook}): {record.level}; its file allows {record.ceiling}.")
    if record.ceiling is Autonomy.AUTO:
        for missing in record.missing or ["nothing: it is earned"]:
            click.echo(f"  lacks for sending at once: {missing}")
    rows = (
        (f"{one.recorded_at:%Y-%m-%d %H:%M} UTC", one.way.value, one.level.value, one.actor, one.playbook_version)
        for one in record.steps
    )
    print_table("Steps, latest first", ("when", "what", "level", "who", "version"), rows)
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return "unknown"


def _line(record: Record) -> dict[str, Any]:
    evidence = record.evidence
    return {
        "playbook": record.playbook,
        "version": record.version,
        "level": record.level.value,
        "ceiling": record.ceiling.value,
        "decided": evidence.decided,
        "as_written": evidence.as_written,
        "low": round(evidence.low, 4),
        "sent": evidence.sent,
        "objections": evidence.objections,
        "missing": list(record.missing),
        "steps": [
            {
                "way": one.way.value,
                "level": one.level.value,
                "version": one.playbook_version,
                "actor": one.actor,
                "at": one.recorded_at,
                "numbers": dict(one.numbers),
            }
            for one in record.steps
        ],
    }
