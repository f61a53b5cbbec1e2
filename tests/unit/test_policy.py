"""The contact policy: nobody is contacted outside it, every refusal has a name, and waiting helps."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bot.decide.policy import TEMPORARY, Allowed, Caps, Facts, QuietHours, Reason, Refused, ask, at, check, is_quiet
from bot.errors import NaiveTimeError

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 3, 10, 11, 0, tzinfo=UTC)
WIDE = Caps(day=99, week=99, month=99)

zones = st.sampled_from(sorted(available_timezones() - {"localtime"})).map(ZoneInfo)
instants = st.datetimes(datetime(2017, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))
walls = st.times().map(lambda value: value.replace(microsecond=0, tzinfo=None))


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    now = draw(instants)
    near = st.timedeltas(timedelta(days=-40), timedelta(days=3)).map(lambda step: now + step)
    day = draw(st.integers(1, 3))
    week = draw(st.integers(day, 5))
    start, end = draw(walls), draw(walls)
    # Somebody who may be woken for less than an hour a day would only test our patience.
    waking = (datetime.combine(date(2020, 1, 2), start) - datetime.combine(date(2020, 1, 1), end)).seconds
    assume(start == end or waking >= 3600)
    zone = draw(zones)
    today = now.astimezone(zone).date()
    # Weekends, holidays and a week or two in a row, before, on and after the day.
    dates = {today + timedelta(days=day) for day in draw(st.sets(st.integers(-2, 20), max_size=20))}
    return Facts(
        now=now,
        zone=zone,
        days_off=frozenset(dates),
        distance=timedelta(hours=draw(st.sampled_from([0, 0, 1, 30, 72]))),
        budget_until=draw(st.none() | near),
        quiet_hours=QuietHours(start=start, end=end),
        caps=Caps(day=day, week=week, month=draw(st.integers(week, 8))),
        contacts=draw(st.lists(near, max_size=8)),
        has_address=draw(st.integers(0, 9)) > 0,
        consent=draw(st.sampled_from([None, True, True, True, False])),
        consent_required=draw(st.booleans()),
        suppressed=draw(st.integers(0, 9)) == 0,
        open_issue=draw(st.integers(0, 9)) == 0,
        with_a_human=draw(st.integers(0, 9)) == 0,
        holdout=draw(st.integers(0, 9)) == 0,
        stopped=draw(st.integers(0, 9)) == 0,
        cool_down_until=draw(st.none() | near),
        proposed_until=draw(st.none() | near),
    )


@given(facts())
@settings(max_examples=400, deadline=None)
def test_contact_happens_only_within_consent_quiet_hours_caps_and_lock(given_facts: Facts) -> None:
    """The same rules, written a second time and the long way round."""
    if not isinstance(ask(given_facts), Allowed):
        return
    now, zone = given_facts.now, given_facts.zone
    assert given_facts.has_address
    for lock in ("suppressed", "open_issue", "with_a_human", "holdout", "stopped"):
        assert getattr(given_facts, lock) is False
    assert given_facts.consent is True or (given_facts.consent is None and not given_facts.consent_required)
    for until in (given_facts.cool_down_until, given_facts.proposed_until, given_facts.budget_until):
        assert until is None or until <= now
    assert now.astimezone(zone).date() not in given_facts.days_off
    if given_facts.distance:
        assert all(now - contact >= given_facts.distance for contact in given_facts.contacts)
    quiet = given_facts.quiet_hours
    wall = now.astimezone(zone).time().replace(tzinfo=None)
    if quiet.start < quiet.end:
        assert wall < quiet.start or wall >= quiet.end
    elif quiet.start > quiet.end:
        assert quiet.end <= wall < quiet.start
    past = [contact for contact in given_facts.contacts if contact <= now]
    for days, cap in ((1, given_facts.caps.day), (7, given_facts.caps.week), (31, given_facts.caps.month)):
        assert sum(contact > now - timedelta(days=days) for contact in past) < cap
        today = now.astimezone(zone).date()
        assert sum((today - contact.astimezone(zone).date()).days < days for contact in past) < cap


@given(facts())
@settings(max_examples=400, deadline=None)
def test_a_temporary_refusal_names_an_instant_that_is_truly_allowed_then(given_facts: Facts) -> None:
    verdict = ask(given_facts)
    if not isinstance(verdict, Refused):
        return
    if verdict.reason in TEMPORARY:
        assert verdict.until is not None
        assert verdict.until > given_facts.now
        assert ask(at(given_facts, verdict.until)) == Allowed()
    else:
        assert verdict.until is None


@given(facts())
@settings(max_examples=300, deadline=None)
def test_the_chain_names_every_rule_and_its_first_refusal_is_the_verdict(given_facts: Facts) -> None:
    chain = check(given_facts)
    said = [one.rule for one in chain]
    assert len(set(said)) == len(said)
    assert set(said) == set(Reason) - {Reason.CAPACITY, Reason.MISSING_FACT}
    refusals = [one for one in chain if not one.passed]
    verdict = ask(given_facts)
    if isinstance(verdict, Allowed):
        assert refusals == []
        return
    assert refusals[0].rule is verdict.reason
    for one in refusals:
        assert (one.until is not None) == (one.rule in TEMPORARY)
        if one.until is not None and verdict.until is not None:
            assert given_facts.now < one.until <= verdict.until  # nothing is promised before every rule has passed


@given(st.lists(st.sampled_from([1.0, 0.5]), max_size=30), st.lists(st.integers(1, 200), min_size=30, max_size=30))
@settings(max_examples=200, deadline=None)
def test_lesser_playbooks_alone_never_keep_an_important_one_out(shares: list[float], hours: list[int]) -> None:
    """Whatever those of low priority send, the part of the caps that is kept for others stays."""
    caps, now, contacts = Caps(day=2, week=4, month=8), NOON, []
    none = QuietHours(start=time(0), end=time(0))
    for share, wait in zip(shares, hours, strict=False):
        now += timedelta(hours=wait)
        asked = Facts(now=now, zone=BERLIN, quiet_hours=none, contacts=contacts, caps=caps.part(0.5))
        if isinstance(ask(asked), Allowed):
            contacts = [*contacts, now]
        important = Facts(now=now, zone=BERLIN, quiet_hours=none, contacts=contacts, caps=caps.part(share))
        if share == 1.0:
            assert ask(important) == Allowed()


@pytest.mark.parametrize(
    ("caps", "share", "left"),
    [
        (Caps(day=1, week=2, month=4), 0.5, Caps(day=1, week=1, month=2)),
        (Caps(day=3, week=10, month=10), 0.3, Caps(day=1, week=3, month=3)),
        (Caps(day=2, week=4, month=9), 1.0, Caps(day=2, week=4, month=9)),
    ],
)
def test_a_part_of_the_caps_leaves_one_contact_at_least(caps: Caps, share: float, left: Caps) -> None:
    assert caps.part(share) == left


def test_a_check_in_of_a_friday_night_before_a_long_weekend_leaves_on_tuesday_morning() -> None:
    off = frozenset({date(2026, 4, 3), date(2026, 4, 4), date(2026, 4, 5), date(2026, 4, 6)})  # Easter
    night = datetime(2026, 4, 2, 23, 0, tzinfo=BERLIN).astimezone(UTC)
    tuesday = datetime(2026, 4, 7, 9, 0, tzinfo=BERLIN).astimezone(UTC)
    assert ask(Facts(now=night, zone=BERLIN, days_off=off)) == Refused(reason=Reason.QUIET_HOURS, until=tuesday)
    noon = datetime(2026, 4, 3, 12, 0, tzinfo=BERLIN).astimezone(UTC)
    assert ask(Facts(now=noon, zone=BERLIN, days_off=off)) == Refused(reason=Reason.DAY_OFF, until=tuesday)


def test_a_day_off_is_the_customers_own_date() -> None:
    off = frozenset({date(2026, 3, 10)})
    auckland = ZoneInfo("Pacific/Auckland")
    awake = QuietHours(start=time(0), end=time(0))
    # In Auckland the eleventh has begun.
    assert ask(Facts(now=NOON, zone=auckland, quiet_hours=awake, days_off=off)) == Allowed()
    assert isinstance(ask(Facts(now=NOON, zone=BERLIN, quiet_hours=awake, days_off=off)), Refused)


@given(zones, instants, walls, walls)
@example(BERLIN, datetime(2026, 3, 29, 0, 59, tzinfo=UTC), time(22), time(2, 30))  # the hour that does not come
@example(BERLIN, datetime(2026, 10, 25, 0, 10, tzinfo=UTC), time(22), time(2, 30))  # the hour that comes twice
@example(ZoneInfo("Pacific/Apia"), datetime(2011, 12, 30, 9, 30, tzinfo=UTC), time(20), time(9))  # a day skipped
@example(ZoneInfo("Australia/Lord_Howe"), datetime(2026, 4, 4, 14, 45, tzinfo=UTC), time(20), time(1, 45))
@settings(max_examples=300, deadline=None)
def test_quiet_hours_are_the_customers_own_and_survive_clock_changes(
    zone: ZoneInfo, now: datetime, start: time, end: time
) -> None:
    waking = (datetime.combine(date(2020, 1, 2), start) - datetime.combine(date(2020, 1, 1), end)).seconds
    assume(start == end or waking >= 3600)
    quiet = QuietHours(start=start, end=end)
    verdict = ask(Facts(now=now, zone=zone, quiet_hours=quiet, caps=WIDE))
    if isinstance(verdict, Allowed):
        assert not is_quiet(now, zone, quiet)
    else:
        assert verdict.reason is Reason.QUIET_HOURS
        assert verdict.until is not None
        assert not is_quiet(verdict.until, zone, quiet)
        assert verdict.until - now <= timedelta(hours=50)


@pytest.mark.parametrize(
    ("wall", "allowed_at"),
    [
        (datetime(2026, 3, 10, 19, 59, tzinfo=BERLIN), None),
        (datetime(2026, 3, 10, 20, 0, tzinfo=BERLIN), datetime(2026, 3, 11, 9, 0, tzinfo=BERLIN)),
        (datetime(2026, 3, 11, 8, 59, tzinfo=BERLIN), datetime(2026, 3, 11, 9, 0, tzinfo=BERLIN)),
        (datetime(2026, 3, 11, 9, 0, tzinfo=BERLIN), None),
        # The night of the clock change is an hour shorter; nine o'clock stays nine o'clock.
        (datetime(2026, 3, 28, 23, 0, tzinfo=BERLIN), datetime(2026, 3, 29, 9, 0, tzinfo=BERLIN)),
    ],
)
def test_quiet_hours_that_span_midnight_end_at_nine_in_the_customers_zone(
    wall: datetime, allowed_at: datetime | None
) -> None:
    verdict = ask(Facts(now=wall.astimezone(UTC), zone=BERLIN))
    expected = Allowed() if allowed_at is None else Refused(reason=Reason.QUIET_HOURS, until=allowed_at.astimezone(UTC))
    assert verdict == expected


LASTING: list[tuple[dict[str, Any], Reason]] = [
    ({"stopped": True}, Reason.STOPPED),
    ({"suppressed": True}, Reason.SUPPRESSED),
    ({"consent": False}, Reason.CONSENT_REFUSED),
    ({"consent_required": True}, Reason.CONSENT_MISSING),
    ({"has_address": False}, Reason.NO_ADDRESS),
    ({"open_issue": True}, Reason.OPEN_ISSUE),
    ({"with_a_human": True}, Reason.WITH_A_HUMAN),
    ({"holdout": True}, Reason.HOLDOUT),
]


@pytest.mark.parametrize(("changed", "reason"), LASTING)
def test_what_time_cannot_lift_is_refused_by_name_and_without_an_instant(
    changed: dict[str, Any], reason: Reason
) -> None:
    night = datetime(2026, 3, 10, 23, 0, tzinfo=UTC)
    for now in (NOON, night):  # it is named even where a temporary reason holds too
        assert ask(Facts(now=now, zone=BERLIN, **changed)) == Refused(reason=reason)


@pytest.mark.parametrize(
    ("caps", "contacts", "reason", "wait"),
    [
        (Caps(day=1, week=9, month=9), [timedelta(hours=2)], Reason.CAP_DAY, timedelta(hours=22)),
        (Caps(day=9, week=2, month=9), [timedelta(days=2), timedelta(days=3)], Reason.CAP_WEEK, timedelta(days=4)),
        (Caps(day=9, week=9, month=1), [timedelta(days=10)], Reason.CAP_MONTH, timedelta(days=21)),
    ],
)
def test_caps_count_all_contacts_and_say_when_the_oldest_that_matters_has_left(
    caps: Caps, contacts: list[timedelta], reason: Reason, wait: timedelta
) -> None:
    verdict = ask(Facts(now=NOON, zone=ZoneInfo("UTC"), caps=caps, contacts=[NOON - ago for ago in contacts]))
    assert verdict == Refused(reason=reason, until=NOON + wait)


def test_a_day_of_twenty_five_hours_is_still_one_day() -> None:
    first = datetime(2026, 10, 25, 0, 5, tzinfo=BERLIN).astimezone(UTC)
    later = first + timedelta(hours=24, minutes=10)  # 23:15 on the same calendar day
    none = QuietHours(start=time(0), end=time(0))
    verdict = ask(Facts(now=later, zone=BERLIN, quiet_hours=none, contacts=[first]))
    assert verdict == Refused(reason=Reason.CAP_DAY, until=datetime(2026, 10, 26, tzinfo=BERLIN).astimezone(UTC))


def test_a_cap_that_lifts_at_night_waits_for_the_morning() -> None:
    contact = datetime(2026, 3, 9, 19, 59, 30, tzinfo=BERLIN).astimezone(UTC)
    evening = datetime(2026, 3, 10, 19, 59, tzinfo=BERLIN).astimezone(UTC)
    late = QuietHours(start=time(19, 59, 30), end=time(9))
    verdict = ask(Facts(now=evening, zone=BERLIN, quiet_hours=late, contacts=[contact]))
    assert verdict == Refused(reason=Reason.CAP_DAY, until=datetime(2026, 3, 11, 9, tzinfo=BERLIN).astimezone(UTC))


def test_a_time_without_a_zone_is_an_error() -> None:
    with pytest.raises(NaiveTimeError):
        Facts(now=datetime(2026, 3, 10, 12), zone=BERLIN)
