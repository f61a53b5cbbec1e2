"""The mail channel into a folder: each mail becomes one `.eml` file, written whole or not at all.

For trying out, demonstrations and installations whose mail is picked up from a folder. The file's name is the
delivery key, so this channel, unlike SMTP, can say what became of a mail.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from bot.channels.base import Evidence, Knowledge, Message
from bot.channels.email.message import Identity, compose, message_id, wire
from bot.clock import Clock
from bot.errors import TransientChannelError


class OutboxEmailChannel:
    """Writes each message as one mail file."""

    name = "email"

    def __init__(self, folder: Path, identity: Identity, clock: Clock) -> None:
        self._folder = folder
        self._identity = identity
        self._clock = clock

    def send(self, message: Message) -> Evidence:
        """Write the mail; evidence is its Message-ID and file name."""
        content = wire(compose(message, self._identity, self._clock.now()), self._identity)
        target = self._file(message.key)
        unfinished = target.with_suffix(f".{os.getpid()}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        except OSError as error:
            raise TransientChannelError(
                f"the outbox {self._folder} cannot be written ({error.strerror}); check email.outbox"
            ) from error
        return self._evidence(message)

    def find(self, message: Message) -> Evidence | Knowledge:
        """Look whether the mail's file is there."""
        return self._evidence(message) if self._file(message.key).exists() else Knowledge.ABSENT

    def connected(self) -> bool:
        """Say whether the folder can be written, or be made."""
        folder = self._folder
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return folder.is_dir() and os.access(folder, os.W_OK)

    def close(self) -> None:
        """Nothing is kept open."""

    def _file(self, key: str) -> Path:
        return self._folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', key)}.eml"

    def _evidence(self, message: Message) -> Evidence:
        identifier = message_id(self._identity, message.key)
        return Evidence(
            reference=identifier, thread=message.thread or identifier, detail={"file": self._file(message.key).name}
        )
