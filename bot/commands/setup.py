"""`aftercare init`, `aftercare config check` and `aftercare doctor`."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import click

from bot.commands.base import config_option, json_option, print_json, print_table
from bot.commands.checks import Check, State, check_base, check_slack_side
from bot.commands.email_checks import check_email
from bot.config import load_settings
from bot.errors import ConfigurationError, UsageError

SIDES = {"email": check_email, "slack": check_slack_side}


def _path() -> Path | None:
    path: Path | None = click.get_current_context().ensure_object(dict).get("config_path")
    return path


@click.command("init")
@config_option
def init_command() -> None:
    """Write a first config.yaml, with every setting explained; an existing one is never touched."""
    path = _path() or Path("config.yaml")
    content = files("bot").joinpath("first_config.yaml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise UsageError(f"{path} exists already and was left alone; pass --config PATH for another") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); pass --config PATH") from error
    click.echo(f"Wrote {path}. Change what you like, then run: aftercare config check")


@click.group("config")
@config_option
def config_command() -> None:
    """Check the configuration."""


@config_command.command("check")
@config_option
@json_option
def check(as_json: bool) -> int:
    """Read the configuration and name everything that is wrong; exit 2 where something is."""
    path = _path() or Path(os.environ.get("AFTERCARE_CONFIG") or "config.yaml")
    try:
        load_settings(path)
    except ConfigurationError as error:
        if not as_json:
            raise
        print_json({"path": place, "advice": advice} for place, advice in error.problems)
        return error.exit_status
    if not as_json:
        click.echo(f"{path.name} is fine")
    return 0


@click.command("doctor")
@click.argument("side", required=False, type=click.Choice(sorted(SIDES)))
@config_option
@json_option
@click.option("--send", is_flag=True, help="With email: send a mail to email.from as well.")
def doctor_command(side: str | None, as_json: bool, send: bool) -> int:
    """Look at this installation, or at its email or Slack side, and say what to mend; exit 1 where something fails."""
    if send and side != "email":
        raise UsageError("--send goes with `aftercare doctor email`")
    try:
        settings = load_settings(_path())
    except ConfigurationError as error:
        _show([Check(name=place, state=State.FAIL, detail=advice) for place, advice in error.problems], as_json)
        return error.exit_status
    found = [Check(name="configuration", state=State.OK, detail="read and checked")]
    if side is None:
        found += check_base(settings)
    for name, look in SIDES.items():
        if side in (None, name):
            found += check_email(settings, send=True) if send else look(settings)
    _show(found, as_json)
    return 1 if any(one.state is State.FAIL for one in found) else 0


def _show(found: list[Check], as_json: bool) -> None:
    if as_json:
        print_json(one.line() for one in found)
    else:
        print_table("Doctor", ("", "what", "finding"), ((one.state, one.name, one.detail) for one in found))
        records = [one.publish for one in found if one.publish is not None]
        if records:
            click.echo(
                "To publish in DNS (a provider's form takes name and value; there, strings are joined, without quotes):"
            )
        for record in records:
            click.echo(record)
