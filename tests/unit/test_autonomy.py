"""How far the bot may go by itself: never above what the playbook says, at once only where it was earned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.decide.autonomy import (
    AUTOMATIC,
    Act,
    Bar,
    Evidence,
    Judged,
    Standing,
    by_itself,
    evidence_of,
    in_force,
    is_sample,
    shortfalls,
    verdict,
)
from bot.decide.playbook import Autonomy

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
LEVELS = st.sampled_from(Autonomy)
VERSIONS = st.sampled_from(["one", "two"])
STANDING = st.none() | st.builds(Standing, level=LEVELS, playbook_version=VERSIONS)


@given(ceiling=LEVELS, version=VERSIONS, standing=STANDING)
def test_nothing_stored_goes_above_what_the_playbook_says(
    ceiling: Autonomy, version: str, standing: Standing | None
) -> None:
    level = in_force(ceiling, version, standing)
    assert level.rank <= ceiling.rank
    if standing is not None:
        assert level.rank <= standing.level.rank
    if level is Autonomy.AUTO:  # only by a step to it, made for this very text
        assert ceiling is Autonomy.AUTO
        assert standing == Standing(level=Autonomy.AUTO, playbook_version=version)


def test_a_change_of_the_text_takes_a_grant_back_and_keeps_a_step_down() -> None:
    granted = Standing(level=Autonomy.AUTO, playbook_version="one")
    assert in_force(Autonomy.AUTO, "one", granted) is Autonomy.AUTO
    assert in_force(Autonomy.AUTO, "two", granted) is Autonomy.APPROVE
    lowered = Standing(level=Autonomy.APPROVE, playbook_version="one")
    assert in_force(Autonomy.AUTO_AFTER, "two", lowered) is Autonomy.APPROVE
    assert in_force(Autonomy.AUTO_AFTER, "two", None) is Autonomy.AUTO_AFTER


@pytest.mark.parametrize(
    ("acts", "said"),
    [
        ([], None),
        ([(Act.APPROVE, False)], True),
        ([(Act.CHANGE, False)], False),
        ([(Act.REJECT, False)], False),
        ([(Act.APPROVE, False), (Act.UNDO, False)], None),
        ([(Act.REJECT, False), (Act.UNDO, False), (Act.APPROVE, False)], True),
        ([(Act.APPROVE, True)], None),  # nobody looked: that is no yes
        ([(Act.APPROVE, True), (Act.UNDO, False)], False),
        ([(Act.APPROVE, True), (Act.UNDO, False), (Act.APPROVE, False)], True),
    ],
)
def test_what_people_made_of_a_check_in(acts: list[tuple[Act, bool]], said: bool | None) -> None:
    assert verdict(acts) is said


def evidence(decided: int, as_written: int, sent: int = 100, objections: int = 0) -> Evidence:
    return Evidence(decided=decided, as_written=as_written, sent=sent, objections=objections)


def test_the_bar_is_reached_by_enough_decisions_surely_as_written_and_without_objections() -> None:
    bar = Bar()
    assert shortfalls(evidence(100, 100), bar) == []
    assert [
        bool(shortfalls(one, bar)) for one in (evidence(99, 99), evidence(100, 99), evidence(100, 100, 100, 3))
    ] == [
        True,
        True,
        True,
    ]
    assert shortfalls(evidence(400, 390), bar) == []
    assert "99 of 100" in shortfalls(evidence(99, 99), bar)[0]
    assert len(shortfalls(evidence(0, 0, 0, 0), bar)) == 2


@given(decided=st.integers(1, 2000), data=st.data())
def test_fewer_approvals_or_more_objections_never_help(decided: int, data: st.DataObject) -> None:
    yes = data.draw(st.integers(1, decided))
    objections = data.draw(st.integers(0, 100))
    worse = evidence(decided, yes - 1, 100, objections)
    if not shortfalls(worse, Bar()):
        assert not shortfalls(evidence(decided, yes, 100, objections), Bar())
    if not shortfalls(evidence(decided, yes, 100, objections + 1), Bar()):
        assert not shortfalls(evidence(decided, yes, 100, objections), Bar())


def test_old_judgements_count_for_keeping_where_few_are_asked_and_not_for_earning() -> None:
    old = [Judged(as_written=True, at=NOW - 70 * DAY)] * 150
    fresh = [Judged(as_written=False, at=NOW - DAY)] * 2
    earning = evidence_of([*old, *fresh], sent=1, objections=0, now=NOW, bar=Bar(), keeping=False)
    keeping = evidence_of([*old, *fresh], sent=1, objections=0, now=NOW, bar=Bar(), keeping=True)
    assert (earning.decided, earning.as_written) == (2, 0)
    assert (keeping.decided, keeping.as_written) == (100, 98)


@given(
    level=LEVELS,
    delay=st.timedeltas(timedelta(0), DAY),
    seen=st.none() | st.timedeltas(-DAY, DAY),
    touched=st.booleans(),
    leaves=st.timedeltas(-DAY, DAY),
    lasts=st.timedeltas(-DAY, DAY),
)
def test_nothing_goes_before_its_time_unseen_in_somebodys_hands_or_too_late(
    level: Autonomy, delay: timedelta, seen: timedelta | None, touched: bool, leaves: timedelta, lasts: timedelta
) -> None:
    visible = None if seen is None else NOW + seen
    at = by_itself(
        level, delay, visible_since=visible, touched=touched, not_before=NOW + leaves, expires_at=NOW + lasts
    )
    if at is None:
        return
    assert level in AUTOMATIC
    assert visible is not None
    assert not touched
    assert at >= visible + (delay if level is Autonomy.AUTO_AFTER else timedelta(0))
    assert NOW + leaves <= at < NOW + lasts


def test_a_sample_is_about_its_share_and_the_same_each_time() -> None:
    keys = [f"{number}:how_to_start:first:2026-03-10" for number in range(4000)]
    picked = [key for key in keys if is_sample(key, 0.1)]
    assert 320 < len(picked) < 480
    assert picked == [key for key in keys if is_sample(key, 0.1)]
    assert all(is_sample(key, 1.0) for key in keys)
