"""The mail channel over SMTP: a few connections that are reused, each mail in a transaction of its own.

What a mail looks like is `message.py`'s business, what is said on a connection `session.py`'s.
"""

from __future__ import annotations

import ssl
import threading
import time

from bot.channels.base import Evidence, Knowledge, Message
from bot.channels.email.addresses import one_address
from bot.channels.email.message import Identity, compose, message_id, wire
from bot.channels.email.server import Server
from bot.channels.email.session import SmtpSession
from bot.clock import Clock
from bot.errors import TransientChannelError

# How long a health page may believe the last proof that the server answers.
HEALTH_SECONDS = 30.0


class SmtpEmailChannel:
    """Sends each message as one mail to one recipient; as many at a time as there are callers."""

    name = "email"

    def __init__(self, server: Server, identity: Identity, clock: Clock, *, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._identity = identity
        self._sender = one_address(identity.sender)
        self._clock = clock
        self._tls = tls
        self._lock = threading.Lock()
        self._idle: list[SmtpSession] = []
        self._busy: set[SmtpSession] = set()
        self._proved_at: float | None = None

    def send(self, message: Message) -> Evidence:
        """Hand the mail over; evidence is its Message-ID and the server's own words."""
        content = wire(compose(message, self._identity, self._clock.now()), self._identity)
        session = self._take()
        try:
            reply = session.hand_over(content, self._sender, one_address(message.address))
            self._proved_at = time.monotonic()
        finally:
            self._give_back(session)
        identifier = message_id(self._identity, message.key)
        return Evidence(reference=identifier, thread=message.thread or identifier, detail={"reply": reply})

    def find(self, message: Message) -> Evidence | Knowledge:
        """Say 'unknown': SMTP cannot be asked what became of a mail; a bounce or a reply may tell later."""
        return Knowledge.UNKNOWN

    def connected(self) -> bool:
        """Say whether the server took a command lately, or takes one now."""
        if self._proved_at is not None and time.monotonic() - self._proved_at < HEALTH_SECONDS:
            return True
        with self._lock:
            busy = list(self._busy)
        if busy:  # sends are under way; what they find is the answer
            return any(session.is_open for session in busy)
        session = self._take()
        try:
            session.open()
            self._proved_at = time.monotonic()
        except TransientChannelError:
            return False
        finally:
            self._give_back(session)
        return True

    def close(self) -> None:
        """Cut every connection, also under a send that hangs: that one then ends as uncertain."""
        with self._lock:
            idle, self._idle = self._idle, []
            busy = list(self._busy)
            self._proved_at = None
        for session in busy:
            session.cut()
        for session in idle:
            session.drop()

    def _take(self) -> SmtpSession:
        """Return the connection that was used last, which is the least likely to have gone stale; or a new one."""
        with self._lock:
            session = self._idle.pop() if self._idle else SmtpSession(self._server, self._tls)
            self._busy.add(session)
        return session

    def _give_back(self, session: SmtpSession) -> None:
        with self._lock:
            self._busy.discard(session)
            if session.is_open:
                self._idle.append(session)
            else:
                self._proved_at = None
