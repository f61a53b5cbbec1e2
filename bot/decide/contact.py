"""What a contact is for and how much it matters; and what a customer's words on a channel come to for one purpose.

Words are kept by `bot.store.consent`; whether a contact is allowed is decided in `bot.decide.policy`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

__all__ = ["EVERY_PURPOSE", "Priority", "Purpose", "ended", "standing"]

# The ledger's word for all that Aftercare sends: what opt-out links, replies and imports are written down under.
EVERY_PURPOSE = "check_ins"


class Purpose(StrEnum):
    """What a contact is for, as consent is given by."""

    SERVICE = "service"  # about what was bought
    RESEARCH = "research"  # asks the customer for a judgement
    MARKETING = "marketing"  # invites to something


class Priority(StrEnum):
    """How much a playbook matters beside others that would contact the same customer."""

    HIGH = "high"  # may use the whole of every cap
    NORMAL = "normal"  # may use the part that `policy.caps.normal_share` leaves to it
    LOW = "low"  # may use the part that `policy.caps.low_share` leaves to it

    @property
    def rank(self) -> int:
        """Position from important to less important, from 0."""
        return list(Priority).index(self)


def standing(words: Iterable[tuple[str, bool]], purpose: Purpose) -> bool | None:
    """Return whether a channel may be used for a purpose; None: the customer never said.

    The latest word counts. A no to everything is a no to each purpose; a yes without a purpose is a yes to service and to
    nothing else. A no to a purpose that is not known here forbids all, for nobody knows what was meant.

    Parameters
    ----------
    words : iterable of (purpose, granted)
        All that a customer said on one channel, in the order in which it was said.
    """
    unknown: dict[str, bool] = {}
    found: bool | None = None
    for about, granted in words:
        if about == purpose or (about == EVERY_PURPOSE and (not granted or purpose is Purpose.SERVICE)):
            found = granted
        elif about != EVERY_PURPOSE and about not in tuple(Purpose):
            unknown[about] = granted
    return found if all(unknown.values()) else False


def ended(words: Iterable[tuple[str, bool]]) -> bool:
    """Say whether a customer has forbidden every purpose on a channel, and has taken back none of it."""
    known = [word for word in words if word[0] == EVERY_PURPOSE or word[0] in tuple(Purpose)]
    return all(standing(known, purpose) is False for purpose in Purpose)
