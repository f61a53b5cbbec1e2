"""The door for posted mails: signed, fresh and once, and recorded before it is answered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

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


def password(secret: str = HOOK_SECRET) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'aftercare:{secret}'.encode()).decode()}"}


def mailgun(mail: bytes, clock: ManualClock, secret: str = HOOK_SECRET, **changed: str) -> bytes:
    fields = {"timestamp": str(int(clock.now().timestamp())), "token": "a" * 50, **changed}
    proof = hmac.new(secret.encode(), f"{fields['timestamp']}{fields['token']}".encode(), hashlib.sha256).hexdigest()
    return urlencode({"recipient": "x", "signature": proof, "body-mime": mail, **fields}).encode()


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_a_mail_in_a_providers_json_is_taken_by_password(door: Door) -> None:
    _, mail = door.world.send()
    posted = json.dumps({"RawEmail": door.world.reply(mail, "STOP").decode(), "TextBody": "STOP"}).encode()
    headers = {"Content-Type": "application/json", **password()}
    assert [door.post(posted, headers), door.post(posted, headers)] == [200, 200]  # a provider's second attempt
    assert door.recorded() == 1
    door.world.mailroom.work()
    assert door.world.effects() == ["opted_out"]


def test_a_signed_form_is_taken_once_and_for_five_minutes(door: Door) -> None:
    _, mail = door.world.send()
    posted = mailgun(door.world.reply(mail, "STOP"), door.world.clock)
    other = mailgun(b"From: eve@b.example\r\n\r\nother words, the same proof", door.world.clock)
    assert [door.post(posted, FORM), door.post(posted, FORM), door.post(other, FORM)] == [200, 401, 401]
    assert door.recorded() == 1
    late = mailgun(b"From: a@b.example\r\n\r\nhello", door.world.clock, token="b" * 50)
    door.world.clock.advance(timedelta(seconds=301))
    assert door.post(late, FORM) == 401


def test_what_is_neither_signed_nor_knows_the_password_is_refused(door: Door) -> None:
    mail, clock = b"From: a@b.example\r\n\r\nhello", door.world.clock
    posted = json.dumps({"RawEmail": mail.decode()}).encode()
    kind = {"Content-Type": "application/json"}
    refused = [
        (posted, kind),
        (posted, {**kind, **password("another")}),
        (posted, {**kind, **password("")}),
        (posted, {**kind, "Authorization": f"Bearer {HOOK_SECRET}"}),
        (posted, {**kind, "Authorization": f"Basic {HOOK_SECRET}"}),
        (posted, {**kind, "Authorization": b"Basic \xc3\xa9"}),
        (posted, {**kind, "Authorization": "Basic"}),
        (mailgun(mail, clock, secret="another"), FORM),
        (mailgun(mail, clock, signature=""), FORM),
        (mailgun(mail, clock, signature="\u00e9"), FORM),
        (mailgun(mail, clock, token=""), FORM),
        (mailgun(mail, clock, timestamp="now"), FORM),
        (urlencode({"body-mime": mail}).encode(), FORM),
        (b"", FORM),
    ]
    assert [door.post(body, headers) for body, headers in refused] == [401] * len(refused)
    assert door.recorded() == 0


def test_a_form_without_a_raw_mail_says_what_to_switch_on(door: Door) -> None:
    headers = {"Content-Type": "application/json", **password()}
    answer = httpx.post(f"{door.url}/hooks/mail", content=b'{"TextBody": "hello"}', headers=headers)
    assert (answer.status_code, "RawEmail" in answer.text) == (415, True)


def test_a_mail_that_is_too_large_within_a_form_is_refused(door: Door) -> None:
    large = json.dumps({"RawEmail": "x" * (1024 * 1024 + 1)}).encode()
    assert door.post(large, {"Content-Type": "application/json", **password()}) == 413
    assert door.post(b"x" * (4 * 1024 * 1024 + 1), {"Content-Type": "application/json", **password()}) == 413
    assert door.recorded() == 0


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
