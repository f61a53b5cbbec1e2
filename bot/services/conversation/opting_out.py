"""A customer's words end contact with them: on which channels, and whether it is news.

Whether words ask for that is `messages.contact_wish`'s business, what follows for plans `bot.store.optout`'s.
"""

from __future__ import annotations

import re
from datetime import datetime

from bot.store.consent import suppress
from bot.store.conversations import Conversation, InboundUtterance
from bot.store.database import Connection
from bot.store.optout import end_contact
from bot.store.shop import customer
from messages.contact_reach import ends_every_channel

__all__ = ["opt_out"]

# Who names a channel while opting out means that one, whichever they write by.
_NAMED = {"email": re.compile(r"(?i)\be-?mail|\bmail(s|en|ing)?\b"), "slack": re.compile(r"(?i)\bslack\b")}


def opt_out(connection: Connection, thread: Conversation, utterance: InboundUtterance, now: datetime) -> bool:
    """End contact; False says that it was ended before, and nothing need be confirmed.

    It needs less than order data do: whoever the channel vouched for may end contact with themselves, though
    the thread was begun as somebody else; an unknown sender's address is left alone from now on.
    """
    # A Slack sender is `slack:TEAM:USER`; what customers are reached by is the user.
    sender = utterance.author_id or ""
    address = sender.rpartition(":")[2] if thread.channel == "slack" else sender
    new = suppress(connection, thread.channel, address, "opt_out", now) if address else False
    person = customer(connection, utterance.customer_id) if utterance.customer_id is not None else None
    if person is None:
        return new
    asked = utterance.text[:4_000]
    named = {channel for channel, words in _NAMED.items() if words.search(asked)}
    if not named and ends_every_channel(asked):
        named = set(_NAMED)
    ended = [
        end_contact(
            connection,
            person,
            channel,
            origin=f"{thread.channel}_reply",
            evidence=f"{utterance.source}:{utterance.external_id}",
            now=now,
        )
        for channel in (thread.channel, *sorted(named - {thread.channel}))
    ]
    return any(ended)
