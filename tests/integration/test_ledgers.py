"""Runs, events, switches, consent and suppression: each remembered once, on both engines."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.decide.contact import Purpose
from bot.store import consent, controls, events, runs
from bot.store.database import Database
from bot.store.enums import EventState, RunState
from bot.store.tables import customers, suppressions


@pytest.fixture
def customer(database: Database, clock: ManualClock) -> int:
    with database.write() as connection:
        values = {"source": "files", "external_id": "c1", "fingerprint": "", "recorded_at": clock.now()}
        return int(connection.execute(sa.insert(customers).values(values).returning(customers.c.id)).scalar_one())


def test_a_run_starts_once_per_key(database: Database, clock: ManualClock) -> None:
    with database.write() as connection:
        assert runs.start_run(connection, "daily", "2026-03-10", clock.now())
    with database.write() as connection:
        assert not runs.start_run(connection, "daily", "2026-03-10", clock.now())
        assert runs.start_run(connection, "daily", "2026-03-11", clock.now())
        runs.finish_run(connection, "daily", "2026-03-10", RunState.DONE, {"planned": 3}, clock.now())
    with database.read() as connection:
        done = runs.run_of(connection, "daily", "2026-03-10")
        assert done is not None
        assert (done.state, done.detail) == (RunState.DONE, {"planned": 3})
        assert runs.run_of(connection, "daily", "never") is None
        assert [run.key for run in runs.latest_runs(connection, "daily")] == ["2026-03-11", "2026-03-10"]


def test_an_event_is_recorded_once_and_found_until_it_is_finished(database: Database, clock: ManualClock) -> None:
    with database.write() as connection:
        assert events.record_event(connection, "slack", "E1", "message", {"text": "hi"}, clock.now())
        assert not events.record_event(connection, "slack", "E1", "message", {"text": "other"}, clock.now())
        assert events.record_event(connection, "web", "E1", "order", None, clock.now())
    with database.write() as connection:
        later = clock.now() + timedelta(seconds=1)
        assert events.unfinished(connection, clock.now()) == []
        assert [event.payload for event in events.unfinished(connection, later)] == [{"text": "hi"}, None]
        assert [event.source for event in events.unfinished(connection, later, "web")] == ["web"]
        events.finish_event(connection, "slack", "E1", later)
        events.finish_event(connection, "web", "E1", later, "no such order")
        assert events.unfinished(connection, later) == []
        failed = events.event_of(connection, "web", "E1")
        assert failed is not None
        assert (failed.state, failed.error) == (EventState.FAILED, "no such order")


def test_a_switch_is_set_changed_and_turned_off(database: Database, clock: ManualClock) -> None:
    with database.write() as connection:
        assert controls.get_control(connection, controls.STOPPED) is None
        controls.set_control(connection, controls.STOPPED, {"why": "flood"}, "cli:ann", clock.now())
        controls.set_control(connection, controls.STOPPED, True, "cli:ann", clock.now())
        assert controls.get_control(connection, controls.STOPPED) is True
        controls.set_control(connection, controls.STOPPED, None, "cli:ann", clock.now())
        assert controls.get_control(connection, controls.STOPPED) is None


def test_the_latest_word_counts_for_the_purpose_that_was_asked_for(
    database: Database, clock: ManualClock, customer: int
) -> None:
    def say(granted: bool, purpose: str, hours: int) -> list[bool | None]:
        with database.write() as connection:
            at = clock.now() + timedelta(hours=hours)
            consent.record_consent(connection, customer, "email", purpose, granted, "agent", None, at)
            return [consent.consent_of(connection, [customer], "email", one)[customer] for one in Purpose]

    with database.read() as connection:
        assert consent.consent_of(connection, [customer, 99], "email") == {customer: None, 99: None}
    assert say(True, "service", 1) == [True, None, None]
    assert say(True, "check_ins", 1) == [True, None, None]  # a yes to check-ins is none to advertisements
    assert say(True, "marketing", 2) == [True, None, True]
    assert say(False, "check_ins", 4) == [False, False, False]  # a no to the channel is one to everything
    assert say(True, "service", 3) == [False, False, False]  # told late, said early
    assert say(True, "research", 5) == [False, True, False]
    assert say(True, "check_ins", 6) == [True, True, False]
    assert say(False, "of old", 7) == [False, False, False]  # nobody knows what it was about
    assert say(True, "of old", 8) == [True, True, False]
    with database.read() as connection:
        assert consent.consent_of(connection, [customer], "slack") == {customer: None}


def test_a_suppressed_address_is_known_by_its_hash_only(database: Database, clock: ManualClock) -> None:
    with database.write() as connection:
        assert consent.suppress(connection, "email", "Ann@Example.org", "bounce", clock.now())
        assert not consent.suppress(connection, "email", " ann@example.ORG", "again", clock.now())
        known = consent.is_suppressed(connection, "email", ["ann@example.org", "bob@example.org"])
        assert known == {"ann@example.org"}
        assert consent.is_suppressed(connection, "slack", ["ann@example.org"]) == set()
        for row in connection.execute(sa.select(suppressions)):
            assert "ann" not in str(row).lower()
