"""The connections of a switchboard: what each carries, on which of them something happens, and what was said there.

When a mail begins and ends is `switchboard.py`'s business.
"""

from __future__ import annotations

import contextlib
import selectors
import smtplib
import socket
from collections.abc import Generator
from dataclasses import dataclass, field

from bot.channels.email.dialogue import Dialogue, Reply

__all__ = ["LONGEST_LINE", "Line", "Mail", "Watch", "take_reply"]

# RFC 5321 section 4.5.3.1.5 allows 512 octets a line of a reply; smtplib reads as much as this, and so many lines.
LONGEST_LINE = 8192
LONGEST_REPLY = 16 * LONGEST_LINE


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail to be handed over; `key` names it to the caller."""

    key: str
    content: bytes
    sender: str
    recipient: str


@dataclass(eq=False)
class Line:
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


class Watch:
    """Sees on which lines something happens, and hears a bell that other threads ring."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)

    def see(self, seconds: float) -> list[tuple[Line, int]]:
        """Wait until something happens, at most so long; return the lines with what may be done there."""
        found = []
        for key, mask in self._selector.select(seconds):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._ear.recv(4096)
            else:
                found.append((key.data, mask))
        return found

    def add(self, line: Line) -> None:
        self._selector.register(line.socket, selectors.EVENT_READ, line)

    def also_for_room(self, line: Line, wanted: bool) -> None:
        """Look, or look no more, whether the line takes more of what is to be sent."""
        if wanted != line.wants_room:
            line.wants_room = wanted
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0)
            self._selector.modify(line.socket, events, line)

    def remove(self, line: Line) -> None:
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


def take_reply(heard: bytearray) -> Reply | None:
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
