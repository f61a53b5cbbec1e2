"""What a mail that came in did: one closed word a mail, and what it was about.

How each comes about stands in `bot.services.mail.replies` and `bot.services.mail.reports`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bot.services.conversation.conversations import Inbound

__all__ = ["RETURNED", "Done", "Effect", "ToAnswer"]

CHANNEL = "email"


class Effect(StrEnum):
    """What one mail did; it stands in `mails.effect`."""

    ANSWERED = "answered"  # a conversation took it in and decided
    HANDED_OVER = "handed_over"  # a human looks after it, the bot says nothing
    OPTED_OUT = "opted_out"  # contact ended
    ALREADY_OUT = "already_out"  # contact had ended before; nothing is confirmed again
    SILENT = "silent"  # a machine wrote: nobody is answered, nothing changes
    STRANGER = "stranger"  # neither about a mail of ours nor from a customer: left to humans, in the mailbox
    OWN = "own"  # ours; ignored
    DELAYED = "delayed"  # still under way, or no failure at all
    DEAD_ADDRESS = "dead_address"  # came back for good: nothing more goes there
    RETURNED = "returned"  # came back for now
    RETURNED_OFTEN = "returned_often"  # came back for now, once too often: nothing more goes there
    COMPLAINED = "complained"  # called spam: nothing more goes there
    UNPROVEN = "unproven"  # a report that no mail of ours proves: without effect
    FORGOTTEN = "forgotten"  # its octets were gone before it was worked on


RETURNED = (Effect.RETURNED.value, Effect.RETURNED_OFTEN.value)


@dataclass(frozen=True, kw_only=True)
class Done:
    """A mail's effect, as it is written down.

    Attributes
    ----------
    about : str or None
        The mail of ours that it is about, such as `outreach.12`.
    address_hash : str or None
        In a report, the address that it is about.
    """

    effect: Effect
    customer_id: int | None = None
    outreach_id: int | None = None
    about: str | None = None
    address_hash: str | None = None


@dataclass(frozen=True, kw_only=True)
class ToAnswer:
    """A mail that the dialogue must decide about, and what is to be written down afterwards."""

    inbound: Inbound
    done: Done
