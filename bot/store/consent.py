"""What customers allowed, as a ledger that is only appended to; and addresses that must never be contacted.

Suppressed addresses are kept as hashes, so that an erased customer stays suppressed without being known.
Whether a contact is allowed is decided in `bot.decide.policy`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.contact import EVERY_PURPOSE, Purpose, standing
from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = [
    "CHECK_INS",
    "ERASED",
    "address_hash",
    "consent_of",
    "is_suppressed",
    "record_consent",
    "said_on",
    "suppress",
]

consents, suppressions, customers = (metadata.tables[name] for name in ("consents", "suppressions", "customers"))
_ADDRESSES = {"email": customers.c.email, "slack": customers.c.slack_user_id}
# The channel under which the keys of erased customers are suppressed, so that no import brings them back.
ERASED = "customer"
# What opt-out links, replies and imports are about: everything that Aftercare sends.
CHECK_INS = EVERY_PURPOSE


def record_consent(
    connection: Connection,
    customer_id: int,
    channel: str,
    purpose: str,
    granted: bool,
    origin: str,
    evidence: str | None,
    at: datetime,
    *,
    recorded_at: datetime | None = None,
) -> None:
    """Append what a customer allowed or forbade on a channel.

    Parameters
    ----------
    purpose : str
        A `Purpose`, or `CHECK_INS` for all of them.
    origin : str
        Where it was said: `slack`, `email`, `import`, `agent`.
    evidence : str, optional
        A reference (an event key, a Message-ID), never the customer's words.
    at : datetime
        When it was said; `recorded_at` defaults to it.
    """
    connection.execute(
        sa.insert(consents).values(
            customer_id=customer_id,
            channel=channel,
            purpose=purpose,
            granted=granted,
            origin=origin,
            evidence=evidence,
            occurred_at=at,
            recorded_at=recorded_at or at,
        )
    )


def consent_of(
    connection: Connection, customer_ids: Collection[int], channel: str, purpose: Purpose = Purpose.SERVICE
) -> dict[int, bool | None]:
    """Return for each customer whether a channel may be used for a purpose; None: they never said (`bot.decide.contact`)."""
    return {one: standing(words, purpose) for one, words in said_on(connection, customer_ids, channel).items()}


def said_on(connection: Connection, customer_ids: Collection[int], channel: str) -> dict[int, list[tuple[str, bool]]]:
    """Return each customer's words (purpose, granted) about a channel, in the order in which they were said."""
    wanted = list(customer_ids)
    found: dict[int, list[tuple[str, bool]]] = {one: [] for one in wanted}
    for start in range(0, len(wanted), 1000):
        given = {"people": wanted[start : start + 1000], "on_channel": channel}
        for row in connection.execute(_LEDGER, given):
            found[row.customer_id].append((row.purpose, row.granted))
    return found


def address_hash(channel: str, address: str) -> str:
    """Return the hash under which an address is suppressed; letter case and outer spaces do not count."""
    return hashlib.sha256(f"{channel}:{address.strip().casefold()}".encode()).hexdigest()


def suppress(connection: Connection, channel: str, address: str, reason: str, now: datetime) -> bool:
    """Never contact an address again; False says that it was suppressed already.

    Those who have this address are locked first: a claim of theirs that is under way is waited for, and whatever
    is claimed afterwards sees the suppression.
    """
    if channel in _ADDRESSES:
        known = {address, address.strip(), address.strip().casefold()}
        connection.execute(sa.select(customers.c.id).where(_ADDRESSES[channel].in_(known)).with_for_update())
    values = {
        "channel": channel,
        "address_hash": address_hash(channel, address),
        "reason": reason,
        "recorded_at": now,
    }
    return insert_once(connection, suppressions, values) is not None


def is_suppressed(connection: Connection, channel: str, addresses: Collection[str]) -> set[str]:
    """Return those of the addresses that must not be contacted."""
    hashes = {address: address_hash(channel, address) for address in addresses}
    found: set[str] = set()
    wanted = list(set(hashes.values()))
    for start in range(0, len(wanted), 1000):
        given = {"hashes": wanted[start : start + 1000], "on_channel": channel}
        found |= set(connection.execute(_SUPPRESSED, given).scalars())
    return {address for address, digest in hashes.items() if digest in found}


# Built once: the delivery asks these for every few mails.
_LEDGER = (
    sa.select(consents.c.customer_id, consents.c.purpose, consents.c.granted)
    .where(
        consents.c.customer_id.in_(sa.bindparam("people", expanding=True)),
        consents.c.channel == sa.bindparam("on_channel"),
    )
    .order_by(consents.c.occurred_at, consents.c.id)
)
_SUPPRESSED = sa.select(suppressions.c.address_hash).where(
    suppressions.c.channel == sa.bindparam("on_channel"),
    suppressions.c.address_hash.in_(sa.bindparam("hashes", expanding=True)),
)
