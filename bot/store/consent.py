"""What customers allowed, as a ledger that is only appended to; and addresses that must never be contacted.

Suppressed addresses are kept as hashes, so that an erased customer stays suppressed without being known.
Whether a contact is allowed is decided in `bot.decide.policy`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = [
    "CHECK_INS",
    "ERASED",
    "address_hash",
    "allowed_by",
    "consent_of",
    "is_suppressed",
    "record_consent",
    "suppress",
]

consents, suppressions, customers = (metadata.tables[name] for name in ("consents", "suppressions", "customers"))
_ADDRESSES = {"email": customers.c.email, "slack": customers.c.slack_user_id}
# The channel under which the keys of erased customers are suppressed, so that no import brings them back.
ERASED = "customer"
# The purpose under which check-ins are allowed or forbidden.
CHECK_INS = "check_ins"


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
    connection: Connection, customer_ids: Collection[int], channel: str, purpose: str | None = None
) -> dict[int, bool | None]:
    """Return for each customer whether a channel is allowed.

    The latest word per purpose counts. One purpose forbidden forbids; else one allowed allows; None says
    that the customer never spoke. With `purpose` only that purpose is looked at.
    """
    latest: dict[tuple[int, str], bool] = {}
    wanted = list(customer_ids)
    for start in range(0, len(wanted), 1000):
        given = {"people": wanted[start : start + 1000], "on_channel": channel, "only": purpose}
        for row in connection.execute(_LEDGER, given):
            latest[row.customer_id, row.purpose] = row.granted
    return {**dict.fromkeys(wanted), **allowed_by(latest)}


def allowed_by(latest: Mapping[tuple[int, str], bool]) -> dict[int, bool]:
    """Return for each customer whether a channel is allowed, by their latest word (customer, purpose) on each purpose."""
    found: dict[int, bool] = {}
    for (customer_id, _), granted in latest.items():
        found[customer_id] = granted and found.get(customer_id, True)
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
        sa.bindparam("only", type_=sa.Text).is_(None) | (consents.c.purpose == sa.bindparam("only", type_=sa.Text)),
    )
    .order_by(consents.c.occurred_at, consents.c.id)
)
_SUPPRESSED = sa.select(suppressions.c.address_hash).where(
    suppressions.c.channel == sa.bindparam("on_channel"),
    suppressions.c.address_hash.in_(sa.bindparam("hashes", expanding=True)),
)
