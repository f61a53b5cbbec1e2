"""The octets of any mail that came in become an `InboundMail`: what kind it is, and what it says.

Whatever the octets, the outcome is an `InboundMail` or an `UnreadableMail`, in time linear in their number. Nothing
in the outcome is trusted, and nothing is looked up: whether a token is ours is checked by the services.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from bot.channels.email.automatic import sign_of_a_machine
from bot.channels.email.mime import Body, Part, read_body, read_parts
from bot.channels.email.mime_headers import UnreadableMail, addresses, identifiers, instant
from bot.channels.email.reports import Report, Returned, report_of, returned_by, sound_key, status_in, token_in
from bot.channels.email.reports_in_words import bounce_in_words, returned_in_words
from bot.services.mail.inbound import InboundMail, MailKind
from messages.opting_out_words import asks_to_end_contact
from messages.replies import own_words

__all__ = ["UnreadableMail", "read_mail"]

# Where mail systems write whom a mail was for, the surest first.
_RECIPIENT_FIELDS = (
    "to", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-delivered-to", "x-rcpt-to", "cc",
    "resent-to", "resent-cc", "x-forwarded-to", "apparently-to",
)  # fmt: skip
# The Message-ID that `message.py` writes.
_OUR_ID = re.compile(r"<[a-z]+\.[A-Za-z0-9]+\.[0-9a-f]{20}@([A-Za-z0-9.-]+)>\Z")
# What mail programs write into the mail of their unsubscribe button.
_BUTTON_WORDS = re.compile(r"this (?:message|e-?mail) was automatically (?:generated|sent) by\b", re.IGNORECASE)
_APPLE_WORDS = re.compile(r"apple mail sent this e-?mail to unsubscribe\b", re.IGNORECASE)  # without a subject
_LANGUAGE = re.compile(r"\s*([A-Za-z]{2})(?:[-_,;\s]|\Z)")


def read_mail(content: bytes, *, own: Collection[str] = (), markers: Collection[str] = ()) -> InboundMail:
    """Read one mail.

    Parameters
    ----------
    content : bytes
        The mail as it was received.
    own : collection of str
        The addresses that we send from and are written to. Without them, a mail is ours by its key alone.
    markers : collection of str
        What stands in our mails only, such as the address of the unsubscribe page; a line that holds one is quoted.

    Raises
    ------
    UnreadableMail
        It is no mail, or no real one, and is to be set aside; the message says why.
    """
    mail = read_parts(content)
    headers = mail.headers
    ours = frozenset(address.lower() for address in own)
    ids = identifiers(headers.all("message-id"))
    replied, referred = identifiers(headers.all("in-reply-to")), identifiers(headers.all("references"))
    senders = addresses(headers.all("from"))
    language = _LANGUAGE.match(headers.raw("content-language"))
    read = InboundMail(
        kind=MailKind.REPLY,
        message_id=ids[0] if ids else None,
        sender=senders[0] if len(set(senders)) == 1 else None,
        subject=headers.text("subject"),
        sent_at=instant(headers.raw("date")),
        in_reply_to=replied[0] if replied else referred[-1] if referred else None,
        references=identifiers(headers.all("references", "in-reply-to")),
        token=token_in(headers.all(*_RECIPIENT_FIELDS)),
        language=language[1].lower() if language else None,
    )
    body = read_body(mail)
    if report := report_of(mail) or bounce_in_words(mail, read.subject, body.text):
        return _reported(read, report, mail, body.text)
    if _is_ours(mail, read, ours):
        return replace(read, kind=MailKind.OWN, attachments=body.attachments, truncated=body.truncated)
    answers_us = read.token is not None or any(_OUR_ID.match(one) for one in read.references)
    machine = sign_of_a_machine(mail, read.subject, body.text, answers_us=answers_us, own=ours)
    return _written(read, body, markers, machine=machine is not None)


def _written(read: InboundMail, body: Body, markers: Collection[str], *, machine: bool) -> InboundMail:
    """Complete what a person wrote, or a machine in a person's place."""
    words = own_words(body.text, markers=[*markers, *([read.token] if read.token else [])])
    said = words.text.strip()
    # The button of a mail program writes the mail, and it is the person's will all the same.
    asked = read.token is not None and read.subject.casefold() == "unsubscribe"
    by_program = (asked and _BUTTON_WORDS.match(said)) or (read.token is not None and _APPLE_WORDS.match(said))
    button = bool(by_program) or (asked and said.casefold() in ("", "unsubscribe"))
    read = replace(
        read,
        language=words.language or read.language,
        attachments=body.attachments,
        truncated=body.truncated or words.truncated,
    )
    if machine:
        return replace(read, kind=MailKind.AUTO_REPLY, opt_out=button, original_message_id=read.in_reply_to)
    opt_out = button or asks_to_end_contact(words.first_line or read.subject)
    return replace(read, text="" if by_program else words.text, opt_out=opt_out)


def _reported(read: InboundMail, report: Report, mail: Part, text: str) -> InboundMail:
    """Complete a report by what came back of the mail that it is about."""
    returned = returned_by(mail)
    if returned == Returned():
        returned = returned_in_words(text)
    if report.kind is MailKind.BOUNCE and report.action is None:  # a report without a recipient's group
        report = bounce_in_words(mail, read.subject, text) or replace(report, action="failed")
    status = report.status or (status_in(text) if report.kind is MailKind.BOUNCE else None)
    ours = {address.lower() for address in addresses(mail.headers.all("to", "from"))}
    recipient = report.recipient or (
        returned.recipient if returned.recipient and returned.recipient.lower() not in ours else None
    )
    return replace(
        read,
        kind=report.kind,
        token=returned.token or read.token,
        recipient=recipient if report.kind in (MailKind.BOUNCE, MailKind.COMPLAINT) else None,
        recipient_status=status,
        action=report.action,
        original_message_id=returned.message_id or report.message_id or read.in_reply_to,
        original_key=returned.key,
    )


def _is_ours(mail: Part, read: InboundMail, ours: Collection[str]) -> bool:
    """Whether we wrote the mail: it comes from us, or it carries what only our mails do."""
    sender = (read.sender or "").lower()
    local, _, domain = sender.rpartition("@")
    ids = _OUR_ID.match(read.message_id or "")
    written_at = ids[1].lower() if ids else None
    if ours:
        known = sender in ours or f"{local.partition('+')[0]}@{domain}" in ours
        return known or written_at in {one.rpartition("@")[2] for one in ours}
    return sound_key(mail.headers.raw("x-aftercare-key")) is not None or (
        written_at is not None and written_at == domain
    )
