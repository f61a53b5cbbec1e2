"""The composition of what takes mails in: a part of `bot.wiring`, imported when the first mail may come.

Nothing else builds these parts, and nothing here decides anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.channels.email.imap import ImapServer
from bot.channels.email.mailbox import Mailbox
from bot.channels.email.message import message_id
from bot.channels.email.reading import read_mail
from bot.services.delivery.ownership import this_process
from bot.services.mail.inbound import InboundMail
from bot.services.mail.mailroom import Mailroom
from bot.web.mail_hook import MailHook

if TYPE_CHECKING:
    from bot.wiring import App

__all__ = ["build_mail_hook", "build_mailbox", "build_mailroom"]


def build_mailroom(app: App) -> Mailroom:
    """Build what records mails and works on them."""
    email = app.settings.email
    own = [address for address in (email.sender, email.reply_to) if address]
    pages = [f"{app.settings.web.base_url.rstrip('/')}/u/"]

    def read(content: bytes) -> InboundMail:
        return read_mail(content, own=own, markers=pages)

    return Mailroom(
        app.database,
        app.clock,
        app.settings,
        read=read,
        message_id=lambda key: message_id(app.email_identity, key),
        signer=app.signer,
        conversations=lambda: app.conversations,
        catalogue=app.catalogue,
    )


def build_mailbox(app: App) -> Mailbox | None:
    """Build what watches the mailbox; None without IMAP_URL, or where email is off."""
    url = app.settings.secrets.imap_url
    if not app.settings.email.enabled or url is None:
        return None
    server = ImapServer.from_url(url.get_secret_value())
    return Mailbox(server, app.settings.email.mailbox, app.mailroom, seed=this_process())


def build_mail_hook(app: App) -> MailHook | None:
    """Build the door for posted mails; there is none without a secret that signs them, or where email is off."""
    secret = app.settings.secrets.mail_hook_secret
    if not app.settings.email.enabled or secret is None:
        return None
    return MailHook(secret.get_secret_value(), app.mailroom.take_posted)
