"""One connection to the mail server, reused, and the dialogue for one mail to one recipient.

The envelope is accepted or refused per mail, and what a broken connection means hangs on the step: before the server
answered DATA with 354 nothing was delivered; after the final dot, until its reply, nobody knows. Where the server
allows it (RFC 2920), the three commands of the envelope go out together: one round trip instead of three.
Which connection a mail takes is `smtp.py`'s business, how a connection is made `server.py`'s.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
import time

import structlog

from bot.channels.base import DeadAddressError
from bot.channels.email.server import CONNECT_SECONDS, Server, connect, what_to_mend
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
# RFC 3463: bad mailbox, bad system, bad syntax, ambiguous, moved, no MX; 5.1.10 null MX; 5.2.1 disabled.
_DEAD_CODES = re.compile(r"5\.(?:1\.(?:1|2|3|4|6|10)|2\.1)\b")
_ANY_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_DEAD_WITHOUT_ENHANCED = frozenset({550, 551, 553})
# Refusals without an enhanced code that are about us, not about the address: Exim's, qmail's and others' words.
_NOT_THE_ADDRESS = re.compile(
    r"relay|sender|authenti|polic|spam|block|denied|prohibit|verif|rcpthosts|#5\.7", re.IGNORECASE
)
_UNPRINTABLE = re.compile(r"[^ -~]+")  # a NUL, say, which PostgreSQL's JSON does not take
_LEADING_DOT = re.compile(rb"(?m)^\.")


class _Broken(TransientChannelError):
    """The connection broke before the server took the mail."""


class SmtpSession:
    """A connection that is opened when it is needed and kept; used by one thread at a time."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._tls = tls
        self._smtp: smtplib.SMTP | None = None
        self._used_at = 0.0
        self._was_cut = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, which the server may have closed meanwhile."""
        return self._smtp is not None

    def hand_over(self, content: bytes, sender: str, recipient: str) -> str:
        """Hand over one mail; return the server's own words.

        Parameters
        ----------
        content : bytes
            The whole mail with CRLF line ends, ending in one.
        sender, recipient : str
            Addresses that were found sound.

        Raises
        ------
        ChannelError
            See `bot.channels.base`.
        """
        reused = self._smtp is not None
        try:
            smtp = self._envelope(sender, recipient, len(content))
        except _Broken:
            if not reused:
                raise
            smtp = self._envelope(sender, recipient, len(content))  # the server had closed an idle connection
        try:
            smtp.send(_LEADING_DOT.sub(b"..", content) + b".\r\n")
            if smtp.sock is not None:
                smtp.sock.settimeout(REPLY_SECONDS)
            code, words = smtp.getreply()
        except (OSError, smtplib.SMTPException) as error:
            self.drop()
            raise UncertainChannelError(
                f"the connection ended after the mail was handed over and before the reply ({type(error).__name__})"
            ) from error
        self._used_at = time.monotonic()
        if code == 421 or not 200 <= code < 600:
            self.drop()
        if not 200 <= code < 600:
            raise UncertainChannelError(f"the mail server ended with the unknown code {code}")
        _require((code, words), "the mail")
        return f"{code} {_words(words)}"[:200]

    def open(self) -> None:
        """Make sure that there is a connection that answers; raises TransientChannelError."""
        self._open()

    def cut(self) -> None:
        """End the connection under whoever is using it: a send that hangs then ends as uncertain."""
        self._was_cut = True
        smtp = self._smtp
        if smtp is not None and (connected := getattr(smtp, "sock", None)) is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Forget the connection."""
        if self._smtp is not None:
            self._smtp.close()
        self._smtp = None

    def _envelope(self, sender: str, recipient: str, octets: int) -> smtplib.SMTP:
        """Bring the dialogue to 354; whatever breaks in here broke before the server took the mail."""
        smtp = self._open()
        try:
            if smtp.sock is not None:
                smtp.sock.settimeout(CONNECT_SECONDS)
            size = f" SIZE={octets}" if smtp.has_extn("size") else ""
            commands = [f"MAIL FROM:<{sender}>{size}", f"RCPT TO:<{recipient}>", "DATA"]
            if smtp.has_extn("pipelining"):
                smtp.send("".join(f"{command}\r\n" for command in commands))
                replies = [smtp.getreply() for _ in commands]
                if replies[2][0] == 354 and not all(_positive(reply) for reply in replies[:2]):
                    # It waits for a mail that it has no recipient for; an ended connection tells it that none comes.
                    self.drop()
                for number, reply in enumerate(replies):
                    self._require_step(number, reply)
            else:
                for number, command in enumerate(commands):
                    smtp.putcmd(command)
                    self._require_step(number, smtp.getreply())
        except ChannelError:
            self._begin_again(smtp)
            raise
        except (OSError, smtplib.SMTPException) as error:
            self.drop()
            raise _Broken(
                f"the connection to the mail server broke before it took the mail ({type(error).__name__})"
            ) from error
        return smtp

    def _require_step(self, number: int, reply: tuple[int, bytes]) -> None:
        """Raise what the reply to MAIL (0), RCPT (1) or DATA (2) means, unless it lets us go on."""
        step = ("the sender", "the recipient", "the mail")[number]
        code = reply[0]
        if not 200 <= code < 600 or (number == 2 and 200 <= code < 400 and code != 354):
            # Nobody knows what it waits for now; a further command might be taken for words of the mail.
            self.drop()
            raise TransientChannelError(f"the mail server answered {step} with the unknown code {code}")
        _require(reply, step, whose=number)

    def _begin_again(self, smtp: smtplib.SMTP) -> None:
        """Clear the envelope after a refusal, so that it does not touch the next recipient."""
        if self._smtp is None:
            return
        try:
            if smtp.rset()[0] != 250:
                self.drop()
        except (OSError, smtplib.SMTPException):
            self.drop()

    def _open(self) -> smtplib.SMTP:
        """Return a connection that answers, the old one where it still does."""
        if self._was_cut:
            raise TransientChannelError("sending was ended; the mail is tried again later")
        if self._smtp is not None:
            if time.monotonic() - self._used_at < IDLE_SECONDS and self._smtp.sock is not None:
                return self._smtp
            with contextlib.suppress(OSError, smtplib.SMTPException):
                if self._smtp.sock is not None:
                    self._smtp.sock.settimeout(CONNECT_SECONDS)
                if self._smtp.noop()[0] == 250:
                    self._used_at = time.monotonic()
                    return self._smtp
            self.drop()
        try:
            self._smtp = connect(self._server, self._tls)
        except (OSError, smtplib.SMTPException) as error:
            log.warning("mail_server_unreachable", host=self._server.host, error=type(error).__name__)
            raise TransientChannelError(what_to_mend(self._server, error)) from error
        self._used_at = time.monotonic()
        return self._smtp


def _positive(reply: tuple[int, bytes]) -> bool:
    return 200 <= reply[0] < 400


def _require(reply: tuple[int, bytes], subject: str, *, whose: int = 2) -> None:
    """Raise what a reply of the server means, unless it is positive (RFC 5321 section 4.2.1).

    Parameters
    ----------
    whose : int
        0: the sender's command, whose refusal says nothing about the recipient; 1: the recipient's; 2: the mail's.
    """
    if _positive(reply):
        return
    code, words = reply
    said = _words(words)
    enhanced = _ANY_ENHANCED.match(said)
    reason = f"the mail server refused {subject}: {code}{f' {enhanced.group()}' if enhanced else ''}"
    if code < 500:
        raise TransientChannelError(reason)
    bare = enhanced is None and code in _DEAD_WITHOUT_ENHANCED and not _NOT_THE_ADDRESS.search(said)
    if whose and (_DEAD_CODES.match(said) or (whose == 1 and bare)):
        raise DeadAddressError(reason)
    raise PermanentChannelError(reason)


def _words(words: bytes) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", words.decode("ascii", "replace")).split())
