"""Whatever octets arrive, each mail ends as done or set aside, nobody unproven is believed, and the next one is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.services.mail.mailroom import mail_key
from bot.store.database import Database
from tests.integration.mail_world import MailWorld

quick = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


class Silent:
    """Stands where the dialogue does: what it would say is not asked for here."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def receive(self, inbound: object) -> None:
        self.heard.append(inbound)


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailWorld:
    made = MailWorld(sqlite_database, tmp_path, monkeypatch)
    _, mail = made.send()
    made.mailroom = made.new_mailroom(conversations=Silent)
    made.real = [made.reply(mail, "hello"), made.bounce(mail), made.complaint(mail), made.reply(mail, "STOP")]  # type: ignore[attr-defined]
    return made


@st.composite
def spoiled(draw: st.DrawFn, real: list[bytes]) -> bytes:
    """One of our real mails with pieces cut out, doubled, swapped with another's, or overwritten."""
    content = bytearray(draw(st.sampled_from(real)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.integers(0, 200))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            del content[start : start + length]
        elif kind == 1:
            content[start:start] = content[start : start + length]
        elif kind == 2:
            content[start:start] = draw(st.binary(max_size=50))
        else:
            other = draw(st.sampled_from(real))
            content[start:] = other[start:]
    return bytes(content)


@quick
@given(data=st.data())
def test_no_mail_breaks_the_mailroom(world: MailWorld, data: st.DataObject) -> None:
    real: list[bytes] = world.real  # type: ignore[attr-defined]
    content = data.draw(st.one_of(spoiled(real), st.binary(max_size=2_000)))
    report = world.arrive(content)
    assert report.postponed == 0
    rows = world.rows("mails")
    assert {row.state for row in rows} <= {"done", "failed"}
    assert all((row.effect is None) == (row.state == "failed") for row in rows)
    assert not any("broke" in (row.error or "") for row in rows), rows[-1].error


@quick
@given(data=st.data())
def test_traces_and_line_breaks_do_not_make_another_mail_but_words_do(world: MailWorld, data: st.DataObject) -> None:
    content: bytes = data.draw(st.sampled_from(world.real))  # type: ignore[attr-defined]
    name = data.draw(st.sampled_from([b"Received", b"Delivered-To", b"Return-Path", b"X-Spam-Score", b"ARC-Seal"]))
    trace = name + b": " + data.draw(st.text("abc <>@;=\t", max_size=60)).encode() + b"\r\n folded\r\n"
    assert mail_key(trace + content) == mail_key(content) == mail_key(content.replace(b"\r\n", b"\n"))
    head, _, body = content.partition(b"\r\n\r\n")
    where = data.draw(st.integers(0, len(body.rstrip()) - 1))
    letter = bytes([body[where] ^ 1]) if body[where : where + 1].isalnum() else b"Q"
    assert mail_key(head + b"\r\n\r\n" + body[:where] + letter + body[where:]) != mail_key(content)
    assert mail_key(content.replace(b"From: ", b"From: x", 1)) != mail_key(content)
