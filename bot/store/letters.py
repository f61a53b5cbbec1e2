"""Our own mails, as those that come in speak of them: which one is meant, to whom it went, what became of it.

A subject such as `outreach.12` or `utterance.7` names one of our mails; it stands in reply tokens and Message-IDs.
Whether a subject is to be believed is decided in `bot.services.mail.matching`; what comes in is kept in `bot.store.mails`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import OutreachState
from bot.store.consent import address_hash
from bot.store.enums import Author, DeliveryState, Direction
from bot.store.tables import conversations, customers, deliveries, mails, outreaches, utterances

__all__ = [
    "Letter",
    "automatic_answers",
    "conversation_in",
    "customers_at",
    "letter",
    "mark_bounced",
    "reference_of",
    "soft_bounces_in_a_row",
]

CHANNEL = "email"
_SUBJECT = re.compile(r"(outreach|utterance)\.([1-9][0-9]{0,17})\Z")


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One of our own mails.

    Attributes
    ----------
    subject : str
        `outreach.ID` or `utterance.ID`.
    key : str
        The key of its latest attempt, such as `outreach:12:1`.
    customer_id : int or None
        To whom it went; None where that is somebody unknown.
    address : str or None
        Where it went; None once that is not known any more.
    reference : str or None
        The Message-ID that it carried, where evidence of the sending is there.
    thread : str or None
        The name of its conversation; of a check-in None, since its own Message-ID is the name.
    conversation_id : int or None
        Of an answer, the conversation that it was said in.
    state : OutreachState or None
        None of an answer.
    """

    subject: str
    key: str
    attempts: int
    customer_id: int | None
    address: str | None
    reference: str | None
    thread: str | None
    outreach_id: int | None
    conversation_id: int | None
    state: OutreachState | None

    def went_to(self, address: str | None) -> bool:
        """Say whether an address is the one that it went to; letter case does not count, nor how its domain is written."""
        return bool(address and self.address and _plain(address) == _plain(self.address))


def letter(connection: Connection, subject: str) -> Letter | None:
    """Return the mail that a subject names, None where we never handed over such a one."""
    found = _SUBJECT.match(subject)
    if found is None:
        return None
    number = int(found[2])
    return _outreach(connection, number) if found[1] == "outreach" else _utterance(connection, number)


def customers_at(connection: Connection, address: str) -> list[int]:
    """Return the customers with a mail address, in any letter case, newest first."""
    written = {address.strip(), _plain(address)}
    column = customers.c.email
    query = sa.select(customers.c.id).order_by(customers.c.id.desc())
    exactly = column.in_(written | {one.lower() for one in written})  # this has an index
    found = list(connection.execute(query.where(exactly)).scalars())
    return found or list(connection.execute(query.where(sa.func.lower(column) == address.strip().lower())).scalars())


def automatic_answers(connection: Connection, address: str, since: datetime) -> int:
    """Count the answers that the bot wrote by itself, since an instant, to whoever writes from an address."""
    heard = utterances.alias()
    from_there = (
        sa.select(heard.c.id)
        .where(heard.c.conversation_id == utterances.c.conversation_id, heard.c.direction == Direction.IN.value)
        .where(sa.func.lower(heard.c.author_id) == address.strip().lower())
    )
    query = (
        sa.select(sa.func.count())
        .select_from(utterances.join(conversations, conversations.c.id == utterances.c.conversation_id))
        .where(conversations.c.channel == CHANNEL, utterances.c.direction == Direction.OUT.value)
        .where(utterances.c.author == Author.BOT.value, utterances.c.recorded_at > since, from_there.exists())
    )
    return int(connection.execute(query).scalar_one())


def conversation_in(connection: Connection, references: Collection[str], address: str) -> str | None:
    """Return the name of the conversation that an address began with one of these mails."""
    wrote = (
        sa.select(utterances.c.id)
        .where(utterances.c.conversation_id == conversations.c.id, utterances.c.direction == Direction.IN.value)
        .where(sa.func.lower(utterances.c.author_id) == address.strip().lower())
    )
    query = sa.select(conversations.c.thread).where(
        conversations.c.channel == CHANNEL, conversations.c.thread.in_(list(references)), wrote.exists()
    )
    return connection.execute(query.order_by(conversations.c.id).limit(1)).scalar_one_or_none()


def reference_of(connection: Connection, external_id: str) -> str | None:
    """Return the key of the mail that an inbound utterance was read from; empty where it is not known."""
    query = sa.select(utterances.c.evidence).where(
        utterances.c.source == CHANNEL, utterances.c.external_id == external_id
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    return str(row.evidence.get("reference") or "") if isinstance(row.evidence, dict) else ""


def mark_bounced(connection: Connection, one: Letter, reason: str) -> None:
    """Write at the attempt that it came back after all."""
    statement = sa.update(deliveries).where(deliveries.c.key == one.key, deliveries.c.state == DeliveryState.SENT.value)
    connection.execute(statement.values(state=DeliveryState.FAILED.value, error=reason))


def soft_bounces_in_a_row(connection: Connection, one: Letter, effects: Collection[str]) -> int:
    """Count how many of the latest mails to the letter's customer, up to this one, came back for now.

    One that did not come back ends the row: it arrived.

    Parameters
    ----------
    effects : collection of str
        What `mails.effect` says of a mail that came back for now.
    """
    if one.address is None or one.customer_id is None:
        return 0
    about = sa.select(mails.c.about).where(mails.c.address_hash == address_hash(CHANNEL, one.address))
    returned = set(connection.execute(about.where(mails.c.effect.in_(list(effects)))).scalars())
    thread = sa.select(conversations.c.id).where(conversations.c.customer_id == one.customer_id)
    said = sa.select(utterances.c.id).where(utterances.c.conversation_id.in_(thread))
    contacts = sa.select(outreaches.c.id).where(outreaches.c.customer_id == one.customer_id)
    sent = (
        sa.select(deliveries.c.outreach_id, deliveries.c.utterance_id)
        .where(deliveries.c.channel == CHANNEL)
        .where(deliveries.c.outreach_id.in_(contacts) | deliveries.c.utterance_id.in_(said))
        .where(deliveries.c.id <= sa.select(deliveries.c.id).where(deliveries.c.key == one.key).scalar_subquery())
        # An attempt that was refused at the door, or called back, was no mail.
        .where(deliveries.c.state != DeliveryState.RETRY.value)
        .order_by(deliveries.c.id.desc())
        .limit(20)
    )
    count = 0
    for row in connection.execute(sent):
        subject = f"outreach.{row.outreach_id}" if row.outreach_id is not None else f"utterance.{row.utterance_id}"
        if subject != one.subject and subject not in returned:
            break
        count += 1
    return count


def _outreach(connection: Connection, number: int) -> Letter | None:
    query = (
        sa.select(outreaches, customers.c.email)
        .join(customers, customers.c.id == outreaches.c.customer_id)
        .where(outreaches.c.id == number, outreaches.c.channel == CHANNEL, outreaches.c.attempts > 0)
    )
    row: Any = connection.execute(query).first()
    if row is None:
        return None
    return Letter(
        subject=f"outreach.{number}",
        key=f"outreach:{number}:{row.attempts}",
        attempts=row.attempts,
        customer_id=row.customer_id,
        address=row.email,
        reference=_reference(row.evidence),
        thread=None,
        outreach_id=number,
        conversation_id=None,
        state=OutreachState(row.state),
    )


def _utterance(connection: Connection, number: int) -> Letter | None:
    query = (
        sa.select(
            utterances.c.evidence,
            conversations.c.id,
            conversations.c.thread,
            conversations.c.customer_id,
            conversations.c.outreach_id,
            customers.c.email,
        )
        .join(conversations, conversations.c.id == utterances.c.conversation_id)
        .outerjoin(customers, customers.c.id == conversations.c.customer_id)
        .where(utterances.c.id == number, utterances.c.direction == Direction.OUT.value)
        .where(conversations.c.channel == CHANNEL)
    )
    row: Any = connection.execute(query).first()
    attempts = connection.execute(
        sa.select(sa.func.max(deliveries.c.attempt)).where(deliveries.c.utterance_id == number)
    ).scalar_one()
    if row is None or attempts is None:
        return None
    writer = connection.execute(
        sa.select(utterances.c.author_id)
        .where(utterances.c.conversation_id == row.id, utterances.c.id < number)
        .where(utterances.c.direction == Direction.IN.value)
        .order_by(utterances.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    return Letter(
        subject=f"utterance.{number}",
        key=f"utterance:{number}:{attempts}",
        attempts=attempts,
        customer_id=row.customer_id,
        # Where it went is said the same way in `bot.store.answers`.
        address=row.email or writer,
        reference=_reference(row.evidence),
        thread=row.thread,
        outreach_id=row.outreach_id,
        conversation_id=row.id,
        state=None,
    )


def _plain(address: str) -> str:
    """Return an address in the one form in which two are compared: lower case, its domain in ASCII."""
    local, _, domain = address.strip().rpartition("@")
    with contextlib.suppress(UnicodeError):
        domain = domain.encode("idna").decode("ascii")
    return f"{local}@{domain}".casefold()


def _reference(evidence: Any) -> str | None:
    found = evidence.get("reference") if isinstance(evidence, dict) else None
    return found if isinstance(found, str) and found else None
