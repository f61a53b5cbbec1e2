"""Mails that came in and were set aside with an error: listed, shown, and put back for another attempt.

How mails are recorded and worked on is `bot.store.mails`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.enums import EventState
from bot.store.mails import MAX_OCTETS, MailSource
from bot.store.tables import mails

__all__ = ["QuarantinedMail", "put_back", "quarantined", "quarantined_mail"]

_SET_ASIDE = mails.c.state == EventState.FAILED.value


@dataclass(frozen=True, kw_only=True)
class QuarantinedMail:
    """A mail that was set aside with its error.

    Attributes
    ----------
    octets : int
        The whole mail's size.
    complete : bool
        All of it is kept: it was not too large, its time is not over, and the mail server gave it out.
    """

    id: int
    source: MailSource
    received_at: datetime
    handled_at: datetime | None
    octets: int
    attempts: int
    error: str
    complete: bool


def quarantined(connection: Connection, limit: int = 20, offset: int = 0) -> tuple[int, list[QuarantinedMail]]:
    """Return how many mails are set aside with their octets, or their beginning, still kept, and the newest of them."""
    condition = _SET_ASIDE & mails.c.raw.is_not(None)
    count = connection.execute(sa.select(sa.func.count()).select_from(mails).where(condition)).scalar_one()
    query = _columns().where(condition).order_by(mails.c.id.desc()).limit(limit).offset(offset)
    return int(count), [_mail(row) for row in connection.execute(query)]


def quarantined_mail(connection: Connection, mail_id: int) -> tuple[QuarantinedMail, bytes | None] | None:
    """Return a mail that is set aside, and what is kept of it; None where there is none of that number."""
    row: Any = connection.execute(_columns().add_columns(mails.c.raw).where(mails.c.id == mail_id, _SET_ASIDE)).first()
    return None if row is None else (_mail(row), None if row.raw is None else bytes(row.raw))


def put_back(connection: Connection, mail_id: int) -> bool:
    """Let a mail that is set aside wait for its effect again, as if it had just come; False: it is not, or no more."""
    whole = (sa.func.length(mails.c.raw) == mails.c.octets) & (mails.c.octets <= MAX_OCTETS)
    statement = sa.update(mails).where(mails.c.id == mail_id, _SET_ASIDE, whole)
    values = {
        "state": EventState.RECEIVED.value,
        "attempts": 0,
        "next_attempt_at": None,
        "handled_at": None,
        "error": None,
    }
    return connection.execute(statement.values(**values)).rowcount == 1


def _columns() -> sa.Select[Any]:
    columns = mails.c
    return sa.select(
        columns.id,
        columns.source,
        columns.received_at,
        columns.handled_at,
        columns.octets,
        columns.attempts,
        columns.error,
        sa.func.length(columns.raw).label("kept"),
    )


def _mail(row: Any) -> QuarantinedMail:
    return QuarantinedMail(
        id=row.id,
        source=MailSource(row.source),
        received_at=row.received_at,
        handled_at=row.handled_at,
        octets=row.octets,
        attempts=row.attempts,
        error=row.error or "",
        complete=row.kept == row.octets <= MAX_OCTETS,
    )
