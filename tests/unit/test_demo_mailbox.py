"""Reading back a mail that our own outbox wrote."""

from __future__ import annotations

from pathlib import Path

from bot.channels.base import Message
from bot.channels.email.message import Identity
from bot.channels.email.outbox import OutboxEmailChannel
from bot.clock import ManualClock
from bot.demo.mailbox import mail_text
from bot.tokens import Signer

WORDS = "Hello Anna,\n\nyour parcel is late – sorry. = 100 % certain?\n\nGrüße"


def written(tmp_path: Path, clock: ManualClock, html: str | None) -> Path:
    identity = Identity(sender="care@shop.example", name="Shop", signer=Signer("a" * 32), secret="a" * 32)
    message = Message(
        key="outreach:7:1", address="anna@example.com", subject="Your order may be late", text=WORDS, html=html
    )
    OutboxEmailChannel(tmp_path, identity, clock).send(message)
    (file,) = tmp_path.glob("outreach-7-*.eml")
    return file


def test_the_words_of_a_mail_are_read_as_the_customer_reads_them(tmp_path: Path, clock: ManualClock) -> None:
    for html in (None, "<p>Hello</p>"):
        text = mail_text(written(tmp_path, clock, html))
        assert text.startswith(f"Subject: Your order may be late\n\n{WORDS}")
        assert "<p>" not in text
