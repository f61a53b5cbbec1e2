"""Customers answer by mail: a real Postfix carries it, a real Dovecot keeps it, and the real process reads it there."""

from __future__ import annotations

import hashlib
import hmac
import smtplib
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import formatdate
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import yaml

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.services.review.desk import ReviewDesk
from bot.store import migrations
from bot.store.consent import is_suppressed
from bot.store.database import open_database
from bot.store.outreach import Outreach, outreach
from bot.store.tables import metadata
from tests.integration.shop_rows import propose
from tests.peers.dovecot import Dovecot, dovecot
from tests.peers.postfix import Postfix, postfix
from tests.peers.process import Aftercare, aftercare, environment, until

pytestmark = pytest.mark.peer
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOOK_SECRET = "h" * 40


class Shop:
    """An installation whose mail leaves by Postfix and comes in by Dovecot."""

    def __init__(self, folder: Path, post: Postfix, box: Dovecot, database_url: str | None = None) -> None:
        self.folder = folder
        self.post = post
        self.box = box
        self._ids = count(1)
        # A mailbox and a key of its own: the servers are shared, and so is what lies in them.
        self.care = f"care-{uuid.uuid4().hex[:8]}@shop.test"
        self.clock_file = folder / "now"
        self.clock_file.write_text(NOON.isoformat(), encoding="utf-8")
        url = database_url or f"sqlite:///{folder / 'shop.db'}"
        config = {
            "shop": {"name": "Tee & Tassen"},
            "web": {"port": 0},
            "email": {"enabled": True, "from": self.care},
            "review": {"undo_seconds": 0},
            "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
            "scheduler": {"daily_at": "08:00", "tick_seconds": 0.1},
        }
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.environment = environment(
            self.config,
            AFTERCARE_SECRET_KEY=uuid.uuid4().hex,
            AFTERCARE_DATABASE_URL=url,
            AFTERCARE_MAIL_HOOK_SECRET=HOOK_SECRET,
            AFTERCARE_NOW=f"@{self.clock_file}",
            SMTP_URL=post.url,
            IMAP_URL=box.url(self.care),
        )
        self.database = open_database(url)
        migrations.upgrade(self.database)

    def run(self, *arguments: str) -> AbstractContextManager[Aftercare]:
        return aftercare(self.folder, self.environment, "run", *arguments)

    def approve(self, key: str, email: str | None = None) -> int:
        before = NOON - timedelta(minutes=5)
        one = propose(self.database, before, key)
        if email is not None:
            customers = metadata.tables["customers"]
            with self.database.write() as connection:
                connection.execute(sa.update(customers).where(customers.c.id == one.customer_id).values(email=email))
        settings = Settings.model_validate({"review": {"undo_seconds": 0}})
        return ReviewDesk(self.database, ManualClock(before), settings).approve(one.id, one.version, "cli:ana").id

    def see(self, outreach_id: int) -> Outreach:
        with self.database.read() as connection:
            return outreach(connection, outreach_id)

    def rows(self, table: str) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(metadata.tables[table]).order_by(metadata.tables[table].c.id)))

    def got(self, customer: str) -> list[EmailMessage]:
        """What lies in a customer's own mailbox."""
        found = [message_from_bytes(content, policy=policy.default) for content in self.box.mails(customer)]
        assert all(isinstance(one, EmailMessage) for one in found)
        return found  # type: ignore[return-value]

    def wait_for_mail(self, customer: str, number: int) -> EmailMessage:
        # The first answer of a process waits until the encoder is loaded, which takes its time on a busy machine.
        until(lambda: len(self.got(customer)) >= number, f"mail {number} to {customer}", seconds=120)
        assert len(self.got(customer)) == number
        return self.got(customer)[-1]

    def reply(self, to: EmailMessage, text: str, customer: str, **headers: str) -> str:
        """Let a customer answer one of our mails; return the Message-ID."""
        identifier = f"<reply-{next(self._ids)}@mail.example>"
        content = self.write(to, text, customer, identifier, **headers)
        with smtplib.SMTP("127.0.0.1", self.post.port) as smtp:
            smtp.sendmail(customer, [str(to["Reply-To"]).partition("<")[2].rstrip(">")], content)
        return identifier

    def write(self, to: EmailMessage, text: str, customer: str, identifier: str, **headers: str) -> bytes:
        made = EmailMessage(policy=policy.SMTP)
        made["From"], made["To"], made["Subject"] = customer, str(to["Reply-To"]), f"Re: {to['Subject']}"
        made["Message-ID"], made["Date"] = identifier, formatdate()
        made["In-Reply-To"] = str(to["Message-ID"])
        made["References"] = " ".join([*str(to["References"] or "").split(), str(to["Message-ID"])])
        for name, value in headers.items():
            made[name.replace("_", "-")] = value
        made.set_content(text)
        return bytes(made)

    def handled(self, number: int) -> None:
        until(
            lambda: len([row for row in self.rows("mails") if row.state != "received"]) >= number,
            f"the effect of mail {number}",
        )
        assert len(self.rows("mails")) == number


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postfix, Dovecot]]:
    with dovecot() as box, postfix(relay_to=box) as post:
        yield post, box


@pytest.fixture
def shop(tmp_path: Path, servers: tuple[Postfix, Dovecot]) -> Iterator[Shop]:
    """A shop of its own at the shared servers."""
    post, box = servers
    made = Shop(tmp_path, post, box)
    yield made
    made.database.close()


def test_a_reply_is_answered_in_its_thread_also_after_the_mailbox_was_away_and_renumbered(shop: Shop) -> None:
    customer = "ada@mail.example"
    one = shop.approve("ada")
    with shop.run() as bot:
        ready = bot.ready()
        assert ready["email"] == "connected"
        checks = httpx.get(f"{ready['web']}/readyz").json()["checks"]
        assert checks["mailbox"] == {"ok": True, "state": "connected"}
        first = shop.wait_for_mail(customer, 1)
        asked = shop.reply(first, "How do I return something?", customer)
        answer = shop.wait_for_mail(customer, 2)
        assert answer["In-Reply-To"] == asked
        assert str(answer["References"]).split() == [first["Message-ID"], asked]
        assert answer["Auto-Submitted"] == "auto-replied"
        assert shop.see(one).state == OutreachState.REPLIED

        shop.box.stop()
        health = f"{ready['web']}/readyz"
        until(lambda: httpx.get(health).json()["checks"]["mailbox"]["state"] == "disconnected", "the loss is seen")
        again = shop.write(answer, "Thank you very much!", customer, "<again@mail.example>")
        shop.box.start()
        shop.box.deliver(shop.care, again, sender=customer)
        last = shop.wait_for_mail(customer, 3)
        assert last["In-Reply-To"] == "<again@mail.example>"

        shop.post.wait_until_idle()
        validity = shop.rows("mailboxes")[0].uid_validity
        shop.box.renumber(shop.care)
        until(lambda: shop.rows("mailboxes")[0].uid_validity != validity, "the new numbers")
        until(lambda: httpx.get(health).status_code == 200, "all is well again")
        assert len([row for row in shop.rows("utterances") if row.direction == "in"]) == 2
        assert len(shop.rows("mails")) == len({row.key for row in shop.rows("mails")})
        assert len(shop.got(customer)) == 3
        assert bot.end() == 0


def test_an_opt_out_by_words_is_confirmed_once(shop: Shop) -> None:
    customer = "bob@mail.example"
    shop.approve("bob")
    with shop.run() as bot:
        bot.ready()
        first = shop.wait_for_mail(customer, 1)
        before = len(shop.rows("mails"))
        asked = shop.reply(first, "STOP", customer)
        confirmation = shop.wait_for_mail(customer, 2)
        assert confirmation["In-Reply-To"] == asked
        shop.reply(first, "stop", customer)
        shop.reply(first, "I am away.", customer, Auto_Submitted="auto-replied")
        shop.handled(before + 3)
        assert [(row.origin, row.granted) for row in shop.rows("consents")] == [("email_reply", False)]
        assert bot.end() == 0
    shop.post.wait_until_idle()
    assert len(shop.got(customer)) == 2


def test_a_real_bounce_ends_mail_to_the_address(shop: Shop) -> None:
    address = f"nobody@{shop.post.bouncing_domain}"
    one = shop.approve("gone", email=address)
    with shop.run() as bot:
        bot.ready()
        until(lambda: shop.see(one).state == OutreachState.FAILED, "the bounce's effect")
        assert shop.see(one).refusal == "the mail came back: 5.1.1"
        with shop.database.read() as connection:
            assert is_suppressed(connection, "email", [address])
        assert bot.end() == 0


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_mail_recorded_before_a_kill_has_its_effect_once_afterwards(
    tmp_path: Path, servers: tuple[Postfix, Dovecot], request: pytest.FixtureRequest, engine: str
) -> None:
    url = request.getfixturevalue("postgres_url") if engine == "postgres" else None
    shop = Shop(tmp_path, *servers, database_url=url)
    customer = f"kim-{engine}@mail.example"
    one = shop.approve(f"kim-{engine}")
    with shop.run("--only", "delivery") as bot:
        bot.ready()
        first = shop.wait_for_mail(customer, 1)
        bot.end()
    body = shop.write(first, "STOP", customer, "<posted@mail.example>")
    with shop.run("--only", "web") as bot:  # it records, and does nothing else
        web = bot.ready()["web"]
        timestamp = str(int(time.time()))
        digest = hmac.new(HOOK_SECRET.encode(), b"v1:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        headers = {
            "X-Aftercare-Timestamp": timestamp,
            "X-Aftercare-Signature": f"v1={digest}",
            "Content-Type": "message/rfc822",
        }
        assert httpx.post(f"{web}/hooks/mail", content=body, headers=headers).status_code == 200
        bot.kill()
    assert [(row.state, row.source) for row in shop.rows("mails")] == [("received", "hook")]
    assert shop.see(one).state == OutreachState.SENT
    with shop.run() as bot, shop.run("--only", "scheduler") as other:  # two at once, by mistake
        bot.ready()
        other.ready()
        shop.wait_for_mail(customer, 2)
        assert shop.see(one).state == OutreachState.REPLIED
        assert bot.end() == 0
        assert other.end() == 0
    assert [row.effect for row in shop.rows("mails") if row.source == "hook"] == ["opted_out"]
    assert len(shop.rows("consents")) == 1
    assert len(shop.got(customer)) == 2
    shop.database.close()
