"""The whole path from approval to a real mail server, with every step of the dialogue failing once."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from bot.channels.email import Server, SmtpEmailChannel, switchboard
from bot.channels.email.server import shut
from bot.channels.email.switchboard import Switchboard
from bot.decide.lifecycle import OutreachState
from bot.services.delivery.deliverer import Deliverer
from bot.store.database import Database
from bot.store.shop import customer
from tests.contract.test_channels import identity
from tests.integration.delivery_world import Shop
from tests.peers.mail import MailSink, mail_sink

S = OutreachState


@contextmanager
def by_smtp(shop: Shop, sink: MailSink) -> Iterator[Deliverer]:
    channel = SmtpEmailChannel(Server.from_url(sink.url), identity(), shop.clock)
    yield Deliverer(shop.database, shop.clock, shop.settings, {"email": channel}, shop.catalogue)
    channel.close()


@pytest.mark.parametrize("lost", ["command", "reply"])
def test_every_step_of_the_dialogue_may_break_and_nothing_is_lost_or_doubled(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Break the N-th command (it never leaves) or reply (it never arrives), for every N until none breaks."""
    shop = Shop(sqlite_database)
    calls = 0
    break_at = 0

    def breaks() -> bool:
        nonlocal calls
        calls += 1
        return calls == break_at

    def sends(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: smtplib.SMTP, *arguments: Any) -> Any:
            if breaks():
                self.close()  # as smtplib itself does
                raise smtplib.SMTPServerDisconnected("cut before it left")
            return real(self, *arguments)

        return wrapped

    def says(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Switchboard, line: Any, outgoing: bytes) -> None:
            if outgoing and breaks():
                shut(line.smtp)
                outgoing = b""
            real(self, line, outgoing)

        return wrapped

    def hears(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            result = real(*arguments)
            if result is not None and breaks():
                if isinstance(arguments[0], smtplib.SMTP):
                    arguments[0].close()
                raise smtplib.SMTPServerDisconnected("the reply was lost")
            return result

        return wrapped

    # Connections are made by smtplib, mails handed over by the switchboard.
    if lost == "command":
        monkeypatch.setattr(smtplib.SMTP, "send", sends(smtplib.SMTP.send))
        monkeypatch.setattr(Switchboard, "_say", says(Switchboard._say))
    else:
        monkeypatch.setattr(smtplib.SMTP, "getreply", hears(smtplib.SMTP.getreply))
        monkeypatch.setattr(switchboard, "take_reply", hears(switchboard.take_reply))
    reached_the_end = False
    uncertain = 0
    for number in range(1, 30):
        break_at, calls = number, 0
        with mail_sink() as sink, by_smtp(shop, sink) as deliverer:
            one = shop.approve(f"sweep{number}")
            for _ in range(4):
                deliverer.recover()
                deliverer.drain()
                shop.clock.advance(timedelta(minutes=10))
            state = shop.see(one).state
            assert state in (S.SENT, S.UNCERTAIN)
            assert len(sink.accepted) == 1 if state == S.SENT else len(sink.accepted) <= 1
            uncertain += state == S.UNCERTAIN
        if calls < break_at:
            reached_the_end = True
            break
    assert reached_the_end
    assert uncertain == 1  # only after the final dot nobody knows


def test_the_mail_carries_the_approved_words_and_the_customers_own_link(database: Database) -> None:
    shop = Shop(database)
    shop.settings = shop.settings.model_copy(
        update={"secrets": shop.settings.secrets.model_validate({"secret_key": "k" * 40})}
    )
    with mail_sink() as sink, by_smtp(shop, sink) as deliverer:
        one = shop.approve()
        assert deliverer.drain().sent == 1
        mail = sink.accepted[0].mail
    html, plain = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None
    assert plain is not None
    assert "your parcel is late" in plain.get_content()
    assert "your parcel is late" in html.get_content()
    link = str(mail["List-Unsubscribe"]).partition("<")[2].partition(">")[0]
    assert link in plain.get_content()
    assert link in html.get_content()
    with database.read() as connection:
        person = customer(connection, shop.see(one).customer_id)
    assert person is not None
    assert mail["To"] == person.email
    assert mail["Message-ID"] == shop.see(one).evidence["reference"]
