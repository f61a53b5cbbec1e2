"""What a mail that came in is, and what it says: the mails in tests/data/mails, and single fields."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from bot.channels.email import compose
from bot.channels.email.message import Identity
from bot.channels.email.reading import UnreadableMail, read_mail
from bot.services.mail.inbound import InboundMail, MailKind
from bot.tokens import Purpose, Signer
from messages.opting_out_words import asks_to_end_contact
from tests.contract.test_channels import MESSAGE

MAILS = Path(__file__).parents[1] / "data/mails"
OWN = ("care@shop.example",)
TOKEN = "outreach.412-5073-k3v7q2mzlx4ubnc5twdyr6hgpa"
OURS = "<outreach.412.9f2c4e6a8b0d1f3a5c7e@shop.example>"
PEOPLE = sorted(MAILS.glob("people/*.eml"))
AUTOMATIC = sorted(MAILS.glob("automatic/*.eml"))


def read(content: str | bytes | Path, own: tuple[str, ...] = OWN) -> InboundMail:
    if isinstance(content, Path):
        content = content.read_bytes()
    return read_mail(content if isinstance(content, bytes) else content.encode(), own=own)


def person(name: str) -> InboundMail:
    return read(MAILS / "people" / f"{name}.eml")


@pytest.mark.parametrize("file", PEOPLE, ids=lambda file: file.stem)
def test_what_a_person_wrote_is_a_reply(file: Path) -> None:
    assert len(PEOPLE) >= 15
    assert read(file).kind is MailKind.REPLY


@pytest.mark.parametrize("file", AUTOMATIC, ids=lambda file: file.stem)
def test_what_a_machine_wrote_is_an_automatic_reply_and_says_nothing(file: Path) -> None:
    mail = read(file)
    assert (mail.kind, mail.text, mail.opt_out) == (MailKind.AUTO_REPLY, "", False)


def test_an_automatic_reply_says_which_mail_it_is_about() -> None:
    assert read(MAILS / "automatic/exchange.eml").original_message_id == OURS
    assert read(MAILS / "automatic/read_receipt.eml").original_message_id == OURS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gmail", "The kettle is great – thank you!"),
        ("outlook_html_only", "The lid is too tight."),
        ("flowed", "This is one long sentence that the mail program has broken into two lines."),
        ("wrong_charset", "Der Kessel ist schön heiß – danke!"),
        ("japanese_carrier", "やかんはとても良いです。ありがとうございます。"),
        ("apple_with_pictures", "This is the lid:\n\nand this is the invoice:"),
        ("signed", "Works well."),
        ("unsubscribe_button", ""),
    ],
)
def test_the_own_words_are_read(name: str, text: str) -> None:
    assert person(name).text == text


def test_a_reply_names_its_sender_its_thread_and_its_token() -> None:
    mail = person("gmail")
    assert mail.sender == "ana@example.org"
    assert mail.message_id == "<CAF3x7y@mail.example.org>"
    assert (mail.in_reply_to, mail.references, mail.token) == (OURS, (OURS,), TOKEN)
    assert mail.sent_at == datetime(2026, 3, 10, 17, 30, tzinfo=UTC)
    assert (mail.subject, mail.language) == ("Re: How is your kettle doing?", "en")


def test_attachments_are_noted_with_their_names_and_sizes_and_never_read() -> None:
    noted = [(one.name, one.content_type, one.octets) for one in person("apple_with_pictures").attachments]
    assert noted == [("IMG_0001.jpg", "image/jpeg", 21), ("Rechnung für Ana.pdf", "application/pdf", 13)]


def test_a_forwarded_bounce_is_a_file_of_a_persons_mail() -> None:
    (attached,) = person("forwards_a_bounce").attachments
    assert (attached.name, attached.content_type) == ("Undelivered Mail.eml", "message/rfc822")


@pytest.mark.parametrize("file", sorted(MAILS.glob("own/*.eml")), ids=lambda file: file.stem)
def test_our_own_mail_that_came_round_is_ours(file: Path) -> None:
    assert read(file).kind is MailKind.OWN


def composed() -> EmailMessage:
    identity = Identity(sender="care@shop.example", name="Tee & Tassen", signer=Signer("k" * 40), secret="k" * 40)
    message = replace(MESSAGE, key="outreach:412:1", campaign="first-week")
    content = compose(message, identity, datetime(2026, 3, 10, tzinfo=UTC)).octets()
    return message_from_bytes(content, _class=EmailMessage, policy=policy.SMTP)


@pytest.mark.parametrize("own", [OWN, ()], ids=["addresses known", "addresses unknown"])
def test_the_mail_that_we_compose_is_recognised_as_ours(own: tuple[str, ...]) -> None:
    assert read(bytes(composed()), own).kind is MailKind.OWN


def test_a_reply_to_what_we_compose_brings_its_token_back() -> None:
    mail = composed()
    answer = f"From: ana@example.org\nTo: {str(mail['Reply-To']).upper()}\nIn-Reply-To: {mail['Message-ID']}\n\nFine!\n"
    found = read(answer)
    assert found.token is not None
    assert Signer("k" * 40).read(Purpose.REPLY, found.token).startswith("outreach.")
    assert found.in_reply_to == str(mail["Message-ID"])


def test_another_installations_check_in_is_a_machines_and_not_ours() -> None:
    mail = composed()
    del mail["From"]
    mail["From"] = "bot@other.example"
    del mail["Message-ID"]
    mail["Message-ID"] = "<outreach.1.9f2c4e6a8b0d1f3a5c7e@other.example>"
    assert read(bytes(mail)).kind is MailKind.AUTO_REPLY


def test_a_sender_with_our_token_in_its_address_is_ours() -> None:
    assert read(f"From: care+{TOKEN}@SHOP.example\n\nHello\n").kind is MailKind.OWN


@pytest.mark.parametrize(
    "field", ["To", "Cc", "Delivered-To", "X-Original-To", "Envelope-To", "Resent-To", "X-Forwarded-To"]
)
def test_the_token_is_found_wherever_mail_systems_write_the_recipient(field: str) -> None:
    assert (
        read(f"From: a@b.example\n{field}: Shop <care+{TOKEN.upper()}@shop.example>, x@y.example\n\nHi\n").token
        == TOKEN
    )


def test_what_only_looks_like_a_token_is_none() -> None:
    for address in (
        "care+news@shop.example",
        f"care-{TOKEN}@shop.example",
        f"care+{TOKEN}x",
        f"care+{TOKEN}x@shop.example",
    ):
        assert read(f"From: a@b.example\nTo: {address}\n\nHi\n").token is None


@pytest.mark.parametrize(
    ("value", "sender"),
    [
        ("Ana <ana@EXAMPLE.org>", "ana@example.org"),
        ("ana@example.org", "ana@example.org"),
        ("ana@example.org (Ana)", "ana@example.org"),
        ('"Lopez, Ana (\\"home\\")" <ana@example.org>', "ana@example.org"),
        ('"ceo@shop.example" <eve@example.org>', "eve@example.org"),
        ("=?utf-8?q?a=40b.example?= <eve@example.org>", "eve@example.org"),
        ("ana@example.org, eve@example.org", None),
        ("Ana <ana@bücher.example>", "ana@xn--bcher-kva.example"),
        ("undisclosed-recipients:;", None),
        ("", None),
        ("Ana", None),
        ("<ana@example.org", "ana@example.org"),
        ('<"a..b."@docomo.example>', "a..b.@docomo.example"),
        ("<@relay.example:ana@example.org>", "ana@example.org"),
        ("Ana <ana@example.org> (home, or work)", "ana@example.org"),
        ("Friends: ana@example.org;", "ana@example.org"),
    ],
)
def test_the_sender_is_the_one_address_in_from(value: str, sender: str | None) -> None:
    assert read(f"From: {value}\nX-A: b\n\nHello\n").sender == sender


def test_two_from_fields_with_different_addresses_name_nobody() -> None:
    assert read("From: a@b.example\nFrom: c@d.example\n\nHello\n").sender is None


def test_references_are_kept_oldest_first_and_capped() -> None:
    many = " ".join(f"<{number}@mail.example>" for number in range(80))
    mail = read(f"From: a@b.example\nReferences: {many}\nIn-Reply-To: <79@mail.example>\n\nHello\n")
    assert len(mail.references) == 50
    assert (mail.references[0], mail.references[-1]) == ("<0@mail.example>", "<79@mail.example>")


def test_without_in_reply_to_the_last_reference_is_answered() -> None:
    mail = read("From: a@b.example\nReferences: <1@x.example>\n <2@x.example>\n\nHello\n")
    assert mail.in_reply_to == "<2@x.example>"


@pytest.mark.parametrize(
    "date",
    ["", "yesterday", "Tue, 99 Mar 2026 10:00:00 +0100", "Tue, 10 Mar 99999 10:00:00 +0100", "1", "\u0664 Mar 2026"],
)
def test_a_date_that_is_none_is_left_out(date: str) -> None:
    assert read(f"From: a@b.example\nDate: {date}\n\nHello\n").sent_at is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "does not begin with a header"),
        (b"hello\nworld\n", "does not begin with a header"),
        (b"From: a@b.example\n" + b"X-A: b\n" * 1_001 + b"\nhi", "more than 1000 fields"),
        (b"From: a@b.example\nX-A: " + b"a" * 300_000 + b"\n\nhi", "longer than 256 kB"),
    ],
    ids=["empty", "no mail", "too many fields", "too long a header"],
)
def test_what_is_no_mail_is_set_aside_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableMail, match=reason):
        read(content)


def test_a_machines_sign_after_a_thousand_fields_cannot_be_overlooked() -> None:
    with pytest.raises(UnreadableMail):
        read(b"From: a@b.example\n" + b"X-A: b\n" * 2_000 + b"Auto-Submitted: auto-replied\n\nhi")


def test_the_words_of_a_reply_end_contact_only_as_its_first_line() -> None:
    assert person("wants_no_more").opt_out
    assert not person("talks_of_unsubscribing").opt_out


@pytest.mark.parametrize(
    ("to", "subject", "body", "opts_out"),
    [
        (f"care+{TOKEN}@shop.example", "unsubscribe", "", True),
        (f"care+{TOKEN}@shop.example", "Unsubscribe", "unsubscribe", True),
        (f"care+{TOKEN}@shop.example", "unsubscribe", "This message was automatically generated by Gmail.", True),
        (f"care+{TOKEN}@shop.example", "", "Apple Mail sent this email to unsubscribe from the message “Hello”.", True),
        (
            f"care+{TOKEN}@shop.example",
            "unsubscribe",
            "Why do I get this? I would like to keep the warranty mails.",
            False,
        ),
        ("care@shop.example", "unsubscribe", "", True),
        ("care@shop.example", "Re: Unsubscribe link", "", False),
        ("care@shop.example", "Order 1234", "This message was automatically generated by Gmail.", False),
    ],
)
def test_the_button_of_a_mail_program_ends_contact(to: str, subject: str, body: str, opts_out: bool) -> None:
    mail = read(f"From: ana@example.org\nTo: {to}\nSubject: {subject}\n\n{body}\n")
    assert (mail.kind, mail.opt_out) == (MailKind.REPLY, opts_out)


def test_the_button_ends_contact_even_where_a_machine_pressed_it() -> None:
    mail = read(
        f"From: a@b.example\nTo: care+{TOKEN}@shop.example\nSubject: unsubscribe\nAuto-Submitted: auto-generated\n\n"
    )
    assert (mail.kind, mail.opt_out) == (MailKind.AUTO_REPLY, True)


def test_an_empty_line_asks_for_nothing() -> None:
    assert not asks_to_end_contact("")
