"""What comes with a reply: a picture that makes it large, and other words beside an opt-out. Neither is lost."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from bot.decide.lifecycle import OutreachState
from bot.services.mail.mailroom import MailReport
from bot.store.database import Database
from bot.store.mails import KEPT_OCTETS, Fetched, Position
from tests.integration.mail_world import MailWorld

S = OutreachState


@pytest.fixture
def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailWorld:
    return MailWorld(database, tmp_path, monkeypatch)


def with_a_picture(content: bytes) -> bytes:
    mail = message_from_bytes(content, policy=policy.SMTP)
    assert isinstance(mail, EmailMessage)
    mail.add_attachment(b"\xff" * 1024 * 1024, maintype="image", subtype="jpeg", filename="photo.jpg")
    return bytes(mail)


def take_large(world: MailWorld, content: bytes) -> MailReport:
    """Record a mail as the mailbox is read: of a large one, its beginning."""
    fetched = Fetched(content=content[:KEPT_OCTETS], octets=len(content))
    world.mailroom.take_in("box", [fetched], Position(uid_validity=1, last_uid=1))
    return world.mailroom.work()


def test_who_asks_for_no_more_mails_with_a_large_picture_gets_none(world: MailWorld) -> None:
    one, mail = world.send()
    assert take_large(world, with_a_picture(world.reply(mail, "Unsubscribe"))).done == 1
    assert world.effects() == ["opted_out"]
    assert world.see(one).state == S.REPLIED


def test_a_large_reply_comes_to_a_human_and_is_not_answered(world: MailWorld) -> None:
    one, mail = world.send()
    assert take_large(world, with_a_picture(world.reply(mail, "Look, it leaks."))).done == 1
    assert [row.text for row in world.heard()] == ["Look, it leaks."]
    assert [row.reason for row in world.rows("handoffs")] == ["more_than_a_megabyte"]
    assert (world.see(one).state, world.said()) == (S.REPLIED, [])


@pytest.mark.parametrize(
    ("words", "reason", "urgent"),
    [
        ("Please stop emailing me. The kettle is smoking!", "safety", True),
        ("Please stop emailing me.\n\nWhere is my refund?", "opted_out_and_said_more", False),
        ("Unsubscribe me.\n\nMy new address is 12 Elm Street in Ghent, please change it.", "opted_out_and_said_more", False),
    ],
)  # fmt: skip
def test_what_is_said_beside_an_opt_out_comes_to_a_human(
    world: MailWorld, words: str, reason: str, urgent: bool
) -> None:
    _, mail = world.send()
    world.arrive(world.reply(mail, words))
    assert world.effects() == ["opted_out"]
    assert [(row.reason, row.urgent) for row in world.rows("handoffs")] == [(reason, urgent)]
    assert len(world.said()) == 1  # it is confirmed all the same


@pytest.mark.parametrize(
    "words", ["STOP", "Unsubscribe. Thank you very much!", "Please stop emailing me because I moved"]
)
def test_an_opt_out_alone_troubles_nobody(world: MailWorld, words: str) -> None:
    _, mail = world.send()
    world.arrive(world.reply(mail, words))
    assert world.effects() == ["opted_out"]
    assert world.rows("handoffs") == []


def test_an_opt_out_that_names_no_one_sender_is_left_to_humans(world: MailWorld) -> None:
    world.arrive(b"From: a@mail.example, b@mail.example\r\n\r\nSTOP")
    assert world.effects() == ["stranger"]
    assert world.rows("suppressions") == []
