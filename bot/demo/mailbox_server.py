"""The mailbox page, served beside the running bot: on its usual port of loopback, or on another where that is taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bot.demo.mail_door import MailDoor
from bot.demo.mail_program import MailProgram
from bot.demo.mailbox_page import build_mailbox_app
from bot.demo.ports import LOOPBACK, MAILBOX_PORT, free_port
from bot.errors import ConfigurationError
from bot.web.server import WebServer
from bot.wiring import App

__all__ = ["door_of", "serve_mailbox"]


def door_of(app: App) -> MailDoor:
    """Return the way by which mails come into a running bot.

    Raises
    ------
    ConfigurationError
        It takes no posted mails.
    """
    secret = app.settings.secrets.mail_hook_secret
    if secret is None:
        raise ConfigurationError([("AFTERCARE_MAIL_HOOK_SECRET", "set it; without it no mail can be posted")])
    return MailDoor(app.settings.web.base_url, secret.get_secret_value())


@contextmanager
def serve_mailbox(app: App, program: MailProgram, door: MailDoor) -> Iterator[str]:
    """Serve the page within the block; give its address."""
    content = build_mailbox_app(program, door.post, app.clock, app.settings.shop.name)
    server = WebServer(content, LOOPBACK, free_port(MAILBOX_PORT))
    try:
        url = server.start()
    except ConfigurationError:  # somebody was faster
        server = WebServer(content, LOOPBACK, 0)
        url = server.start()
    try:
        yield url
    finally:
        server.stop()
