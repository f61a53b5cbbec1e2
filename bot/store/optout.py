"""The end of contact on one channel, at the customer's own wish: one transaction, whatever the way in.

The ledger, the suppression of the address and what was still open go together. How the wish arrived (a link, a
one-click POST, words in a reply) and that it is authentic is the caller's business.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.contact import ended
from bot.decide.lifecycle import OutreachState
from bot.decide.policy import Reason
from bot.store import audit
from bot.store.consent import CHECK_INS, record_consent, said_on, suppress
from bot.store.outreach import change_state, list_outreach
from bot.store.shop import Customer, add_touchpoint
from bot.store.tables import customers

__all__ = ["end_contact"]

_STILL_OPEN = (OutreachState.SUGGESTED, OutreachState.SNOOZED, OutreachState.DEFERRED, OutreachState.APPROVED)


def end_contact(
    connection: Connection, customer: Customer, channel: str, *, origin: str, evidence: str | None, now: datetime
) -> bool:
    """Forbid every contact with a customer on a channel, whatever it is for, and take back what is open.

    Parameters
    ----------
    origin : str
        How it was said, such as `email_link` or `email_one_click`.
    evidence : str, optional
        A reference, never the customer's words.

    Returns
    -------
    bool
        False: it was forbidden already, and nothing was written.
    """
    # The same lock as a claim takes: what is not yet claimed is stopped here, what is claimed has left.
    connection.execute(sa.select(customers.c.id).where(customers.c.id == customer.id).with_for_update())
    # A no to something else may be taken back without a word about check-ins.
    if ended(said_on(connection, [customer.id], channel)[customer.id]):
        return False
    record_consent(connection, customer.id, channel, CHECK_INS, False, origin, evidence, now)
    address = {"email": customer.email, "slack": customer.slack_user_id}.get(channel)
    if address:
        suppress(connection, channel, address, "opt_out", now)
    for one in list_outreach(connection, _STILL_OPEN, customer_id=customer.id):
        if one.channel == channel:
            reason = Reason.CONSENT_REFUSED.value
            change_state(connection, one.id, one.version, [one.state], OutreachState.SUPPRESSED, now, refusal=reason)
    add_touchpoint(
        connection,
        source="aftercare",
        external_id=f"opt_out:{channel}:{customer.id}:{now.isoformat()}",
        customer_id=customer.id,
        order_id=None,
        kind="opt_out",
        occurred_at=now,
        recorded_at=now,
        channel=channel,
    )
    audit.record(
        connection,
        at=now,
        actor="system",
        action="consent.refused",
        entity="customer",
        entity_id=customer.id,
        detail={"channel": channel, "origin": origin},
    )
    return True
