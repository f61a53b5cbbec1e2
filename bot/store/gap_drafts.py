"""Drafts of articles about gaps: proposed, published or declined once, with the questions that each is to answer.

A draft is made of customers' and agents' words; `bot.store.personal` empties it where one of them is erased. Which questions
make a gap is `bot.services.knowledge.gaps`' business, whom to tell `bot.services.knowledge.telling`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import GapState
from bot.store.once import insert_new
from bot.store.tables import article_versions, articles, conversations, gap_drafts, gap_questions, utterances

__all__ = [
    "Asker",
    "GapDraft",
    "NewGapDraft",
    "add_questions",
    "close_draft",
    "draft",
    "drafts",
    "grow",
    "hold_proposals",
    "insert_draft",
    "mark_told",
    "publish_draft",
    "questions_of",
    "untold",
]


@dataclass(frozen=True, kw_only=True)
class NewGapDraft:
    """A draft about to be proposed.

    Attributes
    ----------
    times, customers, affected : int, int, float
        How often it was asked, by how many, and their summed risk, at the latest look.
    """

    name: str
    title: str
    body: str
    questions: Sequence[str]
    locale: str
    times: int
    customers: int
    affected: float


@dataclass(frozen=True, kw_only=True)
class GapDraft(NewGapDraft):
    """A draft as it stands in the table; `article` is what it became, as (id, version)."""

    id: int
    state: GapState
    version: int
    proposed_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    article_version_id: int | None
    article: tuple[str, int] | None


@dataclass(frozen=True, kw_only=True)
class Asker:
    """A question that a published article now answers, and where it was asked; nobody was told yet.

    Attributes
    ----------
    customer_id : int or None
        Who asked, if the channel vouched for exactly the conversation's customer.
    last_at : datetime
        When something was last said in the conversation.
    """

    draft_id: int
    article_version_id: int
    published_at: datetime
    utterance_id: int
    text: str
    asked_at: datetime
    sender: str
    locale: str | None
    conversation_id: int
    channel: str
    customer_id: int | None
    last_at: datetime


# The lock's number is ours alone within the database: the first eight bytes of sha256("aftercare gap drafts").
_LOCK = int.from_bytes(hashlib.sha256(b"aftercare gap drafts").digest()[:8], "big", signed=True)


def hold_proposals(connection: Connection) -> None:
    """Let nobody else propose drafts before this transaction ends; SQLite has one writer at a time anyway."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


def insert_draft(connection: Connection, new: NewGapDraft, utterance_ids: Collection[int], now: datetime) -> int:
    """Propose a draft; return its id."""
    values = {name: getattr(new, name) for name in NewGapDraft.__dataclass_fields__} | {
        "questions": list(new.questions),
        "state": GapState.PROPOSED.value,
        "version": 1,
        "proposed_at": now,
    }
    made = int(connection.execute(sa.insert(gap_drafts).values(**values).returning(gap_drafts.c.id)).scalar_one())
    add_questions(connection, made, utterance_ids)
    return made


def add_questions(connection: Connection, draft_id: int, utterance_ids: Collection[int]) -> None:
    """Let a draft answer these questions too; those that it answers already stay as they are."""
    insert_new(connection, gap_questions, [{"gap_draft_id": draft_id, "utterance_id": one} for one in utterance_ids])


def grow(connection: Connection, draft_id: int, new: NewGapDraft) -> None:
    """Write down how large the gap of a proposed draft is by now; its words stay as agents know them."""
    figures = {"times": new.times, "customers": new.customers, "affected": new.affected}
    proposed = (gap_drafts.c.id == draft_id) & (gap_drafts.c.state == GapState.PROPOSED.value)
    connection.execute(sa.update(gap_drafts).where(proposed).values(**figures))


def draft(connection: Connection, draft_id: int) -> GapDraft | None:
    """Return one draft; None where there is none."""
    row = connection.execute(_drafts().where(gap_drafts.c.id == draft_id)).one_or_none()
    return None if row is None else _draft(row)


def drafts(connection: Connection, *, decided_since: datetime | None = None) -> list[GapDraft]:
    """Return the drafts that wait, and those decided since an instant (None: all), oldest first."""
    query = _drafts().order_by(gap_drafts.c.id)
    if decided_since is not None:
        waits = gap_drafts.c.state == GapState.PROPOSED.value
        query = query.where(waits | (gap_drafts.c.decided_at >= decided_since))
    return [_draft(row) for row in connection.execute(query)]


def questions_of(connection: Connection) -> dict[int, set[int]]:
    """Return the questions of every draft, by the draft's id."""
    found: dict[int, set[int]] = {}
    for row in connection.execute(sa.select(gap_questions.c.gap_draft_id, gap_questions.c.utterance_id)):
        found.setdefault(row.gap_draft_id, set()).add(row.utterance_id)
    return found


def publish_draft(
    connection: Connection,
    draft_id: int,
    version: int,
    *,
    title: str,
    article_version_id: int,
    actor: str,
    now: datetime,
) -> bool:
    """Say that a waiting draft became an article, whose words they now are; False: somebody was faster."""
    words = {"title": title, "body": "", "questions": []}
    return _settle(connection, draft_id, version, GapState.PUBLISHED, actor, now, article_version_id, words)


def close_draft(connection: Connection, draft_id: int, version: int, actor: str, now: datetime) -> bool:
    """Say that a waiting draft is not wanted now; False: somebody was faster."""
    return _settle(connection, draft_id, version, GapState.DECLINED, actor, now, None, {})


def untold(connection: Connection, channels: Collection[str], limit: int) -> list[Asker]:
    """Return the questions of published drafts about which nobody was told, oldest first."""
    words = utterances.c
    later = utterances.alias("later")
    last = (
        sa.select(sa.func.max(later.c.occurred_at))
        .where(later.c.conversation_id == words.conversation_id)
        .scalar_subquery()
    )
    query = (
        sa.select(
            gap_drafts.c.id.label("draft_id"), gap_drafts.c.article_version_id, gap_drafts.c.decided_at,
            words.id.label("utterance_id"), words.text, words.occurred_at, words.author_id, words.evidence,
            words.conversation_id, conversations.c.channel, conversations.c.customer_id,
            sa.type_coerce(last, words.occurred_at.type).label("last_at"),
        )
        .join(gap_questions, gap_questions.c.gap_draft_id == gap_drafts.c.id)
        .join(utterances, words.id == gap_questions.c.utterance_id)
        .join(conversations, conversations.c.id == words.conversation_id)
        .where(gap_drafts.c.state == GapState.PUBLISHED.value, gap_questions.c.told.is_(None))
        .where(conversations.c.channel.in_(list(channels)))
        .order_by(words.id)
        .limit(limit)
    )  # fmt: skip
    return [_asker(row) for row in connection.execute(query)]


def mark_told(
    connection: Connection,
    draft_id: int,
    utterance_ids: Collection[int],
    how: str,
    now: datetime,
    outreach_id: int | None,
) -> bool:
    """Write down that whoever asked these was told, or why not; False where that stands already."""
    open_ones = (
        gap_questions.c.gap_draft_id == draft_id,
        gap_questions.c.utterance_id.in_(list(utterance_ids)),
        gap_questions.c.told.is_(None),
    )
    written = sa.update(gap_questions).where(*open_ones).values(told=how, told_at=now, outreach_id=outreach_id)
    return connection.execute(written).rowcount == len(utterance_ids)


def _settle(
    connection: Connection,
    draft_id: int,
    version: int,
    state: GapState,
    actor: str,
    now: datetime,
    article_version_id: int | None,
    more: dict[str, Any],
) -> bool:
    columns = gap_drafts.c
    waiting = (columns.id == draft_id, columns.version == version, columns.state == GapState.PROPOSED.value)
    values = {"state": state.value, "version": version + 1, "decided_at": now, "decided_by": actor}
    settled = sa.update(gap_drafts).where(*waiting).values(**values, article_version_id=article_version_id, **more)
    return connection.execute(settled).rowcount == 1


def _drafts() -> sa.Select[Any]:
    return (
        sa.select(gap_drafts, articles.c.external_id, article_versions.c.version.label("article_version"))
        .outerjoin(article_versions, article_versions.c.id == gap_drafts.c.article_version_id)
        .outerjoin(articles, articles.c.id == article_versions.c.article_id)
    )


def _draft(row: Any) -> GapDraft:
    values = dict(row._mapping)
    key, number = values.pop("external_id"), values.pop("article_version")
    values |= {"state": GapState(row.state), "questions": tuple(row.questions or ())}
    return GapDraft(**values, article=None if key is None else (key, number))


def _asker(row: Any) -> Asker:
    said: dict[str, Any] = row.evidence if isinstance(row.evidence, dict) else {}
    vouched = said.get("customer_id")
    return Asker(
        draft_id=row.draft_id,
        article_version_id=row.article_version_id,
        published_at=row.decided_at,
        utterance_id=row.utterance_id,
        text=row.text,
        asked_at=row.occurred_at,
        sender=row.author_id or "",
        locale=said.get("locale"),
        conversation_id=row.conversation_id,
        channel=row.channel,
        customer_id=row.customer_id if vouched is not None and vouched == row.customer_id else None,
        last_at=row.last_at,
    )
