"""Conversations and what was said in them.

A customer's words are recorded before anything is decided about them; the decision is written once, by
compare-and-set. What to decide is `bot.services.conversation.conversations`'s business, sending `bot.store.answers`',
hand-overs to humans `bot.store.handoffs`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.errors import NotFound
from bot.store.enums import Author, ConversationState, Direction
from bot.store.jobs import wake_utterance
from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = [
    "BotUtterance",
    "Conversation",
    "InboundUtterance",
    "add_inbound",
    "add_outbound",
    "change_conversation",
    "conversation",
    "count_utterances",
    "decide_inbound",
    "feelings_of",
    "inbound_of",
    "last_of_bot",
    "open_conversation",
    "undecided",
]

conversations = metadata.tables["conversations"]
utterances = metadata.tables["utterances"]


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A thread with one customer over one channel."""

    id: int
    channel: str
    thread: str
    customer_id: int | None
    outreach_id: int | None
    state: ConversationState
    clarifications: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class InboundUtterance:
    """A customer's message as recorded.

    Attributes
    ----------
    customer_id : int or None
        The customer whom the channel authenticated as the sender of exactly this message.
    decision : str or None
        None until something was decided about it.
    """

    id: int
    conversation_id: int
    source: str
    external_id: str
    author_id: str | None
    text: str
    occurred_at: datetime
    recorded_at: datetime
    decision: str | None
    customer_id: int | None = None
    locale: str | None = None
    in_reply_to: str | None = None


@dataclass(frozen=True, kw_only=True)
class BotUtterance:
    """What the bot said last: the words, their intent and decision, and the article version that they cite."""

    id: int
    intent: str | None
    decision: str | None
    article_version_id: int | None
    text: str
    occurred_at: datetime


def open_conversation(
    connection: Connection, channel: str, thread: str, customer_id: int | None, now: datetime
) -> Conversation:
    """Return the conversation of a thread, begun now where there is none.

    A conversation whose customer was not known takes the one given; it never changes from one to another.
    """
    values = {
        "channel": channel,
        "thread": thread,
        "customer_id": customer_id,
        "state": ConversationState.BOT.value,
        "clarifications": 0,
        "created_at": now,
        "updated_at": now,
    }
    insert_once(connection, conversations, values)
    row = connection.execute(
        sa.select(conversations)
        .where(conversations.c.channel == channel, conversations.c.thread == thread)
        .with_for_update()
    ).one()
    if customer_id is not None and row.customer_id is None:
        change_conversation(connection, row.id, now, customer_id=customer_id)
        return conversation(connection, row.id)
    return _conversation(row)


def conversation(connection: Connection, conversation_id: int, *, lock: bool = False) -> Conversation:
    """Return one conversation, locked until the transaction ends where asked for.

    Raises
    ------
    NotFound
        There is none with this id.
    """
    statement = sa.select(conversations).where(conversations.c.id == conversation_id)
    row = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    if row is None:
        raise NotFound(f"there is no conversation {conversation_id}")
    return _conversation(row)


def change_conversation(connection: Connection, conversation_id: int, now: datetime, **columns: Any) -> None:
    """Change columns of a conversation (state, clarifications, customer_id, outreach_id)."""
    connection.execute(
        sa.update(conversations).where(conversations.c.id == conversation_id).values(**columns, updated_at=now)
    )


def add_inbound(
    connection: Connection,
    conversation_id: int,
    *,
    source: str,
    external_id: str,
    author_id: str,
    text: str,
    occurred_at: datetime,
    now: datetime,
    evidence: dict[str, Any] | None = None,
) -> int | None:
    """Record a customer's words; None says that this message was recorded already."""
    values = {
        "conversation_id": conversation_id,
        "source": source,
        "external_id": external_id,
        "direction": Direction.IN.value,
        "author": Author.CUSTOMER.value,
        "author_id": author_id,
        "text": text,
        "occurred_at": occurred_at,
        "recorded_at": now,
        "evidence": evidence or sa.null(),
    }
    return insert_once(connection, utterances, values)


def inbound_of(connection: Connection, source: str, external_id: str) -> InboundUtterance | None:
    """Return a recorded message by the channel's own id."""
    condition = (utterances.c.source == source) & (utterances.c.external_id == external_id)
    return _inbound(connection.execute(sa.select(utterances).where(condition)).first())


def undecided(connection: Connection, before: datetime) -> list[InboundUtterance]:
    """Return messages recorded before an instant about which nothing was decided, oldest first."""
    statement = (
        sa.select(utterances)
        .where(
            utterances.c.direction == Direction.IN.value,
            utterances.c.decision.is_(None),
            utterances.c.recorded_at <= before,
        )
        .order_by(utterances.c.id)
    )
    return [found for row in connection.execute(statement) if (found := _inbound(row)) is not None]


def decide_inbound(
    connection: Connection,
    utterance_id: int,
    *,
    intent: str,
    decision: str,
    confidence: float | None,
    sentiment: float | None = None,
    urgency: float | None = None,
    near: Sequence[str] = (),
) -> bool:
    """Write what was decided about a message; False says that somebody else did.

    Parameters
    ----------
    sentiment, urgency : float, optional
        How it sounds.
    near : sequence of str
        The ids of the articles that come nearest to it, nearest first.
    """
    kept = connection.execute(
        sa.select(utterances.c.evidence).where(utterances.c.id == utterance_id)
    ).scalar_one_or_none()
    undecided_yet = (utterances.c.id == utterance_id, utterances.c.decision.is_(None))
    written = sa.update(utterances).where(*undecided_yet).values(
        intent=intent,
        decision=decision,
        confidence=confidence,
        sentiment=sentiment,
        urgency=urgency,
        evidence={**(kept if isinstance(kept, dict) else {}), "near": list(near)},
    )  # fmt: skip
    return connection.execute(written).rowcount == 1


def feelings_of(connection: Connection, customer_id: int) -> dict[int, tuple[float | None, float | None]]:
    """Return the sentiment and the urgency of each message in a customer's conversations for which they were told."""
    columns = (utterances.c.id, utterances.c.sentiment, utterances.c.urgency)
    theirs = sa.select(conversations.c.id).where(conversations.c.customer_id == customer_id)
    query = sa.select(*columns).where(utterances.c.conversation_id.in_(theirs), utterances.c.urgency.is_not(None))
    return {row.id: (row.sentiment, row.urgency) for row in connection.execute(query)}


def add_outbound(
    connection: Connection,
    conversation_id: int,
    *,
    external_id: str,
    author: Author,
    author_id: str | None,
    text: str,
    now: datetime,
    intent: str | None = None,
    decision: str | None = None,
    confidence: float | None = None,
    article_version_id: int | None = None,
) -> int:
    """Write words that are to be sent; without evidence they wait for the delivery."""
    values = {
        "conversation_id": conversation_id,
        "source": "aftercare",
        "external_id": external_id,
        "direction": Direction.OUT.value,
        "author": author.value,
        "author_id": author_id,
        "text": text,
        "occurred_at": now,
        "recorded_at": now,
        "intent": intent,
        "decision": decision,
        "confidence": confidence,
        "article_version_id": article_version_id,
        "evidence": sa.null(),
    }
    written = int(connection.execute(sa.insert(utterances).values(**values).returning(utterances.c.id)).scalar_one())
    wake_utterance(connection, written)
    return written


def last_of_bot(connection: Connection, conversation_id: int) -> BotUtterance | None:
    """Return what the bot said last in a conversation, None where it never spoke."""
    statement = (
        sa.select(*(utterances.c[field.name] for field in fields(BotUtterance)))
        .where(utterances.c.conversation_id == conversation_id, utterances.c.author == Author.BOT.value)
        .order_by(utterances.c.id.desc())
        .limit(1)
    )
    row = connection.execute(statement).first()
    return None if row is None else BotUtterance(**row._mapping)


def count_utterances(connection: Connection, conversation_id: int) -> int:
    """Return how many messages a conversation has."""
    statement = sa.select(sa.func.count()).where(utterances.c.conversation_id == conversation_id)
    return int(connection.execute(statement).scalar_one())


def _conversation(row: Any) -> Conversation:
    return Conversation(**{**row._mapping, "state": ConversationState(row.state)})


def _inbound(row: Any) -> InboundUtterance | None:
    if row is None:
        return None
    said: dict[str, Any] = row.evidence if isinstance(row.evidence, dict) else {}
    own = ("customer_id", "locale", "in_reply_to")
    values = {name: row._mapping[name] for name in InboundUtterance.__dataclass_fields__ if name not in own}
    values |= {name: said.get(name) for name in own}
    return InboundUtterance(**values)
