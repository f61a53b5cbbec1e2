"""Which waiting check-ins may be approved together with others, without reading each: one pure rule.

The rule is narrow on purpose. A check-in is of low risk where a wrong yes would cost little and nothing about it asks for
a second look: its words are the playbook's own, unedited and without a remark of the tone lint; it is not urgent; nobody
else works on it; the customer has nothing open with us and has not written lately; it does not try to repair something
severe. Whatever is in doubt is not of low risk. Reading the facts is `bot.services.review.queue`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bot.decide.playbook import Band, Goal

__all__ = ["LowRiskFacts", "Why", "why_not"]


class Why(StrEnum):
    """Why a check-in wants to be read by itself; in the order in which they are asked."""

    DRAFT = "draft only"  # it is never sent
    URGENT = "urgent"
    CLAIMED = "claimed"  # another agent works on it
    WITH_A_HUMAN = "with a human"  # an agent is talking to this customer
    OPEN_ISSUE = "open issue"  # a ticket, complaint or return of theirs is open
    WROTE_LATELY = "wrote lately"  # the customer wrote to us in these days
    SEVERE = "severe"  # it tries to prevent trouble that is very probable
    UNKNOWN_PLAYBOOK = "unknown playbook"  # its playbook is not in force any more
    EDITED = "edited"  # somebody changed the playbook's words
    TONE = "tone"  # the tone lint has a remark about the words


@dataclass(frozen=True, kw_only=True)
class LowRiskFacts:
    """What the rule looks at.

    Attributes
    ----------
    goal : Goal or None
        What the playbook wants; None where it is not in force any more.
    band : str
        How probable trouble is: `low`, `medium` or `high`.
    edited : bool
        The draft is not what the playbook rendered.
    tone_remarks : int
        How many remarks `messages.tone.check_tone` has about the draft.
    """

    urgent: bool
    claimed_by_other: bool
    with_a_human: bool
    open_issue: bool
    wrote_lately: bool
    goal: Goal | None
    band: str
    edited: bool
    tone_remarks: int
    draft_only: bool = False


def why_not(facts: LowRiskFacts) -> Why | None:
    """Return the first thing that speaks against approving it with others; None: it is of low risk."""
    # A check-in that is to keep a likely problem from a customer is the one whose words must be right.
    severe = facts.goal is Goal.PREVENT_ISSUE and facts.band not in (Band.LOW, Band.MEDIUM)
    asked = {
        Why.DRAFT: facts.draft_only,
        Why.URGENT: facts.urgent,
        Why.CLAIMED: facts.claimed_by_other,
        Why.WITH_A_HUMAN: facts.with_a_human,
        Why.OPEN_ISSUE: facts.open_issue,
        Why.WROTE_LATELY: facts.wrote_lately,
        Why.SEVERE: severe,
        Why.UNKNOWN_PLAYBOOK: facts.goal is None,
        Why.EDITED: facts.edited,
        Why.TONE: facts.tone_remarks > 0,
    }
    return next((why for why, speaks_against in asked.items() if speaks_against), None)
