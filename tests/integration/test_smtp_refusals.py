"""Which refusals of a mail server are about the address, and what a session does once it was cut."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from bot.channels.base import Channel, DeadAddressError
from bot.channels.email import Server, dialogue
from bot.channels.email.session import SmtpSession
from bot.errors import ChannelError, PermanentChannelError, TransientChannelError
from tests.contract.test_channels import MESSAGE
from tests.peers.mail import MailSink

MAIL = b"Subject: x\r\n\r\nHello\r\n"
OTHER = replace(MESSAGE, key="outreach:2:1", address="ben@example.org")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("550 no such user", DeadAddressError),
        ("550 5.1.1 unknown, relay to us instead", DeadAddressError),  # the code says it, whatever the words
        ("550 5.2.1 disabled", DeadAddressError),
        ("551 user not local", DeadAddressError),
        ("550 relay not permitted", PermanentChannelError),
        ("550 Relaying denied", PermanentChannelError),
        ("550 sender verify failed", PermanentChannelError),
        ("550 authentication required", PermanentChannelError),
        ("550 blocked by our policy", PermanentChannelError),
        ("550 #5.7.1 you may not", PermanentChannelError),
        ("553 sorry, that domain isn't in my list of allowed rcpthosts", PermanentChannelError),
        ("550 5.7.1 no such user for you", PermanentChannelError),
    ],
)
def test_only_a_refusal_about_the_address_makes_it_dead(
    sink: MailSink, channel: Channel, reply: str, error: type[ChannelError]
) -> None:
    sink.refusals["ana@example.org"] = reply
    with pytest.raises(error) as caught:
        channel.send(MESSAGE)
    assert type(caught.value) is error


@pytest.mark.parametrize("reply", ["553 unknown sender name", "553 5.1.3 bad sender", "550 5.1.1 no such sender"])
def test_a_refused_sender_says_nothing_about_the_recipient(
    sink: MailSink, channel: Channel, reply: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(*_: object) -> str:
        return reply

    monkeypatch.setattr(sink, "handle_MAIL", refuses, raising=False)
    with pytest.raises(PermanentChannelError) as caught:
        channel.send(MESSAGE)
    assert type(caught.value) is PermanentChannelError


def test_words_of_the_server_that_no_database_takes_are_not_kept(sink: MailSink, channel: Channel) -> None:
    sink.data_reply = "250 2.0.0 ok\x00 \x1b[31mqueued"
    assert channel.send(MESSAGE).detail["reply"] == "250 2.0.0 ok [31mqueued"


def test_a_session_that_was_cut_sends_nothing_more(sink: MailSink) -> None:
    session = SmtpSession(Server.from_url(sink.url))
    session.hand_over(MAIL, "care@shop.example", "ana@example.org")
    session.cut()
    with pytest.raises(TransientChannelError):
        session.hand_over(MAIL, "care@shop.example", "ben@example.org")
    assert (sink.sessions, len(sink.accepted)) == (1, 1)
    session.drop()


def test_a_send_that_is_cut_before_the_mail_does_not_begin_anew(
    sink: MailSink, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = sink.handle_RCPT

    async def cuts(*given: Any) -> str:
        if sink.accepted:  # the second mail's envelope is under way
            sink.vanish_before_data = 1
            channel.close()
        return await receive(*given)

    monkeypatch.setattr(sink, "handle_RCPT", cuts)
    channel.send(MESSAGE)
    with pytest.raises(TransientChannelError):
        channel.send(OTHER)
    assert (sink.sessions, sink.keys()) == (1, ["outreach:1:1"])


def test_a_server_that_does_not_answer_noop_is_given_up_soon(
    sink: MailSink, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = threading.Event()

    async def never(*_: object) -> str:
        await asyncio.get_running_loop().run_in_executor(None, quiet.wait, 60)
        return "250 ok"

    monkeypatch.setattr(sink, "handle_NOOP", never, raising=False)
    channel.send(MESSAGE)
    monkeypatch.setattr(dialogue, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(dialogue, "STEP_SECONDS", 0.2)
    channel.send(OTHER)
    quiet.set()
    assert (sink.sessions, sink.keys()) == (2, ["outreach:1:1", "outreach:2:1"])
