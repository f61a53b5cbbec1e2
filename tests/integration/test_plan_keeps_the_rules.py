"""Random small shops are planned, and every line is checked again by somebody who has read the rules but not the program."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.planning.plan_lines import PlanLine
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import load_playbooks
from bot.store.consent import record_consent, suppress
from bot.store.database import Connection, Database
from messages.catalogue import Catalogue
from tests.integration.shop_rows import add_customer, add_order, add_prediction, add_touchpoint, insert

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland", "America/Sao_Paulo")
# Clock changes, Easter and Christmas among them.
MORNINGS = (
    datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 4, 3, 10, 0, tzinfo=UTC), datetime(2026, 10, 24, 18, 0, tzinfo=UTC),
    datetime(2026, 12, 24, 21, 0, tzinfo=UTC), datetime(2026, 6, 10, 8, 0, tzinfo=UTC),
)  # fmt: skip
# What is written in a calendar: the days off of these zones' countries within a week of the mornings.
COUNTRIES = dict(zip(ZONES, ("DE", "US", "NP", "NZ", "BR"), strict=True))
CHRISTMAS = {"DE": (date(2026, 12, 25), date(2026, 12, 26)), "US": (date(2026, 12, 25),), "BR": (date(2026, 12, 25),)}
EASTER = {
    "DE": (date(2026, 4, 3), date(2026, 4, 6)),
    "BR": (date(2026, 4, 3),),
    "NZ": (date(2026, 4, 3), date(2026, 4, 6)),
}


@dataclass(frozen=True, kw_only=True)
class Person:
    """A customer as they are drawn; hours and days are before the plan."""

    zone: str
    no_to_email: str | None
    no_to_slack: str | None
    has_slack: bool
    suppressed: bool
    ticket: bool
    contacts: tuple[int, ...]


people = st.lists(
    st.builds(
        Person,
        zone=st.sampled_from(ZONES),
        no_to_email=st.sampled_from([None, None, None, "check_ins", "service", "marketing"]),
        no_to_slack=st.sampled_from([None, None, "check_ins", "service"]),
        has_slack=st.booleans(),
        suppressed=st.sampled_from([False] * 5 + [True]),
        ticket=st.sampled_from([False] * 5 + [True]),
        contacts=st.lists(st.integers(1, 24 * 35), max_size=4).map(tuple),
    ),
    min_size=5,
    max_size=10,
)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load()


@given(
    people,
    st.sampled_from(MORNINGS),
    st.fixed_dictionaries(
        {"day": st.integers(1, 2), "week": st.integers(2, 3), "month": st.integers(3, 4)},
    ),
    st.sampled_from([0, 0, 50]),
    st.sampled_from([(), ("saturday", "sunday")]),
)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_no_suggestion_of_a_random_shop_breaks_a_rule_and_every_refusal_says_why_and_until_when(
    database: Database,
    catalogue: Catalogue,
    shop: list[Person],
    now: datetime,
    caps: dict[str, int],
    hours_apart: int,
    weekdays: tuple[str, ...],
) -> None:
    rules = Settings.model_validate(
        {
            "email": {"enabled": True}, "slack": {"mode": "socket"}, "experiments": {"holdout_share": 0.0},
            "policy": {"caps": caps, "hours_apart": hours_apart, "days_off": {"weekdays": weekdays}},
        }
    )  # fmt: skip
    with database.write() as connection:
        keys = [_add(connection, person, now) for person in shop]
    planner = Planner(database, ManualClock(now), rules, catalogue, load_playbooks(rules, catalogue.names))
    lines = {line.customer_id: line for line in planner.plan(dry_run=True) if line.playbook == "delivery_at_risk"}
    for key, person in zip(keys, shop, strict=True):
        line = lines[key]
        if line.decision == "suggest":
            assert line.not_before is not None
            assert _broken(person, line, line.not_before, now, caps, hours_apart, weekdays) == []
        elif line.until is not None:
            assert line.until > now
            assert _broken(person, line, line.until, now, caps, hours_apart, weekdays) == [], line
        else:
            reasons = {"suppressed", "consent_refused", "open_issue", "no_address"}
            assert line.reason in reasons
            assert set(_broken(person, line, now, now, caps, hours_apart, weekdays)) & reasons, line


# Every example has customers of its own.
_numbers = count()


def _add(connection: Connection, person: Person, now: datetime) -> str:
    key = f"c{next(_numbers)}"
    one = add_customer(
        connection, key, now - 60 * DAY, timezone=person.zone, country=COUNTRIES[person.zone],
        slack_user_id=f"U{key}" if person.has_slack else None,
    )  # fmt: skip
    order = add_order(connection, f"o-{key}", one, now - 9 * DAY, promised_at=now - DAY)
    add_prediction(connection, one, order, now - timedelta(seconds=1), 0.5)
    for channel, purpose in (("email", person.no_to_email), ("slack", person.no_to_slack)):
        if purpose:
            record_consent(connection, one, channel, purpose, False, "test", None, now - DAY)
    if person.suppressed:
        suppress(connection, "email", f"{key}@mail.example", "bounce", now - DAY)
    if person.ticket:
        add_touchpoint(connection, "ticket_opened", one, now - DAY, order)
    drawn: dict[str, Any] = {"customer_id": one, "playbook": "news", "experiment": "news", "arm": "treatment"}
    assignment = insert(connection, "assignments", **drawn, propensity=1.0, salt="s", drawn_at=now - 60 * DAY)
    for hours in set(person.contacts):
        at = now - hours * HOUR
        insert(
            connection, "outreaches", version=4, state="sent", dedupe_key=f"{key}:{hours}", customer_id=one, playbook="news",
            playbook_version="1", step="first", channel="email", local_date="2000-01-01", assignment_id=assignment,
            template="x", locale="en", subject="", draft="", original_draft="", band="low", urgent=False, created_at=at,
            updated_at=at, not_before=at, expires_at=at, attempts=1, sent_at=at,
        )  # fmt: skip
    return key


def _broken(
    person: Person,
    line: PlanLine,
    at: datetime,
    now: datetime,
    caps: dict[str, int],
    hours_apart: int,
    weekdays: tuple[str, ...],
) -> list[str]:
    """Name the rules that a contact at an instant would break, by counting and by looking at a clock on the wall."""
    broken: list[str] = []
    no = person.no_to_email if line.channel == "email" else person.no_to_slack
    if no in ("check_ins", "service"):
        broken.append("consent_refused")
    if person.suppressed and line.channel == "email":
        broken.append("suppressed")
    if person.ticket:
        broken.append("open_issue")
    wall = at.astimezone(ZoneInfo(person.zone))
    if not 9 <= wall.hour < 20:
        broken.append("night")
    country = COUNTRIES[person.zone]
    if wall.date() in (*CHRISTMAS.get(country, ()), *EASTER.get(country, ())):
        broken.append("holiday")
    if wall.strftime("%A").lower() in weekdays:
        broken.append("weekend")
    ages = sorted((at - (now - hours * HOUR)) / HOUR for hours in set(person.contacts))
    for name, hours in (("day", 24), ("week", 7 * 24), ("month", 31 * 24)):
        if sum(age < hours for age in ages) >= caps[name]:
            broken.append(name)
    today = [
        hours for hours in set(person.contacts) if (now - hours * HOUR).astimezone(wall.tzinfo).date() == wall.date()
    ]
    if len(today) >= caps["day"]:
        broken.append("calendar day")
    if ages and hours_apart and ages[0] < hours_apart:
        broken.append("distance")
    return broken
