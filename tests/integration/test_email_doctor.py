"""`aftercare doctor email` goes as far as one can without sending, says what to mend, and what to publish."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.cli import run
from bot.commands import email_checks
from tests.integration.test_smtp_tls import certificate, speaking_tls
from tests.peers import free_port
from tests.peers.dovecot import dovecot
from tests.peers.mail import MailSink, mail_sink
from tests.unit.test_mail_signing import rsa, verifies

__all__ = ["certificate"]


class Doctor:
    """Asks the doctor about one SMTP_URL."""

    def __init__(self, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.config, self.monkeypatch, self.capsys = config, monkeypatch, capsys

    def configure(self, email: str, web: str = "") -> None:
        """Write settings of the section `email` over the usual ones."""
        usual = "" if "from:" in email else "from: care@shop.example, "
        self.config.write_text(f"email: {{enabled: true, {usual}{email}}}\nweb: {{{web}}}\n", encoding="utf-8")

    def __call__(self, url: str) -> tuple[int, str]:
        self.monkeypatch.setenv("SMTP_URL", url)
        status, found = self._look()
        assert (found["SMTP_URL"]["state"] == "ok") == (status == 0)
        return status, found["SMTP_URL"]["detail"]

    def found(self, url: str, *options: str, status: int | None = None) -> dict[str, dict[str, Any]]:
        """Return what was found, by name."""
        self.monkeypatch.setenv("SMTP_URL", url)
        ended, found = self._look(*options)
        failed = any(one["state"] == "fail" for one in found.values())
        assert ended == (int(failed) if status is None else status), found
        return found

    def _look(self, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
        self.capsys.readouterr()
        status = run(["doctor", "email", *options, "--json", "--config", str(self.config)])
        lines = [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]
        return status, {line["name"]: line for line in lines}


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    config = tmp_path / "config.yaml"
    monkeypatch.setenv("AFTERCARE_SECRET_KEY", "k" * 40)
    made = Doctor(config, monkeypatch, capsys)
    made.configure("")
    return made


@pytest.fixture
def plain() -> Iterator[MailSink]:
    with mail_sink() as sink:
        yield sink


def test_a_server_that_answers_is_fine_and_gets_no_mail(doctor: Doctor, plain: MailSink) -> None:
    status, said = doctor(plain.url)
    assert (status, said) == (0, f"127.0.0.1:{plain.port} answers without TLS, on this machine, without a login")
    assert plain.sessions == 1
    assert plain.commands == plain.accepted == []


def test_tls_and_login_are_proved(
    doctor: Doctor, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_sink(**speaking_tls(certificate, {"u": "right"})) as sink:
        status, said = doctor(f"smtp+starttls://u:right@localhost:{sink.port}")
        assert status == 1
        assert "certificate" in said
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        status, said = doctor(f"smtp+starttls://u:right@localhost:{sink.port}")
        assert (status, said) == (0, f"localhost:{sink.port} answers with STARTTLS, verified, logged in")
        status, said = doctor(f"smtp+starttls://u:secret-but-wrong@localhost:{sink.port}")
        assert status == 1
        assert "refused the user or password" in said
        assert "secret" not in said
        status, said = doctor(f"smtp+starttls://u:right@127.0.0.1:{sink.port}")
        assert status == 1
        assert "certificate" in said  # it is made for localhost
        assert sink.accepted == []


@pytest.mark.parametrize(
    ("scheme", "credentials", "advice"),
    [
        ("smtp+starttls", "", "offers no STARTTLS"),
        ("smtps", "", "does not speak the TLS"),
        ("smtp", "u:p@", "offers no login"),
    ],
)
def test_what_the_server_lacks_is_named(
    doctor: Doctor, plain: MailSink, scheme: str, credentials: str, advice: str
) -> None:
    status, said = doctor(f"{scheme}://{credentials}127.0.0.1:{plain.port}")
    assert status == 1
    assert advice in said


def test_a_port_where_nobody_listens_a_host_that_is_none_and_silence_are_told_apart(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "nothing listens" in doctor(f"smtp://127.0.0.1:{free_port()}")[1]

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        assert "there is no host" in doctor("smtps://mail.shop.example")[1]
    monkeypatch.setattr(email_checks, "REACH_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        status, said = doctor(f"smtp://127.0.0.1:{silent.getsockname()[1]}")
    assert status == 1
    assert "does not answer" in said


# --- The mailbox ------------------------------------------------------------------------------------------------------


def test_the_mailbox_is_opened_over_verified_tls_and_left_as_it_was(
    doctor: Doctor, plain: MailSink, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with dovecot(certificate) as server:
        server.deliver("care@shop.test", b"Subject: hello\r\n\r\nunread\r\n")
        monkeypatch.setenv("IMAP_URL", server.url("care@shop.test", tls=True))
        assert "certificate" in doctor.found(plain.url)["IMAP_URL"]["detail"]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        found = doctor.found(plain.url)["IMAP_URL"]
        assert (found["state"], found["detail"]) == (
            "ok",
            f"localhost:{server.imaps_port} answers with TLS, verified, logged in, INBOX opens, IDLE is offered",
        )
        assert server.mails("care@shop.test")
        assert list(server.folder.glob("mail/**/new/*"))  # nobody has seen it yet
        monkeypatch.setenv("IMAP_URL", server.url("care@shop.test").replace("open-sesame", "secret-but-wrong"))
        found = doctor.found(plain.url)["IMAP_URL"]
        assert found["state"] == "fail"
        assert "refuses the login" in found["detail"]
        assert "secret" not in found["detail"]
        monkeypatch.setenv("IMAP_URL", server.url("care@shop.test"))
        doctor.configure("mailbox: Nowhere")
        found = doctor.found(plain.url)["IMAP_URL"]
        assert (found["state"], "no folder Nowhere" in found["detail"]) == ("fail", True)


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    """Serve on loopback; yield the port."""
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]  # type: ignore[index]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class OldImap(socketserver.StreamRequestHandler):
    """A mailbox of the time before IDLE."""

    def handle(self) -> None:
        self.wfile.write(b"* OK ready\r\n")
        for line in self.rfile:
            tag, command = line.split()[:2]
            if command == b"CAPABILITY":
                self.wfile.write(b"* CAPABILITY IMAP4REV1\r\n")
            self.wfile.write(tag + b" OK done\r\n")


def test_a_mailbox_without_idle_works_with_a_warning_and_an_absent_one_fails(
    doctor: Doctor, plain: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.found(plain.url)["IMAP_URL"]["state"] == "warn"  # none is named
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), OldImap)) as port:
        monkeypatch.setenv("IMAP_URL", f"imap://u:p@127.0.0.1:{port}")
        found = doctor.found(plain.url)["IMAP_URL"]
        assert (found["state"], "no IDLE" in found["detail"]) == ("warn", True)
    monkeypatch.setenv("IMAP_URL", f"imap://u:p@127.0.0.1:{free_port()}")
    assert "cannot be reached" in doctor.found(plain.url, status=1)["IMAP_URL"]["detail"]


# --- Keys, links and the test mail --------------------------------------------------------------------------------------


def test_a_key_that_cannot_be_used_fails_and_one_that_nothing_names_is_told(
    doctor: Doctor, plain: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERCARE_DKIM_KEY", rsa(1024))
    assert doctor.found(plain.url)["email.dkim_selector"]["state"] == "warn"
    doctor.configure("dkim_selector: care1")
    found = doctor.found(plain.url, status=1)["AFTERCARE_DKIM_KEY"]
    assert (found["state"], "1024 bits" in found["detail"]) == ("fail", True)


@pytest.mark.parametrize(
    ("base_url", "state"),
    [
        ("https://care.teeladen.de", "ok"),
        ("http://care.teeladen.de", "warn"),
        ("https://care.shop.example", "warn"),
        ("https://localhost", "warn"),
        ("https://10.0.0.7:8443", "warn"),
        ("https://shop.internal", "warn"),
        ("https://[::1]", "warn"),
    ],
)
def test_an_opt_out_link_that_customers_cannot_reach_is_named(
    doctor: Doctor, plain: MailSink, base_url: str, state: str
) -> None:
    doctor.configure("", web=f"base_url: '{base_url}'")
    assert doctor.found(plain.url)["web.base_url"]["state"] == state


def test_a_test_mail_is_sent_when_asked_for_and_verifies(
    doctor: Doctor, plain: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor.configure("dkim_selector: care1")
    monkeypatch.setenv("AFTERCARE_DKIM_KEY", rsa())
    assert "test mail" not in doctor.found(plain.url)
    assert plain.accepted == []
    found = doctor.found(plain.url, "--send")["test mail"]
    assert found["state"] == "ok"
    (taken,) = plain.accepted
    assert taken.recipients == ("care@shop.example",)
    assert verifies(taken.content, rsa())
    assert "header.d=shop.example" in taken.mail.get_content()
    plain.data_reply = "554 5.7.1 no"
    assert doctor.found(plain.url, "--send", status=1)["test mail"]["state"] == "fail"
    assert run(["doctor", "--send", "--config", str(doctor.config)]) == 2
