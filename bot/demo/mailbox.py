"""What reached a customer: direct messages read back from local-slack, and mail files read back from the outbox.

Our own tables are not asked, because the tour has to prove what arrived.
"""

from __future__ import annotations

import quopri
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.demo.local_slack import BOT_USER, LocalSlack, shown_text
from bot.store.database import Database
from bot.store.shop import customer

__all__ = ["Mailbox", "Received"]


@dataclass(frozen=True, kw_only=True)
class Received:
    """One message at its recipient's: where it lies, and what it says."""

    where: str
    text: str


class Mailbox:
    """The customers' ends of both channels."""

    def __init__(self, database: Database, outbox: Path, slack: LocalSlack | None) -> None:
        self._database = database
        self._outbox = outbox
        self._slack = slack

    def of(self, key: str, channel: str, customer_id: int) -> list[Received]:
        """Return every message that carries a key (`outreach:7`, `utterance:3`), whatever the attempt."""
        if channel == "email":
            files = sorted(self._outbox.glob(f"{key.replace(':', '-')}-*.eml"))
            return [Received(where=f"mail, {file.name}", text=mail_text(file)) for file in files]
        return [
            Received(where="direct message in Slack", text=shown_text(message))
            for message in self.direct_messages(customer_id)
            if any(str(block.get("block_id", "")).startswith(f"{key}:") for block in message.get("blocks") or [])
        ]

    def from_bot(self, customer_id: int) -> list[str]:
        """Return all that the bot wrote to a customer in Slack, oldest first."""
        return [shown_text(one) for one in self.direct_messages(customer_id) if one.get("user") == BOT_USER]

    def direct_messages(self, customer_id: int) -> list[dict[str, Any]]:
        """Return both sides of a customer's direct messages with the bot."""
        if self._slack is None:
            return []
        with self._database.read() as connection:
            known = customer(connection, customer_id)
        return self._slack.direct_messages(known.slack_user_id) if known and known.slack_user_id else []

    def count(self) -> int:
        """Return how many mails lie in the outbox."""
        return sum(1 for _ in self._outbox.glob("*.eml"))


def mail_text(file: Path) -> str:
    """Return the subject and the plain words of a mail that our own outbox wrote (RFC 2045 quoted-printable)."""
    content = file.read_bytes()
    head, _, body = content.partition(b"\r\n\r\n")
    subject = next((line[8:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"subject:")), b"")
    if b"multipart/" in head:
        body = body.partition(b"text/plain")[2].partition(b"\r\n\r\n")[2].partition(b"\r\n--")[0]
    words = quopri.decodestring(body).decode("utf-8", "replace").replace("\r\n", "\n").strip()
    return f"Subject: {subject.decode('ascii', 'replace')}\n\n{words}"
