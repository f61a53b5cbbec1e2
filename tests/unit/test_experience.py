"""How probable it was to be drawn to be contacted, from what each draw stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.services.experience import contact_propensities
from bot.store.experiments import FirstOutcome

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def drawn(arm: str, propensity: float, day: int = 0, playbook: str = "late") -> FirstOutcome:
    at = DAY + timedelta(days=day)
    return FirstOutcome(order_id=1, playbook=playbook, arm=arm, propensity=propensity, anchor_at=at, value=0.0)


def test_one_arm_to_be_contacted_stores_it_itself() -> None:
    found = [drawn("treatment", 0.8), drawn("holdout", 0.2), drawn("treatment", 0.5, 9), drawn("holdout", 0.5, 9)]
    assert contact_propensities(found) == pytest.approx([0.8, 0.8, 0.5, 0.5])


def test_variants_are_one_contact_whose_probability_the_nearest_holdout_tells() -> None:
    found = [
        drawn("short", 0.45), drawn("long", 0.45, 1), drawn("holdout", 0.1, 1),
        drawn("short", 0.3, 20), drawn("long", 0.2, 21), drawn("holdout", 0.5, 22),
    ]  # fmt: skip
    assert contact_propensities(found) == pytest.approx([0.9, 0.9, 0.9, 0.5, 0.5, 0.5])


def test_where_nobody_was_ever_held_out_contact_was_certain() -> None:
    found = [drawn("treatment", 1.0), drawn("short", 0.5, 1, "new"), drawn("long", 0.5, 2, "new")]
    assert contact_propensities(found) == [1.0, 1.0, 1.0]


def test_playbooks_are_looked_at_apart() -> None:
    found = [
        drawn("a", 0.4, 0, "one"),
        drawn("b", 0.4, 0, "one"),
        drawn("holdout", 0.2, 3, "one"),
        drawn("holdout", 0.6, 0, "two"),
    ]
    assert contact_propensities(found) == pytest.approx([0.8, 0.8, 0.8, 0.4])
