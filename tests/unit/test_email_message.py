"""A mail has exactly one recipient and the headers we mean, whatever stands in the fields."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.message import Message as Message32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.channels.base import DeadAddressError, Message
from bot.channels.email.addresses import one_address
from bot.channels.email.message import Identity, Written, compose, message_id
from bot.clock import ManualClock
from bot.errors import PermanentChannelError
from bot.tokens import Purpose, Signer
from tests.conftest import NOW

SIGNER = Signer("secret", ManualClock(NOW))
IDENTITY = Identity(sender="care@shop.example", name="Café Müller", signer=SIGNER, secret="secret")
MESSAGE = Message(
    key="outreach:12:1",
    address="ana@example.org",
    subject="Your parcel is late",
    text="Hello Ana,\n\nit is late.",
    html="<p>Hello Ana</p>",
    customer_key="5",
    opt_out_url="https://care.shop.example/u/email.5-4e20-abcdefghijklmnopqrstuvwxyz",
    campaign="delivery_at_risk",
)
NASTY = st.text(max_size=80) | st.sampled_from(
    [
        "x\r\nBcc: eve@evil.example",
        "x\nTo: eve@evil.example\n\nbody",
        "a@b.example, eve@evil.example",
        "a@b.example\r\nRCPT TO:<eve@evil.example>",
        '"a\r\n"@b.example',
        "<a@b.example>,<eve@evil.example>",
        "a@b.example\x0beve@evil.example",
        "a@b.example\u2028Bcc: eve@evil.example",
        "group: a@b.example, eve@evil.example;",
        "=?utf-8?q?a=0D=0ABcc:_eve=40evil.example?=",
        "=??Q?=0A",
        "lone \ud800 surrogate",
    ]
)
SINGLE = ["From", "To", "Subject", "Date", "Message-ID", "Reply-To", "List-Unsubscribe", "X-Aftercare-Key"]


def over_the_wire(message: Message, identity: Identity = IDENTITY) -> EmailMessage:
    content = compose(message, identity, NOW).octets()
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    assert b"\n" not in content.replace(b"\r\n", b"")
    parsed = message_from_bytes(content, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


PLAIN = over_the_wire(MESSAGE)


@settings(deadline=None)
@given(
    subject=NASTY,
    text=NASTY.filter(str.strip),  # an empty one is refused; there is a test of that below
    thread=NASTY,
    in_reply_to=NASTY,
    url=NASTY,
    campaign=NASTY,
    locale=NASTY,
    name=NASTY,
)
@example(subject="", text="0", thread="", in_reply_to="", url="", campaign="", locale="\n", name="")
@example(subject="", text="0", thread="", in_reply_to="", url="", campaign="\r\n", locale="\r\n", name="")
def test_no_field_can_alter_a_header_or_add_a_recipient(
    subject: str, text: str, thread: str, in_reply_to: str, url: str, campaign: str, locale: str, name: str
) -> None:
    message = replace(MESSAGE, subject=subject, text=text, thread=thread, in_reply_to=in_reply_to)
    message = replace(message, references=(url, thread), opt_out_url=url, campaign=campaign, locale=locale)
    mail = over_the_wire(message, replace(IDENTITY, name=name))
    allowed = {*PLAIN.keys(), "In-Reply-To", "References"}
    assert set(mail.keys()) <= allowed
    assert all(len(mail.get_all(header, [])) == 1 for header in SINGLE)
    assert [address.addr_spec for address in mail["To"].addresses] == ["ana@example.org"]
    assert [address.addr_spec for address in mail["From"].addresses] == ["care@shop.example"]
    assert mail["Message-ID"] == PLAIN["Message-ID"]


@settings(deadline=None)
@given(NASTY)
def test_an_address_is_exactly_one_or_refused(text: str) -> None:
    try:
        address = one_address(text)
    except DeadAddressError:
        return
    assert address.count("@") == 1
    assert address.isascii()
    assert not set(address) & set(' \r\n\t,;<>()"\\:')
    assert [found.addr_spec for found in over_the_wire(replace(MESSAGE, address=text))["To"].addresses] == [address]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ana@example.org", "ana@example.org"),
        ("o'neil+shop@sub.example.co.uk", "o'neil+shop@sub.example.co.uk"),
        ("ana@müller.example", "ana@xn--mller-kva.example"),
    ],
)
def test_ordinary_addresses_pass(text: str, address: str) -> None:
    assert one_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "ana", "@example.org", "ana@", "a@b@c.example", "a b@c.example", "ana@-x.example", "a" * 65 + "@x.org"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(DeadAddressError):
        one_address(text)


def test_the_headers_that_a_check_in_needs_are_there_and_whole() -> None:
    mail = over_the_wire(MESSAGE)
    assert mail["List-Unsubscribe"].startswith(f"<{MESSAGE.opt_out_url}>, <mailto:care+outreach.12-")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Id"] == "<check-ins.shop.example>"
    assert mail["Feedback-ID"] == "delivery_at_risk:en:aftercare:shop.example"
    assert mail["From"].addresses[0].display_name == "Café Müller"
    reply_to = mail["Reply-To"].addresses[0]
    assert SIGNER.read(Purpose.REPLY, reply_to.username.removeprefix("care+")) == "outreach.12"
    assert len(reply_to.username) <= 64
    body = mail.get_body(("plain",))
    html = mail.get_body(("html",))
    assert body is not None
    assert html is not None
    assert "it is late." in body.get_content()
    assert "<p>Hello Ana</p>" in html.get_content()


def test_headers_are_not_encoded_or_folded_inside_identifiers() -> None:
    references = tuple(f"<{'x' * 90}{number}@example.org>" for number in range(30))
    message = replace(MESSAGE, thread="<first@example.org>", references=references, in_reply_to=references[-1])
    content = compose(message, IDENTITY, NOW).octets()
    assert f"<{MESSAGE.opt_out_url}>".encode() in content
    assert b"=?" not in content.split(b"References:")[1].split(b"\r\nList-")[0]
    mail = over_the_wire(message)
    assert mail["In-Reply-To"] == references[-1]
    assert mail["References"].split() == ["<first@example.org>", *references[-9:]]


def test_every_attempt_carries_the_same_message_id_and_another_outreach_another() -> None:
    assert message_id(IDENTITY, "outreach:12:1") == message_id(IDENTITY, "outreach:12:7")
    assert message_id(IDENTITY, "outreach:12:1") != message_id(IDENTITY, "outreach:13:1")
    assert message_id(IDENTITY, "outreach:12:1") != message_id(replace(IDENTITY, secret="other"), "outreach:12:1")


def test_an_answer_carries_no_list_headers_and_an_agents_words_are_not_marked_automatic() -> None:
    answer = over_the_wire(replace(MESSAGE, key="utterance:3:1", proactive=False))
    assert answer["List-Unsubscribe"] is None
    assert answer["Auto-Submitted"] == "auto-replied"
    agent = over_the_wire(replace(MESSAGE, key="utterance:3:1", proactive=False, automatic=False))
    assert agent["Auto-Submitted"] is None


def test_an_empty_message_and_a_strange_key_are_refused() -> None:
    with pytest.raises(PermanentChannelError, match="empty"):
        compose(replace(MESSAGE, text=" \n"), IDENTITY, NOW)
    for key in ("outreach:1:1\r\nBcc: x", "outreach:1:\u0661"):
        with pytest.raises(PermanentChannelError, match="delivery key"):
            compose(replace(MESSAGE, key=key), IDENTITY, NOW)


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\r\nBcc: eve@evil.example", "a\r\n", "\r\n ", "ä", "x" * 999])
def test_a_header_of_ours_that_is_not_sound_is_refused_whoever_wrote_it(value: str) -> None:
    with pytest.raises(PermanentChannelError, match="Feedback-ID"):
        Written(headers={"To": "ana@example.org", "Feedback-ID": value}, plain=b"Hello\r\n")


@pytest.mark.parametrize("html", [None, "<p>Grüße</p>\n.\n..\nFrom here = on \r\nand \t \n\n"])
@pytest.mark.parametrize("text", ["Hello", "Grüße,\n.\nFrom us = \n\n-- \nx" + "y" * 200, " \n\t\n\n.", "日本語" * 60])
def test_a_mail_is_written_as_the_standard_library_would(text: str, html: str | None) -> None:
    mail = compose(replace(MESSAGE, text=text, plain=text, html=html), IDENTITY, NOW)
    assert mail.octets() == by_the_standard_library(mail, [(mail.plain, "plain"), (mail.html, "html")])
    assert max(len(line) for line in mail.octets().split(b"\r\n")) <= 998


def by_the_standard_library(mail: Written, parts: list[tuple[bytes, str]]) -> bytes:
    """Write the same headers and parts by `email`, which is not to touch what we wrote."""
    as_written = policy.Compat32(linesep="\r\n", max_line_length=0)
    whole = Message32(policy=as_written)
    for name, value in mail.headers.items():
        whole[name] = value.replace("\r\n", "\n")
    if not mail.html:
        whole.set_payload(mail.plain.decode("ascii").replace("\r\n", "\n"))
    else:
        for content, subtype in parts:
            part = Message32(policy=as_written)
            part["Content-Type"] = f'text/{subtype}; charset="utf-8"'
            part["Content-Transfer-Encoding"] = "quoted-printable"
            part.set_payload(content.decode("ascii").replace("\r\n", "\n"))
            whole.attach(part)
    return whole.as_bytes(policy=as_written)
