"""A shop whose mails lie in a folder and whose customers answer them, for the tests of what comes in."""

from __future__ import annotations

from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.channels.email import Identity, OutboxEmailChannel
from bot.channels.email.message import message_id
from bot.channels.email.reading import read_mail
from bot.services.conversation.conversations import Conversations
from bot.services.knowledge.desk import KnowledgeDesk
from bot.services.mail.mailroom import MailReport, Mailroom
from bot.store.database import Database
from bot.store.mails import Fetched, Position
from bot.store.tables import metadata
from bot.tokens import Signer
from tests.integration.delivery_world import Shop
from tests.integration.talk import CLASSIFIER, ENCODER

SECRET = "k" * 40
CARE = "care@shop.example"


class MailWorld(Shop):
    """A shop with an outbox folder, and a mailroom."""

    def __init__(self, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)
        monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
        email = {"enabled": True, "from": CARE, "keep_raw_days": 30}
        super().__init__(database, secrets={"secret_key": SECRET}, email=email, shop={"name": "Kehrwerk"}, **settings)
        self.outbox = folder / "outbox"
        self.signer = Signer(SECRET)
        self.identity = Identity(sender=CARE, name="Kehrwerk", signer=self.signer, secret=SECRET)
        self.channel = OutboxEmailChannel(self.outbox, self.identity, self.clock)  # type: ignore[assignment]
        self.deliverer = self.new_deliverer()
        self.mailroom = self.new_mailroom()
        self._ids = count(1)
        self._uids = count(1)

    def new_mailroom(self, **changed: Any) -> Mailroom:
        desk = KnowledgeDesk(self.database, self.clock, self.settings, self.catalogue)
        conversations = Conversations(self.database, self.clock, self.settings, desk, self.catalogue)
        page = f"{self.settings.web.base_url}/u/"
        parts: dict[str, Any] = {
            "read": lambda content: read_mail(content, own=[CARE], markers=[page]),
            "message_id": lambda key: message_id(self.identity, key),
            "signer": self.signer,
            "conversations": lambda: conversations,
            "catalogue": self.catalogue,
        }
        return Mailroom(self.database, self.clock, self.settings, **{**parts, **changed})

    # --- What we sent ------------------------------------------------------------------------------

    def send(self, key: str = "c1", **columns: Any) -> tuple[int, EmailMessage]:
        """Send one check-in; return its id and the mail."""
        one = self.approve(key, **columns)
        self.deliverer.drain()
        return one, self.sent(f"outreach:{one}:1")

    def sent(self, key: str) -> EmailMessage:
        content = (self.outbox / f"{key.replace(':', '-')}.eml").read_bytes()
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        return mail

    def answers(self) -> list[EmailMessage]:
        """Send what waits; return all answers sent so far, oldest first."""
        self.deliverer.drain()
        files = sorted(self.outbox.glob("utterance-*.eml"), key=lambda file: int(file.stem.split("-")[1]))
        return [self.sent(file.stem.replace("-", ":")) for file in files]

    # --- What comes in -----------------------------------------------------------------------------

    def reply(
        self, to: EmailMessage, text: str, *, sender: str | None = None, headers: Mapping[str, str | None] | None = None
    ) -> bytes:
        """Write a reply to one of our mails, as a mail program does; a header given as None is left out."""
        found: dict[str, str | None] = {
            "From": sender or str(to["To"]),
            "To": str(to["Reply-To"]),
            "Subject": f"Re: {to['Subject']}",
            "Message-ID": f"<reply-{next(self._ids)}@mail.example>",
            "In-Reply-To": str(to["Message-ID"]),
            "References": " ".join([*str(to["References"] or "").split(), str(to["Message-ID"])]),
        }
        return self.mail(text, {**found, **(headers or {})})

    def mail(self, text: str, headers: Mapping[str, str | None]) -> bytes:
        made = EmailMessage(policy=policy.SMTP)
        defaults = {"Date": format_datetime(self.clock.now()), "Message-ID": f"<mail-{next(self._ids)}@mail.example>"}
        for name, value in {**defaults, **headers}.items():
            if value is not None:
                made[name] = value
        made.set_content(text)
        return bytes(made)

    def bounce(
        self,
        of: EmailMessage,
        status: str = "5.1.1",
        *,
        action: str = "failed",
        recipient: str | None = None,
        returned: Mapping[str, str | None] | None = None,
    ) -> bytes:
        """Write the report (RFC 3464) of a mail system about one of our mails; `returned` changes its headers."""
        names = ("Message-ID", "X-Aftercare-Key", "Reply-To", "From", "To", "Subject")
        headers = {**{name: str(of[name]) for name in names}, **(returned or {})}
        back = "".join(f"{name}: {' '.join(value.split())}\r\n" for name, value in headers.items() if value is not None)
        return self._report(
            "delivery-status",
            f"Reporting-MTA: dns; mx.mail.example\r\n\r\nFinal-Recipient: rfc822; {recipient or of['To']}\r\n"
            f"Action: {action}\r\nStatus: {status}\r\n",
            back,
        )

    def complaint(self, of: EmailMessage, *, recipient: str | None = None, returned: str | None = None) -> bytes:
        """Write a provider's report (RFC 5965) that one of our mails was called spam."""
        names = ("Message-ID", "X-Aftercare-Key", "Reply-To", "From", "To", "Subject")
        back = returned or "".join(f"{name}: {' '.join(str(of[name]).split())}\r\n" for name in names)
        report = (
            "Feedback-Type: abuse\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\n"
            f"Original-Rcpt-To: {recipient or of['To']}\r\n"
        )
        return self._report("feedback-report", report, back)

    def _report(self, kind: str, report: str, returned: str) -> bytes:
        number = next(self._ids)
        return (
            f"From: MAILER-DAEMON@mx.mail.example\r\nTo: {CARE}\r\nSubject: Report\r\n"
            f"Date: {format_datetime(self.clock.now())}\r\nMessage-ID: <report-{number}@mx.mail.example>\r\n"
            f'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type={kind}; boundary="b{number}"\r\n\r\n'
            f"--b{number}\r\nContent-Type: text/plain\r\n\r\nThis is a report.\r\n"
            f"--b{number}\r\nContent-Type: message/{kind}\r\n\r\n{report}\r\n"
            f"--b{number}\r\nContent-Type: text/rfc822-headers\r\n\r\n{returned}\r\n--b{number}--\r\n"
        ).encode()

    def arrive(self, *contents: bytes) -> MailReport:
        """Record mails and work on them."""
        self.record(*contents)
        return self.mailroom.work()

    def record(self, *contents: bytes) -> int:
        fetched = [Fetched(content=content, octets=len(content)) for content in contents]
        return self.mailroom.take_in("box", fetched, Position(uid_validity=1, last_uid=next(self._uids)))

    # --- What is seen ------------------------------------------------------------------------------

    def rows(self, table: str) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(metadata.tables[table]).order_by(metadata.tables[table].c.id)))

    def effects(self) -> list[str | None]:
        return [row.effect for row in self.rows("mails")]

    def heard(self) -> list[Any]:
        return [row for row in self.rows("utterances") if row.direction == "in"]

    def said(self) -> list[Any]:
        return [row for row in self.rows("utterances") if row.direction == "out"]


def address(header: str) -> str:
    return parseaddr(header)[1]
