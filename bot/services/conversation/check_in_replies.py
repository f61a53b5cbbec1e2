"""Replies to check-ins: which one a message answers, and what is kept of it.

What a reply says to a check-in that asked for something is `messages.asked`'s business.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.decide.lifecycle import OutreachState
from bot.store.conversations import Conversation, InboundUtterance, change_conversation
from bot.store.database import Connection
from bot.store.outreach import Outreach, change_state, list_outreach
from bot.store.shop import Customer, add_touchpoint
from messages.asked import Said

__all__ = ["answered_check_in", "note_reply"]

# A message this long after the last check-in is no reply to it.
REPLY_WINDOW = timedelta(days=60)


def answered_check_in(
    connection: Connection, thread: Conversation, utterance: InboundUtterance, person: Customer, now: datetime
) -> Outreach | None:
    """Return the check-in that a message answers, None where it answers none."""
    sent = [
        one
        for one in list_outreach(connection, [OutreachState.SENT], customer_id=person.id)
        if one.channel == thread.channel and one.sent_at is not None and now - one.sent_at <= REPLY_WINDOW
    ]
    if thread.channel == "email" and thread.outreach_id is not None:
        # A mail names what it answers: a second reply to one check-in is no reply to the next.
        sent = [one for one in sent if one.id == thread.outreach_id]
    named = [one for one in sent if utterance.in_reply_to and utterance.in_reply_to == _reference(one)]
    return max(named or sent, key=lambda one: one.sent_at or now, default=None)


def note_reply(
    connection: Connection,
    thread: Conversation,
    utterance: InboundUtterance,
    person: Customer,
    answered: Outreach | None,
    told: Said | None,
    now: datetime,
) -> None:
    """Keep that a customer replied, to which check-in, and what they told who had asked."""
    if answered is not None:
        change_state(connection, answered.id, answered.version, [OutreachState.SENT], OutreachState.REPLIED, now)
        if thread.outreach_id is None:
            change_conversation(connection, thread.id, now, outreach_id=answered.id)
    add_touchpoint(
        connection,
        source="aftercare",
        external_id=f"reply:{utterance.id}",
        customer_id=person.id,
        order_id=answered.order_id if answered is not None else None,
        kind="reply",
        occurred_at=utterance.occurred_at,
        recorded_at=now,
        channel=thread.channel,
    )
    if told is not None and answered is not None:
        # One answer to one message: the first that is given.
        add_touchpoint(
            connection,
            source="aftercare",
            external_id=f"{told.kind}:outreach:{answered.id}",
            customer_id=person.id,
            order_id=answered.order_id,
            kind=told.kind,
            occurred_at=utterance.occurred_at,
            recorded_at=now,
            value=told.value,
            text=told.text,
            channel=thread.channel,
        )


def _reference(one: Outreach) -> str | None:
    return one.evidence.get("reference") if isinstance(one.evidence, dict) else None
