"""What may be approved together: a narrow rule, and whatever is in doubt is not in it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from bot.decide.playbook import Goal
from bot.services.review.low_risk import LowRiskFacts, Why, why_not

HARMLESS = LowRiskFacts(
    urgent=False,
    claimed_by_other=False,
    with_a_human=False,
    open_issue=False,
    wrote_lately=False,
    goal=Goal.FIRST_USE,
    band="low",
    edited=False,
    tone_remarks=0,
)
AGAINST: dict[Why, dict[str, Any]] = {
    Why.DRAFT: {"draft_only": True},
    Why.URGENT: {"urgent": True},
    Why.CLAIMED: {"claimed_by_other": True},
    Why.WITH_A_HUMAN: {"with_a_human": True},
    Why.OPEN_ISSUE: {"open_issue": True},
    Why.WROTE_LATELY: {"wrote_lately": True},
    Why.SEVERE: {"goal": Goal.PREVENT_ISSUE, "band": "high"},
    Why.UNKNOWN_PLAYBOOK: {"goal": None},
    Why.EDITED: {"edited": True},
    Why.TONE: {"tone_remarks": 1},
}


def test_a_harmless_check_in_is_of_low_risk() -> None:
    assert why_not(HARMLESS) is None


@pytest.mark.parametrize("why", list(Why))
def test_each_reason_alone_speaks_against_it(why: Why) -> None:
    assert why_not(replace(HARMLESS, **AGAINST[why])) is why


def test_no_reason_is_outweighed_by_another() -> None:
    for one, other in combinations(Why, 2):
        if {Why.SEVERE, Why.UNKNOWN_PLAYBOOK} <= {one, other}:
            continue  # a playbook that is not known has no goal
        assert why_not(replace(HARMLESS, **AGAINST[one], **AGAINST[other])) in (one, other)


@pytest.mark.parametrize(
    ("goal", "band", "severe"),
    [
        (Goal.PREVENT_ISSUE, "low", False),
        (Goal.PREVENT_ISSUE, "medium", False),
        (Goal.PREVENT_ISSUE, "", True),  # nobody knows how probable: in doubt
        (Goal.KEEP_CUSTOMER, "high", False),
        (Goal.FIRST_USE, "high", False),
    ],
)
def test_severe_is_what_shall_prevent_very_probable_trouble(goal: Goal, band: str, severe: bool) -> None:
    assert (why_not(replace(HARMLESS, goal=goal, band=band)) is Why.SEVERE) is severe
