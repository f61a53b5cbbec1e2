"""A TCP proxy on loopback that spoils the N-th connection, or the N-th line a client says, once."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from tests.faulty import Countdown


class Spoilt(StrEnum):
    """What becomes of the N-th step."""

    CALL = "call lost"  # the connection ends before the server heard it
    REPLY = "reply lost"  # the server heard it and answered; the answer is dropped and the connection ends
    BUSY = "busy"  # HTTP only: 429, the server heard nothing
    BROKEN = "broken"  # HTTP only: 500, the server heard nothing


_HTTP = {
    Spoilt.BUSY: (b"429 Too Many Requests", b'{"ok": false, "error": "ratelimited"}'),
    Spoilt.BROKEN: (b"500 Internal Server Error", b'{"ok": false, "error": "internal_error"}'),
}


class SpoilingProxy:
    """Passes bytes both ways; a step is a connection (HTTP) or a client's line (IMAP)."""

    def __init__(self, host: str, port: int, *, by_line: bool) -> None:
        self.countdown = Countdown()
        self.spoilt = Spoilt.CALL
        self._target = (host, port)
        self._by_line = by_line
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(self._target)
        self._open |= {client, server}
        mute = threading.Event()
        back = threading.Thread(target=self._pass_back, args=(server, client, mute), daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            self._pass_on(client, server, mute)
        _end(client)
        _end(server)
        back.join(10)
        self._open -= {client, server}
        client.close()
        server.close()

    def _pass_on(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        first = True
        while data := client.recv(65536):
            steps = data.count(b"\n") if self._by_line else int(first)
            first = False
            struck = False
            for _ in range(steps):  # a client says one line and waits; a piece of a few lines is spoilt as a whole
                struck |= self.countdown.strikes()
            if not struck:
                server.sendall(data)
                continue
            if self.spoilt is Spoilt.REPLY:
                mute.set()
                server.sendall(data)
                if not self._by_line:
                    self._rest(client, server, data)
                _PAUSE.wait(0.1)  # the server works on it meanwhile
            elif self.spoilt in _HTTP:
                status, body = _HTTP[self.spoilt]
                self._rest(client, None, data)
                head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nRetry-After: 0\r\nContent-Length: %d\r\n\r\n"
                client.sendall(head % (status, len(body)) + body)
            return

    def _rest(self, client: socket.socket, server: socket.socket | None, data: bytes) -> None:
        """Read, and pass on, what is left of an HTTP request."""
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length and (more := client.recv(65536)):
            body += more
            if server is not None:
                server.sendall(more)

    def _pass_back(self, server: socket.socket, client: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not mute.is_set():
                    client.sendall(data)
        _end(client)


_PAUSE = threading.Event()


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def spoiling_proxy(host: str, port: int, *, by_line: bool) -> Iterator[SpoilingProxy]:
    """Run a proxy on a free loopback port."""
    proxy = SpoilingProxy(host, port, by_line=by_line)
    try:
        yield proxy
    finally:
        proxy.close()
