"""TLS to the mail server: always verified, with credentials as the URL says."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from bot.channels.email import Server, SmtpEmailChannel
from bot.clock import ManualClock
from bot.errors import TransientChannelError
from tests.conftest import NOW
from tests.contract.test_channels import MESSAGE, identity
from tests.exchanging import ByExchange
from tests.peers import missing_peer
from tests.peers.mail import mail_sink


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that only we trust, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing_peer("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]  # fmt: skip
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def speaking_tls(certificate: tuple[Path, Path], users: dict[str, str]) -> dict[str, Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        known = isinstance(given, LoginPassword) and users.get(given.login.decode()) == given.password.decode()
        return AuthResult(success=known, handled=False)

    return {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": authenticate}


def channel(port: int, credentials: str, trust: Path | None) -> SmtpEmailChannel:
    server = Server.from_url(f"smtp+starttls://{credentials}@localhost:{port}")
    tls = ssl.create_default_context(cafile=str(trust)) if trust else None
    return SmtpEmailChannel(server, identity(), ManualClock(NOW), tls=tls)


def test_a_mail_leaves_over_verified_tls_with_the_urls_credentials(certificate: tuple[Path, Path]) -> None:
    with mail_sink(**speaking_tls(certificate, {"care@shop.example": "p/s:s"})) as sink:
        sending = channel(sink.port, "care%40shop.example:p%2Fs%3As", certificate[0])
        assert sending.connected() is True
        sending.send(MESSAGE)
        sending.close()
        assert sink.keys() == ["outreach:1:1"]


def test_many_mails_leave_over_tls_driven_by_one_thread(certificate: tuple[Path, Path]) -> None:
    with mail_sink(**speaking_tls(certificate, {"u": "p"})) as sink:
        sending = channel(sink.port, "u:p", certificate[0])
        driven = ByExchange(sending)
        for number in range(3):
            driven.send(replace(MESSAGE, key=f"outreach:{number}:1", text="Many words. " * 20_000))
        sending.close()
        assert (sink.keys(), sink.sessions) == ([f"outreach:{number}:1" for number in range(3)], 2)  # before and in TLS


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: tuple[Path, Path]) -> None:
    with mail_sink(**speaking_tls(certificate, {"u": "p"})) as sink:
        sending = channel(sink.port, "u:p", None)
        with pytest.raises(TransientChannelError, match="certificate"):
            sending.send(MESSAGE)
        assert sending.connected() is False
        assert sink.accepted == []


def test_wrong_credentials_are_named_without_being_shown_and_blame_no_customer(certificate: tuple[Path, Path]) -> None:
    with mail_sink(**speaking_tls(certificate, {"u": "right"})) as sink:
        sending = channel(sink.port, "u:secret-but-wrong", certificate[0])
        with pytest.raises(TransientChannelError, match="refused the user or password") as caught:
            sending.send(MESSAGE)
        assert "secret" not in str(caught.value)
