"""A real SMTP server that tests start on loopback: records every mail, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class Accepted:
    """A mail that the server took, as it came over the wire."""

    recipients: tuple[str, ...]
    sender: str
    content: bytes

    @property
    def mail(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass
class MailSink:
    """The server's log and its moods.

    Attributes
    ----------
    refusals : dict
        Recipient → the reply to RCPT, such as `550 5.1.1 no such user`; taken away again once it is removed.
    data_reply : str or None
        The reply after DATA instead of 250.
    vanish_after_data : int
        So many times, take the mail (it is recorded) and close the connection without a reply.
    hold : threading.Event or None
        Take the mail, record it, and reply only once the event is set.
    sessions : int
        How many connections were made.
    """

    port: int = 0
    accepted: list[Accepted] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    data_reply: str | None = None
    vanish_after_data: int = 0
    vanish_before_data: int = 0
    hold: threading.Event | None = None
    sessions: int = 0
    commands: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    controller: Any = None

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def keys(self) -> list[str]:
        """The delivery keys of the mails taken, in order."""
        return [str(accepted.mail["X-Aftercare-Key"]) for accepted in self.accepted]

    def message_ids(self) -> list[str]:
        return [str(accepted.mail["Message-ID"]) for accepted in self.accepted]

    def listen(self) -> None:
        """Take connections, on the same port as before."""
        self.controller = _FreePortController(self, hostname="127.0.0.1", port=self.port, **self.options)
        self.controller.start()
        self.port = self.controller.port

    def stop_listening(self) -> None:
        """Refuse connections until `listen`."""
        if self.controller is not None:
            self.controller.stop()
        self.controller = None

    # --- aiosmtpd's hooks ----------------------------------------------------------------------------

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.sessions += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        self.commands.append(f"RCPT {address}")
        if refusal := self.refusals.get(address):
            return refusal
        if self.vanish_before_data:
            self.vanish_before_data -= 1
            _cut(server)
            return "421 bye"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data_reply is not None:
            return self.data_reply
        content = envelope.original_content
        assert isinstance(content, bytes)
        self.accepted.append(Accepted(tuple(envelope.rcpt_tos), envelope.mail_from or "", content))
        if self.vanish_after_data:
            self.vanish_after_data -= 1
            _cut(server)
        if self.hold is not None:
            hold = self.hold
            await asyncio.get_running_loop().run_in_executor(None, hold.wait, 60)
        return "250 2.0.0 taken"


def _cut(server: Any) -> None:
    server.transport.abort()


@contextmanager
def mail_sink(**options: Any) -> Iterator[MailSink]:
    """Run a sink on a free loopback port.

    Parameters
    ----------
    options
        Passed to aiosmtpd's Controller (`tls_context`, `auth_require_tls`, …).
    """
    sink = MailSink(options=options)
    sink.listen()
    try:
        yield sink
    finally:
        if sink.hold is not None:
            sink.hold.set()
        sink.stop_listening()


class _FreePortController(Controller):  # type: ignore[misc]
    """A controller that lets the system choose the port and then says which it is."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()
