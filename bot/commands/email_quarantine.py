"""`aftercare email list|show|retry`: the mails that came in and were set aside."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from bot.commands.base import application, cli_actor, config_option, json_option, print_json, print_table
from bot.errors import AftercareError, Refused, UsageError
from bot.store.quarantine import QuarantinedMail

__all__ = ["list_command", "retry_command", "show_command"]

# Of a mail that nobody could read, so much is shown: whose it is stands at its beginning.
_SHOWN_OCTETS = 4_000


@click.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0)
@config_option
@json_option
def list_command(limit: int, offset: int, as_json: bool) -> None:
    """Mails that could not be read or whose effect broke, the newest first."""
    with application() as app:
        count, found = app.quarantine.listing(limit, offset)
    if as_json:
        print_json(_row(mail) for mail in found)
        return
    columns = ("id", "received", "octets", "complete", "error")
    cells = [(one.id, f"{one.received_at:%Y-%m-%d %H:%M}", one.octets, _cell(one.complete), one.error) for one in found]
    print_table(f"Mails set aside: {count}", columns, cells)


@click.command("show")
@click.argument("mail_id", type=click.IntRange(1), metavar="ID")
@click.option("--raw", is_flag=True, help="Write what is kept of it, octet for octet, for a file or another program.")
@config_option
@json_option
def show_command(mail_id: int, raw: bool, as_json: bool) -> None:
    """One mail that was set aside: why, and how it begins."""
    if raw and as_json:
        raise UsageError("--raw and --json do not go together")
    with application() as app:
        mail, content = app.quarantine.show(mail_id)
    if raw:
        if content is None:
            raise Refused(f"what was kept of mail {mail_id} is forgotten; look for it in the mailbox")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    begins = _visible((content or b"")[:_SHOWN_OCTETS])
    if as_json:
        print_json([{**_row(mail), "begins": begins}])
        return
    print_table(f"Mail {mail_id}", ("what", "value"), [(name, _cell(value)) for name, value in _row(mail).items()])
    click.echo(begins)


@click.command("retry")
@click.argument("mail_ids", type=click.IntRange(1), metavar="ID...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of which all is kept.")
@config_option
def retry_command(mail_ids: tuple[int, ...], everything: bool) -> int:
    """Work on mails again, after what set them aside was mended; each has its effect once."""
    if bool(mail_ids) == everything:
        raise UsageError("name the mails to try again, or write --all")
    status = 0
    with application() as app:
        if everything:
            mail_ids = tuple(one.id for one in app.quarantine.listing(sys.maxsize)[1] if one.complete)
        for mail_id in mail_ids:
            try:
                app.quarantine.retry(mail_id, cli_actor())
            except AftercareError as error:
                click.echo(f"Mail {mail_id}: {error}", err=True)
                status = max(status, error.exit_status)
            else:
                click.echo(f"Mail {mail_id} waits again; `aftercare run` works on it.")
        if not mail_ids:
            click.echo("No mail is set aside of which all is kept.")
    return status


def _row(mail: QuarantinedMail) -> dict[str, Any]:
    return {**asdict(mail), "source": mail.source.value}


def _cell(value: Any) -> Any:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _visible(content: bytes) -> str:
    """Return text of which no character can move a terminal's cursor."""
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)
