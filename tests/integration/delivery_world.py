"""A shop with approved check-ins and deliverers over one channel, for the tests of delivery."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bot.channels.base import Message
from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.services.delivery.deliverer import Deliverer
from bot.services.review.desk import ReviewDesk
from bot.store.database import Database
from bot.store.decisions import deliveries_of
from bot.store.outreach import Outreach, outreach
from messages.catalogue import Catalogue
from tests.fake_channel import FakeChannel
from tests.integration.shop_rows import add_customer, insert, propose

S = OutreachState
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
OPEN_HOURS = {"quiet_hours": {"start": "00:00", "end": "00:00"}}


class Shop:
    """A database with approved check-ins, and deliverers over one channel."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.database = database
        self.clock = ManualClock(NOON)
        self.settings = Settings.model_validate(
            {"policy": OPEN_HOURS, "review": {"undo_seconds": 0}, "delivery": {"connections": 1}, **settings}
        )
        self.channel = FakeChannel()
        self.catalogue = Catalogue.load()
        self.deliverer = self.new_deliverer()

    def new_deliverer(self, owner: str | None = None) -> Deliverer:
        channels = {"email": self.channel}
        return Deliverer(self.database, self.clock, self.settings, channels, self.catalogue, owner=owner)

    def approve(self, key: str = "c1", **columns: Any) -> int:
        one = propose(self.database, self.clock.now(), key, **columns)
        return ReviewDesk(self.database, self.clock, self.settings).approve(one.id, one.version, "cli:ana").id

    def see(self, outreach_id: int) -> Outreach:
        with self.database.read() as connection:
            return outreach(connection, outreach_id)

    def attempts(self, outreach_id: int) -> list[str]:
        with self.database.read() as connection:
            return [row["state"] for row in deliveries_of(connection, [outreach_id]).get(outreach_id, [])]

    def sent_keys(self) -> list[str]:
        return [message.key for message in self.channel.taken]


def fails(error: Exception) -> Any:
    def raise_it(_message: Message) -> None:
        raise error

    return raise_it


def talk(shop: Shop, *texts: str) -> list[int]:
    now = shop.clock.now()
    with shop.database.write() as connection:
        customer_id = add_customer(connection, "talker", now)
        conversation = insert(
            connection,
            "conversations",
            channel="email",
            thread="<first@mail.example>",
            customer_id=customer_id,
            state="bot",
            clarifications=0,
            created_at=now,
            updated_at=now,
        )
        common = {"conversation_id": conversation, "occurred_at": now, "recorded_at": now}
        inbound = {"source": "email", "external_id": "<in@mail.example>", "direction": "in", "author": "customer"}
        insert(connection, "utterances", **common, **inbound, text="Where is it?", author_id="talker@mail.example")
        return [
            insert(
                connection,
                "utterances",
                **common,
                source="aftercare",
                external_id=f"out-{number}",
                direction="out",
                author="bot",
                text=text,
            )
            for number, text in enumerate(texts)
        ]
