"""A customer writing to the bot, for tests of dialogues."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.conversation.conversations import Conversations, Inbound, Received
from bot.store.database import Database
from bot.store.tables import metadata
from messages.answers import known_intents
from tests.encoders import RememberingEncoder

ENCODER = RememberingEncoder()
CLASSIFIER = known_intents(ENCODER)
SETTINGS = Settings.model_validate({"shop": {"name": "Kehrwerk"}})


@dataclass
class Talk:
    """A customer writing to the bot; every message gets an id of its own."""

    database: Database
    clock: ManualClock
    conversations: Conversations
    customer_id: int | None = None
    thread: str = "D1"
    channel: str = "slack"

    def __post_init__(self) -> None:
        self._ids = count(1)

    def inbound(self, text: str, **changed: Any) -> Inbound:
        values = {
            "source": self.channel,
            "external_id": f"{self.thread}:{next(self._ids)}",
            "channel": self.channel,
            "thread": self.thread,
            "customer_id": self.customer_id,
            "sender": "slack:T1:U1",
            "text": text,
            "occurred_at": self.clock.now(),
        }
        return Inbound(**{**values, **changed})

    def say(self, text: str, **changed: Any) -> Received:
        return self.conversations.receive(self.inbound(text, **changed))

    def rows(self, table: str) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(metadata.tables[table]).order_by(metadata.tables[table].c.id)))

    def told(self, received: Received) -> str:
        return "\n".join(row.text for row in self.rows("utterances") if row.id in received.utterance_ids)

    def state(self) -> str:
        return self.rows("conversations")[-1].state
