"""`aftercare email`: what a mail of ours looks like and whether it arrives, and what one that came in says.

Mails that were set aside are `email_quarantine.py`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bot.channels.base import DeadAddressError, Message
from bot.channels.email import compose
from bot.channels.email.message import headers_on_the_wire
from bot.channels.email.mime import MAX_OCTETS
from bot.channels.email.reading import read_mail
from bot.commands.base import application, config_option, json_option, print_json, print_table
from bot.commands.email_quarantine import list_command, retry_command, show_command
from bot.config import load_settings
from bot.errors import InputError, UsageError
from bot.services.delivery.departure import Departure
from bot.services.mail.inbound import InboundMail

SUBJECT = "A test of your check-ins"
TEXT = (
    "Hello,\n\nthis is how a check-in from {shop} looks. The words of a real one come from a template and are "
    "approved by an agent first.\n\nIf this mail arrived, mails can leave."
)


@click.group("email")
@config_option
def email_command() -> None:
    """Show or send a test mail, read one that came in, or look after those that were set aside."""


for _command in (list_command, show_command, retry_command):
    email_command.add_command(_command)


@email_command.command("test")
@config_option
@json_option
@click.argument("address")
@click.option("--send", is_flag=True, help="Hand it to the mail server (or the outbox) as well.")
@click.option("--html", "only_html", is_flag=True, help="Print only the HTML part, for a browser.")
def test(address: str, as_json: bool, send: bool, only_html: bool) -> None:
    """Show the mail that ADDRESS would get, headers and both parts."""
    with application() as app:
        shop = app.settings.shop
        departure = Departure(app.settings, app.catalogue)
        now = app.clock.now()
        # A test mail is nobody's check-in: its link shows the page that says so.
        opt_out_url = f"{app.settings.web.base_url.rstrip('/')}/u/test"
        message = departure.as_mail(
            Message(
                key=f"test:{int(now.timestamp())}:1",
                address=address,
                subject=SUBJECT,
                text=TEXT.replace("{shop}", shop.name),
                locale=shop.locale,
                campaign="test",
                opt_out_url=opt_out_url,
            )
        )
        try:
            mail = compose(message, app.email_identity, now)
        except DeadAddressError as error:
            raise UsageError(f"{address!r} is not exactly one plain mail address such as ana@example.org") from error
        headers = headers_on_the_wire(mail, app.email_identity)
        result: dict[str, Any] = {name.lower(): mail.headers[name] for name in ("From", "To", "Subject")}
        if send:
            if app.email is None:
                raise UsageError("email is switched off; write email.enabled: true to send a test")
            evidence = app.email.send(message)
            result |= {"sent": True, "reference": evidence.reference, "detail": dict(evidence.detail)}
        if as_json:
            print_json([{**result, "headers": dict(headers), "text": message.plain, "html": message.html}])
        elif only_html:
            click.echo(message.html)
        else:
            for name, value in headers:
                click.echo(f"{name}: {value}")
            click.echo(f"\n{message.plain}")
            if send:
                click.echo(f"Handed over: {result['detail']}")


@email_command.command("parse")
@config_option
@json_option
@click.argument("file", type=click.Path(path_type=Path))
def parse(file: Path, as_json: bool) -> None:
    """Say what a mail that came in is, and what it says: a reply's own words, whom a bounce is about.

    FILE is the mail as it was received (.eml). Nothing is stored and nobody is answered. It works without a
    configuration; with one, mails from the shop's own addresses are recognised.
    """
    own, markers = _ours()
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_OCTETS + 1)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name a file that holds one mail") from error
    try:
        mail = read_mail(content, own=own, markers=markers)
    except InputError as error:
        raise InputError(f"{file}: cannot be read as a mail: {error}") from error
    found = _as_row(mail)
    if as_json:
        print_json([found])
    else:
        print_table(file.name, ("what", "value"), [(name, _for_people(value)) for name, value in found.items()])


def _ours() -> tuple[Sequence[str], Sequence[str]]:
    """Return our addresses, and what stands in our mails only, as far as there is a configuration."""
    chosen: Path | None = click.get_current_context().ensure_object(dict).get("config_path")
    if chosen is None and not os.environ.get("AFTERCARE_CONFIG") and not Path("config.yaml").exists():
        return (), ()
    settings = load_settings(chosen)
    own = [address for address in (settings.email.sender, settings.email.reply_to) if address]
    return own, [f"{settings.web.base_url.rstrip('/')}/u/"]


def _as_row(mail: InboundMail) -> Mapping[str, Any]:
    """Return the agreed keys, and after them what else is known."""
    return {
        "kind": mail.kind.value,
        "from": mail.sender,
        "in_reply_to": mail.in_reply_to,
        "token": mail.token,
        "text": mail.text,
        "opt_out": mail.opt_out,
        "recipient_status": mail.recipient_status,
        "attachments": [
            {"name": one.name, "content_type": one.content_type, "octets": one.octets} for one in mail.attachments
        ],
        "message_id": mail.message_id,
        "subject": mail.subject,
        "sent_at": mail.sent_at,
        "language": mail.language,
        "recipient": mail.recipient,
        "action": mail.action,
        "original_message_id": mail.original_message_id,
        "original_key": mail.original_key,
        "truncated": mail.truncated,
    }


def _for_people(value: Any) -> str | None:
    if isinstance(value, list):
        return "\n".join(
            f"{one['name'] or '(no name)'}, {one['content_type']}, {one['octets']:,} octets" for one in value
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None else str(value)
