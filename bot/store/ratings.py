"""What readers said of the bot's answers: one rating an answer, the first that was given.

A rating names nobody: whose it is follows from the conversation, and goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import Author, DeliveryState, Direction, ExampleSource
from bot.store.examples import add_example, question_of
from bot.store.once import insert_once
from bot.store.tables import conversations, customers, deliveries, ratings, utterances

__all__ = ["Rateable", "rate", "rateable", "tries_of_bot"]


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
    """Write down what the reader said, as a label too; False where they had said it before, which stands."""
    values = {"utterance_id": utterance_id, "helped": helped, "rated_at": now}
    if insert_once(connection, ratings, values) is None:
        return False
    if (asked := question_of(connection, utterance_id)) is not None:
        question, article = asked
        add_example(connection, question, article, right=helped, source=ExampleSource.RATING, actor=None, now=now)
    return True


def tries_of_bot(connection: Connection, conversation_id: int, since: datetime) -> int:
    """Return how often the bot answered a question or asked back since an instant without being told that it helped."""
    helped = sa.exists(
        sa.select(ratings.c.id).where(ratings.c.utterance_id == utterances.c.id, ratings.c.helped.is_(True))
    )
    query = sa.select(sa.func.count()).where(
        utterances.c.conversation_id == conversation_id,
        utterances.c.author == Author.BOT.value,
        utterances.c.intent.in_(["question", "order_status"]),
        utterances.c.decision.in_(["answer", "clarify"]),
        utterances.c.occurred_at > since,
        ~helped,
    )
    return int(connection.execute(query).scalar_one())
