"""Every written dialogue by mail: through a real Postfix into a real Dovecot, read by IMAP, and answered the same way back."""

from __future__ import annotations

import shutil
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import formatdate
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.clock import ManualClock
from bot.services.conversation.conversations import Received
from bot.services.knowledge.desk import KnowledgeDesk
from bot.settings import Settings
from bot.store.outreach import NewOutreach, insert_outreach, outreach
from bot.wiring import App
from tests.conftest import NOW
from tests.dialogue_scripts import EVERY, Scene, Turn, write_down
from tests.integration.shop_rows import insert
from tests.integration.talk import CLASSIFIER, ENCODER
from tests.peers.dovecot import Dovecot, dovecot
from tests.peers.postfix import Postfix, postfix
from tests.peers.process import until

pytestmark = pytest.mark.peer
CARE = "care@shop.test"
ADA = "slack:T1:ADA"
# A mail has no buttons.
PLAYED = {name: script for name, script in EVERY.items() if not any(turn.presses for turn in script.talk)}
IDS = count(1)


@dataclass(kw_only=True)
class Servers:
    """The post, and every mailbox."""

    post: Postfix
    boxes: Dovecot


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with dovecot() as boxes, postfix(relay_to=boxes) as post:
        yield Servers(post=post, boxes=boxes)


@pytest.fixture(scope="module")
def app(servers: Servers, tmp_path_factory: pytest.TempPathFactory, _migrated_file: Path) -> Iterator[App]:
    """One shop for all dialogues: each has people, orders and mailboxes of its own."""
    folder = tmp_path_factory.mktemp("dialogues")
    shutil.copy(_migrated_file, folder / "aftercare.db")
    settings = Settings.model_validate(
        {
            "shop": {"name": "Kehrwerk"},
            "database": {"url": f"sqlite:///{folder / 'aftercare.db'}"},
            "email": {"enabled": True, "from": CARE},
            "review": {"undo_seconds": 0},
            "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
        }
    )
    secrets = settings.secrets.model_copy(
        update={
            "secret_key": SecretStr("k" * 40),
            "smtp_url": SecretStr(servers.post.url),
            "imap_url": SecretStr(servers.boxes.url(CARE)),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)
        patch.setattr(KnowledgeDesk, "encoder", ENCODER)
        running = App(settings.model_copy(update={"home": folder, "secrets": secrets}), ManualClock(NOW))
        assert running.mailbox is not None
        running.mailbox.start()
        until(running.mailbox.connected, "the mailbox is watched")
        yield running
        assert running.mailbox.stop(10)
        running.close()


@dataclass(kw_only=True)
class MailScene(Scene):
    """The customer answers our last mail, an agent answers from the desk; everything goes by the servers."""

    app: App
    servers: Servers
    address: str
    before: int = 0
    answers: dict[int, str] = field(default_factory=dict)

    def check_in(self, key: str) -> None:
        """Send the check-in that Maria answers: its token proves that who answers is her."""
        now = self.clock.now()
        with self.database.write() as connection:
            drawn = {"experiment": "delivery_at_risk", "arm": "treatment", "propensity": 0.9, "salt": "test"}
            assignment = insert(
                connection, "assignments", customer_id=self.maria_id, playbook="delivery_at_risk", drawn_at=now, **drawn
            )
            values = NewOutreach(
                dedupe_key=key,
                customer_id=self.maria_id,
                order_id=None,
                playbook="delivery_at_risk",
                playbook_version="1",
                step="first",
                channel="email",
                local_date=str(now.date()),
                assignment_id=assignment,
                prediction_id=None,
                article_version_id=None,
                template="delivery_at_risk",
                locale="en",
                subject="How is it going?",
                draft="Hello Maria, is everything as it should be?",
                reasons=[],
                probability=0.5,
                band="high",
                urgent=False,
                not_before=now,
                expires_at=now + timedelta(hours=72),
            )
            made = insert_outreach(connection, values, now)
            assert made is not None
            version = outreach(connection, made).version
        self.app.review.approve(made, version, ADA)
        self.app.deliver()
        until(self._mails, "the check-in")
        self.before = 1

    def hear(self, turn: Turn, words: str) -> Received:
        mails = self._mails()
        sender = f"another-{self.address}" if turn.by == "another" else self.address
        heard = {row.id for row in self.rows("utterances")}
        taken = len(self.rows("mails"))
        recipient, content = _written(mails[-1] if mails else None, sender, words, self.clock.now())
        with smtplib.SMTP("127.0.0.1", self.servers.post.port) as smtp:
            smtp.sendmail(sender, [recipient], content)
        until(lambda: len(self.rows("mails")) > taken, "the mail comes in")
        self.app.mailroom.work()
        self.app.deliver()
        return self._became(heard)

    def _became(self, before: set[int]) -> Received:
        rows = [row for row in self.rows("utterances") if row.id not in before]
        (heard,) = [row for row in rows if row.direction == "in"]
        said = tuple(row.id for row in rows if row.external_id == f"bot:{heard.id}")
        for one in said:
            self.answers[one] = self._next()
        return self.received(heard, said)

    def spoken(self, received: Received) -> str:
        assert len(self._mails()) == self.before, "more mails came than there are answers"
        return "\n".join(self.answers[one] for one in received.utterance_ids)

    def answer_as_agent(self, words: str) -> None:
        self.app.conversations.reply_as_agent(self.conversation_id, ADA, words)
        self.app.deliver()
        assert words in self._next()

    def give_back(self) -> None:
        assert self.app.conversations.give_back(self.conversation_id, ADA)

    def _next(self) -> str:
        """Wait for the next mail in the customer's mailbox and return its words."""
        self.before += 1
        mail = until(lambda: m[-1] if len(m := self._mails()) >= self.before else None, f"mail {self.before}")
        words = mail.get_body(("plain",))
        assert words is not None
        return str(words.get_content()).replace("\r\n", "\n")

    def _mails(self) -> list[EmailMessage]:
        found = [message_from_bytes(one, policy=policy.default) for one in self.servers.boxes.mails(self.address)]
        return [one for one in found if isinstance(one, EmailMessage)]


def _written(to: EmailMessage | None, sender: str, words: str, now: datetime) -> tuple[str, bytes]:
    """Return the recipient and a mail that answers ours, or begins a conversation."""
    made = EmailMessage(policy=policy.SMTP)
    made["From"], made["Message-ID"], made["Date"] = sender, f"<{next(IDS)}@mail.example>", formatdate(now.timestamp())
    recipient = CARE
    if to is None:
        made["Subject"] = "A question"
    else:
        recipient = str(to["Reply-To"]).partition("<")[2].rstrip(">") or str(to["Reply-To"])
        made["Subject"] = f"Re: {to['Subject']}"
        made["In-Reply-To"] = str(to["Message-ID"])
        made["References"] = " ".join([*str(to["References"] or "").split(), str(to["Message-ID"])])
    made["To"] = recipient
    made.set_content(words)
    return recipient, bytes(made)


@pytest.mark.parametrize("name", PLAYED)
def test_a_dialogue_by_mail_goes_as_it_is_written_down(name: str, app: App, servers: Servers) -> None:
    script, clock = PLAYED[name], app.clock
    assert isinstance(clock, ManualClock)
    clock.set(NOW)  # the scripts name dates
    maria, other = write_down(name, script, app.database, clock)
    scene = MailScene(
        database=app.database,
        clock=clock,
        script=script,
        maria_id=maria,
        other_id=other,
        app=app,
        servers=servers,
        address=f"maria-{name}@mail.example",
    )
    if script.customer == "maria":
        scene.check_in(name)
    faults = list(scene.play())
    assert faults == list(script.fails)
    if script.open is not None:
        pytest.xfail(script.open)
