"""A customer who has had enough of a program gets a human; one who only complains of the thing gets the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.decide.patience import has_had_enough

feelings = st.none() | st.floats(-1, 1)


@pytest.mark.parametrize(
    ("sentiment", "urgency", "tries", "asks_back", "enough"),
    [
        (-0.7, 0.0, 0, False, False),
        (-0.6, 0.0, 0, True, False),
        (-0.7, 0.0, 0, True, True),
        (-0.9, 0.0, 0, False, False),
        (-0.6, 0.0, 1, False, True),
        (0.2, 0.85, 1, False, True),
        (-0.2, 0.3, 1, True, False),
        (-0.35, 0.3, 2, False, True),
        (-0.2, 0.6, 2, False, False),
        (0.4, 0.0, 5, False, False),
        (None, 0.0, 5, True, False),
        (None, 0.9, 1, False, True),
    ],
)
def test_patience_ends_with_tries_and_feelings(
    sentiment: float | None, urgency: float, tries: int, asks_back: bool, enough: bool
) -> None:
    assert has_had_enough(sentiment, urgency, tries, asks_back=asks_back) is enough


@given(
    sentiment=feelings, worse=st.floats(0, 1), urgency=st.floats(0, 1), tries=st.integers(0, 5), asks_back=st.booleans()
)
def test_who_sounds_worse_or_was_tried_more_often_is_never_kept_longer(
    sentiment: float | None, worse: float, urgency: float, tries: int, asks_back: bool
) -> None:
    if has_had_enough(sentiment, urgency, tries, asks_back=asks_back):
        lower = None if sentiment is None else sentiment - worse
        assert has_had_enough(lower, min(urgency + worse, 1), tries + 1, asks_back=asks_back)
