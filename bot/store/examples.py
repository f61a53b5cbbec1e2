"""What customers and agents said about which article answers a question: labelled examples to learn from, with provenance.

An example holds no words: it points at the question itself, and goes with it when the customer is erased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import Author, Direction, ExampleSource
from bot.store.once import insert_once
from bot.store.tables import article_versions, articles, conversations, customers, examples, utterances

__all__ = ["Choices", "Example", "add_example", "choices_in", "examples_of", "question_answered", "question_of"]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One label.

    Attributes
    ----------
    article : str or None
        The id of the article meant; None with `right`: no article answers this.
    right : bool
        Whether it is the article that answers, or one that does not.
    actor : str or None
        The agent who said so; None: the customer.
    name : str or None
        The customer's name, to be left out of what is learned from.
    """

    utterance_id: int
    text: str
    intent: str | None
    article: str | None
    right: bool
    source: ExampleSource
    actor: str | None
    recorded_at: datetime
    name: str | None


@dataclass(frozen=True, kw_only=True)
class Choices:
    """A question and the articles that came nearest to it, as (row, title)."""

    utterance_id: int
    articles: Sequence[tuple[int, str]]


def add_example(
    connection: Connection,
    utterance_id: int,
    article_id: int | None,
    *,
    right: bool,
    source: ExampleSource,
    actor: str | None,
    now: datetime,
) -> None:
    """Write a label down; one of the same source about the same question is replaced by it."""
    values = {"article_id": article_id, "right": right, "actor": actor, "recorded_at": now}
    key = {"utterance_id": utterance_id, "source": source.value}
    if insert_once(connection, examples, {**key, **values}) is None:
        same = (examples.c.utterance_id == utterance_id, examples.c.source == source.value)
        connection.execute(sa.update(examples).where(*same).values(**values))


def examples_of(connection: Connection, until: datetime) -> list[Example]:
    """Return every label that was recorded by an instant, oldest first."""
    query = (
        sa.select(
            examples.c.utterance_id, utterances.c.text, utterances.c.intent, articles.c.external_id.label("article"),
            examples.c.right, examples.c.source, examples.c.actor, examples.c.recorded_at, customers.c.name,
        )
        .join(utterances, utterances.c.id == examples.c.utterance_id)
        .join(conversations, conversations.c.id == utterances.c.conversation_id)
        .outerjoin(customers, customers.c.id == conversations.c.customer_id)
        .outerjoin(articles, articles.c.id == examples.c.article_id)
        .where(examples.c.recorded_at <= until)
        .order_by(examples.c.id)
    )  # fmt: skip
    return [Example(**{**row._mapping, "source": ExampleSource(row.source)}) for row in connection.execute(query)]


def question_of(connection: Connection, answer_id: int) -> tuple[int, int] | None:
    """Return the question that an answer of the bot belongs to and the article that it cites; None where it cites none."""
    said = utterances.alias("said")
    query = (
        sa.select(utterances.c.id, article_versions.c.article_id)
        # The bot's utterance is named after the message that it answers.
        .join(said, said.c.external_id == sa.literal("bot:") + sa.cast(utterances.c.id, sa.Text))
        .join(article_versions, article_versions.c.id == said.c.article_version_id)
        .where(said.c.id == answer_id, said.c.source == "aftercare", utterances.c.direction == Direction.IN.value)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.id, row.article_id)


def question_answered(connection: Connection, conversation_id: int) -> tuple[int, int] | None:
    """Return what the bot answered from which article just before an agent first wrote; None where it was nothing."""
    words = utterances.c
    latest = (
        sa.select(words.id, words.author, words.article_version_id)
        .where(words.conversation_id == conversation_id, words.author != Author.CUSTOMER.value)
        .where(sa.or_(words.author == Author.AGENT.value, words.article_version_id.is_not(None)))
        .order_by(words.id.desc())
        .limit(1)
    )
    row = connection.execute(latest).one_or_none()
    return None if row is None or row.author == Author.AGENT.value else question_of(connection, row.id)


def choices_in(connection: Connection, conversation_id: int) -> Choices | None:
    """Return the last question that was asked in a conversation, with the articles nearest to it; None where there is none."""
    words = utterances.c
    query = (
        sa.select(words.id, words.evidence)
        .where(
            words.conversation_id == conversation_id, words.direction == Direction.IN.value, words.intent == "question"
        )
        .where(words.decision != "silent")
        .order_by(words.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    near = [str(one) for one in (row.evidence or {}).get("near", ())]
    titles = (
        sa.select(articles.c.id, articles.c.external_id, article_versions.c.title)
        .join(article_versions, article_versions.c.article_id == articles.c.id)
        .where(articles.c.external_id.in_(near))
        .order_by(article_versions.c.version)
    )
    found = {one.external_id: (int(one.id), str(one.title)) for one in connection.execute(titles)}
    return Choices(utterance_id=row.id, articles=[found[key] for key in near if key in found])
