"""What Slack shows: which message stands for which outreach or hand-over, and what it showed last.

Purposes: `card` (subject: outreach id), `handoff` (subject: hand-over id), `digest` (subject: the ordinal of a local
date), `sending` (subject: the id of the audit entry about the global stop) and `home` (subject: `TEAM:USER`). `shown` of a
card is `VERSION:STATE[:undo|:auto@TIME]`; of a hand-over `STATE[/OWNER/DUE]:ID` with the last utterance that stands in its thread; of a digest
`WAITING/TOTAL`; of a Home the filters that its owner chose, with the hash of the view as `ts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import OutreachState
from bot.store.enums import Author, Direction, HandoffState
from bot.store.once import insert_once
from bot.store.tables import metadata, slack_posts

__all__ = [
    "ACTIVE",
    "CARD",
    "DIGEST",
    "GAP",
    "HANDOFF",
    "NOTICE",
    "OFFER",
    "PATTERN",
    "REMINDER",
    "SENDING",
    "HandoffFacts",
    "Post",
    "Words",
    "cards_to_post",
    "cards_to_update",
    "digest_counts",
    "handoff_facts",
    "handoffs_to_post",
    "home_of",
    "post_of",
    "posted_handoffs",
    "record_home",
    "record_post",
    "record_shown",
    "transcript",
]

outreaches = metadata.tables["outreaches"]
handoffs = metadata.tables["handoffs"]
conversations = metadata.tables["conversations"]
utterances = metadata.tables["utterances"]
customers = metadata.tables["customers"]

CARD, HANDOFF, DIGEST, SENDING = "card", "handoff", "digest", "sending"
# Offers to send at once (subject: the step's id) and patterns (subject: the pattern's id); their cards say what is `shown`.
NOTICE, OFFER, PATTERN = "notice", "offer", "pattern"
# Drafts of articles (subject: the draft's id).
GAP = "gap"
# Reminders in the thread of a hand-over (subject: `ID:N`).
REMINDER = "reminder"
_HOME = "home"
ACTIVE = (HandoffState.OPEN, HandoffState.TAKEN)
_ACTIVE = tuple(state.value for state in ACTIVE)


@dataclass(frozen=True, kw_only=True)
class Post:
    """One message of ours in Slack."""

    purpose: str
    subject: str
    channel: str
    ts: str
    shown: str


@dataclass(frozen=True, kw_only=True)
class HandoffFacts:
    """A hand-over and whom it is about."""

    id: int
    conversation_id: int
    reason: str
    state: HandoffState
    urgent: bool
    owner: str | None
    opened_at: datetime
    closed_at: datetime | None
    channel: str
    customer_id: int | None
    customer_name: str | None
    due_at: datetime | None = None
    reminders: int = 0


@dataclass(frozen=True, kw_only=True)
class Words:
    """One message of a conversation."""

    id: int
    direction: Direction
    author: Author
    author_id: str | None
    text: str
    occurred_at: datetime
    sentiment: float | None = None
    urgency: float | None = None


def post_of(connection: Connection, purpose: str, subject: int | str) -> Post | None:
    """Return the message that stands for something; None where there is none."""
    row = connection.execute(
        sa.select(slack_posts).where(slack_posts.c.purpose == purpose, slack_posts.c.subject == str(subject))
    ).one_or_none()
    return None if row is None else _post(row)


def record_post(
    connection: Connection, purpose: str, subject: int | str, channel: str, ts: str, shown: str, now: datetime
) -> bool:
    """Remember a message; False says that another process posted one first."""
    values = {
        "purpose": purpose,
        "subject": str(subject),
        "channel": channel,
        "ts": ts,
        "shown": shown,
        "posted_at": now,
        "updated_at": now,
    }
    return insert_once(connection, slack_posts, values) is not None


def record_shown(connection: Connection, purpose: str, subject: int | str, shown: str, now: datetime) -> None:
    """Write down what a message shows now."""
    connection.execute(
        sa.update(slack_posts)
        .where(slack_posts.c.purpose == purpose, slack_posts.c.subject == str(subject))
        .values(shown=shown, updated_at=now)
    )


def home_of(connection: Connection, owner: str) -> tuple[str, str] | None:
    """Return (filters, hash) of somebody's Home (`TEAM:USER`); None where they never opened it."""
    query = sa.select(slack_posts.c.shown, slack_posts.c.ts).where(
        slack_posts.c.purpose == _HOME, slack_posts.c.subject == owner
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (str(row.shown), str(row.ts))


def record_home(connection: Connection, owner: str, filters: str, view_hash: str, now: datetime) -> None:
    """Remember which filters somebody chose for their Home, and which view stands there."""
    changed = sa.update(slack_posts).where(slack_posts.c.purpose == _HOME, slack_posts.c.subject == owner)
    values = {"shown": filters, "ts": view_hash, "updated_at": now}
    if connection.execute(changed.values(**values)).rowcount == 0:
        new = {"purpose": _HOME, "subject": owner, "channel": "", "posted_at": now}
        insert_once(connection, slack_posts, {**new, **values})


def cards_to_post(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Return suggested outreaches without a card: urgent ones first, then the most probable trouble."""
    posted = sa.select(slack_posts.c.id).where(
        slack_posts.c.purpose == CARD, slack_posts.c.subject == sa.cast(outreaches.c.id, sa.Text)
    )
    query = (
        sa.select(outreaches.c.id)
        .where(
            outreaches.c.state == OutreachState.SUGGESTED.value,
            outreaches.c.created_at <= now,
            outreaches.c.expires_at > now,
            ~posted.exists(),
        )
        .order_by(outreaches.c.urgent.desc(), sa.func.coalesce(outreaches.c.probability, 0.0).desc(), outreaches.c.id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def cards_to_update(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Return outreaches whose card shows another version or state, or an undo whose time is over."""
    stands = sa.cast(outreaches.c.version, sa.Text) + ":" + outreaches.c.state
    undo = stands + ":undo"
    # A card that says when it goes out by itself; whether that time still holds is asked elsewhere.
    unasked = stands + ":auto@%"
    shown = slack_posts.c.shown
    over = sa.and_(shown == undo, outreaches.c.state == OutreachState.APPROVED.value, outreaches.c.not_before <= now)
    # A rejection's or a snooze's undo ends a while after the decision; the card says when it is drawn again.
    aside = sa.and_(shown == undo, outreaches.c.state.in_([OutreachState.REJECTED.value, OutreachState.SNOOZED.value]))
    query = (
        sa.select(outreaches.c.id)
        .join(
            slack_posts,
            sa.and_(slack_posts.c.purpose == CARD, slack_posts.c.subject == sa.cast(outreaches.c.id, sa.Text)),
        )
        .where(sa.or_(sa.and_(shown != stands, shown != undo, ~shown.like(unasked)), over, aside))
        .order_by(outreaches.c.updated_at)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def digest_counts(connection: Connection, local_date: str) -> tuple[int, int]:
    """Return how many of a date's check-ins that are not urgent wait for an agent, and how many there are."""
    columns = outreaches.c
    query = (
        sa.select(columns.state, sa.func.count())
        .where(columns.local_date == local_date, columns.urgent.is_(False))
        .group_by(columns.state)
    )
    found = {state: int(number) for state, number in connection.execute(query)}
    return found.get(OutreachState.SUGGESTED.value, 0), sum(found.values())


def handoffs_to_post(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Return open hand-overs that no message in Slack stands for yet."""
    posted = sa.select(slack_posts.c.id).where(
        slack_posts.c.purpose == HANDOFF, slack_posts.c.subject == sa.cast(handoffs.c.id, sa.Text)
    )
    query = (
        sa.select(handoffs.c.id)
        .where(handoffs.c.state.in_(_ACTIVE), handoffs.c.opened_at <= now, ~posted.exists())
        .order_by(handoffs.c.urgent.desc(), handoffs.c.opened_at, handoffs.c.id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def posted_handoffs(connection: Connection) -> list[tuple[HandoffFacts, Post]]:
    """Return hand-overs whose message may need care: the open ones, and the closed ones still shown open."""
    query = (
        _handoffs()
        .add_columns(*slack_posts.c)
        .join(
            slack_posts,
            sa.and_(slack_posts.c.purpose == HANDOFF, slack_posts.c.subject == sa.cast(handoffs.c.id, sa.Text)),
        )
        .where(sa.or_(handoffs.c.state.in_(_ACTIVE), ~slack_posts.c.shown.startswith(handoffs.c.state)))
        .order_by(handoffs.c.id)
    )
    return [(_facts(row), _post(row)) for row in connection.execute(query)]


def handoff_facts(connection: Connection, handoff_id: int) -> HandoffFacts | None:
    """Return one hand-over; None where there is none."""
    row = connection.execute(_handoffs().where(handoffs.c.id == handoff_id)).one_or_none()
    return None if row is None else _facts(row)


def transcript(
    connection: Connection, conversation_id: int, *, after: int = 0, last: int | None = None
) -> Sequence[Words]:
    """Return a conversation's messages in order, those after an utterance or only the `last` ones."""
    query = sa.select(utterances).where(utterances.c.conversation_id == conversation_id, utterances.c.id > after)
    query = query.order_by(utterances.c.id.desc())
    if last is not None:
        query = query.limit(last)
    return [
        Words(
            id=row.id,
            direction=Direction(row.direction),
            author=Author(row.author),
            author_id=row.author_id,
            text=row.text,
            occurred_at=row.occurred_at,
            sentiment=row.sentiment,
            urgency=row.urgency,
        )
        for row in reversed(list(connection.execute(query)))
    ]


def _handoffs() -> sa.Select[Any]:
    return (
        sa.select(
            handoffs.c.id.label("handoff_id"),
            handoffs.c.conversation_id,
            handoffs.c.reason,
            handoffs.c.state,
            handoffs.c.urgent,
            handoffs.c.owner,
            handoffs.c.opened_at,
            handoffs.c.closed_at,
            handoffs.c.due_at,
            handoffs.c.reminders,
            conversations.c.channel.label("conversation_channel"),
            conversations.c.customer_id,
            customers.c.name.label("customer_name"),
        )
        .join(conversations, conversations.c.id == handoffs.c.conversation_id)
        .outerjoin(customers, customers.c.id == conversations.c.customer_id)
    )


def _facts(row: Any) -> HandoffFacts:
    return HandoffFacts(
        id=row.handoff_id,
        conversation_id=row.conversation_id,
        reason=row.reason,
        state=HandoffState(row.state),
        urgent=row.urgent,
        owner=row.owner,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        due_at=row.due_at,
        reminders=row.reminders,
        channel=row.conversation_channel,
        customer_id=row.customer_id,
        customer_name=row.customer_name,
    )


def _post(row: Any) -> Post:
    return Post(purpose=row.purpose, subject=row.subject, channel=row.channel, ts=row.ts, shown=row.shown)
