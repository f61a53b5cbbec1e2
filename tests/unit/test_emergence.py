"""What becomes of a pattern from day to day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.decide.emergence import CLOSED_AFTER, Change, OpenPattern, Step, follow

NOW = datetime(2026, 3, 10, tzinfo=UTC)
LOT = ("lot:1:B7", "charging")


def known(told: int = 4, seen: datetime = NOW - timedelta(days=1)) -> OpenPattern:
    return OpenPattern(identity=LOT, told_troubled=told, last_seen_at=seen)


def steps(changes: list[Change]) -> list[tuple[Step, bool]]:
    return [(change.step, change.is_news) for change in changes]


def test_what_was_never_seen_is_news() -> None:
    assert steps(follow([], {LOT: 3}, NOW)) == [(Step.NEW, True)]


@pytest.mark.parametrize(
    ("told", "troubled", "step"),
    [(4, 4, Step.SEEN), (4, 6, Step.SEEN), (4, 7, Step.GROWN), (20, 29, Step.SEEN), (20, 30, Step.GROWN), (9, 3, Step.SEEN)],
)  # fmt: skip
def test_it_is_news_again_only_when_it_has_grown(told: int, troubled: int, step: Step) -> None:
    assert steps(follow([known(told)], {LOT: troubled}, NOW)) == [(step, step is Step.GROWN)]


def test_it_ends_only_after_days_without_it() -> None:
    assert follow([known(seen=NOW - CLOSED_AFTER + timedelta(seconds=1))], {}, NOW) == []
    assert steps(follow([known(seen=NOW - CLOSED_AFTER)], {}, NOW)) == [(Step.CLOSED, False)]


@given(
    st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), st.integers(3, 60)),
    st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), st.integers(3, 60)),
)
def test_the_same_look_again_is_no_news(before: dict[tuple[str, str], int], found: dict[tuple[str, str], int]) -> None:
    told = dict(before)
    opened = [OpenPattern(identity=one, told_troubled=n, last_seen_at=NOW) for one, n in told.items()]
    for change in follow(opened, found, NOW):
        if change.is_news:
            told[change.identity] = found[change.identity]
    again = follow(
        [OpenPattern(identity=one, told_troubled=n, last_seen_at=NOW) for one, n in told.items()], found, NOW
    )
    assert not any(change.is_news for change in again)
