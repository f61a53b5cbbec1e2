"""The mail channel against a real SMTP server: what each refusal and each broken connection means."""

from __future__ import annotations

import ssl
import threading
from dataclasses import replace

import pytest

from bot.channels.base import Channel, DeadAddressError
from bot.channels.email import Identity, Server, SmtpEmailChannel, dialogue
from bot.clock import ManualClock
from bot.errors import ConfigurationError, PermanentChannelError, TransientChannelError, UncertainChannelError
from bot.tokens import Signer
from tests.conftest import NOW
from tests.contract.test_channels import MESSAGE, identity
from tests.peers import free_port
from tests.peers.mail import MailSink


def test_the_mail_arrives_whole_and_the_connection_is_reused(sink: MailSink, channel: Channel) -> None:
    text = "Hello Ana,\n.\n..two dots\nGrüße"
    channel.send(replace(MESSAGE, text=text, html="<p>Grüße</p>"))
    channel.send(replace(MESSAGE, key="outreach:2:1"))
    first = sink.accepted[0]
    assert first.recipients == ("ana@example.org",)
    assert first.sender == "care@shop.example"
    body = first.mail.get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines() == text.splitlines()
    assert first.mail.get_content_type() == "multipart/alternative"
    assert sink.sessions == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("550 5.1.1 no such user", DeadAddressError),
        ("550 no such user", DeadAddressError),
        ("553 bad name", DeadAddressError),
        ("550 5.7.1 you are on a list", PermanentChannelError),
        ("552 5.2.2 mailbox full", PermanentChannelError),
        ("450 4.2.1 try later", TransientChannelError),
        ("451 greylisted", TransientChannelError),
    ],
)
def test_a_refused_recipient_is_classified_and_does_not_touch_the_next(
    sink: MailSink, channel: Channel, reply: str, error: type[Exception]
) -> None:
    sink.refusals["ana@example.org"] = reply
    with pytest.raises(error) as caught:
        channel.send(MESSAGE)
    assert type(caught.value) is error
    assert "ana@" not in str(caught.value)
    channel.send(replace(MESSAGE, key="outreach:2:1", address="ben@example.org"))
    assert [accepted.recipients for accepted in sink.accepted] == [("ben@example.org",)]
    assert sink.sessions == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [("554 5.7.1 spam", PermanentChannelError), ("452 4.3.1 disk full", TransientChannelError)],
)
def test_a_refusal_after_data_is_classified(
    sink: MailSink, channel: Channel, reply: str, error: type[Exception]
) -> None:
    sink.data_reply = reply
    with pytest.raises(error) as caught:
        channel.send(MESSAGE)
    assert type(caught.value) is error


def test_a_connection_lost_after_data_is_uncertain(sink: MailSink, channel: Channel) -> None:
    sink.vanish_after_data = 1
    with pytest.raises(UncertainChannelError):
        channel.send(MESSAGE)
    channel.send(replace(MESSAGE, key="outreach:2:1"))
    assert sink.keys() == ["outreach:1:1", "outreach:2:1"]


def test_a_connection_lost_before_data_is_tried_again_later(sink: MailSink, channel: Channel) -> None:
    sink.vanish_before_data = 1
    with pytest.raises(TransientChannelError):
        channel.send(MESSAGE)
    assert sink.accepted == []


def test_a_reused_connection_that_the_server_had_closed_is_opened_again(sink: MailSink, channel: Channel) -> None:
    channel.send(MESSAGE)
    sink.vanish_before_data = 1
    channel.send(replace(MESSAGE, key="outreach:2:1"))
    assert sink.keys() == ["outreach:1:1", "outreach:2:1"]
    assert sink.sessions == 2


def test_a_silent_server_ends_as_uncertain(sink: MailSink, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    sink.hold = threading.Event()
    monkeypatch.setattr(dialogue, "REPLY_SECONDS", 0.2)
    with pytest.raises(UncertainChannelError):
        channel.send(MESSAGE)


def test_no_server_is_transient_and_shows_in_health() -> None:
    server = Server(host="127.0.0.1", port=free_port(), security="plain")
    channel = SmtpEmailChannel(server, identity(), ManualClock(NOW))
    with pytest.raises(TransientChannelError, match="nothing listens"):
        channel.send(MESSAGE)
    assert channel.connected() is False


def test_a_server_without_tls_is_never_spoken_to_in_the_clear(sink: MailSink) -> None:
    server = Server(host="127.0.0.1", port=sink.port, security="starttls", user="u", password="p")
    channel = SmtpEmailChannel(server, identity(), ManualClock(NOW), tls=ssl.create_default_context())
    with pytest.raises(TransientChannelError, match="offers no STARTTLS"):
        channel.send(MESSAGE)
    assert sink.accepted == []


def test_credentials_are_percent_decoded_and_never_shown() -> None:
    server = Server.from_url("smtp+starttls://us%40er:p%2Fss%3A@mail.example")
    assert (server.user, server.password, server.port) == ("us@er", "p/ss:", 587)
    assert "p/ss" not in repr(server)
    assert Server.from_url("smtps://mail.example").port == 465


@pytest.mark.parametrize("url", ["smtp://mail.example", "http://x", "smtps://", "smtp://127.0.0.1:x"])
def test_a_url_that_cannot_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="SMTP_URL"):
        Server.from_url(url)


@pytest.mark.parametrize(("sender", "reply_to"), [("a@b@c", ""), ("a@b.example", "x y@b.example")])
def test_an_identity_without_a_usable_sender_is_a_configuration_error(sender: str, reply_to: str) -> None:
    with pytest.raises(ConfigurationError, match=r"email\."):
        Identity(sender=sender, reply_to=reply_to, name="", signer=Signer("k"), secret="k")
