"""Email: composing mails, handing them to a server or a folder; only here: mail libraries."""

from __future__ import annotations

from bot.channels.email.message import Identity, compose
from bot.channels.email.outbox import OutboxEmailChannel
from bot.channels.email.server import Server, prove
from bot.channels.email.smtp import SmtpEmailChannel

__all__ = ["Identity", "OutboxEmailChannel", "Server", "SmtpEmailChannel", "compose", "prove"]
