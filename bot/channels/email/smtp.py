"""The mail channel over SMTP: one connection, reused, and an honest answer to 'did it leave?'.

The dialogue is spoken step by step (RFC 5321), because what a broken connection means hangs on the step: before
the server answered DATA with 354 nothing was delivered; after the final dot, until its reply, nobody knows.
What a mail looks like is `message.py`'s business, how a connection is made `server.py`'s.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
import threading
import time
from email.message import EmailMessage

import structlog

from bot.channels.base import DeadAddressError, Evidence, Knowledge, Message
from bot.channels.email.addresses import one_address
from bot.channels.email.message import POLICY, Identity, compose, message_id
from bot.channels.email.server import CONNECT_SECONDS, Server, connect, what_to_mend
from bot.clock import Clock
from bot.errors import (
    ChannelError,
    PermanentChannelError,
    TransientChannelError,
    UncertainChannelError,
)

log = structlog.get_logger()

# RFC 5321 section 4.5.3.2 allows a server ten minutes after the final dot; a minute is what relays need in practice,
# and what takes longer is shown as uncertain rather than blocking everybody behind it.
REPLY_SECONDS = 60.0
# Servers close idle connections after minutes; one older than this is proved by NOOP before it is used.
IDLE_SECONDS = 20.0
# How long a health page may believe the last proof that the server answers.
HEALTH_SECONDS = 30.0
# RFC 3463: bad mailbox, bad system, bad syntax, ambiguous, moved, no MX; 5.1.10 null MX; 5.2.1 disabled.
_DEAD_CODES = re.compile(r"5\.(?:1\.(?:1|2|3|4|6|10)|2\.1)\b")
_ANY_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_DEAD_WITHOUT_ENHANCED = frozenset({550, 551, 553})


class _Broken(TransientChannelError):
    """The connection broke before the server took the mail."""


class SmtpEmailChannel:
    """Sends each message as one mail to one recipient."""

    name = "email"

    def __init__(self, server: Server, identity: Identity, clock: Clock, *, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._identity = identity
        self._clock = clock
        self._tls = tls
        self._lock = threading.Lock()
        self._smtp: smtplib.SMTP | None = None
        self._used_at = 0.0
        self._proved_at: float | None = None

    def send(self, message: Message) -> Evidence:
        """Hand the mail over; evidence is its Message-ID and the server's own words."""
        mail = compose(message, self._identity, self._clock.now())
        with self._lock:
            reply = self._hand_over(mail, one_address(message.address))
        identifier = message_id(self._identity, message.key)
        return Evidence(reference=identifier, thread=message.thread or identifier, detail={"reply": reply})

    def find(self, message: Message) -> Evidence | Knowledge:
        """Say 'unknown': SMTP cannot be asked what became of a mail; a bounce or a reply may tell later."""
        return Knowledge.UNKNOWN

    def connected(self) -> bool:
        """Say whether the server took a command lately, or takes one now."""
        if self._proved_at is not None and time.monotonic() - self._proved_at < HEALTH_SECONDS:
            return True
        if not self._lock.acquire(timeout=0.1):  # a send is under way; what it finds is the answer
            return self._smtp is not None
        try:
            self._open()
        except TransientChannelError:
            return False
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        """Cut the connection, also under a send that hangs: that one then ends as uncertain."""
        smtp = self._smtp
        if smtp is not None and (connected := getattr(smtp, "sock", None)) is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        if self._lock.acquire(timeout=1.0):
            try:
                self._drop()
            finally:
                self._lock.release()

    def _hand_over(self, mail: EmailMessage, recipient: str) -> str:
        content = mail.as_bytes(policy=POLICY)
        reused = self._smtp is not None
        try:
            smtp = self._envelope(recipient, len(content))
        except _Broken:
            if not reused:
                raise
            smtp = self._envelope(recipient, len(content))  # the server had closed an idle connection
        try:
            smtp.send(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
            if smtp.sock is not None:
                smtp.sock.settimeout(REPLY_SECONDS)
            code, words = smtp.getreply()
        except (OSError, smtplib.SMTPException) as error:
            self._drop()
            raise UncertainChannelError(
                f"the connection ended after the mail was handed over and before the reply ({type(error).__name__})"
            ) from error
        self._used_at = time.monotonic()
        if code == 421 or not 200 <= code < 600:
            self._drop()
        if not 200 <= code < 600:
            raise UncertainChannelError(f"the mail server ended with the unknown code {code}")
        _require((code, words), "the mail")
        self._proved_at = self._used_at
        return f"{code} {_words(words)}"[:200]

    def _envelope(self, recipient: str, octets: int) -> smtplib.SMTP:
        """Bring the dialogue to 354; whatever breaks in here broke before the server took the mail."""
        smtp = self._open()
        try:
            if smtp.sock is not None:
                smtp.sock.settimeout(CONNECT_SECONDS)
            options = [f"size={octets}"] if smtp.has_extn("size") else []
            _require(smtp.mail(one_address(self._identity.sender), options), "the sender")
            _require(smtp.rcpt(recipient), "the recipient", dead=True)
            smtp.putcmd("data")
            code, words = smtp.getreply()
            _require((code, words), "the mail")
            if code != 354:
                raise TransientChannelError(f"the mail server answered DATA with {code}")
        except ChannelError:
            self._begin_again(smtp)
            raise
        except (OSError, smtplib.SMTPException) as error:
            self._drop()
            raise _Broken(
                f"the connection to the mail server broke before it took the mail ({type(error).__name__})"
            ) from error
        return smtp

    def _begin_again(self, smtp: smtplib.SMTP) -> None:
        """Clear the envelope after a refusal, so that it does not touch the next recipient."""
        try:
            if smtp.rset()[0] != 250:
                self._drop()
        except (OSError, smtplib.SMTPException):
            self._drop()

    def _open(self) -> smtplib.SMTP:
        """Return a connection that answers, the old one where it still does."""
        if self._smtp is not None:
            if time.monotonic() - self._used_at < IDLE_SECONDS and self._smtp.sock is not None:
                return self._smtp
            with contextlib.suppress(OSError, smtplib.SMTPException):
                if self._smtp.noop()[0] == 250:
                    self._used_at = self._proved_at = time.monotonic()
                    return self._smtp
            self._drop()
        self._proved_at = None
        try:
            self._smtp = connect(self._server, self._tls)
        except (OSError, smtplib.SMTPException) as error:
            log.warning("mail_server_unreachable", host=self._server.host, error=type(error).__name__)
            raise TransientChannelError(what_to_mend(self._server, error)) from error
        self._used_at = self._proved_at = time.monotonic()
        return self._smtp

    def _drop(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
        self._smtp = None
        self._proved_at = None


def _require(reply: tuple[int, bytes], subject: str, *, dead: bool = False) -> None:
    """Raise what a reply of the server means, unless it is positive (RFC 5321 section 4.2.1)."""
    code, words = reply
    if 200 <= code < 400:
        return
    said = _words(words)
    enhanced = _ANY_ENHANCED.match(said)
    reason = f"the mail server refused {subject}: {code}{f' {enhanced.group()}' if enhanced else ''}"
    if code < 500:
        raise TransientChannelError(reason)
    if _DEAD_CODES.match(said) or (dead and enhanced is None and code in _DEAD_WITHOUT_ENHANCED):
        raise DeadAddressError(reason)
    raise PermanentChannelError(reason)


def _words(words: bytes) -> str:
    return " ".join(words.decode("ascii", "replace").split())
