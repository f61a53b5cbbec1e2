"""A WebSocket client just large enough for the page of local-slack: modals are seen and submitted there only.

Follows RFC 6455 (sections 4.1, 5.2, 5.5). The product talks to Slack through Slack's own SDK, never through this.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

from bot.errors import ChannelError

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


class UiSocket:
    """One open page.

    Parameters
    ----------
    base_url : str
        Where local-slack listens, such as `http://127.0.0.1:3000`.
    timeout : float
        Seconds to wait for the next frame.
    """

    def __init__(self, base_url: str, *, timeout: float = 10.0) -> None:
        parts = urlsplit(base_url)
        try:
            self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout)
            self._buffer = b""
            self._shake_hands(parts.netloc)
        except OSError as error:
            raise ChannelError(f"the page of local-slack at {base_url} does not answer ({error})") from error

    def send(self, message: dict[str, Any]) -> None:
        """Send one JSON message."""
        self._send_frame(_TEXT, json.dumps(message).encode())

    def receive(self) -> dict[str, Any]:
        """Wait for the next JSON message.

        Raises
        ------
        ChannelError
            Nothing came in time, or the page was closed.
        """
        whole = b""
        try:
            while True:
                final, code, payload = self._receive_frame()
                if code == _PING:
                    self._send_frame(_PONG, payload)
                elif code == _CLOSE:
                    raise ChannelError("local-slack closed its page; start the demo again")
                elif code != _PONG:
                    whole += payload
                    if final:
                        return dict(json.loads(whole))
        except OSError as error:
            raise ChannelError(f"the page of local-slack fell silent ({error or type(error).__name__})") from error

    def close(self) -> None:
        """Leave the page."""
        self._socket.close()

    def __enter__(self) -> UiSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _shake_hands(self, host: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            (
                f"GET /ui HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        accept = base64.b64encode(hashlib.sha1(f"{key}{_MAGIC}".encode()).digest())  # noqa: S324 - the protocol says so
        if not head.startswith(b"HTTP/1.1 101") or accept not in head:
            raise ChannelError("what answers at local-slack's address does not speak WebSocket")

    def _send_frame(self, code: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes([0x80 | code])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", size)
        mask = os.urandom(4)  # a client must mask, section 5.3
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._socket.sendall(head + mask + masked)

    def _receive_frame(self) -> tuple[bool, int, bytes]:
        first, second = self._take(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._take(8))
        return bool(first & 0x80), first & 0x0F, self._take(size)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _fill(self) -> None:
        received = self._socket.recv(1 << 16)
        if not received:
            raise ConnectionError("connection closed")
        self._buffer += received
