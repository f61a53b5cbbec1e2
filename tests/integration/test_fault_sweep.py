"""Promise 6: whichever call fails, no invariant breaks; the N-th, for N = 1, 2, … until none is reached.

The scenario is a whole one: three check-ins are approved, a fourth customer opts out, everything is delivered, one
customer answers and is answered. Whoever acts from outside (the agent, the mailbox) tries again, as they would.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from bot.channels.email import Server, SmtpEmailChannel, dialogue
from bot.decide.lifecycle import OutreachState
from bot.errors import AlreadyDecided, StoreError
from bot.services.review.desk import ReviewDesk
from bot.store.consent import record_consent
from bot.store.database import Database
from bot.store.tables import metadata
from tests.faulty import Fault, FaultyDatabase, FaultyMailServer, Lost, faulty_mail_server, sweep
from tests.integration.delivery_world import talk
from tests.integration.mail_world import MailWorld
from tests.integration.shop_rows import propose

S = OutreachState
# Longer than the first waits of a retry (75 s at most) and of a mail whose reader failed.
LEASE = 90


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Hundreds of expected failures are logged; drawing their tracebacks would take minutes."""
    with capture_logs():
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyMailServer]:
    with faulty_mail_server() as running:
        yield running


class World(MailWorld):
    """A shop whose mails go to a server that keeps them, and the scenario that is swept."""

    def __init__(
        self, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, server: FaultyMailServer
    ) -> None:
        super().__init__(database, folder, monkeypatch, delivery={"connections": 2})
        self.server = server
        self.smtp = SmtpEmailChannel(Server.from_url(server.url), self.identity, self.clock)
        self.channel = self.smtp  # type: ignore[assignment]
        self.deliverer = self.new_deliverer()
        self._numbers = count(1)

    def scenario(self, arm: Callable[[], None], *, disarm: Callable[[], None], may_fail: bool = False) -> None:
        """Run it with whatever fault is armed, let it recover without, and hold it to what must always be true."""
        self.server.taken.clear()
        turn = next(self._numbers)
        wanted = [propose(self.database, self.clock.now(), f"t{turn}c{one}") for one in range(4)]
        ids = [one.id for one in wanted]
        desk = ReviewDesk(self.database, self.clock, self.settings)
        for one in wanted[2:]:
            desk.approve(one.id, one.version, "cli:ana")
        arm()
        for one in wanted[:2]:
            self._insist(lambda one=one: desk.approve(one.id, one.version, "cli:ana"))  # type: ignore[misc]
        self._insist(lambda: self._opt_out(wanted[3].customer_id))
        self._until(lambda: f"outreach:{ids[0]}" in self.server.carried())
        first = next((mail for mail in self.server.taken if str(mail["X-Aftercare-Key"]).startswith(f"outreach:{ids[0]}:")), None)  # fmt: skip
        reply = self.reply(first, "Where is my order?") if first is not None else None
        if reply is not None:
            self._insist(lambda: self.record(reply))
            self._until(lambda: any(key.startswith("utterance:") for key in self.server.carried()))
        # The fault, had it not come yet, will not come: what follows is the recovery.
        disarm()
        for seconds in (LEASE, self.settings.delivery.sending_timeout_seconds, LEASE):
            if self._at_rest(ids):
                break
            self.clock.advance(timedelta(seconds=seconds + 1))
            self.tick()
        self._check(ids, replied=reply is not None, may_fail=may_fail)
        self._resolve(ids, desk)

    def _insist(self, act: Callable[[], object]) -> None:
        """Do what somebody outside does who is told of an error: try again."""
        for _ in range(3):
            try:
                act()
            except AlreadyDecided:
                return
            except (OperationalError, StoreError):
                continue
            return
        pytest.fail("it failed three times, for one fault")

    def _until(self, done: Callable[[], bool]) -> None:
        """Let the jobs come round a few times."""
        for _ in range(4):
            self.tick()
            if done():
                return
            self.clock.advance(timedelta(seconds=LEASE + 1))

    def tick(self) -> None:
        """Let the jobs of the process come round once, each at its own risk."""
        for job in (self.mailroom.work, self._deliver):
            with contextlib.suppress(Exception):
                job()

    def _deliver(self) -> None:
        self.deliverer.recover()
        self.deliverer.drain()
        self.deliverer.reconcile()

    def _opt_out(self, customer_id: int) -> None:
        with self.database.write() as connection:
            record_consent(connection, customer_id, "email", "all", False, "page", None, self.clock.now())

    def _at_rest(self, ids: list[int]) -> bool:
        """Say whether nothing is left to be done; what came later all the same would show in the next round."""
        asked = sa.text(
            "SELECT (SELECT count(*) FROM outreaches WHERE id >= :first AND state IN ('approved', 'sending'))"
            " + (SELECT count(*) FROM deliveries WHERE state = 'started')"
            " + (SELECT count(*) FROM mails WHERE state <> 'done')"
            " + (SELECT count(*) FROM utterances AS said WHERE direction = 'out' AND NOT EXISTS"
            " (SELECT 1 FROM deliveries AS one WHERE one.utterance_id = said.id AND one.state <> 'retry'))"
        )
        with self.database.read() as connection:
            return connection.execute(asked, {"first": ids[0]}).scalar_one() == 0

    def _check(self, ids: list[int], *, replied: bool, may_fail: bool) -> None:
        taken = Counter(self.server.carried())
        assert not [key for key, times in taken.items() if times > 1], "sent twice"
        earlier = {f"outreach:{one}" for one in range(1, ids[0])}
        assert not earlier & taken.keys(), "sent again, long after"
        states = [self.see(one).state for one in ids]
        for one, state in zip(ids[:3], states[:3], strict=True):
            arrived = taken[f"outreach:{one}"]
            if state in (S.SENT, S.REPLIED):
                assert arrived == 1, "recorded as sent, and never sent"
            elif state == S.FAILED:
                assert may_fail, self.see(one).refusal
                assert arrived == 0, "recorded as refused, and taken"
            else:
                assert state == S.UNCERTAIN, f"lost: {state}"
        assert states[3] == S.SUPPRESSED
        assert taken[f"outreach:{ids[3]}"] == 0, "sent against the customer's will"
        assert [row.key for row in self.rows("deliveries") if row.state == "started"] == [], "attempts that never ended"
        assert [row.id for row in self.rows("mails") if row.state != "done"] == [], "mails without an effect"
        if replied:
            assert states[0] == S.REPLIED
            conversation = next(row for row in self.rows("conversations") if row.outreach_id == ids[0])
            said = [row for row in self.rows("utterances") if row.conversation_id == conversation.id]
            assert [row.direction for row in said].count("in") == 1
            answers = [row.id for row in said if row.direction == "out"]
            assert len(answers) == 1
            self._check_answer(answers[0], taken[f"utterance:{answers[0]}"], may_fail=may_fail)

    def _check_answer(self, answer: int, arrived: int, *, may_fail: bool) -> None:
        attempts = [row.state for row in self.rows("deliveries") if row.utterance_id == answer]
        assert attempts, "an answer that nobody tried to send"
        if attempts[-1] == "sent":
            assert arrived == 1
        elif attempts[-1] == "failed":
            assert may_fail
            assert arrived == 0
            assert self.rows("handoffs")[-1].reason == "not_delivered"
        else:
            assert attempts[-1] == "uncertain"

    def _resolve(self, ids: list[int], desk: ReviewDesk) -> None:
        """Say what became of the uncertain ones, as an agent does, so that the next round begins in order."""
        for one in ids:
            present = self.see(one)
            if present.state == S.UNCERTAIN:
                arrived = f"outreach:{one}" in self.server.carried()
                desk.settle(one, present.version, "cli:ana", arrived=arrived)
                assert self.see(one).state == (S.SENT if arrived else S.FAILED)
        # Answers in doubt would be asked about in every later round.
        rows = metadata.tables["deliveries"]
        with self.database.write() as connection:
            doubtful = rows.c.utterance_id.is_not(None) & (rows.c.state == "uncertain")
            connection.execute(sa.update(rows).where(doubtful).values(state="failed"))


def _hurry(database: Database) -> None:
    """Do not wait for the disk: calls fail here, the machine does not."""

    @event.listens_for(database.engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        if database.embedded:
            connection.execute("PRAGMA synchronous=OFF")
        else:
            connection.execute("SET synchronous_commit=off")
            connection.commit()

    database.engine.dispose()


@pytest.fixture
def world(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FaultyMailServer
) -> Iterator[World]:
    made = World(database, tmp_path, monkeypatch, server)
    yield made
    made.smtp.close()


def test_an_answer_whose_claim_was_committed_unheard_leaves_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = talk(world, "It is on its way.")[0]
    faulty = FaultyDatabase(world.database, Lost.REPLY, monkeypatch)
    faulty.countdown.arm(1)
    with pytest.raises(OperationalError):
        world.deliverer.send_utterance(answer)
    faulty.countdown.disarm()
    world.server.taken.clear()
    for _ in range(2):
        world.tick()
        world.clock.advance(timedelta(seconds=world.settings.delivery.sending_timeout_seconds + 1))
    assert world.server.carried() == [f"utterance:{answer}"]
    assert world.rows("deliveries")[-1].state == "sent"


@pytest.mark.timeout(900)  # some 200 rounds, on a machine that others may use
@pytest.mark.parametrize("lost", list(Lost))
def test_any_call_to_the_database_may_fail(world: World, lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    _hurry(world.database)
    faulty = FaultyDatabase(world.database, lost, monkeypatch)
    reached = sweep(faulty.countdown, partial(world.scenario, disarm=faulty.countdown.disarm))
    print(f"{world.database.engine.dialect.name}, lost {lost}: {reached} calls, each failed once", file=sys.stderr)
    assert reached > 20


@pytest.mark.parametrize("fault", list(Fault))
def test_any_step_of_the_dialogue_with_the_mail_server_may_fail(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FaultyMailServer, fault: Fault
) -> None:
    monkeypatch.setattr(dialogue, "STEP_SECONDS", 0.5)  # a server that misunderstands is waited for
    _hurry(sqlite_database)
    world = World(sqlite_database, tmp_path, monkeypatch, server)
    server.fault = fault
    may_fail = fault is Fault.NEVER
    reached = sweep(server.countdown, partial(world.scenario, disarm=server.countdown.disarm, may_fail=may_fail))
    world.smtp.close()
    print(f"mail server, {fault}: {reached} steps, each failed once", file=sys.stderr)
    assert reached > 10
