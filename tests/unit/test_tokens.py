"""Tokens: only ours, only for their purpose, only in time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import ManualClock
from bot.tokens import InvalidToken, Purpose, Signer
from tests.conftest import NOW

SUBJECTS = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,2}", fullmatch=True)


@given(SUBJECTS)
def test_a_token_is_read_back_also_in_capitals(subject: str) -> None:
    signer = Signer("secret", ManualClock(NOW))
    assert signer.read(Purpose.REPLY, signer.sign(Purpose.REPLY, subject).upper()) == subject


@given(SUBJECTS, st.integers(0), st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789.-"))
def test_a_token_altered_anywhere_is_refused(subject: str, place: int, letter: str) -> None:
    signer = Signer("secret", ManualClock(NOW))
    token = signer.sign(Purpose.REPLY, subject)
    place %= len(token)
    altered = token[:place] + letter + token[place + 1 :]
    if altered != token:
        with pytest.raises(InvalidToken):
            signer.read(Purpose.REPLY, altered)


@given(st.text(max_size=300))
def test_any_text_is_refused_and_never_an_error_of_another_kind(text: str) -> None:
    with pytest.raises(InvalidToken):
        Signer("secret", ManualClock(NOW)).read(Purpose.OPT_OUT, text)


def test_a_token_for_one_purpose_or_key_is_worthless_for_another() -> None:
    clock = ManualClock(NOW)
    token = Signer("secret", clock).sign(Purpose.REPLY, "outreach.1")
    with pytest.raises(InvalidToken):
        Signer("secret", clock).read(Purpose.OPT_OUT, token)
    with pytest.raises(InvalidToken):
        Signer("other", clock).read(Purpose.REPLY, token)


def test_a_token_expires() -> None:
    clock = ManualClock(NOW)
    signer = Signer("secret", clock)
    token = signer.sign(Purpose.REPLY, "outreach.1", timedelta(days=2))
    clock.advance(timedelta(days=2))
    assert signer.read(Purpose.REPLY, token) == "outreach.1"
    clock.advance(timedelta(days=1))
    with pytest.raises(InvalidToken, match="expired"):
        signer.read(Purpose.REPLY, token)


def test_a_subject_that_could_be_misread_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError):
        Signer("secret", ManualClock(NOW)).sign(Purpose.REPLY, "a-b")
