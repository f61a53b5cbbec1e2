"""Bounces and complaints of many systems: whom they are about, how final they are, and which mail of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.channels.email.reading import read_mail
from bot.channels.email.reports import status_in
from bot.services.mail.inbound import InboundMail, MailKind

MAILS = Path(__file__).parents[1] / "data/mails"
OURS = "<outreach.412.9f2c4e6a8b0d1f3a5c7e@shop.example>"
TOKEN = "outreach.412-5073-k3v7q2mzlx4ubnc5twdyr6hgpa"

# File: the recipient, the status code, the action.
BOUNCES = {
    "delivered": ("ana@example.org", "2.0.0", "delivered"),
    "domino_in_words": ("ana@corp.example", "5.1.1", "failed"),
    "exchange_2003_in_words": ("ana@corp.example", "5.1.1", "failed"),
    "exchange_french": ("ana@societe.example", "5.2.2", "failed"),
    "exchange_german_html": ("ana@firma.example", "5.1.1", "failed"),
    "exchange_online": ("ana@example.org", "5.1.10", "failed"),
    "exim_delayed": ("ana@example.org", "4.4.1", "delayed"),
    "exim_in_words": ("ana@example.org", "5.1.1", "failed"),
    "forwarded_elsewhere": ("ana@example.org", "5.1.1", "failed"),
    "gmail": ("ana@example.org", "5.1.1", "failed"),
    "gmail_old_delay": ("ana@example.org", None, "delayed"),
    "international": ("jürgen@example.org", "5.1.1", "failed"),
    "mailbox_full_yahoo": ("ana@yahoo.example", "4.2.2", "failed"),
    "one_of_two_failed": ("ana@example.org", "5.2.1", "failed"),
    "postfix": ("ana@example.org", "5.1.1", "failed"),
    "postfix_delayed": ("ana@example.org", "4.4.1", "delayed"),
    "qmail": ("ana@example.org", "5.1.1", "failed"),
    "refused_for_its_content": ("ana@example.org", "5.0.0", "failed"),
    "report_in_base64": ("ana@example.org", "5.7.1", "failed"),
    "sendmail_before_mime": ("ana@example.org", "5.1.1", "failed"),
    "status_in_diagnostic": ("ana@example.org", "5.2.1", "failed"),
}
# These bring nothing of our mail back.
BARE = {
    "domino_in_words", "exchange_french", "exim_delayed", "mailbox_full_yahoo", "refused_for_its_content",
}  # fmt: skip
# These name our mail without its header.
BY_REFERENCE = {"gmail_old_delay", "exchange_german_html"}


def read(file: Path | str | bytes) -> InboundMail:
    content = file.read_bytes() if isinstance(file, Path) else file.encode() if isinstance(file, str) else file
    return read_mail(content, own=["care@shop.example"])


def test_every_bounce_in_the_folder_is_in_the_table() -> None:
    assert {file.stem for file in MAILS.glob("bounces/*.eml")} == set(BOUNCES)


@pytest.mark.parametrize("name", BOUNCES)
def test_a_bounce_says_whom_it_is_about_and_how_final_it_is(name: str) -> None:
    mail = read(MAILS / f"bounces/{name}.eml")
    assert (mail.kind, mail.text) == (MailKind.BOUNCE, "")
    assert (mail.recipient, mail.recipient_status, mail.action) == BOUNCES[name]


@pytest.mark.parametrize("name", sorted(BOUNCES))
def test_a_bounce_names_the_mail_of_ours_where_it_brought_it_back(name: str) -> None:
    mail = read(MAILS / f"bounces/{name}.eml")
    if name in BARE:
        found = (None, None, None)
    elif name in BY_REFERENCE:
        found = (OURS, None, None)
    else:
        found = (OURS, "outreach:412:1", TOKEN)
    assert (mail.original_message_id, mail.original_key, mail.token) == found


def test_only_a_final_failure_is_permanent() -> None:
    permanent = {name for name in BOUNCES if read(MAILS / f"bounces/{name}.eml").permanent}
    assert permanent == {
        name for name, (_, status, action) in BOUNCES.items() if action == "failed" and (status or "").startswith("5.")
    }
    assert not permanent & {"delivered", "exim_delayed", "mailbox_full_yahoo", "gmail_old_delay"}


@pytest.mark.parametrize("name", ["abuse", "opt_out", "outlook", "recipient_blackened"])
def test_a_complaint_names_the_mail_of_ours(name: str) -> None:
    mail = read(MAILS / f"complaints/{name}.eml")
    assert mail.kind is MailKind.COMPLAINT
    assert (mail.original_message_id, mail.original_key, mail.token) == (OURS, "outreach:412:1", TOKEN)


@pytest.mark.parametrize(
    ("name", "recipient"),
    [
        ("abuse", "ana@mail.example"),
        ("opt_out", "ana@mail.example"),
        ("outlook", "ana@hotmail.example"),
        ("recipient_blackened", None),
    ],
)
def test_a_complaint_names_who_complained_where_the_provider_says_so(name: str, recipient: str | None) -> None:
    assert read(MAILS / f"complaints/{name}.eml").recipient == recipient


@pytest.mark.parametrize("name", ["taken_back", "authentication_failure"])
def test_a_report_that_is_no_complaint_ends_nothing(name: str) -> None:
    mail = read(MAILS / f"complaints/{name}.eml")
    assert (mail.kind, mail.recipient) == (MailKind.AUTO_REPLY, None)


def test_a_report_without_its_closing_delimiter_is_read() -> None:
    whole = (MAILS / "bounces/postfix.eml").read_bytes()
    cut = whole[: whole.index(b"Content-Description: Undelivered")]
    mail = read(cut)
    assert (mail.kind, mail.recipient_status, mail.recipient) == (MailKind.BOUNCE, "5.1.1", "ana@example.org")


def test_a_report_with_carriage_returns_is_read_alike() -> None:
    whole = (MAILS / "bounces/postfix.eml").read_bytes()
    assert read(whole.replace(b"\n", b"\r\n")) == read(whole)


def test_a_report_without_a_recipients_group_is_read_by_its_words() -> None:
    mail = read(
        "Return-Path: <>\nFrom: postmaster@mx.example\nTo: care@shop.example\nSubject: Undeliverable: Hello\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n--b\nContent-Type: text/plain\n\n'
        "Delivery has failed to these recipients:\n\nana@example.org\n550 5.1.1 not found\n\n--b\n"
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n--b--\n"
    )
    assert (mail.kind, mail.recipient, mail.recipient_status, mail.action) == (
        MailKind.BOUNCE, "ana@example.org", "5.1.1", "failed",
    )  # fmt: skip


def test_a_status_without_an_action_says_how_final_it_is() -> None:
    for status, action in (("5.1.1", "failed"), ("4.2.2", "delayed"), ("2.0.0", "delivered")):
        mail = read(
            'From: x@mx.example\nContent-Type: multipart/report; boundary="b"\n\n--b\nContent-Type: message/delivery-status\n\n'
            f"Final-Recipient: rfc822; ana@example.org\nStatus: {status}\n\n--b--\n"
        )
        assert (mail.kind, mail.action, mail.recipient_status) == (MailKind.BOUNCE, action, status)


def test_our_own_address_is_never_whom_a_bounce_is_about() -> None:
    mail = read(
        "Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nTo: care@shop.example\nSubject: failure notice\n\n"
        "Your mail from <care@shop.example> could not be delivered.\n"
    )
    assert (mail.kind, mail.recipient) == (MailKind.BOUNCE, None)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("550 5.1.1 <ana@example.org>: User unknown", "5.1.1"),
        ("<mx.corp.example #5.1.1>", "5.1.1"),
        ("smtp;550-5.7.26 unauthenticated", "5.7.26"),
        ("said: 421 4.7.0 try again later", "4.7.0"),
        ("Remote host said: 550 rejected", "5.0.0"),
        ("<<< 552 mailbox full", "5.2.2"),
        ("452 mailbox full", "4.2.2"),
        ("The recipient's mailbox is full.", "4.2.2"),
        ("550 No such user here", "5.1.1"),
        ("Host or domain name not found", "5.1.2"),
        ("Connection timed out", "4.4.1"),
        ("retry timeout exceeded", "4.4.7"),
        ("554 blocked by our blocklist", "5.7.1"),
        ("Exim 4.94.2 on host 10.5.1.1", None),
        ("the kettle has 5.1.1.2 litres", None),
        ("Something went wrong.", None),
    ],
)
def test_the_status_is_read_from_the_words_of_a_server(words: str, status: str | None) -> None:
    assert status_in(words) == status
