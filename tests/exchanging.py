"""A channel whose `send` goes by its exchange, so that what holds for the one way is asked of the other, too."""

from __future__ import annotations

import time
from typing import Any

from bot.channels.base import Evidence, Knowledge, Message

# Only a failing test waits so long.
PATIENCE = 60.0


class ByExchange:
    """Sends one message after the other by the exchange of a channel."""

    def __init__(self, channel: Any) -> None:
        self.name = channel.name
        self._channel = channel
        self._exchange = channel.exchange()

    def send(self, message: Message) -> Evidence:
        self._exchange.begin(message)
        until = time.monotonic() + PATIENCE
        while not (found := dict(self._exchange.ended(PATIENCE))):
            assert time.monotonic() < until, "it never ended"
        ((key, result),) = found.items()
        assert key == message.key
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, Evidence)
        return result

    def find(self, message: Message) -> Evidence | Knowledge:
        found: Evidence | Knowledge = self._channel.find(message)
        return found

    def connected(self) -> bool:
        return bool(self._channel.connected())

    def close(self) -> None:
        self._channel.close()
