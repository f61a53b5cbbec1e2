"""A channel in memory that keeps the Channel contract (tests/contract/test_channels.py says so)."""

from __future__ import annotations

from collections.abc import Callable

from bot.channels.base import Evidence, Knowledge, Message


class FakeChannel:
    """Keeps what it was given; `mood` may raise before, `doubt` after it was taken."""

    def __init__(self, name: str = "email") -> None:
        self.name = name
        self.taken: list[Message] = []
        self.mood: Callable[[Message], None] | None = None
        self.doubt: Callable[[Message], None] | None = None
        self.asked: list[str] = []

    def send(self, message: Message) -> Evidence:
        if self.mood is not None:
            self.mood(message)
        self.taken.append(message)
        if self.doubt is not None:
            self.doubt(message)
        return self._evidence(message)

    def find(self, message: Message) -> Evidence | Knowledge:
        self.asked.append(message.key)
        if any(taken.key == message.key for taken in self.taken):
            return self._evidence(message)
        return Knowledge.ABSENT

    def connected(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def _evidence(self, message: Message) -> Evidence:
        return Evidence(reference=f"fake-{message.key}", thread=message.thread or f"thread-{message.key}")
