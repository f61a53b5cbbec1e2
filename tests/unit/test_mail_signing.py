"""A signed mail verifies, survives what relays may do to it, and breaks where anybody changes what it says."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.header import decode_header, make_header
from functools import cache
from pathlib import Path

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels.email import OutboxEmailChannel, Server, SmtpEmailChannel, compose
from bot.channels.email.keys import read_private_key
from bot.channels.email.message import headers_on_the_wire, wire
from bot.channels.email.signing import COVERED, SEALED, DkimSigner
from bot.clock import ManualClock
from bot.config import load_settings
from bot.errors import ConfigurationError
from bot.wiring import App
from tests.conftest import NOW
from tests.peers import missing_peer
from tests.peers.mail import mail_sink
from tests.unit.test_email_message import IDENTITY, MESSAGE

CRLF = b"\r\n"
needs_ed25519 = pytest.mark.skipif(
    importlib.util.find_spec("cryptography") is None or importlib.util.find_spec("nacl") is None,
    reason="Ed25519 needs cryptography to sign and PyNaCl to verify",
)
# One mail in which every covered header stands.
COMPLETE = replace(MESSAGE, html=None, in_reply_to="<b@x.example>", references=("<a@x.example>", "<b@x.example>"))


@cache
def made_by_openssl(*arguments: str, given: str | None = None) -> str:
    """A key, made or turned into another form; each once a run, because RSA takes its time."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing_peer("no openssl to make a key with")
    done = subprocess.run([openssl, *arguments], input=given, check=True, capture_output=True, text=True)
    return done.stdout


def rsa(bits: int = 2048) -> str:
    return made_by_openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}")


def ed25519() -> str:
    return made_by_openssl("genpkey", "-algorithm", "ed25519")


def signer(key: str) -> DkimSigner:
    return DkimSigner(domain="shop.example", selector="care1", key=key, clock=ManualClock(NOW))


def verifies(content: bytes, key: str) -> bool:
    """Verify by dkimpy, with the public key that OpenSSL derives, at the name where receivers look."""
    der = base64.b64decode("".join(made_by_openssl("pkey", "-pubout", given=key).splitlines()[1:-1]))
    kind, public = ("rsa", der) if len(der) > 100 else ("ed25519", der[-32:])
    record = f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}".encode()
    return bool(
        dkim.verify(
            content, dnsfunc=lambda name, timeout: record if name == b"care1._domainkey.shop.example." else None
        )
    )


def signed(message: object = COMPLETE, key: str | None = None) -> bytes:
    identity = replace(IDENTITY, dkim=signer(key or rsa()))
    return wire(compose(message, identity, NOW), identity)  # type: ignore[arg-type]


def fields(content: bytes) -> tuple[list[bytes], bytes]:
    """Split a mail into its header fields, folds included, and the rest."""
    head, _, body = content.partition(CRLF * 2)
    return re.split(rb"\r\n(?![ \t])", head), body


def joined(found: list[bytes], body: bytes) -> bytes:
    return CRLF.join(found) + CRLF * 2 + body


def named(field: bytes, name: str) -> bool:
    return field.lower().startswith(f"{name}:".encode())


# --- It verifies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [rsa, pytest.param(ed25519, marks=needs_ed25519)])
def test_a_signed_mail_verifies_and_says_what_we_mean(key: Callable[[], str]) -> None:
    content = signed(key=key())
    assert verifies(content, key())
    signature = re.sub(rb"\s+", b"", fields(content)[0][0]).decode()
    assert signature.startswith("DKIM-Signature:v=1;a=")
    tags = dict(tag.split("=", 1) for tag in signature.partition(":")[2].split(";"))
    assert (tags["c"], tags["d"], tags["s"]) == ("relaxed/relaxed", "shop.example", "care1")
    assert tags["t"] == str(int(NOW.timestamp()))
    assert "l" not in tags  # words could be added below a mail whose length is signed
    assert set(tags["h"].split(":")) == set(COVERED)
    assert all(tags["h"].split(":").count(name) == 2 for name in SEALED)
    assert max(map(len, content.split(CRLF))) <= 998


def test_without_a_key_nothing_is_added() -> None:
    mail = compose(COMPLETE, IDENTITY, NOW)
    assert b"DKIM-Signature" not in wire(mail, IDENTITY)
    assert headers_on_the_wire(mail, IDENTITY) == list(mail.headers.items())


def test_whoever_looks_at_a_mail_beforehand_sees_the_signature_that_leaves() -> None:
    identity = replace(IDENTITY, dkim=signer(rsa()))
    mail = compose(COMPLETE, identity, NOW)
    (name, value), *others = headers_on_the_wire(mail, identity)
    leaves = fields(wire(mail, identity))[0][0].decode()
    assert f"{name}: {value}" == " ".join(leaves.split())
    assert others == headers_on_the_wire(mail, IDENTITY)


def test_a_signer_serves_many_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(signer(rsa()).sign, [wire(compose(COMPLETE, IDENTITY, NOW), IDENTITY)] * 12))) == 1


@settings(max_examples=60)
@given(name=st.text(max_size=120), subject=st.text(max_size=300), text=st.text(max_size=300))
def test_whatever_stands_in_name_subject_and_words_verifies(name: str, subject: str, text: str) -> None:
    identity = replace(IDENTITY, name=name, dkim=signer(rsa()))
    message = replace(MESSAGE, subject=subject, text=f"Hello\n{text}", html=f"<p>{text}</p>")
    assert verifies(wire(compose(message, identity, NOW), identity), rsa())


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Ihr Paket ist verspätet – wir kümmern uns", "Grüße\n.\n..\n.Punkt am Anfang\n\n\nÄÖÜ ß"),
        ("ご注文の商品について" * 12, "お届けが遅れています。\n" * 40),
        ("🎁 " * 60, "trailing spaces   \n\ttab\n" + "long " * 500),
    ],
)
def test_a_mail_of_any_script_verifies_after_a_real_server_took_it(subject: str, text: str, tmp_path: Path) -> None:
    message = replace(MESSAGE, subject=subject, text=text, html=f"<p>{text}</p>")
    identity = replace(IDENTITY, dkim=signer(rsa()))
    with mail_sink() as sink:
        channel = SmtpEmailChannel(Server.from_url(sink.url), identity, ManualClock(NOW))
        channel.send(message)
        channel.close()
        (taken,) = sink.accepted
    assert verifies(taken.content, rsa())
    assert str(make_header(decode_header(taken.mail["Subject"]))) == subject.strip()
    OutboxEmailChannel(tmp_path, identity, ManualClock(NOW)).send(message)
    (file,) = tmp_path.iterdir()
    assert verifies(file.read_bytes(), rsa())


# --- It survives relays, and breaks where it must -----------------------------------------------------------------


def test_what_relays_may_do_does_not_break_it() -> None:
    found, body = fields(signed(replace(COMPLETE, references=tuple(f"<{'r' * 60}{i}@x.example>" for i in range(9)))))
    relayed = [b"Received: from a by b; Tue, 10 Mar 2026 12:00:01 +0000", b"Feedback-ID: theirs", *found]
    refolded = [
        re.sub(rb"\r\n[ \t]+", b" ", field).replace(b"> <", b">\r\n\t <") if named(field, "references") else field
        for field in relayed
    ]
    assert refolded != relayed
    assert verifies(joined(refolded, body + CRLF * 3), rsa())


@pytest.mark.parametrize("name", COVERED)
def test_a_covered_header_that_is_altered_or_removed_breaks_it(name: str) -> None:
    content = signed()
    found, body = fields(content)
    assert verifies(joined(found, body), rsa())
    (place,) = [index for index, field in enumerate(found) if named(field, name)]
    altered = [*found[:place], found[place][:-1] + bytes([found[place][-1] ^ 1]), *found[place + 1 :]]
    assert altered[place] != found[place]
    assert not verifies(joined(altered, body), rsa())
    assert not verifies(joined(found[:place] + found[place + 1 :], body), rsa())
    assert not verifies(joined([*found, found[place] + b"x"], body), rsa())


def test_list_unsubscribe_cannot_be_led_elsewhere() -> None:
    content = signed()
    assert b"https://care.shop.example/u/" in content
    assert not verifies(content.replace(b"https://care.shop.example/u/", b"https://evil.example/u/"), rsa())


@pytest.mark.parametrize("name", sorted(SEALED))
def test_a_sealed_header_cannot_be_added_above_either(name: str) -> None:
    found, body = fields(signed())
    (own,) = [field for field in found if named(field, name)]
    assert not verifies(joined([found[0], own + b"x", *found[1:]], body), rsa())


def test_a_header_that_is_not_there_cannot_be_added_where_it_is_sealed() -> None:
    found, body = fields(signed(replace(COMPLETE, proactive=False)))
    assert not any(named(field, "list-unsubscribe") for field in found)
    assert verifies(joined(found, body), rsa())
    for added in (b"List-Unsubscribe: <https://evil.example/>", b"List-Unsubscribe-Post: List-Unsubscribe=One-Click"):
        assert not verifies(joined([*found, added], body), rsa())


def test_an_altered_or_longer_body_breaks_it() -> None:
    content = signed()
    assert not verifies(content.replace(b"it is late", b"it is lost"), rsa())
    assert not verifies(content + b"P.S. call 0900\r\n", rsa())


# --- Keys ---------------------------------------------------------------------------------------------------------


def test_a_key_is_read_in_every_form_in_which_environments_keep_it() -> None:
    pem = rsa()
    forms = [
        pem.replace("\n", "\r\n"),
        pem.strip().replace("\n", "\\n"),
        f"\n  {pem}\n",
        made_by_openssl("rsa", "-traditional", given=pem),
    ]
    assert "BEGIN RSA PRIVATE KEY" in forms[-1]
    published = made_by_openssl("pkey", "-pubout", given=pem).splitlines()[1:-1]
    for form in forms:
        assert base64.b64encode(read_private_key(form).public).decode() == "".join(published)


@needs_ed25519
def test_an_ed25519_key_is_read_as_pem_and_as_dkimpy_writes_it() -> None:
    der = base64.b64decode(ed25519().splitlines()[1])
    seed = base64.b64encode(der[-32:]).decode()
    assert read_private_key(seed).public == read_private_key(ed25519()).public
    assert verifies(signed(key=seed), ed25519())


def overwritten(pem: str, place: int, octets: bytes) -> str:
    """The key with a few octets replaced."""
    der = bytearray(base64.b64decode("".join(pem.splitlines()[1:-1])))
    der[place : place + len(octets)] = octets
    return f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(der).decode()}\n-----END PRIVATE KEY-----"


def damaged(pem: str) -> str:
    """The key with other octets in its first prime: well-formed, and useless."""
    return overwritten(pem, len(base64.b64decode("".join(pem.splitlines()[1:-1]))) // 2 + 60, b"useless!")


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        (lambda: "not a key", "PEM"),
        (lambda: "x" * 44, "damaged|no RSA"),
        (lambda: rsa()[:800], "PEM"),
        (lambda: "\n".join(rsa().splitlines()[:3] + rsa().splitlines()[4:]), "damaged|no RSA"),
        (lambda: damaged(rsa()), "damaged|no RSA"),
        (lambda: rsa(1024), "1024 bits.*2048"),
        (lambda: made_by_openssl("pkey", "-aes128", "-passout", "pass:x", given=rsa()), "encrypted.*openssl pkey"),
        (lambda: made_by_openssl("pkey", "-pubout", given=rsa()), "public key"),
        (
            lambda: made_by_openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
            "no RSA or Ed25519",
        ),
    ],
)
def test_an_unfit_key_is_refused_with_advice_and_without_its_content(key: Callable[[], str], advice: str) -> None:
    text = key()
    with pytest.raises(ConfigurationError, match=f"AFTERCARE_DKIM_KEY: .*(?:{advice})") as refused:
        signer(text)
    assert not any(line in str(refused.value) for line in text.splitlines() if len(line) > 40)


@settings(max_examples=100)
@given(
    st.text(max_size=60)
    | st.text(min_size=44, max_size=44)
    | st.binary(max_size=200).map(
        lambda der: f"-----BEGIN KEY-----\n{base64.b64encode(der).decode()}\n-----END KEY-----"
    )
    | st.tuples(st.integers(0, 1200), st.binary(max_size=8)).map(lambda cut: overwritten(rsa(), *cut))
)
def test_whatever_is_given_for_a_key_is_a_key_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert read_private_key(text).sign(bytes(32))


def test_a_selector_that_is_no_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"email\.dkim_selector"):
        DkimSigner(domain="shop.example", selector="a b;d=evil.example", key=rsa(), clock=ManualClock(NOW))


def test_a_key_that_cannot_be_used_is_found_when_the_parts_are_put_together(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("email: {enabled: true, from: care@shop.example, outbox: out, dkim_selector: care1}\n")
    environment = {"AFTERCARE_SECRET_KEY": "k" * 40, "AFTERCARE_DKIM_KEY": "nonsense"}
    with pytest.raises(ConfigurationError, match="AFTERCARE_DKIM_KEY"):
        _ = App(load_settings(config, environment), ManualClock(NOW)).email
    sound = App(load_settings(config, {**environment, "AFTERCARE_DKIM_KEY": rsa()}), ManualClock(NOW))
    assert sound.email is not None
    sound.email.send(MESSAGE)
    (file,) = (tmp_path / "out").iterdir()
    assert verifies(file.read_bytes(), rsa())
    assert "PRIVATE" not in repr(sound.email_identity)
