"""`aftercare email parse` says what a mail that came in is, with and without a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.cli import run

MAILS = Path(__file__).parents[1] / "data/mails"
# In the order of CONTRACTS.md; further keys follow.
AGREED = ["kind", "from", "in_reply_to", "token", "text", "opt_out", "recipient_status", "attachments"]
OURS = "<outreach.412.9f2c4e6a8b0d1f3a5c7e@shop.example>"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, without a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AFTERCARE_CONFIG", raising=False)


def parsed(file: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert run(["email", "parse", str(file), "--json", *options]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_reply_is_printed_on_one_line_with_the_agreed_keys(capsys: pytest.CaptureFixture[str]) -> None:
    found = parsed(MAILS / "people/apple_with_pictures.eml", capsys)
    assert list(found)[: len(AGREED)] == AGREED
    assert {key: found[key] for key in AGREED} == {
        "kind": "reply",
        "from": "ana@example.org",
        "in_reply_to": OURS,
        "token": "outreach.412-5073-k3v7q2mzlx4ubnc5twdyr6hgpa",
        "text": "This is the lid:\n\nand this is the invoice:",
        "opt_out": False,
        "recipient_status": None,
        "attachments": [
            {"name": "IMG_0001.jpg", "content_type": "image/jpeg", "octets": 21},
            {"name": "Rechnung für Ana.pdf", "content_type": "application/pdf", "octets": 13},
        ],
    }


@pytest.mark.parametrize(
    ("file", "kind", "status"),
    [
        ("people/gmail.eml", "reply", None),
        ("automatic/exchange.eml", "auto_reply", None),
        ("bounces/qmail.eml", "bounce", "5.1.1"),
        ("complaints/abuse.eml", "complaint", None),
        ("own/our_check_in.eml", "own", None),
    ],
)
def test_every_kind_is_named(file: str, kind: str, status: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    found = parsed(MAILS / file, capsys)
    assert (found["kind"], found["recipient_status"]) == (kind, status)


def test_what_is_in_no_json_form_is_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["email", "parse", str(MAILS / "bounces/postfix.eml")]) == 0
    shown = capsys.readouterr().out
    assert "bounce" in shown
    assert "ana@example.org" in shown


def test_our_addresses_come_from_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = tmp_path / "mail.eml"
    mail.write_text("From: care@shop.example\nTo: ana@example.org\nSubject: Hello\n\nHello\n")
    assert parsed(mail, capsys)["kind"] == "reply"
    config = tmp_path / "shop" / "config.yaml"
    config.parent.mkdir()
    config.write_text("email: {enabled: true, from: care@shop.example, outbox: outbox}\n")
    monkeypatch.setenv("AFTERCARE_SECRET_KEY", "k" * 40)
    assert parsed(mail, capsys, "--config", str(config))["kind"] == "own"
    monkeypatch.setenv("AFTERCARE_CONFIG", str(config))
    assert parsed(mail, capsys)["kind"] == "own"


def test_the_address_of_our_opt_out_page_shows_what_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("web: {base_url: 'https://shop.example'}\n")
    mail = tmp_path / "mail.eml"
    mail.write_text("From: ana@example.org\n\nIt leaks.\n\nStop these mails: https://shop.example/u/abc\n")
    assert parsed(mail, capsys)["text"].strip() == "It leaks."


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.eml", None, "cannot be read (No such file or directory)"),
        ("empty.eml", b"", "is it a mail?"),
        ("text.eml", b"hello\n", "is it a mail?"),
        ("fields.eml", b"From: a@b.example\n" + b"X: y\n" * 2_000 + b"\nhi", "more than 1000 fields"),
    ],
)
def test_a_file_that_is_no_mail_is_a_clear_error(
    name: str, content: bytes | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run(["email", "parse", str(tmp_path / name), "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert name in shown.err
    assert reason in shown.err


def test_a_folder_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["email", "parse", str(tmp_path)]) == 2
    assert "name a file that holds one mail" in capsys.readouterr().err


def test_a_configuration_that_is_named_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mail = MAILS / "people/gmail.eml"
    assert run(["email", "parse", str(mail), "--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_nothing_a_mail_holds_reaches_the_terminal_as_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = tmp_path / "mail.eml"
    mail.write_bytes(b"From: a@b.example\nSubject: =?utf-8?q?=1B]0;x=07?= [red]\n\n\x1b[31mhello [/red]\n")
    assert run(["email", "parse", str(mail)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b]" not in shown
    assert "\x1b[31m" not in shown
    assert "[/red]" in shown
