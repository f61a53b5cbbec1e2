"""Faults by number: the N-th call to a database, or the N-th step of a mail server's dialogue, goes wrong once.

A sweep runs a scenario for N = 1, 2, … until it ends without having reached the N-th call; `reached` says so.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from enum import StrEnum
from typing import Any

import pytest

from bot.store.database import Database


class Countdown:
    """Strikes at the N-th call, once; beyond that it only counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = 0
        self.calls = 0
        self.reached = False

    def arm(self, number: int) -> None:
        with self._lock:
            self._at, self.calls, self.reached = number, 0, False

    def disarm(self) -> None:
        with self._lock:
            self._at = 0

    def strikes(self) -> bool:
        with self._lock:
            if not self._at:
                return False
            self.calls += 1
            if self.calls == self._at:
                self.reached = True
                return True
            return False


class Lost(StrEnum):
    """What is lost of a database call."""

    CALL = "call"  # the N-th statement or commit never reaches the database
    REPLY = "reply"  # the N-th commit is done, and its reply never arrives


class FaultyDatabase:
    """Breaks the N-th call of a database: the connection is gone (PostgreSQL), or the disk fails (SQLite)."""

    def __init__(self, database: Database, lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
        self.countdown = Countdown()
        self._dialect = database.engine.dialect
        self._embedded = database.embedded
        self._lost = lost
        commit: Callable[[Any], None] = self._dialect.do_commit
        monkeypatch.setattr(self._dialect, "do_commit", lambda connection: self._commit(commit, connection))
        if lost is Lost.CALL:
            for name in ("do_execute", "do_executemany", "do_execute_no_params"):
                monkeypatch.setattr(self._dialect, name, self._breaking(getattr(self._dialect, name)))

    def _breaking(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def execute(cursor: Any, *rest: Any, **named: Any) -> Any:
            if self.countdown.strikes():
                self._break(cursor.connection)
            return real(cursor, *rest, **named)

        return execute

    def _commit(self, real: Callable[[Any], None], connection: Any) -> None:
        if not self.countdown.strikes():
            real(connection)
            return
        if self._lost is Lost.REPLY:
            real(connection)
        self._break(connection)

    def _break(self, connection: Any) -> None:
        if not self._embedded:
            getattr(connection, "dbapi_connection", connection).close()
        raise self._dialect.loaded_dbapi.OperationalError("the connection is lost")


class Fault(StrEnum):
    """What happens at the N-th step of the dialogue with the mail server."""

    CUT_BEFORE = "cut before"  # the connection ends, and what was said last is not heeded
    CUT_AFTER = "cut after"  # it is heeded, and the connection ends without a reply
    LATER = "later"  # refused for now
    NEVER = "never"  # refused for good
    GARBAGE = "garbage"  # heeded, and answered by what is no reply


_WORDS = {
    Fault.LATER: b"451 4.3.0 later\r\n",
    Fault.NEVER: b"554 5.7.0 never\r\n",
    Fault.GARBAGE: b"what a lovely day\r\n",
}


class FaultyMailServer:
    """A mail server in a thread that keeps what it took; each greeting, command and mail is a step."""

    def __init__(self) -> None:
        self.countdown = Countdown()
        self.fault = Fault.CUT_BEFORE
        self.taken: list[EmailMessage] = []
        self.port = 0
        self._listening: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-mail", daemon=True)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()

        async def listen() -> None:
            self._listening = await self._loop.create_server(lambda: _Dialogue(self), "127.0.0.1", 0)
            self.port = self._listening.sockets[0].getsockname()[1]

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)

    def stop(self) -> None:
        async def close() -> None:
            assert self._listening is not None
            self._listening.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def carried(self) -> list[str]:
        """The delivery keys of what was taken, without the attempt: what must not come twice."""
        return [str(mail["X-Aftercare-Key"]).rpartition(":")[0] for mail in self.taken]


class _Dialogue(asyncio.Protocol):
    def __init__(self, server: FaultyMailServer) -> None:
        self._server = server
        self._buffer = b""
        self._in_mail = False
        self._recipients = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._step(lambda: b"220 faulty.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._transport is not None and not self._transport.is_closing():
            end = b"\r\n.\r\n" if self._in_mail else b"\r\n"
            said, found, rest = self._buffer.partition(end)
            if not found:
                return
            self._buffer = rest
            if self._in_mail:
                self._in_mail = False
                self._step(lambda said=said: self._keep(said))  # type: ignore[misc]
            else:
                self._step(lambda said=said: self._obey(said))  # type: ignore[misc]

    def _step(self, heed: Callable[[], bytes]) -> None:
        assert self._transport is not None
        if not self._server.countdown.strikes():
            self._transport.write(heed())
            return
        fault = self._server.fault
        if fault in (Fault.CUT_AFTER, Fault.GARBAGE):
            heed()
        if fault in (Fault.CUT_BEFORE, Fault.CUT_AFTER):
            self._transport.abort()
        else:
            self._transport.write(_WORDS[fault])

    def _keep(self, content: bytes) -> bytes:
        mail = message_from_bytes(content.replace(b"\r\n..", b"\r\n."), policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self._server.taken.append(mail)
        return b"250 2.0.0 taken\r\n"

    def _obey(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                return b"250-faulty.example\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n"
            case b"MAIL" | b"RSET":
                self._recipients = 0
            case b"RCPT":
                self._recipients += 1
            case b"DATA" if not self._recipients:
                return b"503 5.5.1 no recipient\r\n"
            case b"DATA":
                self._in_mail = True
                return b"354 go on\r\n"
            case b"QUIT":
                return b"221 2.0.0 bye\r\n"
        return b"250 2.0.0 ok\r\n"


@contextmanager
def faulty_mail_server() -> Iterator[FaultyMailServer]:
    server = FaultyMailServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def sweep(countdown: Countdown, scenario: Callable[[Callable[[], None]], None], limit: int = 2000) -> int:
    """Run a scenario with the N-th call failing, for N = 1, 2, …; return how many calls there were.

    Parameters
    ----------
    scenario : callable
        Is given what arms the fault, to be called once everything is prepared.
    """
    for number in range(1, limit):
        scenario(functools.partial(countdown.arm, number))
        countdown.disarm()
        if not countdown.reached:
            return number - 1
    raise AssertionError("the sweep does not end")
