"""How far the bot may go by itself: which level is in force, whether more was earned, and when something goes out unasked.

The level that a playbook's file names is a ceiling. A stored step may lie below it, or, where the file allows sending at
once, reach up to it; nothing stored can go above what the file says. Who stores steps, and what is read for the numbers, is
`bot.services.review.autonomy`'s business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bot.decide.effect import wilson
from bot.decide.playbook import Autonomy

__all__ = [
    "AFTERCARE",
    "AUTOMATIC",
    "Act",
    "Bar",
    "Evidence",
    "Judged",
    "Standing",
    "by_itself",
    "evidence_of",
    "in_force",
    "is_sample",
    "least",
    "shortfalls",
    "verdict",
]

# How the machine's own approvals are signed, in decisions and in the audit log.
AFTERCARE = "aftercare"
AUTOMATIC = frozenset({Autonomy.AUTO_AFTER, Autonomy.AUTO})


class Act(StrEnum):
    """What somebody did with one check-in, as far as autonomy is judged by it."""

    APPROVE = "approve"  # yes, to the words as they stood
    CHANGE = "change"  # yes, to other words
    REJECT = "reject"
    UNDO = "undo"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The latest stored step about a playbook: up to which level it may go, for which text of the playbook."""

    level: Autonomy
    playbook_version: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What must be reached before sending at once is offered.

    Attributes
    ----------
    days : int
        How long a judgement counts.
    decisions : int
        How many judgements there must be at least.
    as_written : float
        What the lower end of the 95 % interval of the share approved without a change must reach.
    objections : float
        Which share of the recipients may have opted out or called it spam.
    """

    days: int = 60
    decisions: int = 100
    as_written: float = 0.95
    objections: float = 0.02


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One check-in that people have judged: as it stood, or not; and when."""

    as_written: bool
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The numbers that a level is earned by."""

    decided: int
    as_written: int
    sent: int
    objections: int

    @property
    def low(self) -> float:
        """The lower end of Wilson's 95 % interval of the share approved without a change."""
        return wilson(self.as_written / self.decided, self.decided)[0] if self.decided else 0.0

    @property
    def objection_rate(self) -> float:
        """Which share of the recipients opted out or called it spam."""
        return self.objections / self.sent if self.sent else 0.0


def least(*levels: Autonomy) -> Autonomy:
    """Return the most careful of some levels."""
    return min(levels, key=lambda level: level.rank)


def in_force(ceiling: Autonomy, version: str, standing: Standing | None) -> Autonomy:
    """Return the level by which a playbook is run.

    Never above `ceiling`. Sending at once needs a stored step to it that was made for this very text; without it each
    check-in is asked about. A step downwards holds whatever becomes of the text.
    """
    unearned = Autonomy.APPROVE if ceiling is Autonomy.AUTO else ceiling
    if standing is None:
        return unearned
    found = least(unearned if standing.playbook_version != version else ceiling, standing.level)
    # Going out after a while needs a while, which only a file with that very level names.
    return Autonomy.APPROVE if found is Autonomy.AUTO_AFTER and ceiling is not found else found


def verdict(acts: Iterable[tuple[Act, bool]]) -> bool | None:
    """Say what people made of one check-in: True, sent as it was written; False, not so; None, they have not said.

    Parameters
    ----------
    acts : iterable of (Act, bool)
        In order; with each, whether the machine did it.
    """
    found: bool | None = None
    unasked = False
    for act, by_machine in acts:
        if by_machine:
            unasked = act is Act.APPROVE
            continue
        # Taking back the machine's yes is a no; taking back a person's says nothing yet.
        found = (False if unasked else None) if act is Act.UNDO else act is Act.APPROVE
        unasked = False
    return found


def evidence_of(
    judged: Sequence[Judged], *, sent: int, objections: int, now: datetime, bar: Bar, keeping: bool
) -> Evidence:
    """Count what speaks for a level.

    Parameters
    ----------
    keeping : bool
        Whether the level is held already: then few people are asked any more, and the latest `bar.decisions`
        judgements count, however old.
    """
    recent = sorted(judged, key=lambda one: one.at, reverse=True)
    since = now - timedelta(days=bar.days)
    fresh = [one for one in recent if one.at >= since]
    if keeping and len(fresh) < bar.decisions:
        fresh = recent[: bar.decisions]
    return Evidence(
        decided=len(fresh), as_written=sum(one.as_written for one in fresh), sent=sent, objections=objections
    )


def shortfalls(evidence: Evidence, bar: Bar) -> list[str]:
    """Return what is missing for sending at once, in words; empty: it is earned."""
    missing: list[str] = []
    if evidence.decided < bar.decisions:
        missing.append(f"{evidence.decided} of {bar.decisions} decisions by people within {bar.days} days")
    if evidence.low < bar.as_written:
        missing.append(
            f"{evidence.as_written} of {evidence.decided} approved as written: surely {evidence.low:.1%} or more,"
            f" and {bar.as_written:.0%} is asked"
        )
    if evidence.objection_rate > bar.objections:
        missing.append(
            f"{evidence.objections} of {evidence.sent} recipients opted out or called it spam"
            f" (at most {bar.objections:.0%} may)"
        )
    return missing


def is_sample(key: str, share: float) -> bool:
    """Say whether a check-in is one of the share that an agent is asked about although the playbook sends at once.

    The same key is always in or out; nobody's choice plays a part.
    """
    number = int.from_bytes(hashlib.sha256(f"sample:{key}".encode()).digest()[:8], "big")
    return number / 2**64 < share


def by_itself(
    level: Autonomy,
    delay: timedelta,
    *,
    visible_since: datetime | None,
    touched: bool,
    not_before: datetime,
    expires_at: datetime,
) -> datetime | None:
    """Return when a waiting check-in is approved unasked; None: never.

    Parameters
    ----------
    delay : timedelta
        How long agents have to stop it, where the level is AUTO_AFTER.
    visible_since : datetime or None
        Since when agents could see and stop it without interruption; None: they cannot.
    touched : bool
        Whether somebody stopped, claimed or decided it: then it is theirs, for good.
    """
    if level not in AUTOMATIC or touched or visible_since is None:
        return None
    wait = delay if level is Autonomy.AUTO_AFTER else timedelta(0)
    if level is Autonomy.AUTO_AFTER and wait <= timedelta(0):
        return None  # nobody could stop it
    at = max(visible_since + wait, not_before)
    if level is Autonomy.AUTO_AFTER and (at.second or at.microsecond):
        at = at.replace(second=0, microsecond=0) + timedelta(minutes=1)  # as it is said: never before that minute
    return at if at < expires_at else None
