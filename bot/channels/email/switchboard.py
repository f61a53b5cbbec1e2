"""Many connections to one mail server, all driven by the one thread that calls: no mail waits for another's reply.

A thread a connection costs more than the conversation: it waits for the interpreter more than for the server. Only what
may block for long and cannot be asked not to (names, connecting, TLS, the login) is done on threads aside.
What is said to hand over a mail is `dialogue.py`'s business, what mails look like `message.py`'s.
"""

from __future__ import annotations

import selectors
import smtplib
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from bot.channels.email import dialogue
from bot.channels.email.dialogue import Broken, Dialogue, Reply
from bot.channels.email.server import Server, connect, shut, what_to_mend
from bot.channels.email.wires import LONGEST_LINE, Line, Mail, Watch, take_reply
from bot.errors import TransientChannelError

__all__ = ["Switchboard"]

log = structlog.get_logger()
# So many connections are made at the same time.
DIALLERS = 64


class Switchboard:
    """Hands over mails on as many connections as there are mails under way.

    `begin` and `ended` are called by one thread at a time; `wake` and `close` by any.
    """

    def __init__(self, server: Server, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._tls = tls
        self._watch: Watch | None = None
        self._lines: set[Line] = set()
        self._idle: list[Line] = []
        self._diallers = ThreadPoolExecutor(DIALLERS, thread_name_prefix="smtp-dial")
        self._dialled: deque[tuple[Line, Future[smtplib.SMTP]]] = deque()
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

    def _listen(self, line: Line) -> None:
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
                reply = take_reply(line.heard)
            except smtplib.SMTPException as error:
                self._break(line, error)
                return
            if reply is None:
                return
            self._step(line, reply)

    def _flush(self, line: Line) -> None:
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

    def _speak(self, line: Line) -> None:
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

    def _step(self, line: Line, heard: Reply | Exception) -> None:
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

    def _say(self, line: Line, outgoing: bytes) -> None:
        assert line.said is not None
        line.deadline = time.monotonic() + line.said.patience
        self._earliest = min(self._earliest, line.deadline)
        if outgoing:
            line.unsent = memoryview(outgoing)
            self._flush(line)

    def _break(self, line: Line, error: Exception) -> None:
        if line.steps is None:
            self._drop(line)
        else:
            line.unsent = b""
            self._step(line, error)

    def _finish(self, line: Line, result: str | Exception) -> None:
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

    def _free_line(self) -> Line:
        """Return the connection that was used last, which is the least likely to have gone stale; or a new one."""
        while self._idle:
            line = self._idle.pop()
            if time.monotonic() - line.used_at < dialogue.IDLE_SECONDS and not line.cut:
                return line
            self._drop(line)
        return self._new_line()

    def _new_line(self) -> Line:
        line = Line()
        self._lines.add(line)
        return line

    def _dial(self, line: Line) -> None:
        watch = self._watching  # it must be there before anybody rings
        future = self._diallers.submit(connect, self._server, self._tls)

        def dialled(done: Future[smtplib.SMTP]) -> None:
            self._dialled.append((line, done))
            watch.ring()

        future.add_done_callback(dialled)

    def _connected(self, line: Line, dialled: Future[smtplib.SMTP]) -> None:
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

    def _drop(self, line: Line) -> None:
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
    def _watching(self) -> Watch:
        if self._watch is None:
            self._watch = Watch()
        return self._watch
