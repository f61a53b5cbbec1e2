"""Promise 6 at the other wires: the N-th call to Slack, the N-th command to the mailbox, for every N.

Both are real servers behind a proxy that loses the call or its reply; Slack may also be busy or broken.
"""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from bot.channels.email import mailbox
from bot.channels.email.imap import ImapServer
from bot.channels.email.mailbox import Mailbox
from bot.channels.slack.api import SlackApi
from bot.channels.slack.channel import SlackChannel
from bot.decide.lifecycle import OutreachState
from bot.services.delivery.deliverer import Deliverer
from bot.store.database import Database
from bot.store.tables import metadata
from tests.faulty import sweep
from tests.faulty_proxy import SpoilingProxy, Spoilt, spoiling_proxy
from tests.integration.delivery_world import Shop
from tests.integration.mail_world import CARE, MailWorld
from tests.integration.shop_rows import insert
from tests.peers.dovecot import Dovecot, dovecot
from tests.peers.local_slack import LocalSlack
from tests.peers.process import until
from tests.slack_world import AGENTS, slack_settings, start_peer

pytestmark = pytest.mark.peer
S = OutreachState


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Expected failures are logged by the dozen."""
    with capture_logs():
        yield


# --- Slack -----------------------------------------------------------------------------------------


@pytest.fixture
def slack(tmp_path: Path) -> Iterator[LocalSlack]:
    """A workspace of the test's own: another database would use the same keys."""
    running = start_peer(tmp_path)
    yield running
    running.stop()


class SlackShop(Shop):
    """Check-ins and an answer by direct message."""

    def __init__(self, database: Database, slack: LocalSlack, proxy: SpoilingProxy) -> None:
        super().__init__(database, delivery={"per_second": {"slack": 0}})
        self.slack = slack
        self.proxy = proxy
        settings = slack_settings(slack)
        secrets = settings.secrets.model_copy(
            update={"slack_api_base_url": f"http://127.0.0.1:{proxy.port}{urlsplit(slack.api_url).path}"}
        )
        settings = settings.model_copy(update={"secrets": secrets})
        channel = SlackChannel(SlackApi.from_settings(settings), settings)
        self.deliverer = Deliverer(database, self.clock, self.settings, {"slack": channel}, self.catalogue)
        self.rooms = [slack.dm(agent.id) for agent in AGENTS[:3]]
        self._turns = count(1)

    def scenario(self, arm: Callable[[], None]) -> None:
        turn = next(self._turns)
        ids = [self.approve(f"t{turn}c{n}", channel="slack") for n in range(3)]
        tables = metadata.tables
        with self.database.write() as connection:
            for one, agent in zip(ids, AGENTS, strict=False):
                person = sa.select(tables["outreaches"].c.customer_id).where(tables["outreaches"].c.id == one)
                rows = tables["customers"]
                given = sa.update(rows).where(rows.c.id == person.scalar_subquery())
                connection.execute(given.values(slack_user_id=agent.id))
        arm()
        self._ticks(2)
        answer = self._say(turn, ids[0])
        self._ticks(3)
        self.proxy.countdown.disarm()
        self._ticks(3)
        arrived = self._arrived()
        for one in ids:
            assert self.see(one).state == S.SENT, self.see(one)
            assert arrived[f"outreach:{one}"] == 1
        assert arrived[f"utterance:{answer}"] == 1
        with self.database.read() as connection:
            rows = tables["deliveries"]
            states = connection.execute(sa.select(rows.c.state).order_by(rows.c.id)).scalars().all()
        assert set(states) <= {"sent", "retry"}

    def _ticks(self, rounds: int) -> None:
        for _ in range(rounds):
            with contextlib.suppress(Exception):
                self.deliverer.recover()
                self.deliverer.drain()
                self.deliverer.reconcile()
            self.clock.advance(timedelta(seconds=91))

    def _say(self, turn: int, outreach_id: int) -> int:
        now, customer_id = self.clock.now(), self.see(outreach_id).customer_id
        with self.database.write() as connection:
            conversation = insert(
                connection, "conversations", channel="slack", thread=self.rooms[turn % 3], customer_id=customer_id,
                state="bot", clarifications=0, created_at=now, updated_at=now,
            ) if turn <= 3 else self._conversation(connection, self.rooms[turn % 3])  # fmt: skip
            return insert(
                connection, "utterances", conversation_id=conversation, source="aftercare", external_id=f"out-{turn}",
                direction="out", author="bot", text="It is on its way.", occurred_at=now, recorded_at=now,
            )  # fmt: skip

    def _conversation(self, connection: sa.Connection, room: str) -> int:
        rows = metadata.tables["conversations"]
        return int(connection.execute(sa.select(rows.c.id).where(rows.c.thread == room)).scalar_one())

    def _arrived(self) -> Counter[str]:
        keys = [
            str((message.get("blocks") or [{}])[0].get("block_id", ""))
            for room in self.rooms
            for message in self.slack.messages(room)
        ]
        return Counter(key.rpartition(":")[0] for key in keys)


@pytest.mark.parametrize("spoilt", list(Spoilt))
def test_any_call_to_slack_may_fail(sqlite_database: Database, slack: LocalSlack, spoilt: Spoilt) -> None:
    place = urlsplit(slack.api_url)
    with spoiling_proxy("127.0.0.1", place.port or 80, by_line=False) as proxy:
        shop = SlackShop(sqlite_database, slack, proxy)
        proxy.spoilt = spoilt
        reached = sweep(proxy.countdown, shop.scenario)
    print(f"Slack, {spoilt}: {reached} calls, each failed once", file=sys.stderr)
    assert reached >= 7


# --- The mailbox -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


def take_in(world: MailWorld, server: Dovecot, proxy: SpoilingProxy, arm: Callable[[], None]) -> None:
    """Watch a mailbox of one's own: a mail lies there, another comes in while it is watched."""
    user = f"care-{uuid.uuid4().hex[:8]}@shop.test"
    before = len(world.rows("mails"))
    number = uuid.uuid4().hex
    first, second = (
        world.mail(f"{number} {n}", {"From": "stranger@mail.example", "To": CARE, "Subject": f"{number} {n}"})
        for n in ("first", "second")
    )
    server.deliver(user, first)
    place = urlsplit(server.url(user))
    url = server.url(user).replace(f":{place.port}", f":{proxy.port}")
    box = Mailbox(ImapServer.from_url(url), "INBOX", world.mailroom)
    arm()
    box.start()
    try:
        until(lambda: len(world.rows("mails")) >= before + 1, "the mail that lay there is recorded")
        until(box.connected, "the mailbox is watched again")
        server.deliver(user, second)
        until(lambda: len(world.rows("mails")) >= before + 2, "the mail that came is recorded")
        until(box.connected, "the mailbox is watched again")
    finally:
        assert box.stop(5)
    proxy.countdown.disarm()
    world.mailroom.work()
    recorded = world.rows("mails")[before:]
    assert [row.state for row in recorded] == ["done", "done"], "recorded twice, or without an effect"
    kept = sorted(row.raw.rpartition(number.encode())[2].strip() for row in recorded)
    assert kept == [b"first", b"second"], "one of them twice"


@pytest.mark.parametrize("spoilt", [Spoilt.CALL, Spoilt.REPLY])
def test_any_command_to_the_mailbox_may_fail(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Dovecot, spoilt: Spoilt
) -> None:
    monkeypatch.setattr(mailbox, "LONGEST_WAIT", mailbox.FIRST_WAIT / 20)
    world = MailWorld(sqlite_database, tmp_path, monkeypatch)
    with spoiling_proxy("127.0.0.1", server.imap_port, by_line=True) as proxy:
        proxy.spoilt = spoilt
        reached = sweep(proxy.countdown, partial(take_in, world, server, proxy))
    print(f"mailbox, {spoilt}: {reached} commands, each failed once", file=sys.stderr)
    assert reached > 8
