"""The door for posted mails: signed, fresh and once, and recorded before it is answered."""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from bot.clock import ManualClock
from bot.services.mail.opting_out import OptOutDesk
from bot.store.database import Database
from bot.web.app import build_app
from bot.web.mail_hook import MailHook
from bot.web.server import WebServer
from tests.integration.mail_world import MailWorld
from tests.peers import missing_peer

HOOK_SECRET = "s" * 32


def signed(body: bytes, clock: ManualClock, secret: str = HOOK_SECRET, **changed: str) -> dict[str, str]:
    timestamp = changed.get("timestamp") or str(int(clock.now().timestamp()))
    digest = hmac.new(secret.encode(), b"v1:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {"X-Aftercare-Timestamp": timestamp, "X-Aftercare-Signature": f"v1={digest}"}
    return {**headers, "Content-Type": "message/rfc822"}


class Door:
    """A mail world behind a real web server."""

    def __init__(self, world: MailWorld, url: str) -> None:
        self.world = world
        self.url = url

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> int:
        given = signed(body, self.world.clock) if headers is None else headers
        return httpx.post(f"{self.url}/hooks/mail", content=body, headers=given).status_code

    def recorded(self) -> int:
        return len(self.world.rows("mails"))


def serve(world: MailWorld, hook: MailHook | None) -> WebServer:
    desk = OptOutDesk(world.database, world.clock, world.signer)
    return WebServer(
        build_app(checks=list, opt_out=desk, shop_name="Kehrwerk", locale="en", mail_hook=hook), "127.0.0.1", 0
    )


@pytest.fixture
def door(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    world = MailWorld(database, tmp_path, monkeypatch)
    server = serve(world, MailHook(HOOK_SECRET, world.mailroom.take_posted, world.clock))
    yield Door(world, server.start())
    server.stop()


def test_a_signed_mail_is_recorded_then_answered_then_worked_on(door: Door) -> None:
    _, mail = door.world.send()
    assert door.post(door.world.reply(mail, "STOP")) == 200
    assert [(row.source, row.state) for row in door.world.rows("mails")] == [("hook", "received")]
    door.world.mailroom.work()
    assert door.world.effects() == ["opted_out"]


def test_the_same_request_again_is_refused_and_the_same_mail_signed_anew_has_no_second_effect(door: Door) -> None:
    _, mail = door.world.send()
    body = door.world.reply(mail, "STOP")
    headers = signed(body, door.world.clock)
    assert [door.post(body, headers), door.post(body, headers)] == [200, 401]
    door.world.clock.advance(timedelta(seconds=2))
    assert door.post(body) == 200  # whoever did not hear our answer may try again
    assert door.recorded() == 1
    door.world.mailroom.work()
    assert len(door.world.said()) == 1


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_request_of_another_time_is_refused(door: Door, seconds: int) -> None:
    body = b"From: a@b.example\r\n\r\nhello"
    timestamp = str(int((door.world.clock.now() + timedelta(seconds=seconds)).timestamp()))
    assert door.post(body, signed(body, door.world.clock, timestamp=timestamp)) == 401
    assert door.recorded() == 0


def test_what_we_did_not_sign_is_refused(door: Door) -> None:
    body = b"From: a@b.example\r\n\r\nhello"
    good = signed(body, door.world.clock)
    bad = [
        signed(body, door.world.clock, secret="another"),
        signed(body + b"!", door.world.clock),
        {**good, "X-Aftercare-Timestamp": str(int(good["X-Aftercare-Timestamp"]) + 1)},
        {**good, "X-Aftercare-Signature": good["X-Aftercare-Signature"].removeprefix("v1=")},
        {**good, "X-Aftercare-Signature": "v0" + good["X-Aftercare-Signature"][2:]},
        {**good, "X-Aftercare-Timestamp": "9" * 5000},
        {**good, "X-Aftercare-Timestamp": "now"},
        {"Content-Type": "message/rfc822"},
    ]
    assert [door.post(body, headers) for headers in bad] == [401] * len(bad)
    assert door.recorded() == 0
    assert door.post(body, good) == 200


def test_a_large_body_is_refused_before_it_was_read(door: Door) -> None:
    read = []

    def endless() -> Iterator[bytes]:
        for number in range(64):
            read.append(number)
            yield b"x" * 65536

    headers = signed(b"", door.world.clock)
    with httpx.Client() as client:
        answer = client.post(f"{door.url}/hooks/mail", content=b"x" * (1024 * 1024 + 1), headers=headers)
        assert answer.status_code == 413
        try:
            assert client.post(f"{door.url}/hooks/mail", content=endless(), headers=headers).status_code == 413
        except httpx.WriteError:
            assert len(read) < 64  # the line was closed on us
    assert door.recorded() == 0


def test_what_is_no_mail_is_refused_by_its_type(door: Door) -> None:
    body = b"From: a@b.example\r\n\r\nhello"
    headers = {**signed(body, door.world.clock), "Content-Type": "multipart/form-data; boundary=x"}
    assert door.post(body, headers) == 415
    assert door.post(b"", signed(b"", door.world.clock)) == 200  # signed, and set aside when it is read
    assert door.world.mailroom.work().quarantined == 1


def test_without_a_secret_there_is_no_door(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = MailWorld(sqlite_database, tmp_path, monkeypatch)
    server = serve(world, None)
    try:
        assert Door(world, server.start()).post(b"From: a@b.example\r\n\r\nhello") == 404
    finally:
        server.stop()


def test_a_database_that_is_away_is_an_error_and_the_same_request_counts_afterwards(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"From: a@b.example\r\n\r\nhello"
    headers = signed(body, door.world.clock)
    with monkeypatch.context() as patched:
        patched.setattr(type(door.world.mailroom), "_record", lambda *_: 1 // 0)
        assert door.post(body, headers) == 500
    assert door.post(body, headers) == 200


def test_signatures_are_forgotten_once_they_are_too_old_to_count(door: Door) -> None:
    assert door.post(b"From: a@b.example\r\n\r\nhello") == 200
    assert len(door.world.rows("events")) == 1
    door.world.mailroom.forget()
    assert len(door.world.rows("events")) == 1
    door.world.clock.advance(timedelta(days=2))
    door.world.mailroom.forget()
    assert door.world.rows("events") == []


def test_the_documented_script_posts_a_mail(door: Door, tmp_path: Path) -> None:
    if shutil.which("openssl") is None or shutil.which("curl") is None:
        missing_peer("openssl and curl are needed: run `apt-get install openssl curl`")
    page = (Path(__file__).parents[2] / "docs/how-to/receive-mail.md").read_text("utf-8")
    script, secret = tmp_path / "post-mail", tmp_path / "secret"
    script.write_text(page.partition("```sh\n")[2].partition("```")[0], "utf-8")
    secret.write_text(HOOK_SECRET + "\n", "utf-8")
    door.world.clock.set(datetime.now(UTC))  # the script signs by the machine's own time
    url = f"{door.url}/hooks/mail"

    def post(content: bytes) -> int:
        environ = {**os.environ, "SECRET_FILE": str(secret), "HOOK_URL": url, "no_proxy": "127.0.0.1"}
        return subprocess.run(["sh", script], input=content, env=environ, capture_output=True, check=False).returncode

    assert post("From: a@b.example\nSubject: Grüße\n\nhello\0\r\n".encode()) == 0
    assert door.recorded() == 1
    secret.write_text("another", "utf-8")
    assert post(b"From: a@b.example\n\nhello") == 75
    assert door.recorded() == 1
