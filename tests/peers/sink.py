"""A fast SMTP server on loopback that takes every mail and writes down, before it says so, that it did.

    python -m tests.peers.sink --log FILE [--delay SECONDS] [--tempfail SHARE] [--seed N]

A process of its own, for measuring and for tests that kill: its log is what really arrived, whatever became of the sender.
Each accepted mail is one line, `UNIX-TIME MESSAGE-ID KEY`, appended by one write before the 250 leaves. It speaks just
enough of RFC 5321 and RFC 2920 (PIPELINING), keeps nothing of the mails, and is no model of a careful server; the one
that keeps mails and misbehaves at will is `tests.peers.mail`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MESSAGE_ID = re.compile(rb"(?im)^message-id:\s*(<[^>\s]*>)")
_KEY = re.compile(rb"(?im)^x-aftercare-key:\s*(\S+)")
_GREETING = b"220 sink.example ESMTP\r\n"
_EHLO = b"250-sink.example\r\n250-PIPELINING\r\n250-SIZE 10485760\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
_OK = b"250 2.0.0 ok\r\n"


class Session(asyncio.Protocol):
    """One connection: commands until DATA, then the mail until the lone dot."""

    def __init__(self, log: int, *, delay: float = 0.0, tempfail: float = 0.0, chance: random.Random) -> None:
        self._log = log
        self._delay = delay
        self._tempfail = tempfail
        self._chance = chance
        self._buffer = b""
        self._in_mail = False
        self._waiting = False  # the 250 of the last mail is delayed; what was pipelined behind it waits
        self._recipients = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(_GREETING)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._waiting:
            self._go_on()

    def _go_on(self) -> None:
        replies: list[bytes] = []
        while not self._waiting and (reply := self._mail() if self._in_mail else self._command()) is not None:
            replies.append(reply)
        if self.transport is not None and replies:
            self.transport.write(b"".join(replies))
            if replies[-1].startswith(b"221"):
                self.transport.close()

    def _command(self) -> bytes | None:
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            return None
        self._buffer = rest
        match line[:4].upper():
            case b"MAIL":
                self._recipients = 0
                return _OK
            case b"RCPT":
                if self._tempfail and self._chance.random() < self._tempfail:
                    return b"451 4.3.0 later\r\n"
                self._recipients += 1
                return _OK
            case b"DATA":
                if not self._recipients:
                    return b"503 5.5.1 no recipient\r\n"
                self._in_mail = True
                return b"354 go on\r\n"
            case b"EHLO" | b"HELO":
                return _EHLO if line[:1] in b"Ee" else _OK
            case b"RSET" | b"NOOP":
                self._recipients = 0
                return _OK
            case b"QUIT":
                return b"221 2.0.0 bye\r\n"
            case _:
                return b"500 5.5.2 what?\r\n"

    def _mail(self) -> bytes | None:
        content, end, rest = self._buffer.partition(b"\r\n.\r\n")
        if not end:
            return None
        self._buffer, self._in_mail, self._recipients = rest, False, 0
        head = content[: content.find(b"\r\n\r\n") + 2] or content
        identifier, key = _MESSAGE_ID.search(head), _KEY.search(head)
        os.write(
            self._log,
            b"%.6f %s %s\n" % (time.time(), identifier.group(1) if identifier else b"-", key.group(1) if key else b"-"),
        )
        if not self._delay:
            return _OK
        self._waiting = True
        asyncio.get_running_loop().call_later(self._delay, self._answer_late)
        return None

    def _answer_late(self) -> None:
        self._waiting = False
        if self.transport is not None:
            self.transport.write(_OK)
            self._go_on()


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One mail that the sink took."""

    at: float
    message_id: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Sink:
    """A running sink.

    Attributes
    ----------
    pid : int
        Its process.
    log : Path
        One line a mail.
    """

    port: int
    pid: int
    log: Path

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def count(self) -> int:
        """Count the mails taken."""
        return self.log.read_bytes().count(b"\n")

    def arrivals(self) -> list[Arrival]:
        """Return the mails taken, in order."""
        lines = (line.split() for line in self.log.read_text(encoding="ascii").splitlines())
        return [Arrival(at=float(at), message_id=identifier, key=key) for at, identifier, key in lines]

    def forget(self) -> None:
        """Empty the log; only between rounds, while nobody sends."""
        os.truncate(self.log, 0)  # it is open for appending, so the next line stands at the start


@contextmanager
def start_sink(folder: Path, *, delay: float = 0.0, tempfail: float = 0.0, seed: int = 0) -> Iterator[Sink]:
    """Run a sink on a free port until the end of the block.

    Parameters
    ----------
    delay : float
        Seconds between taking a mail and saying 250.
    tempfail : float
        The share of recipients that get a 451.
    """
    log = folder / f"sink-{time.monotonic_ns()}.log"
    words = ["--log", str(log), "--delay", str(delay), "--tempfail", str(tempfail), "--seed", str(seed)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.peers.sink", *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        port = process.stdout.readline()
        if not port:
            raise RuntimeError(f"the sink ended with {process.wait()} before it listened")
        yield Sink(port=int(port), pid=process.pid, log=log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stdout.close()


async def _serve(arguments: argparse.Namespace) -> None:
    log = os.open(arguments.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    chance = random.Random(arguments.seed)
    listening = socket.create_server(("127.0.0.1", arguments.port), backlog=512)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(
        lambda: Session(log, delay=arguments.delay, tempfail=arguments.tempfail, chance=chance), sock=listening
    )
    print(listening.getsockname()[1], flush=True)
    await ended.wait()
    server.close()


def main() -> None:
    """Listen until asked to end; print the port once it is open."""
    words = argparse.ArgumentParser(prog="tests.peers.sink", description=(__doc__ or "").splitlines()[0])
    words.add_argument("--log", required=True)
    words.add_argument("--port", type=int, default=0)
    words.add_argument("--delay", type=float, default=0.0)
    words.add_argument("--tempfail", type=float, default=0.0)
    words.add_argument("--seed", type=int, default=0)
    asyncio.run(_serve(words.parse_args()))


if __name__ == "__main__":
    main()
