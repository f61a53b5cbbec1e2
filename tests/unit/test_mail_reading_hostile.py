"""Whatever the octets, a mail is read or set aside by name; how long that takes is `benchmarks/mail_reading.py`'s business."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.mail_reading import hostile_mails
from bot.channels.email.mime_headers import addresses, decoded_words, identifiers, instant, parameters
from bot.channels.email.mime_text import clean, decoded_text, transfer_decoded, unflowed
from bot.channels.email.reading import UnreadableMail, read_mail
from bot.services.mail.inbound import InboundMail, MailKind

MAILS = Path(__file__).parents[1] / "data/mails"
# The benchmark reads the same mails at 1 MB.
SIZE = 100_000
HOSTILE = dict(hostile_mails(SIZE))
SOUND = [file.read_bytes() for file in sorted(MAILS.glob("*/*.eml"))]
ENCODINGS = ["base64", "quoted-printable", "7bit", "8bit", "x-uuencode", ""]
CHARSETS = [
    "utf-8",
    "utf-7",
    "utf-16",
    "iso-8859-1",
    "iso-2022-jp",
    "shift_jis",
    "gb2312",
    "big5",
    "euc-kr",
    "koi8-r",
    "hz",
    "idna",
    "zip",
    "x",
    "",
]
# What the grammar of a mail is made of, so that the fuzz reaches past the header.
PIECES = st.sampled_from([
    b"From: a@b.example\n", b"To: care@shop.example\n", b"Subject: =?utf-8?q?=C3?=\n", b"Return-Path: <>\n", b"From: MAILER-DAEMON@x.example\n",
    b'Content-Type: multipart/mixed; boundary="b"\n', b'Content-Type: multipart/report; report-type=delivery-status; boundary=b\n',
    b"Content-Type: text/html; charset=x\n", b"Content-Type: message/delivery-status\n", b"Content-Type: message/feedback-report\n", b"Content-Type: message/rfc822\n",
    b"Content-Transfer-Encoding: base64\n", b"Content-Transfer-Encoding: quoted-printable\n", b"Content-Disposition: attachment; filename*0*=x'y'%ff; filename*1=\"\\\n",
    b"\n", b"\r\n", b"--b\n", b"--b--\n", b"Status: 5.1.1\n", b"Final-Recipient: rfc822; a@b.example\n", b"Action: failed\n", b"Feedback-Type: abuse\n", b" folded\n",
    b"> quoted\n", b"On Mon, Ana wrote:\n", b"550 5.1.1 x\n", b"=\n", b"=4", b"\x00", b"\xff\xfe", b"\x1b$B", b"<div><blockquote>", b"unsubscribe\n",
])  # fmt: skip


def read(content: bytes) -> InboundMail | None:
    """Return the mail, None where it was set aside; nothing else may be raised."""
    try:
        return read_mail(content, own=["care@shop.example"], markers=["https://shop.example/u/"])
    except UnreadableMail:
        return None


def is_sound(mail: InboundMail) -> bool:
    """Whether every text can be stored anywhere, and what must stand on one line does."""
    lines = [
        mail.subject,
        mail.sender or "",
        mail.message_id or "",
        mail.token or "",
        *(one.name for one in mail.attachments),
    ]
    texts = [*lines, mail.text, mail.recipient or "", *mail.references]
    return not any("\n" in line or "\r" in line or "\u2028" in line for line in lines) and not any(
        "\0" in text or any("\ud800" <= c <= "\udfff" for c in text) for text in texts
    )


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_crafted_mail_is_read_or_set_aside(name: str) -> None:
    mail = read(HOSTILE[name])
    assert mail is None or is_sound(mail)


@given(st.lists(PIECES, max_size=40).map(b"".join))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_arrangement_of_a_mails_pieces_is_read_or_set_aside(content: bytes) -> None:
    mail = read(content)
    assert mail is None or is_sound(mail)


@given(st.binary(max_size=2_000))
@settings(max_examples=200)
def test_any_octets_are_read_or_set_aside(content: bytes) -> None:
    mail = read(b"From: a@b.example\n" + content)
    assert mail is None or is_sound(mail)


@given(st.sampled_from(SOUND), st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_a_sound_mail_may_be_damaged_anywhere(content: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 200)))
    mail = read(content[:start] + data.draw(st.binary(max_size=20)) + content[end:])
    assert mail is None or is_sound(mail)


@given(st.binary(max_size=300), st.sampled_from(CHARSETS), st.sampled_from(ENCODINGS))
def test_any_body_in_any_charset_is_text(octets: bytes, charset: str, encoding: str) -> None:
    text = clean(decoded_text(transfer_decoded(octets, encoding), charset))
    assert "\0" not in text
    text.encode()


@given(st.text(max_size=200), st.sampled_from(["utf-8", "utf-16", "utf-7", "gb18030", "UTF8"]))
def test_text_in_its_declared_charset_comes_back(text: str, charset: str) -> None:
    sound = text.encode("utf-8", "ignore").decode()
    declared = decoded_text(sound.encode(charset), charset)
    assert clean(declared) in (clean(sound), clean(decoded_text(sound.encode(), "utf-8")))


@given(st.text(max_size=200))
def test_any_header_value_is_read(value: str) -> None:
    decoded_words(value).encode()
    assert all("@" in one and not one.isspace() for one in addresses([value]))
    assert all(one.startswith("<") and one.endswith(">") for one in identifiers([value]))
    assert all(isinstance(one, str) for one in parameters(value).values())
    moment = instant(value)
    assert moment is None or moment.tzinfo is not None


@given(st.text(max_size=60))
def test_an_encoded_word_comes_back_as_it_was(text: str) -> None:
    sound = text.encode("utf-8", "ignore")
    # A text that reads as twice encoded is mended on purpose.
    expected = clean(decoded_text(sound, "utf-8"))
    word = f"=?utf-8?b?{base64.b64encode(sound).decode()}?="
    assert decoded_words(word) == expected


@given(st.lists(st.text(alphabet="ab >-", max_size=12), max_size=12), st.booleans())
def test_joining_flowed_lines_loses_no_letter(lines: list[str], delete_space: bool) -> None:
    text = "\n".join(lines)
    joined = unflowed(text, delete_space=delete_space)
    assert [c for c in joined if c in "ab"] == [c for c in text if c in "ab"]


def test_a_multipart_in_too_many_multiparts_is_noted_and_not_read() -> None:
    mail = read(HOSTILE["multiparts 15,000 deep"])
    assert mail is not None
    assert (mail.kind, mail.truncated) == (MailKind.REPLY, True)
    assert [one.content_type for one in mail.attachments] == ["application/octet-stream"]


def test_more_parts_than_a_mail_has_are_not_read() -> None:
    mail = read(HOSTILE["250,000 parts"])
    assert mail is not None
    assert mail.truncated


def test_a_long_text_is_cut_and_says_so() -> None:
    mail = read(b"From: a@b.example\n\nhello\n" + b"word " * 100_000)
    assert mail is not None
    assert mail.truncated
    assert mail.text.startswith("hello")
    assert len(mail.text) <= 65_537
