"""`aftercare email test`: what a mail looks like, and whether it arrives."""

from __future__ import annotations

from typing import Any

import click

from bot.channels.base import DeadAddressError, Message
from bot.channels.email import compose
from bot.commands.base import application, config_option, json_option, print_json
from bot.errors import UsageError
from bot.services.departure import Departure

SUBJECT = "A test of your check-ins"
TEXT = (
    "Hello,\n\nthis is how a check-in from {shop} looks. The words of a real one come from a template and are "
    "approved by an agent first.\n\nIf this mail arrived, mails can leave."
)


@click.group("email")
@config_option
def email_command() -> None:
    """Show or send a test mail."""


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
        result: dict[str, Any] = {"from": str(mail["From"]), "to": str(mail["To"]), "subject": str(mail["Subject"])}
        if send:
            if app.email is None:
                raise UsageError("email is switched off; write email.enabled: true to send a test")
            evidence = app.email.send(message)
            result |= {"sent": True, "reference": evidence.reference, "detail": dict(evidence.detail)}
        if as_json:
            headers = {name: str(value) for name, value in mail.items()}
            print_json([{**result, "headers": headers, "text": message.plain, "html": message.html}])
        elif only_html:
            click.echo(message.html)
        else:
            for name, value in mail.items():
                click.echo(f"{name}: {value}")
            click.echo(f"\n{message.plain}")
            if send:
                click.echo(f"Handed over: {result['detail']}")
