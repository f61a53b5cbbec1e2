"""What a customer's words on a channel come to: the purpose that is asked for counts, and a no is never argued away."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.decide.contact import EVERY_PURPOSE, Priority, Purpose, ended, standing
from bot.decide.playbook import PRIORITIES, Goal

words = st.lists(st.tuples(st.sampled_from([*Purpose, EVERY_PURPOSE, "of old"]), st.booleans()), max_size=8)


@given(words, st.sampled_from(list(Purpose)))
@settings(max_examples=300, deadline=None)
def test_a_yes_stands_only_where_it_was_the_last_word_about_that_purpose(
    said: list[tuple[str, bool]], purpose: Purpose
) -> None:
    if standing(said, purpose) is not True:
        return
    about = [granted for word, granted in said if word in (purpose, EVERY_PURPOSE)]
    assert about, "nobody said anything about it"
    yes = max(
        place
        for place, (word, granted) in enumerate(said)
        if granted and (word == purpose or (word == EVERY_PURPOSE and purpose is Purpose.SERVICE))
    )
    assert not any(not granted and word in (purpose, EVERY_PURPOSE) for word, granted in said[yes:])


@given(words)
@settings(max_examples=200, deadline=None)
def test_the_end_of_contact_ends_every_purpose(said: list[tuple[str, bool]]) -> None:
    after = [*said, (EVERY_PURPOSE, False)]
    assert ended(after)
    assert [standing(after, purpose) for purpose in Purpose] == [False] * 3


@pytest.mark.parametrize("purpose", list(Purpose))
def test_who_never_spoke_is_neither_for_nor_against(purpose: Purpose) -> None:
    assert standing([], purpose) is None
    assert not ended([])


def test_what_prevents_trouble_matters_most_and_what_is_not_named_least() -> None:
    assert PRIORITIES[Goal.PREVENT_ISSUE].rank < PRIORITIES[Goal.KEEP_CUSTOMER].rank < Priority.LOW.rank
