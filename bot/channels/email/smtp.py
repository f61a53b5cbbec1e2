"""The mail channel over SMTP: a few connections that are reused, each mail in a transaction of its own.

One caller at a time waits on a `session.py`, one who has many mails drives them on a `switchboard.py`. What a mail looks
like is `message.py`'s business.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Sequence

from bot.channels.base import Evidence, Exchange, Knowledge, Message
from bot.channels.email.addresses import one_address
from bot.channels.email.message import Identity, compose, message_id, wire
from bot.channels.email.server import Server
from bot.channels.email.session import SmtpSession
from bot.channels.email.switchboard import Switchboard
from bot.channels.email.wires import Mail
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
        self._exchanges: list[_Exchange] = []

    def send(self, message: Message) -> Evidence:
        """Hand the mail over; evidence is its Message-ID and the server's own words."""
        mail = self._write(message)
        session = self._take()
        try:
            reply = session.hand_over(mail.content, mail.sender, mail.recipient)
            self._proved_at = time.monotonic()
        finally:
            self._give_back(session)
        return self._evidence(message, reply)

    def exchange(self) -> Exchange:
        """Return connections for many mails at once, driven by the thread that calls."""
        made = _Exchange(Switchboard(self._server, self._tls), self._write, self._taken)
        with self._lock:
            self._exchanges.append(made)
        return made

    def find(self, message: Message) -> Evidence | Knowledge:
        """Say 'unknown': SMTP cannot be asked what became of a mail; a bounce or a reply may tell later."""
        return Knowledge.UNKNOWN

    def connected(self) -> bool:
        """Say whether the server took a command lately, or takes one now."""
        if self._proved_at is not None and time.monotonic() - self._proved_at < HEALTH_SECONDS:
            return True
        with self._lock:
            busy: list[SmtpSession | _Exchange] = [*self._busy, *(one for one in self._exchanges if one.is_busy)]
        if busy:  # sends are under way; what they find is the answer
            return any(one.is_open for one in busy)
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
            busy, exchanges = list(self._busy), list(self._exchanges)
            self._proved_at = None
        for session in busy:
            session.cut()
        for exchange in exchanges:
            exchange.close()
        for session in idle:
            session.drop()

    def _write(self, message: Message) -> Mail:
        content = wire(compose(message, self._identity, self._clock.now()), self._identity)
        return Mail(key=message.key, content=content, sender=self._sender, recipient=one_address(message.address))

    def _taken(self, message: Message, reply: str) -> Evidence:
        self._proved_at = time.monotonic()
        return self._evidence(message, reply)

    def _evidence(self, message: Message, reply: str) -> Evidence:
        identifier = message_id(self._identity, message.key)
        return Evidence(reference=identifier, thread=message.thread or identifier, detail={"reply": reply})

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


class _Exchange:
    """The mails of one caller who has many under way."""

    def __init__(
        self,
        switchboard: Switchboard,
        write: Callable[[Message], Mail],
        taken: Callable[[Message, str], Evidence],
    ) -> None:
        self._switchboard = switchboard
        self._write = write
        self._taken = taken
        self._under_way: dict[str, Message] = {}

    @property
    def is_busy(self) -> bool:
        return bool(self._under_way)

    @property
    def is_open(self) -> bool:
        return self._switchboard.is_connected

    def begin(self, message: Message) -> None:
        mail = self._write(message)
        self._under_way[message.key] = message
        self._switchboard.begin(mail)

    def ended(self, seconds: float) -> Sequence[tuple[str, Evidence | Exception]]:
        found: list[tuple[str, Evidence | Exception]] = []
        for key, result in self._switchboard.ended(seconds):
            message = self._under_way.pop(key)
            found.append((key, self._taken(message, result) if isinstance(result, str) else result))
        return found

    def wake(self) -> None:
        self._switchboard.wake()

    def close(self) -> None:
        self._switchboard.close()
