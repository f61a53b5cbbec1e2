"""One customer's way through a playbook: which step comes next, and why a way ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.decide.lifecycle import OPEN, OutreachState
from bot.decide.playbook import Playbook
from bot.decide.playbook_journey import Ended, Instance, Proposes, Waits, Why, advance
from bot.decide.playbook_triggers import Trigger, TriggerEvent, occurrence, reach, yearly
from bot.services.planning.playbooks import read_text

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TEXT = """
id: two_ways
title: Two ways
goal: listen
owner: support
audience: {}
trigger: {event: ticket_closed, after: 0m, within: 3d}
steps:
  - {id: ask, template: how_to_start}
  - {id: sorry, template: how_to_start, wait: 1d, when: {csat_at_most: 2}}
  - {id: again, template: how_to_start, after: ask, wait: 3d, when: not_answered}
  - {id: last, template: how_to_start, wait: 2d}
exit: [complaint, opt_out]
time_to_live: 30d
"""


def two_ways() -> Playbook:
    return read_text(TEXT, "two_ways.yaml")


@dataclass(frozen=True, kw_only=True)
class Happening:
    kind: str
    occurred_at: datetime
    value: float | None = None


ASKED = Instance(
    trigger_at=NOW,
    started_at=NOW,
    step="ask",
    held_out=False,
    state=OutreachState.SENT,
    sent_at=NOW,
)


def happened(kind: str, days: float, value: float | None = None) -> Happening:
    return Happening(kind=kind, occurred_at=NOW + days * DAY, value=value)


@pytest.mark.parametrize(
    ("days", "events", "step"),
    [
        (0.5, [happened("csat", 0.1, 1)], None),  # its wait is not over
        (1, [happened("csat", 0.1, 1)], "sorry"),
        (1, [happened("csat", 0.1, 5)], None),
        (9, [happened("csat", 0.1, 5)], None),  # answered, and well
        (2.9, [], None),
        (3, [], "again"),
        (3, [happened("csat", -1, 1)], "again"),  # that was said before it was asked
        (20, [happened("csat", 19, 2)], "sorry"),  # a late answer is still heard
    ],
)
def test_the_first_following_step_whose_wait_is_over_and_whose_condition_holds_is_next(
    days: float, events: list[Happening], step: str | None
) -> None:
    found = advance(two_ways(), ASKED, events, NOW + days * DAY)
    if step is None:
        assert isinstance(found, Waits)
        assert found.until is not None
        assert found.until > NOW + days * DAY
    else:
        assert isinstance(found, Proposes)
        assert found.step.id == step


def test_steps_follow_the_one_before_unless_they_name_another() -> None:
    assert [one.after for one in two_ways().steps] == ["", "ask", "ask", "again"]


@pytest.mark.parametrize(
    ("instance", "days", "why"),
    [
        (replace(ASKED, step="last"), 1, Why.COMPLETED),
        (replace(ASKED, step="sorry"), 1, Why.COMPLETED),
        (ASKED, 30, Why.OVER),
        (replace(ASKED, held_out=True, state=None, sent_at=None), 30, Why.OVER),
        (replace(ASKED, state=OutreachState.REJECTED, sent_at=None), 1, Why.REJECTED),
        (replace(ASKED, state=OutreachState.EXPIRED, sent_at=None), 1, Why.EXPIRED),
        (replace(ASKED, state=OutreachState.SUPPRESSED, sent_at=None), 1, Why.SUPPRESSED),
        (replace(ASKED, state=OutreachState.FAILED), 1, Why.FAILED),
        (replace(ASKED, state=OutreachState.CLOSED, sent_at=None), 1, Why.COMPLETED),
    ],
)
def test_a_way_ends_for_a_reason_with_a_name(instance: Instance, days: float, why: Why) -> None:
    assert advance(two_ways(), instance, [], NOW + days * DAY) == Ended(why=why.value)


@given(
    st.sampled_from(["ask", "sorry", "again", "last"]),
    st.sampled_from([None, *OutreachState]),
    st.booleans(),
    st.floats(0, 60),
)
def test_an_exit_ends_every_way_wherever_it_stands(
    step: str, state: OutreachState | None, held_out: bool, days: float
) -> None:
    instance = replace(ASKED, step=step, state=state, held_out=held_out)
    events = [happened("complaint", days / 2 + 0.01), happened("opt_out", days / 2 + 0.02)]
    assert advance(two_ways(), instance, events, NOW + (days + 1) * DAY) == Ended(why="complaint")


@pytest.mark.parametrize("state", sorted(OPEN))
def test_nothing_follows_on_a_step_that_is_still_open(state: OutreachState) -> None:
    assert advance(two_ways(), replace(ASKED, state=state, sent_at=None), [], NOW + 9 * DAY) == Waits(until=None)


def test_an_event_that_comes_round_counts_from_its_latest_turn() -> None:
    every = Trigger(event=TriggerEvent.DELIVERED, after=timedelta(0), within=5 * DAY, every=90 * DAY)
    ago = NOW - 181 * DAY
    assert occurrence(every, ago, NOW) == ago + 180 * DAY
    assert any(since < ago <= until for since, until in reach(every, NOW))
    assert not any(since < NOW - DAY <= until for since, until in reach(every, NOW))


@given(st.dates(date(1950, 1, 1), date(2020, 12, 31)), st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)))
def test_a_day_of_the_year_is_met_once_a_year_and_never_outside_its_window(day: date, clock: datetime) -> None:
    trigger = Trigger(event=TriggerEvent.BIRTHDAY, after=timedelta(0), within=DAY)
    now, zone = clock.replace(tzinfo=UTC), ZoneInfo("Europe/Berlin")
    met = yearly(day, trigger, now, zone)
    local = now.astimezone(zone).date()
    same = (local.month, local.day) == (day.month, day.day)
    leap = (day.month, day.day) == (2, 29) and (local.month, local.day) == (3, 1)
    if met is not None:
        assert met <= now < met + DAY
        assert same or leap or now.astimezone(zone).dst() != met.astimezone(zone).dst()
    elif same:
        assert now.astimezone(zone).dst() != datetime(local.year, local.month, local.day, tzinfo=zone).dst()
