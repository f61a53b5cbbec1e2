"""A reply to a message that asked: a number as the first own word, a yes, a goal; nothing else is an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.asked import Said, said


@pytest.mark.parametrize(
    ("asked", "text", "value"),
    [
        ("csat", "4", 4),
        ("csat", " *5* ", 5),
        ("csat", "2/5, it took a week", 2),
        ("csat", "1 - nobody called back", 1),
        ("csat", "3 stars", 3),
        ("nps", "0", 0),
        ("nps", "10!", 10),
        ("nps", "10/10", 10),
        ("review", "(4) sehr gut", 4),
        ("csat", "9", None),
        ("csat", "4/10", None),
        ("csat", "order 4", None),
        ("csat", "4.5", None),
        ("csat", "-4", None),
        ("csat", "#4", None),
        ("csat", "42", None),
        ("csat", "2 days later it broke", None),
        ("csat", "3 Uhr passt", None),
        ("csat", "4 × 5", None),
        ("nps", "11", None),
        ("nps", "", None),
        ("nps", "²", None),
    ],
)
def test_a_number_counts_as_the_first_word_and_within_its_scale(asked: str, text: str, value: float | None) -> None:
    assert said(asked, text) == (None if value is None else Said(kind=asked, value=value))


@pytest.mark.parametrize(
    ("asked", "text", "kind"),
    [
        ("activated", "Yes, it runs well", "activated"),
        ("activated", "ja", "activated"),
        ("activated", "yes, but it is broken", None),
        ("activated", "not yet", None),
        ("goal", "I want to sleep through the night", "goal"),
        ("goal", "Can I return it?", None),
        ("goal", "ok", None),
    ],
)
def test_a_yes_and_a_goal_are_told_from_other_words(asked: str, text: str, kind: str | None) -> None:
    found = said(asked, text)
    assert (found.kind if found else None) == kind


@given(st.sampled_from(["csat", "nps", "review", "goal", "activated", "?"]), st.text(max_size=60))
def test_whatever_is_written_an_answer_is_within_its_scale(asked: str, text: str) -> None:
    found = said(asked, text)
    if found is not None and found.value is not None:
        assert 0 <= found.value <= {"csat": 5, "review": 5, "nps": 10}[asked]
