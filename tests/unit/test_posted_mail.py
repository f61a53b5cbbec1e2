"""Where the raw mail stands in what providers post, and what is none."""

from __future__ import annotations

import base64
import contextlib
import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.web.posted_mail import NoMail, mail_within

MAIL = b'From: ana@b.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello\r\n--x\r\n\r\nname="email"\r\n'
RAW_OCTETS = MAIL + "Grüße".encode("latin-1") + b"\x00\xff"
MULTIPART = "multipart/form-data; boundary=xYzZY"


def form(*fields: tuple[str, bytes], boundary: bytes = b"xYzZY") -> bytes:
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (boundary, name.encode(), value)
        for name, value in fields
    ]
    return b"".join(parts) + b"--%b--\r\n" % boundary


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("message/rfc822", MAIL),
        ("Message/RFC822; charset=x", MAIL),
        ("application/json", json.dumps({"From": "x", "RawEmail": MAIL.decode(), "TextBody": "made of it"}).encode()),
        ("application/json; charset=utf-8", json.dumps({"raw": MAIL.decode()}).encode()),
        ("application/json", json.dumps({"raw_base64": base64.b64encode(MAIL).decode()}).encode()),
        ("application/x-www-form-urlencoded", urlencode({"sender": "x", "body-mime": MAIL}).encode()),
        (MULTIPART, form(("to", b"x"), ("email", MAIL), ("charsets", b"{}"))),
        ('multipart/form-data; boundary="xYzZY"', form(("body-mime", MAIL))),
    ],
    ids=["raw", "raw with parameters", "Postmark", "JSON", "JSON base64", "Mailgun", "SendGrid", "Mailgun multipart"],
)
def test_the_raw_mail_is_found(content_type: str, body: bytes) -> None:
    assert mail_within(content_type, body).mail == MAIL


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (MULTIPART, form(("email", RAW_OCTETS))),
        ("application/x-www-form-urlencoded", urlencode({"body-mime": RAW_OCTETS}).encode()),
        ("application/json", json.dumps({"raw_base64": base64.b64encode(RAW_OCTETS).decode()}).encode()),
    ],
)
def test_every_octet_of_the_mail_is_kept(content_type: str, body: bytes) -> None:
    assert mail_within(content_type, body).mail == RAW_OCTETS


def test_what_proves_a_form_is_found_beside_it() -> None:
    fields = [("timestamp", b"1"), ("token", b"t\xff"), ("signature", b"ab"), ("body-mime", MAIL)]
    assert mail_within(MULTIPART, form(*fields)).fields == {"timestamp": "1", "token": "t�", "signature": "ab"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", MAIL),
        ("text/plain", MAIL),
        ("application/json", b""),
        ("application/json", b"[" * 200_000),
        ("application/json", b'{"a":' * 200_000),
        ("application/json", b"9" * 100_000),
        ("application/json", b'"' + MAIL.replace(b"\r\n", b" ").replace(b'"', b"") + b'"'),
        ("application/json", b"\xff\xfe\x00"),
        ("application/json", b'{"RawEmail": 7, "raw": null, "email": ["x"]}'),
        ("application/json", b'{"TextBody": "Hello", "From": "ana@b.example"}'),
        ("application/json", b'{"raw_base64": "***"}'),
        ("application/json", '{"raw_base64": "é"}'.encode()),
        ("application/x-www-form-urlencoded", b""),
        ("application/x-www-form-urlencoded", b"a=1&" * 1_000 + b"email=x"),
        ("application/x-www-form-urlencoded", urlencode({"body-plain": "Hello"}).encode()),
        ("multipart/form-data", form(("email", MAIL))),
        ("multipart/form-data; boundary=", form(("email", MAIL))),
        ("multipart/form-data; boundary=other", form(("email", MAIL))),
        (MULTIPART, form(("email", MAIL))[:-8]),
        (MULTIPART, form(*[("a", b"")] * 500, ("email", MAIL))),
        (MULTIPART, form(("text", b"Hello"))),
        (MULTIPART, b'--xYzZY\r\nContent-Disposition: form-data; name="email"' + b" " * 10_000 + b"\r\n\r\nx\r\n--xYzZY--"),
        (MULTIPART, b"--xYzZY\r\n--xYzZY--"),
    ],
)  # fmt: skip
def test_what_holds_no_raw_mail_is_refused_with_words(content_type: str, body: bytes) -> None:
    with pytest.raises(NoMail, match=r"raw|JSON|boundary|fields|form"):
        mail_within(content_type, body)


@given(
    st.sampled_from(["application/json", "application/x-www-form-urlencoded", MULTIPART, "multipart/form-data; boundary=-"]),
    st.binary(max_size=300) | st.text(alphabet='{}[]":,\\ud8raw_base64email&=%--xYzZY\r\n', max_size=300).map(str.encode),
)  # fmt: skip
def test_whatever_is_posted_holds_a_mail_or_is_refused(content_type: str, body: bytes) -> None:
    with contextlib.suppress(NoMail):
        assert mail_within(content_type, body).mail
