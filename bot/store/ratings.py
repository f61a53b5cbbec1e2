"""What readers said of the bot's answers: one rating an answer, the first that was given.

A rating names nobody: whose it is follows from the conversation, and goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import Author, DeliveryState, Direction
from bot.store.once import insert_once
from bot.store.tables import conversations, customers, deliveries, ratings, utterances

__all__ = ["Rateable", "rate", "rateable"]


@dataclass(frozen=True, kw_only=True)
class Rateable:
    """An answer of the bot that its reader may rate.

    Attributes
    ----------
    thread : str
        The channel's name of the conversation.
    key : str
        The key that the sent message carries; empty where it was not sent.
    locale : str or None
        The customer's language, where it is known.
    """

    utterance_id: int
    channel: str
    thread: str
    text: str
    key: str
    customer_id: int | None
    locale: str | None


def rateable(connection: Connection, utterance_id: int) -> Rateable | None:
    """Return an answer of the bot; None where there is none of that id."""
    sent = sa.select(sa.func.max(deliveries.c.key)).where(
        deliveries.c.utterance_id == utterances.c.id, deliveries.c.state == DeliveryState.SENT.value
    )
    row = connection.execute(
        sa.select(
            utterances.c.id.label("utterance_id"),
            utterances.c.text,
            sa.func.coalesce(sent.scalar_subquery(), "").label("key"),
            conversations.c.channel,
            conversations.c.thread,
            conversations.c.customer_id,
            customers.c.locale,
        )
        .join(conversations, conversations.c.id == utterances.c.conversation_id)
        .outerjoin(customers, customers.c.id == conversations.c.customer_id)
        .where(utterances.c.id == utterance_id, utterances.c.author == Author.BOT.value)
        .where(utterances.c.direction == Direction.OUT.value)
    ).one_or_none()
    return None if row is None else Rateable(**row._mapping)


def rate(connection: Connection, utterance_id: int, *, helped: bool, now: datetime) -> bool:
    """Write down what the reader said; False where they had said it before, which stands."""
    values = {"utterance_id": utterance_id, "helped": helped, "rated_at": now}
    return insert_once(connection, ratings, values) is not None
