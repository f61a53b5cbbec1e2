"""The contact policy: may this customer be contacted on this channel at this instant?

One pure function over a frozen record of facts, the same for every playbook and channel, asked when a
check-in is planned and again when it is about to leave. Reading the facts is `bot.store.planning`'s
business. A refusal that time alone will lift carries an instant at which contact is allowed, if nothing else
changes until then: the policy defers, it never drops.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from bot.decide.contact import Priority, Purpose
from bot.errors import NaiveTimeError

__all__ = [
    "TEMPORARY",
    "Allowed",
    "Caps",
    "Checked",
    "Facts",
    "QuietHours",
    "Reason",
    "Refused",
    "Verdict",
    "ask",
    "at",
    "check",
    "is_quiet",
]


class Reason(StrEnum):
    """Why a customer is not contacted (now)."""

    STOPPED = "stopped"  # the global stop is on
    SUPPRESSED = "suppressed"  # the address must never be contacted again
    CONSENT_REFUSED = "consent_refused"  # the customer said no to this purpose on this channel
    CONSENT_MISSING = "consent_missing"  # the shop asks for consent first, and there is none
    NO_ADDRESS = "no_address"  # no address on any channel that is on
    OPEN_ISSUE = "open_issue"  # a ticket or complaint of theirs is open
    WITH_A_HUMAN = "with_a_human"  # an agent is talking to them
    HOLDOUT = "holdout"  # drawn into the arm that is not contacted
    ALREADY_PROPOSED = "already_proposed"  # another check-in to them waits or is on its way
    COOL_DOWN = "cool_down"  # the same playbook reached them lately
    CAP_DAY = "cap_day"  # enough contacts within a day
    CAP_WEEK = "cap_week"  # enough contacts within a week
    CAP_MONTH = "cap_month"  # enough contacts within a month
    DISTANCE = "distance"  # the last contact was too short a time ago
    BUDGET = "budget"  # the channel has sent what it may send a day
    DAY_OFF = "day_off"  # nobody works today where they live
    QUIET_HOURS = "quiet_hours"  # it is night where they live
    MISSING_FACT = "missing_fact"  # the message needs something that is not known (said by the planner)
    CAPACITY = "capacity"  # the agents' day is full (said by the planner, which counts it)


# What time alone lifts; the others wait for an event.
TEMPORARY = frozenset(
    {
        Reason.ALREADY_PROPOSED,
        Reason.COOL_DOWN,
        Reason.CAP_DAY,
        Reason.CAP_WEEK,
        Reason.CAP_MONTH,
        Reason.DISTANCE,
        Reason.BUDGET,
        Reason.DAY_OFF,
        Reason.QUIET_HOURS,
        Reason.CAPACITY,
    }
)


# Nobody's days off last longer.
_LONGEST_HOLIDAY = 400


@dataclass(frozen=True, kw_only=True)
class QuietHours:
    """The local times of day between which nobody is contacted: from `start` up to, not including, `end`.

    They may span midnight. Equal times mean that there are none.
    """

    start: time = time(20, 0)
    end: time = time(9, 0)


@dataclass(frozen=True, kw_only=True)
class Caps:
    """How many contacts one customer may get within a day, a week and a month, over all playbooks."""

    day: int = 1
    week: int = 2
    month: int = 4

    def part(self, share: float) -> Caps:
        """Return what is left to playbooks that may use a share of the caps: the rest is kept for more important ones.

        One contact is always left, so that with a cap of one nothing can be kept.
        """
        day, week, month = (max(int(cap * share + 1e-9), 1) for cap in (self.day, self.week, self.month))
        return Caps(day=day, week=week, month=month)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that the policy looks at, about one customer on one channel.

    Attributes
    ----------
    now : datetime
        The instant asked about, aware.
    zone : tzinfo
        The customer's own zone.
    days_off : container of date
        The dates, in the customer's zone, on which nobody is contacted: weekends, holidays.
    caps : Caps
        What this playbook may use of them.
    distance : timedelta
        So far two contacts are apart at least.
    contacts : sequence of datetime
        When they were contacted before, by any playbook on any channel.
    consent : bool or None
        Their last word on this purpose on this channel; None: they never spoke.
    budget_until : datetime or None
        Until when the channel has spent what it may send a day.
    cool_down_until : datetime or None
        Until when this playbook leaves them alone.
    proposed_until : datetime or None
        When the latest other open check-in to them ends by itself.
    """

    now: datetime
    zone: tzinfo
    purpose: Purpose = Purpose.SERVICE
    priority: Priority = Priority.NORMAL
    quiet_hours: QuietHours = QuietHours()
    days_off: Container[date] = frozenset()
    caps: Caps = Caps()
    distance: timedelta = timedelta(0)
    contacts: Sequence[datetime] = ()
    has_address: bool = True
    consent: bool | None = None
    consent_required: bool = False
    suppressed: bool = False
    open_issue: bool = False
    with_a_human: bool = False
    holdout: bool = False
    stopped: bool = False
    cool_down_until: datetime | None = None
    proposed_until: datetime | None = None
    budget_until: datetime | None = None

    def __post_init__(self) -> None:
        for instant in (self.now, self.cool_down_until, self.proposed_until, self.budget_until, *self.contacts):
            if instant is not None and instant.tzinfo is None:
                raise NaiveTimeError(instant)


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Contact is allowed at the instant asked about."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Contact is not allowed now.

    Attributes
    ----------
    until : datetime or None
        With a temporary reason: an instant at which contact is allowed if nothing else changes. None: it is
        not a matter of time.
    """

    reason: Reason
    until: datetime | None = None


Verdict = Allowed | Refused


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What one rule says by itself, whatever the others say.

    Attributes
    ----------
    rule : Reason
        The rule, by the reason for which it refuses.
    until : datetime or None
        Where it refuses for a time, when that one alone has passed.
    """

    rule: Reason
    passed: bool
    until: datetime | None = None


def ask(facts: Facts) -> Verdict:
    """Say whether contact is allowed at `facts.now`, and if not, why and until when.

    What time cannot lift is named first, so that nobody is told to wait in vain.
    """
    for holds, reason in _lasting(facts):
        if holds:
            return Refused(reason=reason)
    now = facts.now.astimezone(UTC)
    first = next(_passing(facts, now), None)
    if first is None:
        return Allowed()
    # The next reason may begin where this one ends: night falls before a cap is lifted. Each step goes
    # forward, contacts are finite and some day has some time that is not quiet, so this ends.
    until = first[1]
    while (following := next(_passing(facts, until), None)) is not None:
        until = following[1]
    return Refused(reason=first[0], until=until)


def check(facts: Facts) -> list[Checked]:
    """Return what each rule says at `facts.now`, in the order in which they are asked: the first refusal is the verdict's."""
    passing = dict(_passing(facts, facts.now.astimezone(UTC)))
    found = [Checked(rule=reason, passed=not holds) for holds, reason in _lasting(facts)]
    return found + [Checked(rule=rule, passed=rule not in passing, until=passing.get(rule)) for rule in _TIMED]


def at(facts: Facts, instant: datetime) -> Facts:
    """Return the same facts, asked about another instant."""
    return replace(facts, now=instant)


def is_quiet(instant: datetime, zone: tzinfo, quiet: QuietHours) -> bool:
    """Say whether the clock on the wall in `zone` is within the quiet hours."""
    wall = instant.astimezone(zone).time()
    if quiet.start <= quiet.end:
        return quiet.start <= wall < quiet.end
    return wall >= quiet.start or wall < quiet.end


def _lasting(facts: Facts) -> tuple[tuple[bool, Reason], ...]:
    return (
        (facts.stopped, Reason.STOPPED),
        (facts.suppressed, Reason.SUPPRESSED),
        (facts.consent is False, Reason.CONSENT_REFUSED),
        (facts.consent_required and facts.consent is None, Reason.CONSENT_MISSING),
        (not facts.has_address, Reason.NO_ADDRESS),
        (facts.open_issue, Reason.OPEN_ISSUE),
        (facts.with_a_human, Reason.WITH_A_HUMAN),
        (facts.holdout, Reason.HOLDOUT),
    )


# The rules that time lifts, in the order in which they are asked.
_TIMED = (
    Reason.ALREADY_PROPOSED,
    Reason.COOL_DOWN,
    Reason.CAP_DAY,
    Reason.CAP_WEEK,
    Reason.CAP_MONTH,
    Reason.DISTANCE,
    Reason.BUDGET,
    Reason.DAY_OFF,
    Reason.QUIET_HOURS,
)


def _passing(facts: Facts, now: datetime) -> Iterator[tuple[Reason, datetime]]:
    """Yield the temporary reasons at `now`, in the order of `_TIMED`, each with when that one alone has passed."""
    for until, reason in (
        (facts.proposed_until, Reason.ALREADY_PROPOSED),
        (facts.cool_down_until, Reason.COOL_DOWN),
    ):
        if until is not None and until > now:
            yield reason, until.astimezone(UTC)
    # A month is 31 days: no reading of the word lets more through.
    for days, cap, reason in (
        (1, facts.caps.day, Reason.CAP_DAY),
        (7, facts.caps.week, Reason.CAP_WEEK),
        (31, facts.caps.month, Reason.CAP_MONTH),
    ):
        ends = sorted(end for contact in facts.contacts if (end := _leaves(contact, days, facts.zone)) > now)
        if len(ends) >= cap:
            yield reason, ends[len(ends) - cap]
    if facts.contacts and (apart := max(facts.contacts).astimezone(UTC) + facts.distance) > now and facts.distance:
        yield Reason.DISTANCE, apart
    if facts.budget_until is not None and facts.budget_until > now:
        yield Reason.BUDGET, facts.budget_until.astimezone(UTC)
    if now.astimezone(facts.zone).date() in facts.days_off:
        yield Reason.DAY_OFF, _day_off_ends(now, facts.zone, facts.days_off)
    if is_quiet(now, facts.zone, facts.quiet_hours):
        yield Reason.QUIET_HOURS, _quiet_ends(now, facts.zone, facts.quiet_hours)


def _leaves(contact: datetime, days: int, zone: tzinfo) -> datetime:
    """Return when a contact no longer counts in a window of so many days.

    A day is both 24 hours and the calendar day of the customer: on a day of 25 hours the later of the two.
    """
    local_day = contact.astimezone(zone).date() + timedelta(days=days)
    return max(contact.astimezone(UTC) + timedelta(days=days), _day_begins(local_day, zone))


def _day_begins(day: date, zone: tzinfo) -> datetime:
    # A midnight that the clock passes twice counts from the second: only then is the day before over for good.
    return max(datetime(day.year, day.month, day.day, tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def _day_off_ends(now: datetime, zone: tzinfo, days_off: Container[date]) -> datetime:
    """Return the beginning of the next day that is none off."""
    today = now.astimezone(zone).date()
    for offset in range(1, _LONGEST_HOLIDAY):
        day = today + timedelta(days=offset)
        begins = _day_begins(day, zone)
        # A date that the zone leaves out (Samoa's 30 December 2011) begins on the day after.
        if day not in days_off and begins > now and begins.astimezone(zone).date() not in days_off:
            return begins
    raise AssertionError("a year without a working day")  # pragma: no cover


def _quiet_ends(now: datetime, zone: tzinfo, quiet: QuietHours) -> datetime:
    """Return an instant after `now` that is not quiet: the next end of the quiet hours that there really is."""
    for candidate in _ends_of_quiet(now.astimezone(zone).date(), zone, quiet.end):
        if candidate > now and not is_quiet(candidate, zone, quiet):
            return candidate
    raise AssertionError("a fortnight without a waking hour")  # pragma: no cover


def _ends_of_quiet(first: date, zone: tzinfo, end: time) -> Iterator[datetime]:
    for offset in range(14):
        day = first + timedelta(days=offset)
        for fold in (0, 1):  # a local time may come twice; one that never comes shifts forward
            yield datetime.combine(day, end, tzinfo=zone).replace(fold=fold).astimezone(UTC)
