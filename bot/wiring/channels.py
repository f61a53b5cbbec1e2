"""The composition of the ways to customers and agents: a part of `bot.wiring`.

Nothing else builds these parts, and nothing here decides anything. Mails that come in are `bot.wiring.mail`'s business.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bot.channels.base import Channel
from bot.channels.email import Identity, OutboxEmailChannel, Server, SmtpEmailChannel
from bot.errors import ConfigurationError
from bot.lazy import OnFirstUse

if TYPE_CHECKING:
    from bot.channels.email.signing import DkimSigner
    from bot.channels.slack.board_actions import Desks
    from bot.channels.slack.connection import SlackConnection
    from bot.services.conversation.duty import DutyRoster
    from bot.wiring import App
else:
    DkimSigner = OnFirstUse("bot.channels.email.signing", "DkimSigner")
    Desks = OnFirstUse("bot.channels.slack.board_actions", "Desks")
    DutyRoster = OnFirstUse("bot.services.conversation.duty", "DutyRoster")
    SlackConnection = OnFirstUse("bot.channels.slack.connection", "SlackConnection")

__all__ = ["build_email", "build_identity", "build_slack"]


def build_identity(app: App) -> Identity:
    """Say who writes our mails."""
    email, secret = app.settings.email, app.settings.secrets.secret_key
    if secret is None or app.signer is None:
        raise ConfigurationError([("AFTERCARE_SECRET_KEY", "set it to a long random text; it signs the links")])
    identity = Identity(
        sender=email.sender,
        name=email.sender_name or app.settings.shop.name,
        reply_to=email.reply_to,
        signer=app.signer,
        secret=secret.get_secret_value(),
    )
    key = app.settings.secrets.dkim_key
    if not email.dkim_selector or key is None:  # bot.config refuses the one without the other
        return identity
    signer = DkimSigner(
        domain=identity.domain, selector=email.dkim_selector, key=key.get_secret_value(), clock=app.clock
    )
    return replace(identity, dkim=signer)


def build_email(app: App) -> Channel | None:
    """Build the mail channel, into a folder or to a server; None where email is off."""
    settings = app.settings
    if not settings.email.enabled:
        return None
    if settings.email.outbox:
        return OutboxEmailChannel(settings.path(settings.email.outbox), app.email_identity, app.clock)
    url = settings.secrets.smtp_url
    if url is None:
        raise ConfigurationError([("SMTP_URL", "set it, or write email.outbox: FOLDER")])
    return SmtpEmailChannel(Server.from_url(url.get_secret_value()), app.email_identity, app.clock)


def build_slack(app: App) -> SlackConnection | None:
    """Build the connection to the workspace; None where Slack is off."""
    if app.settings.slack.mode == "off":
        return None
    return SlackConnection(
        api=app.slack_api,
        database=app.database,
        clock=app.clock,
        settings=app.settings,
        review=app.review,
        conversations=app.conversations,
        # With workers, the transaction that wrote the words has called one.
        send_utterance=(lambda _: None) if app.settings.delivery.by_workers else app.deliverer.send_utterance,
        stopping=app.stopping,
        playbooks=lambda: app.playbooks,
        desks=Desks(earning=app.earning, patterns=app.pattern_desk, gaps=app.gap_desk),
        unasked=lambda: app.autopilot.run(),
        duty=DutyRoster(app.database, app.clock, app.settings),
    )
