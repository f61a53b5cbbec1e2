"""Whatever agents, ticks and the world do in whatever order, on both engines: a draft is never sent, and nothing goes out
unasked before its time, unseen, stopped, in somebody's hands, or too late."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.clock import ManualClock
from bot.decide.autonomy import AFTERCARE
from bot.decide.lifecycle import SENDABLE, OutreachState
from bot.decide.playbook import Autonomy
from bot.errors import AftercareError
from bot.services.delivery.stopping import Stopping
from bot.store.database import Database
from bot.store.decisions import deliveries_of
from bot.store.outreach import Outreach, change_state
from tests.conftest import NOW
from tests.integration.autonomy_world import ADA, DELAY, Office, playbook

S = OutreachState
MINUTE = timedelta(minutes=1)
GAP = timedelta(minutes=2)

WORDS = st.lists(
    st.sampled_from(
        ["approve", "edit", "reject", "snooze", "claim", "undo", "retry", "hold", "unasked", "sneak", "deliver", "wait",
         "looser", "tick"]
    ),
    max_size=12,
)  # fmt: skip


@dataclass
class Counter:
    number: int = 0


@pytest.fixture(scope="module")
def counter() -> Counter:
    return Counter()


def attempt(office: Office, one: Outreach, word: str) -> None:
    desk, now = office.desk, office.now
    match word:
        case "approve" | "claim" | "undo" | "retry" | "hold" | "close":
            getattr(desk, word)(one.id, one.version, ADA)
        case "edit":
            desk.edit(one.id, one.version, ADA, "Other words.")
        case "reject":
            desk.reject(one.id, one.version, ADA, "other")
        case "snooze":
            desk.snooze(one.id, one.version, ADA, now + MINUTE)
        case "unasked":
            desk.approve_unasked(one.id, one.version, AFTERCARE, lambda *_: None)
        case "sneak":
            with office.database.write() as connection:
                change_state(connection, one.id, one.version, [one.state], S.APPROVED, now)
        case "deliver":
            office.deliverer.drain()
        case "wait":
            office.clock.advance(5 * MINUTE)
        case "looser":
            office.read(playbook(Autonomy.AUTO_AFTER))
        case "tick":
            office.pilot.run()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS)
def test_a_draft_only_never_reaches_a_delivery(database: Database, counter: Counter, words: list[str]) -> None:
    counter.number += 1
    office = Office(database, ManualClock(NOW), playbook(Autonomy.DRAFT), review={"undo_seconds": 0})
    one = office.propose(f"draft-{counter.number}-{database.engine.dialect.name}", Autonomy.DRAFT)
    office.show(one)
    for word in words:
        try:
            attempt(office, office.see(one), word)
        except AftercareError:
            continue
        assert office.see(one).state not in SENDABLE
    office.deliverer.drain()
    with database.read() as connection:
        assert deliveries_of(connection, [one.id]) == {}
    assert office.channel.taken == []


# --- Time ------------------------------------------------------------------------------------------------------

# What happens, and how many minutes pass before the next.
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["tick", "tick", "tick", "away", "show", "hold", "undo", "claim", "stop", "resume"]),
        st.integers(0, 25),
    ),
    max_size=14,
)


@dataclass(frozen=True)
class Model:
    """What must hold, kept beside the product in the plainest way."""

    watched_since: datetime | None = None
    watched_until: datetime | None = None
    posted_at: datetime | None = None
    resumed_at: datetime | None = None
    stopped: bool = False
    touched: bool = False

    def looked(self, now: datetime) -> Model:
        lost = self.watched_until is None or now - self.watched_until > GAP
        return replace(self, watched_since=now if lost else self.watched_since, watched_until=now)

    def may_go(self, now: datetime, expires_at: datetime) -> bool:
        if self.stopped or self.touched or self.posted_at is None or self.watched_since is None or now >= expires_at:
            return False
        since = max(one for one in (self.watched_since, self.posted_at, self.resumed_at) if one is not None)
        return now >= since + DELAY


def pass_minutes(office: Office, model: Model, one: Outreach, minutes: int, *, connected: bool) -> Model:
    for _ in range(minutes):
        office.clock.advance(MINUTE)
        if connected:
            model = tick(office, model, one)
    return model


def tick(office: Office, model: Model, one: Outreach) -> Model:
    model = model.looked(office.now)
    before = office.see(one)
    went = office.pilot.run() > 0
    wanted = before.state is S.SUGGESTED and model.may_go(office.now, before.expires_at)
    assert went == wanted
    after = office.see(one)
    if went:
        assert (after.state, after.decided_by) == (S.APPROVED, AFTERCARE)
    else:
        assert after == before
    return model


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, lasts=st.integers(10, 120))
def test_it_goes_out_unasked_exactly_when_it_may(
    database: Database, counter: Counter, events: list[tuple[str, int]], lasts: int
) -> None:
    counter.number += 1
    # Every example is a day later than the one before, so that nothing of that one is young any more.
    office = Office(
        database, ManualClock(NOW + timedelta(days=4 * counter.number)), playbook(Autonomy.AUTO_AFTER), review={"undo_seconds": 60}
    )  # fmt: skip
    stopping = Stopping(database, office.clock)
    model = Model(resumed_at=office.now if stopping.resume("cli:ana") else None)
    key = f"timed-{counter.number}-{database.engine.dialect.name}"
    one = office.propose(key, expires_at=office.now + lasts * MINUTE)
    connected = True
    for event, minutes in events:
        now = office.now
        match event:
            case "tick":
                connected = True
                model = tick(office, model, one)
            case "away":
                connected = False
            case "show" if model.posted_at is None:
                office.show(one)
                model = replace(model, posted_at=now)
            case "hold" | "claim" | "undo":
                try:
                    attempt(office, office.see(one), event)
                except AftercareError:
                    pass
                else:
                    model = replace(model, touched=True)
            case "stop":
                stopping.stop("cli:ana")
                model = replace(model, stopped=True)
            case "resume" if stopping.resume("cli:ana"):
                model = replace(model, stopped=False, resumed_at=now)
        model = pass_minutes(office, model, one, minutes, connected=connected)
