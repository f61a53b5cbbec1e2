"""The table of moves is closed, and what is not in it is an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.decide.lifecycle import DECIDABLE, OPEN, TRANSITIONS, OutreachState, move
from bot.errors import IllegalTransition

states = st.sampled_from(OutreachState)


def test_every_state_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(OutreachState)
    assert {target for targets in TRANSITIONS.values() for target in targets} <= set(OutreachState)


@given(present=states, wanted=states)
def test_a_move_happens_exactly_if_the_table_has_it(present: OutreachState, wanted: OutreachState) -> None:
    if wanted in TRANSITIONS[present]:
        assert move(present, wanted) is wanted
    else:
        with pytest.raises(IllegalTransition, match=f"{present} cannot become {wanted}"):
            move(present, wanted)


@given(path=st.lists(states, min_size=1, max_size=12))
def test_nothing_leaves_a_final_state_and_sent_is_never_unsent(path: list[OutreachState]) -> None:
    present = OutreachState.SUGGESTED
    was_sent = False
    for wanted in path:
        try:
            present = move(present, wanted)
        except IllegalTransition:
            continue
        was_sent = was_sent or present is OutreachState.SENT
        if was_sent and present is OutreachState.APPROVED:
            # Only a bounce after sending, and then a human's retry, may send again.
            assert OutreachState.FAILED in path
    if not TRANSITIONS[present]:
        for wanted in OutreachState:
            with pytest.raises(IllegalTransition):
                move(present, wanted)


def test_nothing_reaches_the_channel_without_an_approval() -> None:
    assert [state for state, targets in TRANSITIONS.items() if OutreachState.SENDING in targets] == [
        OutreachState.APPROVED
    ]


def test_agents_decide_only_about_open_outreaches() -> None:
    assert DECIDABLE < OPEN
    assert all(OutreachState.APPROVED in TRANSITIONS[state] for state in DECIDABLE)
