"""Customers' questions that no article answered, how much was at risk then, and what humans replied.

What goes with an erased customer goes from here too: nothing is kept beside the conversations themselves. Which questions
are one and the same is `bot.services.knowledge.gaps`' business.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import Author, Direction, GapState
from bot.store.tables import conversations, customers, gap_drafts, gap_questions, predictions, ratings, utterances

__all__ = ["AgentReply", "Unanswered", "agent_replies", "unanswered"]

# SQLite takes some tens of thousands of parameters a statement.
IDS_A_TIME = 5_000


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """A customer's question that no article answered.

    Attributes
    ----------
    unhelpful : bool
        An article was quoted, and the reader said that it did not help; else the question was handed over.
    risk : float or None
        The latest probability of an issue that was predicted for the customer by then, 0 to 1; None where none was.
    name : str or None
        The customer's own name, so that it can be left out of what is quoted.
    """

    utterance_id: int
    conversation_id: int
    customer_id: int | None
    text: str
    recorded_at: datetime
    unhelpful: bool = False
    risk: float | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class AgentReply:
    """What an agent wrote to the customer after a question, before the bot decided about a message again."""

    utterance_id: int
    question_id: int
    text: str


def unanswered(connection: Connection, since: datetime, until: datetime) -> list[Unanswered]:
    """Return the questions that were recorded in a span of time and no article answered, oldest first.

    They were handed over for want of an article, or an article was quoted and rated as no help. Those for which an
    article was published since are left out.
    """
    answer = utterances.alias("answer")
    # The bot's utterance is named after the message that it answers.
    rated = sa.exists(
        sa.select(answer.c.id)
        .join(ratings, ratings.c.utterance_id == answer.c.id)
        .where(
            answer.c.source == "aftercare",
            answer.c.external_id == sa.literal("bot:") + sa.cast(utterances.c.id, sa.Text),
            answer.c.article_version_id.is_not(None),
            ratings.c.helped.is_(False),
        )
    )
    written_for = sa.exists(
        sa.select(gap_questions.c.id)
        .join(gap_drafts, gap_drafts.c.id == gap_questions.c.gap_draft_id)
        .where(gap_questions.c.utterance_id == utterances.c.id, gap_drafts.c.state == GapState.PUBLISHED.value)
    )
    risk = (
        sa.select(predictions.c.probability)
        .where(
            predictions.c.kind == "issue",
            predictions.c.customer_id == conversations.c.customer_id,
            predictions.c.as_of <= utterances.c.recorded_at,
            predictions.c.recorded_at <= utterances.c.recorded_at,
        )
        .order_by(predictions.c.as_of.desc(), predictions.c.recorded_at.desc(), predictions.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    statement = (
        sa.select(
            utterances.c.id.label("utterance_id"),
            utterances.c.conversation_id,
            conversations.c.customer_id,
            utterances.c.text,
            utterances.c.recorded_at,
            (utterances.c.decision == "answer").label("unhelpful"),
            risk.label("risk"),
            customers.c.name,
        )
        .join(conversations, conversations.c.id == utterances.c.conversation_id)
        .outerjoin(customers, customers.c.id == conversations.c.customer_id)
        .where(
            utterances.c.direction == Direction.IN.value,
            utterances.c.intent == "question",
            sa.or_(utterances.c.decision == "handoff", sa.and_(utterances.c.decision == "answer", rated)),
            utterances.c.recorded_at >= since,
            utterances.c.recorded_at <= until,
            ~written_for,
        )
        .order_by(utterances.c.id)
    )
    return [Unanswered(**row._mapping) for row in connection.execute(statement)]


def agent_replies(connection: Connection, asked: Collection[Unanswered], until: datetime) -> list[AgentReply]:
    """Return what agents replied to questions by an instant, oldest first.

    A reply belongs to the last question of its conversation that the bot decided about before it.
    """
    wanted = {one.utterance_id for one in asked}
    rows: list[Any] = []
    for ids in _portions(sorted({one.conversation_id for one in asked})):
        said = sa.or_(
            utterances.c.author == Author.AGENT.value,
            sa.and_(utterances.c.direction == Direction.IN.value, utterances.c.decision != "silent"),
        )
        statement = sa.select(
            utterances.c.conversation_id, utterances.c.id, utterances.c.author, utterances.c.text
        ).where(utterances.c.conversation_id.in_(ids), said, utterances.c.recorded_at <= until)
        rows += connection.execute(statement.order_by(utterances.c.conversation_id, utterances.c.id)).all()
    replies: list[AgentReply] = []
    last: dict[int, int] = {}
    for row in rows:
        if row.author != Author.AGENT.value:
            last[row.conversation_id] = row.id
        elif (question := last.get(row.conversation_id)) in wanted and question is not None:
            replies.append(AgentReply(utterance_id=row.id, question_id=question, text=row.text))
    return sorted(replies, key=lambda one: one.utterance_id)


def _portions(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + IDS_A_TIME] for start in range(0, len(ids), IDS_A_TIME)]
