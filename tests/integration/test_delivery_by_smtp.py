"""The whole path from approval to a real mail server, with every step of the dialogue failing once."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from bot.channels.email import Server, SmtpEmailChannel
from bot.decide.lifecycle import OutreachState
from bot.services.delivery import Deliverer
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

    def breaking(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: smtplib.SMTP, *arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if lost == "command" and calls == break_at:
                self.close()  # as smtplib itself does
                raise smtplib.SMTPServerDisconnected("cut before it left")
            result = real(self, *arguments)
            if lost == "reply" and calls == break_at:
                self.close()
                raise smtplib.SMTPServerDisconnected("the reply was lost")
            return result

        return wrapped

    monkeypatch.setattr(smtplib.SMTP, "send" if lost == "command" else "getreply", breaking(getattr(smtplib.SMTP, "send" if lost == "command" else "getreply")))  # fmt: skip
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
