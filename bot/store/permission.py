"""What the policy must know about those whose check-ins are about to leave, all of it by one statement.

It is asked inside every claim, so that each further question would cost a round trip for every few mails. The planner
asks for the same in larger pieces (`bot.store.journeys`, `bot.store.consent`); a test compares the two. Judging it is
`bot.decide.policy`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import OutreachState
from bot.store.among import among
from bot.store.consent import address_hash
from bot.store.enums import ConversationState
from bot.store.journeys import CLOSING, OPENING, Event
from bot.store.tables import consents, conversations, outreaches, suppressions, touchpoints

__all__ = ["Permission", "permissions"]


@dataclass(kw_only=True)
class Permission:
    """What is known about one customer on one channel.

    Attributes
    ----------
    events : list of Event
        What may have opened or closed an issue, in the order in which it happened.
    contacts : list of datetime
        When they were contacted, or are being contacted or perhaps were.
    said : list of (purpose, granted)
        Their words about the channel, in the order in which they were said.
    suppressed : bool
        Their address must not be contacted.
    """

    events: list[Event] = field(default_factory=list)
    contacts: list[datetime] = field(default_factory=list)
    said: list[tuple[str, bool]] = field(default_factory=list)
    suppressed: bool = False
    with_a_human: bool = False


def permissions(
    connection: Connection,
    addresses: Mapping[int, str | None],
    channel: str,
    *,
    now: datetime,
    since: datetime,
    besides: Collection[int],
) -> dict[int, Permission]:
    """Return what is known about customers at this moment.

    Parameters
    ----------
    addresses : mapping of int to str or None
        The customers, and where each is to be contacted.
    since : datetime
        Contacts after this instant count.
    besides : collection of int
        Outreaches that do not count: those that are being judged.
    """
    hashes = {one: address_hash(channel, address) for one, address in addresses.items() if address is not None}
    given = {
        "people": list(addresses),
        "hashes": list(hashes.values()),
        "kinds": _KINDS,
        "on_channel": channel,
        "known_by": now,
        "since": since,
    }
    found = {one: Permission() for one in addresses}
    suppressed: set[str] = set()
    for what, person, word, number, at in connection.execute(_ALL, given):
        if what == _EVENT:
            found[person].events.append(Event(kind=word, order_id=number, occurred_at=at))
        elif what == _CONTACT:
            if number not in besides:
                found[person].contacts.append(at)
        elif what == _CONSENT:
            found[person].said.append((word, bool(number)))
        elif what == _HUMAN:
            found[person].with_a_human = True
        else:
            suppressed.add(word)
    for person, hashed in hashes.items():
        found[person].suppressed = hashed in suppressed
    return found


_EVENT, _CONTACT, _CONSENT, _HUMAN, _SUPPRESSED = range(5)
_KINDS = [*OPENING, *CLOSING]
_INSTANT = touchpoints.c.occurred_at.type


def _rows(
    what: int,
    *,
    person: sa.ColumnElement[Any] | None = None,
    word: sa.ColumnElement[Any] | None = None,
    number: sa.ColumnElement[Any] | None = None,
    at: sa.ColumnElement[Any] | None = None,
    row: sa.ColumnElement[Any] | None = None,
) -> sa.Select[Any]:
    """Return a query with the columns that all of them have."""
    nothing = sa.null()
    return sa.select(
        sa.literal_column(str(what), sa.Integer).label("what"),
        (sa.cast(nothing, sa.BigInteger) if person is None else person).label("person"),
        (sa.cast(nothing, sa.Text) if word is None else word).label("word"),
        (sa.cast(nothing, sa.BigInteger) if number is None else number).label("number"),
        (sa.cast(nothing, _INSTANT) if at is None else at).label("at"),
        (sa.cast(nothing, sa.BigInteger) if row is None else row).label("id"),
    )


def _statement() -> sa.Select[Any]:
    one, known = outreaches.c, touchpoints.c
    when = sa.func.coalesce(one.sent_at, one.sending_since, one.updated_at, type_=_INSTANT)
    counted = one.sent_at.is_not(None) | one.state.in_([OutreachState.SENDING.value, OutreachState.UNCERTAIN.value])
    channel = sa.bindparam("on_channel", type_=sa.Text)
    every = sa.union_all(
        _rows(
            _EVENT,
            person=known.customer_id, word=known.kind, number=known.order_id, at=known.occurred_at, row=known.id,
        ).where(
            among(known.customer_id, "people"), among(sa.func.coalesce(known.kind, ""), "kinds"),  # as in `journeys`
            known.recorded_at <= sa.bindparam("known_by", type_=_INSTANT),
        ),
        _rows(_CONTACT, person=one.customer_id, number=one.id, at=when, row=one.id).where(
            among(one.customer_id, "people"), counted, when > sa.bindparam("since", type_=_INSTANT)
        ),
        _rows(
            _CONSENT,
            person=consents.c.customer_id, word=consents.c.purpose, number=sa.case((consents.c.granted, 1), else_=0),
            at=consents.c.occurred_at, row=consents.c.id,
        ).where(among(consents.c.customer_id, "people"), consents.c.channel == channel),
        _rows(_HUMAN, person=conversations.c.customer_id).where(
            among(conversations.c.customer_id, "people"), conversations.c.state == ConversationState.HUMAN.value
        ),
        _rows(_SUPPRESSED, word=suppressions.c.address_hash).where(
            among(suppressions.c.address_hash, "hashes"), suppressions.c.channel == channel
        ),
    ).subquery()  # fmt: skip
    columns = every.c
    query = sa.select(columns.what, columns.person, columns.word, columns.number, columns.at)
    return query.order_by(columns.at, columns.id)


_ALL = _statement()
