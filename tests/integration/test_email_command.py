"""`aftercare email test` shows the mail that would leave, and hands it over only when asked to."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from bot.cli import run
from tests.unit.test_mail_signing import rsa


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    file = tmp_path / "config.yaml"
    file.write_text("shop: {name: Tee & Tassen}\nemail: {enabled: true, from: care@shop.example, outbox: outbox}\n")
    monkeypatch.setenv("AFTERCARE_SECRET_KEY", "k" * 40)
    return str(file)


def test_it_shows_headers_and_words_and_sends_nothing(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["email", "test", "ana@example.org", "--config", config]) == 0
    shown = capsys.readouterr().out
    assert "To: ana@example.org" in shown
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in shown
    assert "how a check-in from Tee & Tassen looks" in shown
    assert not (tmp_path / "outbox").exists()


def test_it_shows_the_signature_that_the_mail_will_carry(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["email", "test", "ana@example.org", "--config", config]) == 0
    assert "DKIM-Signature" not in capsys.readouterr().out
    file = Path(config)
    file.write_text(file.read_text().replace("outbox: outbox", "outbox: outbox, dkim_selector: care1"))
    monkeypatch.setenv("AFTERCARE_DKIM_KEY", rsa())
    assert run(["email", "test", "ana@example.org", "--config", config]) == 0
    assert capsys.readouterr().out.startswith(
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=shop.example; s=care1; "
    )
    assert run(["email", "test", "ana@example.org", "--json", "--config", config]) == 0
    assert " list-unsubscribe : " in json.loads(capsys.readouterr().out)["headers"]["DKIM-Signature"]


def test_it_sends_when_asked_to(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["email", "test", "ana@example.org", "--send", "--json", "--config", config]) == 0
    line = json.loads(capsys.readouterr().out)
    (file,) = (tmp_path / "outbox").iterdir()
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert (line["sent"], line["reference"]) == (True, mail["Message-ID"])
    assert line["detail"] == {"file": file.name}


def test_two_addresses_are_a_usage_error(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["email", "test", "ana@example.org,eve@example.org", "--send", "--config", config]) == 2
    assert "exactly one" in capsys.readouterr().err
