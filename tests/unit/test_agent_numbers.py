"""An agent's own numbers: what stands, in shares of what they decided, and how long it took."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.services.review.standing import agent_numbers
from bot.store.enums import DecisionKind
from bot.store.standing import Judgement

MIDNIGHT = datetime(2026, 3, 9, 23, 0, tzinfo=UTC)


def judged(kind: DecisionKind, minutes: float, hours_after_midnight: float) -> Judgement:
    at = MIDNIGHT + timedelta(hours=hours_after_midnight)
    return Judgement(kind=kind, proposed_at=at - timedelta(minutes=minutes), decided_at=at)


def test_nothing_decided_has_no_shares() -> None:
    numbers = agent_numbers([], MIDNIGHT)
    assert (numbers.today, numbers.week, numbers.approved, numbers.median_minutes) == (0, 0, None, None)


def test_shares_add_up_and_the_median_is_not_the_mean() -> None:
    found = [
        judged(DecisionKind.APPROVE, 5, -30),
        judged(DecisionKind.APPROVE, 10, 0),
        judged(DecisionKind.EDIT, 20, 3),
        judged(DecisionKind.REJECT, 3000, 4),
    ]
    numbers = agent_numbers(found, MIDNIGHT)
    assert (numbers.today, numbers.week) == (3, 4)
    assert (numbers.approved, numbers.edited, numbers.rejected) == (0.5, 0.25, 0.25)
    assert numbers.median_minutes == pytest.approx(15)
