"""`aftercare doctor email` goes as far as one can without sending, and says what to mend."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.cli import run
from bot.commands import checks
from tests.integration.test_smtp_tls import certificate, speaking_tls
from tests.peers import free_port
from tests.peers.mail import MailSink, mail_sink

__all__ = ["certificate"]


class Doctor:
    """Asks the doctor about one SMTP_URL."""

    def __init__(self, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.config, self.monkeypatch, self.capsys = config, monkeypatch, capsys

    def __call__(self, url: str) -> tuple[int, str]:
        self.monkeypatch.setenv("SMTP_URL", url)
        status = run(["doctor", "email", "--json", "--config", str(self.config)])
        lines = map(json.loads, self.capsys.readouterr().out.splitlines())
        (finding,) = [line for line in lines if line["name"] == "SMTP_URL"]
        assert (finding["state"] == "ok") == (status == 0)
        return status, finding["detail"]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    config = tmp_path / "config.yaml"
    config.write_text("email: {enabled: true, from: care@shop.example}\n", encoding="utf-8")
    monkeypatch.setenv("AFTERCARE_SECRET_KEY", "k" * 40)
    return Doctor(config, monkeypatch, capsys)


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
    monkeypatch.setattr(checks, "REACH_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        status, said = doctor(f"smtp://127.0.0.1:{silent.getsockname()[1]}")
    assert status == 1
    assert "does not answer" in said
