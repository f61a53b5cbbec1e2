"""One connection to the mail server, reused, for one caller that waits.

What is said on it is `dialogue.py`'s business, which connection a mail takes `smtp.py`'s, how one is made `server.py`'s.
"""

from __future__ import annotations

import contextlib
import smtplib
import ssl
import time

import structlog

from bot.channels.email import dialogue
from bot.channels.email.dialogue import Broken, Dialogue
from bot.channels.email.server import Server, connect, shut, what_to_mend
from bot.errors import TransientChannelError

log = structlog.get_logger()


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
            return self._say(content, sender, recipient)
        except Broken:
            if not reused:
                raise
            return self._say(content, sender, recipient)  # the server had closed an idle connection

    def open(self) -> None:
        """Make sure that there is a connection that answers; raises TransientChannelError."""
        self._open()

    def cut(self) -> None:
        """End the connection under whoever is using it: a send that hangs then ends as uncertain."""
        self._was_cut = True
        if (smtp := self._smtp) is not None:
            shut(smtp)

    def drop(self) -> None:
        """Forget the connection."""
        if self._smtp is not None:
            self._smtp.close()
        self._smtp = None

    def _say(self, content: bytes, sender: str, recipient: str) -> str:
        smtp = self._open()
        said = Dialogue(content, sender, recipient, sized=smtp.has_extn("size"), pipelined=smtp.has_extn("pipelining"))
        steps = said.steps()
        try:
            outgoing = next(steps)
            while True:
                try:
                    reply = _ask(smtp, outgoing, said.patience)
                except (OSError, smtplib.SMTPException) as error:
                    outgoing = steps.throw(error)
                else:
                    outgoing = steps.send(reply)
        except StopIteration as ended:
            words: str = ended.value
            return words
        finally:
            self._used_at = time.monotonic()
            if not said.usable:
                self.drop()

    def _open(self) -> smtplib.SMTP:
        """Return a connection that answers, the old one where it still does."""
        if self._was_cut:
            raise TransientChannelError("sending was ended; the mail is tried again later")
        if self._smtp is not None:
            if time.monotonic() - self._used_at < dialogue.IDLE_SECONDS and self._smtp.sock is not None:
                return self._smtp
            with contextlib.suppress(OSError, smtplib.SMTPException):
                if self._smtp.sock is not None:
                    self._smtp.sock.settimeout(dialogue.STEP_SECONDS)
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


def _ask(smtp: smtplib.SMTP, outgoing: bytes, seconds: float) -> tuple[int, bytes]:
    """Send something, perhaps nothing, and wait for the next reply."""
    if smtp.sock is not None:
        smtp.sock.settimeout(seconds)
    if outgoing:
        smtp.send(outgoing)
    return smtp.getreply()
