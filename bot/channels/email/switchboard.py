"""Many connections to one mail server, all driven by the one thread that calls: no mail waits for another's reply.

A thread a connection costs more than the conversation: it waits for the interpreter more than for the server. Only what
may block for long and cannot be asked not to (names, connecting, TLS, the login) is done on threads aside.
What is said to hand over a mail is `dialogue.py`'s business, what mails look like `message.py`'s.
"""

from __future__ import annotations

import contextlib
import selectors
import smtplib
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from bot.channels.email import dialogue
from bot.channels.email.dialogue import Broken, Dialogue, Reply
from bot.channels.email.server import Server, connect, shut, what_to_mend
from bot.errors import TransientChannelError

__all__ = ["Mail", "Switchboard"]

log = structlog.get_logger()
# RFC 5321 section 4.5.3.1.5 allows 512 octets a line of a reply; smtplib reads as much as this, and so many lines.
LONGEST_LINE = 8192
LONGEST_REPLY = 16 * LONGEST_LINE
# So many connections are made at the same time.
DIALLERS = 64


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail to be handed over; `key` names it to the caller."""

    key: str
    content: bytes
    sender: str
    recipient: str


@dataclass(eq=False)
class _Line:
    """One connection: being made, carrying a mail, or idle."""

    smtp: smtplib.SMTP | None = None
    mail: Mail | None = None
    said: Dialogue | None = None
    steps: Generator[bytes, Reply, str] | None = None
    heard: bytearray = field(default_factory=bytearray)
    unsent: bytes | memoryview = b""
    deadline: float = 0.0
    used_at: float = 0.0
    carried: bool = False  # a mail before this one, so that the server may have closed it meanwhile
    cut: bool = False
    wants_room: bool = False  # there is more to be sent than the connection takes

    @property
    def socket(self) -> socket.socket:
        assert self.smtp is not None
        assert self.smtp.sock is not None
        return self.smtp.sock


class _Watch:
    """Sees on which lines something happens, and hears a bell that other threads ring."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)

    def see(self, seconds: float) -> list[tuple[_Line, int]]:
        """Wait until something happens, at most so long; return the lines with what may be done there."""
        found = []
        for key, mask in self._selector.select(seconds):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._ear.recv(4096)
            else:
                found.append((key.data, mask))
        return found

    def add(self, line: _Line) -> None:
        self._selector.register(line.socket, selectors.EVENT_READ, line)

    def also_for_room(self, line: _Line, wanted: bool) -> None:
        """Look, or look no more, whether the line takes more of what is to be sent."""
        if wanted != line.wants_room:
            line.wants_room = wanted
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0)
            self._selector.modify(line.socket, events, line)

    def remove(self, line: _Line) -> None:
        assert line.smtp is not None
        if line.smtp.sock is not None:
            with contextlib.suppress(KeyError):  # it was cut before it was watched
                self._selector.unregister(line.smtp.sock)

    def ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it is heard anyway; closed: nobody listens
            self._bell.send(b"!")

    def close(self) -> None:
        self._selector.close()
        self._ear.close()
        self._bell.close()


class Switchboard:
    """Hands over mails on as many connections as there are mails under way.

    `begin` and `ended` are called by one thread at a time; `wake` and `close` by any.
    """

    def __init__(self, server: Server, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._tls = tls
        self._watch: _Watch | None = None
        self._lines: set[_Line] = set()
        self._idle: list[_Line] = []
        self._diallers = ThreadPoolExecutor(DIALLERS, thread_name_prefix="smtp-dial")
        self._dialled: deque[tuple[_Line, Future[smtplib.SMTP]]] = deque()
        self._ended: list[tuple[str, str | Exception]] = []
        self._earliest = float("inf")  # no line's patience ends before
        self._driven = threading.Lock()
        self._closed = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, which the server may have closed meanwhile."""
        return any(line.smtp is not None for line in tuple(self._lines))

    def begin(self, mail: Mail) -> None:
        """Begin to hand over a mail, on a connection of its own; how that ended comes from `ended`."""
        with self._driven:
            self._closed = False
            line = self._free_line()
            line.mail = mail
            if line.smtp is None:
                self._dial(line)
            else:
                self._speak(line)

    def ended(self, seconds: float) -> Sequence[tuple[str, str | Exception]]:
        """Go on until a mail has ended, or somebody called `wake`, or for so long; return keys with what became of them.

        That is the server's own words, or the ChannelError that says what may be done next.
        """
        with self._driven:
            if not self._ended:
                self._go_on(seconds)
            found, self._ended = self._ended, []
            if self._closed:
                self._hang_up()
        return found

    def wake(self) -> None:
        """Let `ended` return at once."""
        if (watch := self._watch) is not None:
            watch.ring()

    def close(self) -> None:
        """Cut every connection, also under a mail that hangs: that one then ends as the step says."""
        for line in tuple(self._lines):
            line.cut = True
            if line.smtp is not None:
                shut(line.smtp)
        self._closed = True
        self.wake()
        if self._driven.acquire(blocking=False):  # else whoever drives it does it
            try:
                self._hang_up()
            finally:
                self._driven.release()

    # --- What happens on the lines -------------------------------------------------------------------

    def _go_on(self, seconds: float) -> None:
        """Do what there is to be done; wait at most so long until there is something."""
        wait = max(min(seconds, self._earliest - time.monotonic()), 0.0)
        for line, mask in self._watching.see(wait):
            if mask & selectors.EVENT_WRITE and line.unsent:
                self._flush(line)
            if mask & selectors.EVENT_READ and line.smtp is not None:
                self._listen(line)
        while self._dialled:
            self._connected(*self._dialled.popleft())
        # Only now: what came while the caller was busy elsewhere came in time.
        if (now := time.monotonic()) >= self._earliest:
            self._lose_patience(now)

    def _lose_patience(self, now: float) -> None:
        for line in [line for line in self._lines if line.steps is not None and line.deadline <= now]:
            self._break(line, TimeoutError("timed out"))
        waiting = [line.deadline for line in self._lines if line.steps is not None]
        self._earliest = min(waiting, default=float("inf"))

    def _listen(self, line: _Line) -> None:
        """Read what the server says, and answer each whole reply."""
        try:
            while True:
                data = line.socket.recv(LONGEST_LINE)
                if not data:
                    raise smtplib.SMTPServerDisconnected("Connection unexpectedly closed")
                line.heard += data
                if not isinstance(line.socket, ssl.SSLSocket):
                    break  # what is left comes up again, unless TLS has read it ahead
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._break(line, error)
            return
        if line.steps is None:  # an idle connection on which something is said is about to end
            self._drop(line)
            return
        while line.steps is not None and line.smtp is not None:
            try:
                reply = _take_reply(line.heard)
            except smtplib.SMTPException as error:
                self._break(line, error)
                return
            if reply is None:
                return
            self._step(line, reply)

    def _flush(self, line: _Line) -> None:
        """Send as much as the connection takes now, the rest when it takes more."""
        try:
            while line.unsent:
                line.unsent = line.unsent[line.socket.send(line.unsent) :]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._watching.also_for_room(line, True)
        except OSError as error:
            self._break(line, error)
        else:
            self._watching.also_for_room(line, False)

    def _speak(self, line: _Line) -> None:
        """Begin the dialogue for the line's mail."""
        mail, smtp = line.mail, line.smtp
        assert mail is not None
        assert smtp is not None
        line.said = Dialogue(
            mail.content,
            mail.sender,
            mail.recipient,
            sized=smtp.has_extn("size"),
            pipelined=smtp.has_extn("pipelining"),
        )
        line.steps = line.said.steps()
        self._say(line, next(line.steps))

    def _step(self, line: _Line, heard: Reply | Exception) -> None:
        """Tell the dialogue what the server said, or what broke, and say what it wants said."""
        assert line.steps is not None
        assert line.said is not None
        try:
            outgoing = line.steps.throw(heard) if isinstance(heard, Exception) else line.steps.send(heard)
        except StopIteration as done:
            self._finish(line, done.value)
        except Broken as error:
            if line.carried and not line.cut:  # the server had closed an idle connection
                mail = line.mail
                self._drop(line)
                again = self._new_line()
                again.mail = mail
                self._dial(again)
            else:
                self._finish(line, error)
        except Exception as error:
            self._finish(line, error)
        else:
            self._say(line, outgoing)

    def _say(self, line: _Line, outgoing: bytes) -> None:
        assert line.said is not None
        line.deadline = time.monotonic() + line.said.patience
        self._earliest = min(self._earliest, line.deadline)
        if outgoing:
            line.unsent = memoryview(outgoing)
            self._flush(line)

    def _break(self, line: _Line, error: Exception) -> None:
        if line.steps is None:
            self._drop(line)
        else:
            line.unsent = b""
            self._step(line, error)

    def _finish(self, line: _Line, result: str | Exception) -> None:
        assert line.mail is not None
        assert line.said is not None
        self._ended.append((line.mail.key, result))
        usable = line.said.usable and not line.cut and not line.heard and not line.unsent
        line.mail = line.said = line.steps = None
        if usable:
            line.carried = True
            line.used_at = time.monotonic()
            self._idle.append(line)
        else:
            self._drop(line)

    # --- Lines come and go ---------------------------------------------------------------------------

    def _free_line(self) -> _Line:
        """Return the connection that was used last, which is the least likely to have gone stale; or a new one."""
        while self._idle:
            line = self._idle.pop()
            if time.monotonic() - line.used_at < dialogue.IDLE_SECONDS and not line.cut:
                return line
            self._drop(line)
        return self._new_line()

    def _new_line(self) -> _Line:
        line = _Line()
        self._lines.add(line)
        return line

    def _dial(self, line: _Line) -> None:
        watch = self._watching  # it must be there before anybody rings
        future = self._diallers.submit(connect, self._server, self._tls)

        def dialled(done: Future[smtplib.SMTP]) -> None:
            self._dialled.append((line, done))
            watch.ring()

        future.add_done_callback(dialled)

    def _connected(self, line: _Line, dialled: Future[smtplib.SMTP]) -> None:
        assert line.mail is not None
        error = dialled.exception()
        if error is None:
            line.smtp = dialled.result()
            if line.cut:
                error = TransientChannelError("sending was ended; the mail is tried again later")
        elif isinstance(error, (OSError, smtplib.SMTPException)):
            log.warning("mail_server_unreachable", host=self._server.host, error=type(error).__name__)
            error = TransientChannelError(what_to_mend(self._server, error))
        elif not isinstance(error, Exception):
            raise error
        if error is not None:
            self._ended.append((line.mail.key, error))
            self._drop(line)
            return
        line.socket.setblocking(False)
        self._watching.add(line)
        self._speak(line)

    def _drop(self, line: _Line) -> None:
        """Forget a connection."""
        if line in self._idle:
            self._idle.remove(line)
        self._lines.discard(line)
        if line.smtp is not None:
            self._watching.remove(line)
            line.smtp.close()
            line.smtp = None

    def _hang_up(self) -> None:
        """Give back every connection that carries no mail, and, where none does, all the rest."""
        for line in list(self._idle):
            self._drop(line)
        if not self._lines and self._watch is not None:
            self._watch.close()
            self._watch = None

    @property
    def _watching(self) -> _Watch:
        if self._watch is None:
            self._watch = _Watch()
        return self._watch


def _take_reply(heard: bytearray) -> Reply | None:
    """Take the first whole reply off what was heard, as smtplib reads one; None where there is none yet."""
    words: list[bytes] = []
    begin = 0
    while True:
        end = heard.find(b"\n", begin)
        if (len(heard) if end < 0 else end) - begin > LONGEST_LINE or begin > LONGEST_REPLY:
            raise smtplib.SMTPResponseException(500, "Line too long.")
        if end < 0:
            return None
        line = bytes(heard[begin : end + 1])
        begin = end + 1
        words.append(line[4:].strip(b" \t\r\n"))
        try:
            code, goes_on = int(line[:3]), line[3:4] == b"-"
        except ValueError:
            code, goes_on = -1, False
        if not goes_on:
            del heard[:begin]
            return code, b"\n".join(words)
