"""Mails as they came in: recorded once, taken for work, finished once; and how far a mailbox was read.

Those that were set aside are `bot.store.quarantine`'s business, what a mail does is `bot.services.mail.mailroom`'s, to which
of our own mails it belongs `bot.store.letters`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import EventState
from bot.store.once import insert_once, upsert
from bot.store.tables import events, mailboxes, mails

__all__ = [
    "KEPT_OCTETS",
    "MAX_OCTETS",
    "Fetched",
    "MailSource",
    "Position",
    "StoredMail",
    "finish",
    "forget_raw",
    "forget_signatures",
    "lock_received",
    "position_of",
    "record",
    "remember_signature",
    "set_position",
    "take",
    "waiting",
]

# A mail of more than this is set aside unread; its beginning is kept, so that a human sees whose it was.
MAX_OCTETS = 1024 * 1024
KEPT_OCTETS = 64 * 1024
# The source of the events that remember the hook's signatures.
SIGNATURES = "mail_hook"


class MailSource(StrEnum):
    """Which way a mail came in."""

    IMAP = "imap"  # fetched from the mailbox
    HOOK = "hook"  # posted by a provider or a mail server


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A mail as it was fetched.

    Attributes
    ----------
    content : bytes
        All of it, or its first `KEPT_OCTETS` where it has more than `MAX_OCTETS`.
    octets : int
        Its whole size.
    error : str or None
        Why it is set aside unread, where the mailbox would not give it out.
    """

    content: bytes
    octets: int
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class StoredMail:
    """A mail that waits for its effect.

    Attributes
    ----------
    key : str
        A digest that the same mail has by every way; says nothing about anybody.
    raw : bytes or None
        As it came; None once it was forgotten.
    attempts : int
        How often it was taken for work, this time included.
    """

    id: int
    source: MailSource
    key: str
    received_at: datetime
    raw: bytes | None
    octets: int
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a mailbox was read: the last UID under one UIDVALIDITY (RFC 3501 section 2.3.1.1)."""

    uid_validity: int
    last_uid: int


def record(
    connection: Connection,
    *,
    source: MailSource,
    key: str,
    raw: bytes,
    octets: int,
    now: datetime,
    error: str | None = None,
) -> int | None:
    """Remember a mail before anything else is done; None says that it was known already.

    Parameters
    ----------
    error : str, optional
        Why it is set aside at once.
    """
    values = {
        "source": source.value,
        "key": key,
        "received_at": now,
        "raw": raw,
        "octets": octets,
        "attempts": 0,
        "state": (EventState.RECEIVED if error is None else EventState.FAILED).value,
        "handled_at": None if error is None else now,
        "error": error,
    }
    return insert_once(connection, mails, values)


def waiting(connection: Connection, now: datetime) -> bool:
    """Say whether there is a mail that `take` would give out."""
    return connection.execute(_waiting(now)).first() is not None


def take(connection: Connection, now: datetime, lease: timedelta) -> StoredMail | None:
    """Take the oldest mail that waits; nobody else gets it until the lease is over or it is finished.

    A process that dies leaves it to the next one; the attempt stays counted.
    """
    found = connection.execute(_waiting(now).with_for_update(skip_locked=True)).scalar_one_or_none()
    if found is None:
        return None
    row: Any = connection.execute(sa.select(mails).where(mails.c.id == found)).one()
    attempts = row.attempts + 1
    connection.execute(
        sa.update(mails).where(mails.c.id == found).values(attempts=attempts, next_attempt_at=now + lease * attempts)
    )
    return StoredMail(
        id=row.id,
        source=MailSource(row.source),
        key=row.key,
        received_at=row.received_at,
        raw=None if row.raw is None else bytes(row.raw),
        octets=row.octets,
        attempts=attempts,
    )


def lock_received(connection: Connection, mail_id: int) -> bool:
    """Say whether a mail still waits, and keep it so for this transaction only."""
    query = sa.select(mails.c.id).where(mails.c.id == mail_id, mails.c.state == EventState.RECEIVED.value)
    return connection.execute(query.with_for_update()).first() is not None


def finish(
    connection: Connection,
    mail_id: int,
    now: datetime,
    *,
    kind: str | None = None,
    effect: str | None = None,
    error: str | None = None,
    about: str | None = None,
    address_hash: str | None = None,
    customer_id: int | None = None,
    outreach_id: int | None = None,
) -> bool:
    """Write down what a mail did, or with `error` that it was set aside; False: somebody else did.

    Parameters
    ----------
    effect : str
        A closed word of `bot.services.mail.effects`.
    about : str, optional
        Our own mail that it is about, such as `outreach.12`.
    address_hash : str, optional
        Whom a report is about, under the hash of `bot.store.consent.address_hash`.
    """
    statement = sa.update(mails).where(mails.c.id == mail_id, mails.c.state == EventState.RECEIVED.value)
    values: dict[str, Any] = {
        "state": (EventState.DONE if error is None else EventState.FAILED).value,
        "handled_at": now,
        "next_attempt_at": None,
        "kind": kind,
        "effect": effect,
        "error": error,
        "about": about,
        "address_hash": address_hash,
        "customer_id": customer_id,
        "outreach_id": outreach_id,
    }
    return connection.execute(statement.values(**values)).rowcount == 1


def forget_raw(connection: Connection, before: datetime) -> int:
    """Drop the octets of mails that came before an instant and do not wait; return how many."""
    columns = mails.c
    statement = sa.update(mails).where(columns.received_at < before, columns.raw.is_not(None))
    return connection.execute(statement.where(columns.state != EventState.RECEIVED.value).values(raw=None)).rowcount


def position_of(connection: Connection, mailbox: str) -> Position | None:
    """Return how far a mailbox was read, None where it never was."""
    query = sa.select(mailboxes.c.uid_validity, mailboxes.c.last_uid).where(mailboxes.c.name == mailbox)
    row = connection.execute(query).first()
    return None if row is None else Position(uid_validity=int(row.uid_validity), last_uid=int(row.last_uid))


def set_position(connection: Connection, mailbox: str, position: Position, now: datetime) -> None:
    """Write down how far a mailbox was read."""
    values = {"name": mailbox, "uid_validity": position.uid_validity, "last_uid": position.last_uid, "updated_at": now}
    upsert(connection, mailboxes, "name", values)


def remember_signature(connection: Connection, digest: str, now: datetime) -> bool:
    """Remember a signature of the hook; False says that it was used before."""
    values = {
        "source": SIGNATURES,
        "key": digest,
        "kind": "signature",
        "payload": None,
        "state": EventState.DONE.value,
        "received_at": now,
        "handled_at": now,
    }
    return insert_once(connection, events, values) is not None


def forget_signatures(connection: Connection, before: datetime) -> int:
    """Forget signatures that are long too old to be accepted again."""
    statement = sa.delete(events).where(events.c.source == SIGNATURES, events.c.received_at < before)
    return connection.execute(statement).rowcount


def _waiting(now: datetime) -> sa.Select[tuple[int]]:
    columns = mails.c
    due = columns.next_attempt_at.is_(None) | (columns.next_attempt_at <= now)
    return sa.select(columns.id).where(columns.state == EventState.RECEIVED.value, due).order_by(columns.id).limit(1)
