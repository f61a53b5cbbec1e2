"""Every shipped playbook, walked to each of its exits with real people: half of them in a running Slack, half at a mail server.

What is judged is what lies in the customers' chats and mailboxes. The same walk in the store alone, and how a customer comes to
be meant, is `tests.playbook_walks`.
"""

from __future__ import annotations

import shutil
import smtplib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.services.knowledge.desk import KnowledgeDesk
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import load_playbooks
from bot.settings import Settings
from bot.store.outreach import list_outreach, outreach
from bot.store.tables import metadata
from bot.wiring import App
from messages.catalogue import Catalogue
from tests.integration.talk import CLASSIFIER, ENCODER
from tests.peers.dovecot import Dovecot, dovecot
from tests.peers.local_slack import LocalSlack, Person, start_local_slack, until
from tests.peers.postfix import Postfix, postfix
from tests.playbook_walks import OPEN_POLICY, WORDS, Walk, Walker
from tests.slack_world import AGENTS, slack_settings

pytestmark = pytest.mark.peer
CARE = "care@shop.test"
ADA = "slack:T1:ADA"
# Slack dates messages by the real clock, of which the shop's must not be ahead.
START = datetime(2025, 3, 11, 12, 0, tzinfo=UTC)
PATIENCE = 120.0  # the first answer builds the knowledge index


@dataclass(kw_only=True)
class RealPeople:
    """Agents approve; customers answer in Slack and by mail."""

    app: App
    slack: LocalSlack
    post: Postfix
    boxes: Dovecot
    answers: int = 0

    def send(self) -> None:
        with self.app.database.read() as connection:
            waiting = list_outreach(connection, [OutreachState.SUGGESTED])
        for one in waiting:
            self.app.review.approve(one.id, one.version, ADA)
        self._deliver()

    def answer(self, walkers: Sequence[Walker]) -> None:
        self.answers += len(walkers)
        for one in walkers:
            assert one.says is not None
            words = WORDS[one.says][0]
            if one.channel == "slack":
                self.slack.say(one.address, words)
            else:
                (mail,) = until(lambda one=one: self.mails(one), f"the mail to answer: {one}", PATIENCE)
                self._write(one, mail, words)
        until(self._understood, "what became of every answer", PATIENCE)
        self._deliver()

    def keys(self, one: Walker) -> list[str]:
        """Return the keys of all that lies in a customer's chat or mailbox, oldest first."""
        if one.channel == "email":
            return [str(mail["X-Aftercare-Key"]) for mail in self.mails(one)]
        found = [message for message in self.slack.messages(self.slack.dm(one.address)) if message.get("bot_id")]
        # An answer can carry buttons below, and what is a check-in begins with its key.
        return [str(message["blocks"][0].get("block_id")) for message in found]

    def mails(self, one: Walker) -> list[EmailMessage]:
        found = [message_from_bytes(each, policy=policy.default) for each in self.boxes.mails(one.address)]
        return [each for each in found if isinstance(each, EmailMessage)]

    def _deliver(self) -> None:
        def nothing_left() -> bool:
            self.app.deliver()
            with self.app.database.read() as connection:
                return not list_outreach(connection, [OutreachState.APPROVED, OutreachState.SENDING])

        until(nothing_left, "end of what is to be sent", PATIENCE)

    def _understood(self) -> bool:
        self.app.mailroom.work()
        rows = metadata.tables["utterances"]
        decided = sa.select(sa.func.count()).where(rows.c.direction == "in", rows.c.decision.is_not(None))
        with self.app.database.read() as connection:
            return bool(connection.execute(decided).scalar_one() == self.answers)

    def _write(self, one: Walker, to: EmailMessage, words: str) -> None:
        made = EmailMessage(policy=policy.SMTP)
        made["From"], made["To"], made["Subject"] = one.address, str(to["Reply-To"]), f"Re: {to['Subject']}"
        made["Message-ID"], made["Date"] = (
            f"<{one.key}@mail.example>",
            formatdate(self.app.clock.now().timestamp()),
        )
        made["In-Reply-To"] = made["References"] = str(to["Message-ID"])
        made.set_content(words)
        with smtplib.SMTP("127.0.0.1", self.post.port) as smtp:
            smtp.send_message(made)


@pytest.fixture
def walk() -> Walk:
    catalogue = Catalogue.load()
    every = [one.playbook.id for one in load_playbooks(Settings(), catalogue.names).files]
    enabled = Settings.model_validate({"playbooks": {"enable": every}})
    return Walk(playbooks=load_playbooks(enabled, catalogue.names), catalogue=catalogue, both_ways=True)


@pytest.fixture
def people(walk: Walk, tmp_path: Path, _migrated_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealPeople]:
    monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
    inside = [
        Person(id=one.address, name=one.key, real_name=f"Customer {one.key}")
        for one in walk.walkers
        if one.channel == "slack"
    ]
    shutil.copy(_migrated_file, tmp_path / "aftercare.db")
    with ExitStack() as stack:
        boxes = stack.enter_context(dovecot())
        post = stack.enter_context(postfix(relay_to=boxes))
        slack = start_local_slack(tmp_path / "slack", [*AGENTS, *inside], members=[agent.id for agent in AGENTS])
        stack.callback(slack.stop)
        settings = Settings.model_validate(
            {
                "shop": {"name": "Kehrwerk", "timezone": "Europe/Berlin"},
                "database": {"url": f"sqlite:///{tmp_path / 'aftercare.db'}"},
                "slack": slack_settings(slack).slack.model_dump(),
                "email": {"enabled": True, "from": CARE},
                "experiments": {"holdout_share": 0.0},
                "scheduler": {"daily_capacity": 1000},
                "review": {"undo_seconds": 0},
                "delivery": {"per_second": {"slack": 0}},
                "policy": OPEN_POLICY,
                "playbooks": {"enable": [one.id for one in walk.playbooks.all]},
            }
        )
        secrets = slack_settings(slack).secrets.model_copy(
            update={
                "secret_key": SecretStr("k" * 40),
                "smtp_url": SecretStr(post.url),
                "imap_url": SecretStr(boxes.url(CARE)),
            }
        )
        app = App(settings.model_copy(update={"home": tmp_path, "secrets": secrets}), ManualClock(START))
        stack.callback(app.close)
        assert app.slack is not None
        app.slack.start()
        stack.callback(app.slack.stop)
        assert app.mailbox is not None
        app.mailbox.start()
        stack.callback(app.mailbox.stop, 10)
        until(app.mailbox.connected, "the mailbox is watched")
        yield RealPeople(app=app, slack=slack, post=post, boxes=boxes)


def test_every_shipped_playbook_reaches_its_customers_once_a_step_and_nobody_after_their_exit(
    walk: Walk, people: RealPeople
) -> None:
    app = people.app
    assert isinstance(app.clock, ManualClock)
    # Without the models, which would see more in these few orders than each was put there for.
    planner = Planner(app.database, app.clock, app.settings, app.catalogue, app.playbooks, index=app.knowledge.index)
    walk.play(app.database, app.clock, planner, people)
    answered = 0
    for one, why, sent in walk.left(app.database):
        assert (why, sent) == (one.leaves, one.gets), str(one)
        expected = [f"outreach:{number}:1" for number in _sent_to(app, one)]

        heard = 1 if one.says else 0  # their answer is answered

        def there(one: Walker = one, wanted: int = len(expected) + heard) -> list[str] | None:
            found = people.keys(one)
            return found if len(found) >= wanted else None

        keys = until(there, f"all that was sent: {one}", PATIENCE)
        assert sorted(key for key in keys if not key.startswith("utterance:")) == sorted(expected), str(one)
        assert len(keys) == len(expected) + heard, str(one)
        with app.database.read() as connection:
            rows = [outreach(connection, int(key.split(":")[1])) for key in expected]
        assert [(row.playbook, row.step) for row in rows] == one.gets, str(one)
        assert {(row.customer_id, row.channel) for row in rows} == {(one.customer_id, one.channel)}, str(one)
        answered += one.says is not None
    assert answered == people.answers
    assert {one.says for one in walk.walkers} == {None, *WORDS}
    assert {one.playbook.id for one in walk.walkers} == {one.playbook.id for one in load_playbooks(Settings()).files}
    by_channel = [sum(one.channel == name for one in walk.walkers) for name in ("slack", "email")]
    assert min(by_channel) >= 50


def _sent_to(app: App, one: Walker) -> list[int]:
    states = {OutreachState.SENT, OutreachState.REPLIED, OutreachState.CLOSED}
    with app.database.read() as connection:
        return sorted(row.id for row in list_outreach(connection, states, customer_id=one.customer_id))
