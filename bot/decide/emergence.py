"""What becomes of a pattern from day to day: it is news once, news again when it has grown, and ends when it is over.

A pattern is the same as long as its place and its kind are. Finding patterns is `predictors.patterns`' business,
remembering them `bot.store.patterns`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

__all__ = ["Change", "Identity", "OpenPattern", "PatternState", "Step", "follow"]

# It has grown when half as many customers again, and at least three more, have trouble as when it was last told.
GROWN_RATIO = 1.5
GROWN_CUSTOMERS = 3
# A pattern that is no longer surprising on one day may be on the next; it has ended when it was not for so long.
CLOSED_AFTER = timedelta(days=7)

Identity = tuple[str, str]


class PatternState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"  # another of the same identity may open later, as a new one


class Step(StrEnum):
    NEW = "new"  # seen for the first time: news
    GROWN = "grown"  # more than when it was last told: news
    SEEN = "seen"  # known and still there
    CLOSED = "closed"  # known and over


@dataclass(frozen=True, kw_only=True)
class OpenPattern:
    """A pattern that is remembered as open; `told_troubled` is how many customers had trouble when it was last news."""

    identity: Identity
    told_troubled: int
    last_seen_at: datetime


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a day's look does to one pattern."""

    identity: Identity
    step: Step

    @property
    def is_news(self) -> bool:
        """Whether people should hear of it."""
        return self.step in (Step.NEW, Step.GROWN)


def follow(known: Iterable[OpenPattern], found: Mapping[Identity, int], now: datetime) -> list[Change]:
    """Hold what was found against what is open.

    Parameters
    ----------
    found : mapping
        Identity: customers with trouble.

    Returns
    -------
    list of Change
        One for each pattern that was found, and for each open one that is over; an open one that was not found
        but is not over yet has none. The same look again changes nothing more.
    """
    left = dict(found)
    changes: list[Change] = []
    for one in known:
        troubled = left.pop(one.identity, None)
        if troubled is not None:
            grown = troubled >= max(GROWN_RATIO * one.told_troubled, one.told_troubled + GROWN_CUSTOMERS)
            changes.append(Change(identity=one.identity, step=Step.GROWN if grown else Step.SEEN))
        elif now - one.last_seen_at >= CLOSED_AFTER:
            changes.append(Change(identity=one.identity, step=Step.CLOSED))
    return changes + [Change(identity=identity, step=Step.NEW) for identity in left]
