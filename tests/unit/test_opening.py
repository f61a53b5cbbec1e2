"""Opening hours over every clock change: the next opening is open and nothing before it is, and open time is counted to the minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.decide.duty import Duty, Step, behind, next_step
from bot.decide.opening import Hours
from bot.services.conversation.support_hours import hours_of, spoken_time
from bot.settings import Settings

MINUTE = timedelta(minutes=1)
OFFICE = {day: ((time(9), time(12, 30)), (time(13, 30), time(17))) for day in range(5)}
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"]
# Around changes of these clocks, and at any other time of two years.
instants = st.one_of(
    st.sampled_from(
        [
            datetime(2026, 3, 29, 1, tzinfo=UTC),
            datetime(2026, 10, 25, 1, tzinfo=UTC),
            datetime(2026, 3, 8, 7, tzinfo=UTC),
            datetime(2026, 4, 4, 15, tzinfo=UTC),
        ]
    ).flatmap(lambda change: st.integers(-2880, 2880).map(lambda minutes: change + minutes * MINUTE)),
    st.integers(0, 2 * 365 * 1440).map(lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + minutes * MINUTE),
)
walls = st.integers(0, 95).map(lambda quarter: time(quarter // 4, quarter % 4 * 15))


@st.composite
def opening_hours(draw: st.DrawFn) -> Hours:
    week = {}
    for day in draw(st.sets(st.integers(0, 6), min_size=1)):
        edges = sorted(draw(st.sets(walls, min_size=2, max_size=4)))
        week[day] = tuple(zip(edges[::2], edges[1::2], strict=False))
    holidays = draw(st.sets(st.integers(0, 400).map(lambda day: date(2026, 1, 1) + timedelta(days=day)), max_size=5))
    return Hours(zone=ZoneInfo(draw(st.sampled_from(ZONES))), week=week, holidays=frozenset(holidays))


def walled(hours: Hours, instant: datetime) -> bool:
    """Say, by the clock on the wall alone, whether it is open; a clock change makes this differ for an hour at most."""
    local = instant.astimezone(hours.zone)
    spans = () if local.date() in hours.holidays else hours.week.get(local.weekday(), ())
    return any(start <= local.time() < end for start, end in spans)


def changes_near(hours: Hours, instant: datetime) -> bool:
    offsets = {(instant + timedelta(hours=h)).astimezone(hours.zone).utcoffset() for h in range(-26, 27, 2)}
    return len(offsets) > 1


@settings(max_examples=150, deadline=None)
@given(hours=opening_hours(), instant=instants)
def test_the_next_opening_is_open_and_nothing_before_it_is(hours: Hours, instant: datetime) -> None:
    opens = hours.next_opening(instant)
    assert opens is not None
    assert opens >= instant
    assert hours.is_open(opens)
    if opens > instant:
        assert not hours.is_open(opens - MINUTE)
        steps = int((opens - instant) / (15 * MINUTE))
        assert not any(hours.is_open(instant + step * 15 * MINUTE) for step in range(min(steps, 200)))
    if not changes_near(hours, instant):
        assert hours.is_open(instant) == walled(hours, instant)


@settings(max_examples=60, deadline=None)
@given(hours=opening_hours(), instant=instants, minutes=st.integers(1, 300))
def test_open_time_is_counted_to_the_minute(hours: Hours, instant: datetime, minutes: int) -> None:
    due = hours.after(instant, minutes * MINUTE)
    assert hours.is_open(due - MINUTE)
    if due - instant < timedelta(days=3):
        counted = sum(hours.is_open(instant + step * MINUTE) for step in range(int((due - instant) / MINUTE)))
        assert counted == minutes


def test_a_weekend_with_a_clock_change_and_a_holiday_is_counted_right() -> None:
    hours = Hours(zone=BERLIN, week=OFFICE, holidays=frozenset({date(2026, 3, 30)}))
    friday = datetime(2026, 3, 27, 15, 30, tzinfo=UTC)  # 16:30 in Berlin; clocks go forward on Sunday
    assert hours.after(friday, timedelta(hours=4)) == datetime(
        2026, 3, 31, 10, 30, tzinfo=UTC
    )  # 12:30, half an hour of Friday
    saturday = datetime(2026, 3, 28, 12, tzinfo=UTC)
    opens = hours.next_opening(saturday)
    assert opens == datetime(2026, 3, 31, 7, tzinfo=UTC)
    assert spoken_time(opens, saturday, BERLIN, "en") == "on Tuesday at 9:00"
    assert spoken_time(opens, saturday, BERLIN, "de") == "am Dienstag um 9:00 Uhr"
    assert spoken_time(opens, opens - timedelta(hours=9), BERLIN, "de") == "heute um 9:00 Uhr"
    assert spoken_time(opens, opens - timedelta(hours=20), BERLIN, "en") == "tomorrow at 9:00"
    assert spoken_time(opens, opens - timedelta(days=8), BERLIN, "en") == "on Tuesday, 31 March, at 9:00"


def test_without_hours_it_is_always_open_and_where_nobody_ever_comes_nothing_is_promised() -> None:
    nothing = Hours(zone=BERLIN)
    now = datetime(2026, 12, 24, 12, tzinfo=UTC)
    assert nothing.next_opening(now) == now
    assert nothing.after(now, MINUTE) == now + MINUTE
    gone = frozenset(date(2026, 12, 1) + timedelta(days=day) for day in range(120))
    assert Hours(zone=BERLIN, week=OFFICE, holidays=gone).next_opening(now) is None


def test_the_settings_say_hours_as_people_write_them() -> None:
    support = {"hours": {"monday": ["09:00-12:30", "13:30-24:00"]}, "holidays": ["2026-12-25"]}
    hours = hours_of(Settings.model_validate({"shop": {"timezone": "Europe/Berlin"}, "support": support}))
    assert hours.is_open(datetime(2026, 3, 9, 22, 59, tzinfo=UTC))
    assert not hours.is_open(datetime(2026, 3, 9, 23, 0, tzinfo=UTC))
    for wrong in (
        ["17:00-09:00"],
        ["9"],
        ["09:00-12:00", "11:00-13:00"],
        "09:00-17:00",
        ["09:00-24:00", "10:00-11:00"],
    ):
        with pytest.raises(ValueError, match="write spans"):
            Settings.model_validate({"support": {"hours": {"monday": wrong}}})


NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
BASE = {"taken": False, "urgent": False, "owner": "a", "due_at": NOW, "reminded": False, "answered": False}


@pytest.mark.parametrize(
    ("changed", "is_open", "step"),
    [
        ({"due_at": None}, False, Step.ASK),
        ({"due_at": None, "answered": True}, True, None),
        ({"due_at": NOW + 4 * MINUTE}, True, Step.REMIND),
        ({"due_at": NOW + 4 * MINUTE, "reminded": True}, True, None),
        ({"due_at": NOW + 6 * MINUTE}, True, None),
        ({}, True, Step.NEXT),
        ({"reminded": True}, True, Step.NEXT),
        ({}, False, None),
        ({"urgent": True}, False, Step.NEXT),
        ({"taken": True}, True, Step.REMIND),
        ({"taken": True, "reminded": True}, True, None),
        ({"answered": True}, True, None),
    ],
)
def test_whoever_is_late_is_reminded_first_and_then_the_next_one_is_asked(
    changed: dict[str, object], is_open: bool, step: Step | None
) -> None:
    duty = Duty(**{**BASE, **changed})  # type: ignore[arg-type]
    assert next_step(duty, NOW, is_open=is_open, before=5 * MINUTE) == step


@given(people=st.sets(st.text(min_size=1, max_size=3), min_size=1, max_size=6))
def test_the_round_comes_to_everybody_before_anybody_twice(people: set[str]) -> None:
    seen: list[str] = []
    last: str | None = None
    for _ in people:
        last = behind(sorted(people), last)
        assert last is not None
        seen.append(last)
    assert sorted(seen) == sorted(people)
    assert behind([], "a") is None
