"""The utterances as the queue of answers that must leave, and where in a conversation each belongs.

An outgoing utterance without evidence and without a delivery that settled it is pending. What is said, and
whether the bot may speak, is decided in `bot.services.conversation.conversations` before the row exists.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.delivery import close_attempt, held_since, open_attempt
from bot.store.enums import Author, DeliveryState, Direction
from bot.store.tables import conversations, customers, deliveries, outreaches, utterances

__all__ = [
    "PendingAnswer",
    "answer_in",
    "begin_answer",
    "pending_answers",
    "settle_answer",
    "show_in_doubt",
    "stale_answers",
    "uncertain_answers",
]

# The intents whose answers can help or not; thanks for thanks are not asked about.
_QUESTIONS = ("question", "order_status")


@dataclass(frozen=True, kw_only=True)
class PendingAnswer:
    """One outgoing utterance that no attempt has settled.

    Attributes
    ----------
    thread : str
        The channel's name of the conversation.
    address : str or None
        The customer's own address on the channel, else the one they last wrote from.
    last_inbound : str or None
        The channel's id of the customer's latest message.
    attempts : int
        Attempts so far.
    rateable : bool
        The bot answers a question here: its reader may say whether that helped.
    """

    utterance_id: int
    conversation_id: int
    channel: str
    thread: str
    text: str
    author: Author
    customer_id: int | None
    address: str | None
    locale: str | None
    subject: str
    last_inbound: str | None
    outreach_reference: str | None
    attempts: int
    rateable: bool


def pending_answers(
    connection: Connection,
    *,
    now: datetime,
    channels: Collection[str],
    utterance_id: int | None = None,
    limit: int = 50,
) -> list[PendingAnswer]:
    """Return answers that may be tried now, oldest first.

    At most one of each conversation, and none before an earlier one there has ended, so that order holds.
    """
    columns = utterances.c
    ended = (DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.UNCERTAIN)
    tried = deliveries.c.state == DeliveryState.RETRY.value
    waits = tried & deliveries.c.next_attempt_at.is_not(None) & (deliveries.c.next_attempt_at > now)
    earlier = utterances.alias()
    held_up_to = held_since(connection)
    query = (
        sa.select(columns.id, columns.conversation_id)
        .join(conversations, conversations.c.id == columns.conversation_id)
        .where(columns.direction == Direction.OUT.value, _unsent(columns), columns.recorded_at <= now)
        .where(conversations.c.channel.in_(list(channels)), ~_attempts(columns, ~tried | waits))
        .where(
            ~sa.select(earlier.c.id)
            .where(earlier.c.conversation_id == columns.conversation_id, earlier.c.id < columns.id)
            .where(earlier.c.direction == Direction.OUT.value, _unsent(earlier.c))
            .where(~_attempts(earlier.c, _in(ended)))
            .where(sa.true() if held_up_to is None else earlier.c.recorded_at > held_up_to)
            .exists()
        )
        .order_by(columns.id)
        .limit(limit)
    )
    if held_up_to is not None:
        query = query.where(columns.recorded_at > held_up_to)
    if utterance_id is not None:
        query = query.where(columns.id == utterance_id)
    # The conversation too: another process must not take its second answer while the first is being taken.
    lock = query.with_for_update(of=[utterances, conversations], skip_locked=True)
    locked = [row.id for row in connection.execute(lock)]
    if not locked:
        return []
    # Asked again with the rows locked: another process may have begun one between our look and our lock.
    first_of: dict[int, int] = {}
    for row in connection.execute(query.where(columns.id.in_(locked))):
        first_of.setdefault(row.conversation_id, row.id)
    return [_answer(connection, found) for found in first_of.values()]


def begin_answer(connection: Connection, answer: PendingAnswer, owner: str, now: datetime) -> str:
    """Write the row that stands before the send; return the delivery key."""
    attempt = answer.attempts + 1
    key = f"utterance:{answer.utterance_id}:{attempt}"
    open_attempt(
        connection,
        key=key,
        attempt=attempt,
        channel=answer.channel,
        owner=owner,
        now=now,
        utterance_id=answer.utterance_id,
    )
    return key


def settle_answer(
    connection: Connection,
    key: str,
    state: DeliveryState,
    now: datetime,
    *,
    evidence: Mapping[str, Any] | None = None,
    error: str | None = None,
    next_attempt_at: datetime | None = None,
) -> bool:
    """Write down how an attempt at an answer ended; evidence is kept with the utterance."""
    done = close_attempt(connection, key, state, now, evidence=evidence, error=error, next_attempt_at=next_attempt_at)
    if done and state == DeliveryState.SENT:
        utterance_id = int(key.split(":")[1])
        connection.execute(
            sa.update(utterances).where(utterances.c.id == utterance_id).values(evidence=dict(evidence or {}))
        )
    return done


def stale_answers(connection: Connection) -> list[tuple[str, str, datetime]]:
    """Return (key, owner, started_at) of the attempts at answers that have not ended."""
    query = sa.select(deliveries.c.key, deliveries.c.owner, deliveries.c.started_at).where(
        deliveries.c.utterance_id.is_not(None), deliveries.c.state == DeliveryState.STARTED.value
    )
    return [(row.key, row.owner or "", row.started_at) for row in connection.execute(query)]


def answer_in(connection: Connection, key: str) -> PendingAnswer:
    """Return the answer that a delivery key names."""
    return _answer(connection, int(key.split(":")[1]))


def uncertain_answers(connection: Connection, before: datetime) -> list[str]:
    """Return the keys of attempts at answers that were in doubt by an instant and still are."""
    query = sa.select(deliveries.c.key).where(
        deliveries.c.utterance_id.is_not(None),
        deliveries.c.state == DeliveryState.UNCERTAIN.value,
        deliveries.c.finished_at <= before,
    )
    return list(connection.execute(query.order_by(deliveries.c.id)).scalars())


def show_in_doubt(connection: Connection, key: str, now: datetime) -> bool:
    """Note that people were told of an answer in doubt; False says that they were before, or that it is settled."""
    statement = (
        sa.update(deliveries)
        .where(deliveries.c.key == key, deliveries.c.state == DeliveryState.UNCERTAIN.value)
        .where(deliveries.c.next_attempt_at.is_(None))
        .values(next_attempt_at=now)  # an attempt in doubt has no next one: the column says when it was looked at
    )
    return connection.execute(statement).rowcount == 1


def _unsent(columns: Any) -> sa.ColumnElement[bool]:
    # A JSON column holds nothing as NULL or as the word null, depending on who wrote it.
    missing: sa.ColumnElement[bool] = columns.evidence.is_(sa.null())
    return missing | (sa.cast(columns.evidence, sa.Text) == "null")


def _attempts(columns: Any, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Say that an attempt at the utterance is in some condition."""
    return sa.select(deliveries.c.id).where(deliveries.c.utterance_id == columns.id, condition).exists()


def _in(states: Collection[DeliveryState]) -> sa.ColumnElement[bool]:
    return deliveries.c.state.in_([state.value for state in states])


def _answer(connection: Connection, utterance_id: int) -> PendingAnswer:
    row: Any = connection.execute(
        sa.select(
            utterances.c.text,
            utterances.c.author,
            utterances.c.intent,
            utterances.c.decision,
            utterances.c.conversation_id,
            conversations.c.channel,
            conversations.c.thread,
            conversations.c.customer_id,
            customers.c.email,
            customers.c.slack_user_id,
            customers.c.locale,
            outreaches.c.subject,
            outreaches.c.evidence,
        )
        .join(conversations, conversations.c.id == utterances.c.conversation_id)
        .outerjoin(customers, customers.c.id == conversations.c.customer_id)
        .outerjoin(outreaches, outreaches.c.id == conversations.c.outreach_id)
        .where(utterances.c.id == utterance_id)
    ).one()
    inbound: Any = connection.execute(
        sa.select(utterances.c.external_id, utterances.c.author_id)
        .where(utterances.c.conversation_id == row.conversation_id, utterances.c.id < utterance_id)
        .where(utterances.c.direction == Direction.IN.value)
        .order_by(utterances.c.id.desc())
        .limit(1)
    ).first()
    attempts = connection.execute(
        sa.select(sa.func.coalesce(sa.func.max(deliveries.c.attempt), 0)).where(
            deliveries.c.utterance_id == utterance_id
        )
    ).scalar_one()
    own = {"email": row.email, "slack": row.slack_user_id}.get(row.channel)
    return PendingAnswer(
        utterance_id=utterance_id,
        conversation_id=row.conversation_id,
        channel=row.channel,
        thread=row.thread,
        text=row.text,
        author=Author(row.author),
        customer_id=row.customer_id,
        address=own or (inbound.author_id if inbound else None),
        locale=row.locale,
        subject=row.subject or "",
        last_inbound=inbound.external_id if inbound else None,
        outreach_reference=(row.evidence or {}).get("reference"),
        attempts=int(attempts),
        rateable=row.author == Author.BOT.value and row.decision == "answer" and row.intent in _QUESTIONS,
    )
