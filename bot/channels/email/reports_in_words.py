"""Bounces that are written for people: qmail, Exim, Exchange and others that return no report in RFC 3464's form.

A mail is one only where a machine wrote it and its words say so: a customer who writes about a bounce, or forwards
one, is a customer.
"""

from __future__ import annotations

import re

from bot.channels.email.automatic import answers_by_its_subject
from bot.channels.email.machine_words import words
from bot.channels.email.mime import Part
from bot.channels.email.mime_headers import addresses, identifiers
from bot.channels.email.reports import Report, Returned, from_no_person, machine_name, sound_key, status_in, token_in
from bot.services.mail.inbound import MailKind

__all__ = ["bounce_in_words", "returned_in_words"]

# The words stand at the beginning; the returned mail, which may say anything, follows them.
_OPENING = 4_000

_ANSWER = re.compile(r"(?:re|aw|sv|antw|fwd?|wg|tr|rv|enc|res|odp|ynt)\s?:", re.IGNORECASE)
# From here on the returned mail stands, or what it is introduced by.
_ORIGINAL = re.compile(
    r"^(?:"
    r"[^\n]{0,80}(?:(?:this|here|below|following|attached) is a copy"
    r"|copy of (?:the|your) (?:original )?(?:message|mail)[^\n]{0,20}(?:follows|below|including|attached|enclosed)"
    r"|below this line|start of returned message|original message(?! was received)"
    r"|(?:original|returned|unsent|undelivered) (?:message|mail) (?:follows|headers|below)"
    r"|message headers?|headers? follow|message text follows)[^\n]{0,80}"
    r"|[> ]{0,4}(?:return-path|received|message-id):[^\n]{0,300})$",
    re.IGNORECASE | re.MULTILINE,
)
# An address in words: in angles at the beginning of a line, alone on a line, after a word that announces it, anywhere.
_ONE = r"([^\s<>()\[\]\"',;:=@]{1,64}@[A-Za-z0-9.-]{1,253})"
_ANNOUNCED = (
    r"(?:recipient|address|user|userid|mailbox|rcpt to|deliver(?:ed|y)? to|(?:message|mail) to|generated from|smtp)s?"
    r"(?:[:=][ \t]{0,8}|[ \t]{1,8})[<'\"(]?"
)
_IN_WORDS = (
    re.compile(rf"^[ \t>*]{{0,12}}<{_ONE}>", re.MULTILINE),
    re.compile(rf"^[ \t>*]{{0,12}}['\"]?{_ONE}['\"]?[ \t]{{0,5}}(?:[:;(]|on |-|$)", re.MULTILINE),
    re.compile(_ANNOUNCED + _ONE, re.IGNORECASE),
    re.compile(rf"(?<![^\s<>()\[\]\"',;:=]){_ONE}"),
)
_FIELD = re.compile(
    r"^[> \t]{0,8}(message-id|x-aftercare-key|to|reply-to|list-unsubscribe)[ \t]{0,5}:"
    r"[ \t]{0,5}((?:\n[ \t]{1,20})?[^\n]{1,1000})",
    re.IGNORECASE | re.MULTILINE,
)


def bounce_in_words(mail: Part, subject: str, text: str) -> Report | None:
    """Return what a bounce for people says, None where the mail is none.

    Parameters
    ----------
    text : str
        All words of the mail's first part, the returned mail included where it is quoted there.
    """
    failed = addresses(mail.headers.all("x-failed-recipients"))
    opening = text[:_OPENING]
    told = bool(failed or words("bounce_subject").search(subject) or words("bounce_words").search(opening))
    if not failed and answers_by_its_subject(subject):  # someone who left, or whose mailbox nobody reads
        return None
    if not (
        (told and _from_a_machine(mail))
        or machine_name(mail.headers) not in (None, "postmaster")
        or (words("bounce_opening").match(text) and not _ANSWER.match(subject))
    ):
        return None
    original = _ORIGINAL.search(text)
    said = text[: original.start()] if original and original.start() > 40 else opening
    recipient = failed[0] if failed else _recipient(said, mail) or _returned_to(text, mail)
    done = words("delivered").search(f"{subject}\n{said[:500]}")
    if done and not words("bounce_words").search(said[:500]):
        action = "relayed" if "relay" in done[0].lower() else "delivered"
    else:
        delayed = words("delayed").search(f"{subject}\n{said}") and not words("given_up").search(said)
        action = "delayed" if delayed else "failed"
    return Report(kind=MailKind.BOUNCE, recipient=recipient, status=status_in(said), action=action)


def returned_in_words(text: str) -> Returned:
    """Return what a bounce quotes of the original mail's header."""
    found: dict[str, list[str]] = {}
    for field in _FIELD.finditer(text):
        found.setdefault(field[1].lower(), []).append(field[2].strip())
    keys = (sound_key(value) for value in found.get("x-aftercare-key", ()))
    return Returned(
        message_id=next(iter(identifiers(found.get("message-id", ()))), None),
        key=next((key for key in keys if key), None),
        token=token_in([*found.get("reply-to", ()), *found.get("list-unsubscribe", ())]),
        recipient=next(iter(addresses(found.get("to", ()))), None),
    )


def _from_a_machine(mail: Part) -> bool:
    headers = mail.headers
    if mail.content_type == "multipart/report" or "report-type" in mail.parameters or "x-failed-recipients" in headers:
        return True
    return from_no_person(headers) or "x-ms-embedded-report" in headers or not addresses(headers.all("from"))


def _recipient(said: str, mail: Part) -> str | None:
    """Return the address that the words are about: in the form of the surest line that holds one."""
    ours = {address.lower() for address in addresses(mail.headers.all("to", "from", "cc", "delivered-to"))}
    for pattern in _IN_WORDS:
        for found in pattern.finditer(said):
            address = next(iter(addresses([found[1].rstrip(".")])), None)
            if address and address.lower() not in ours and "." in address.rpartition("@")[2]:
                return address
    return None


def _returned_to(text: str, mail: Part) -> str | None:
    ours = {address.lower() for address in addresses(mail.headers.all("to", "from"))}
    to = returned_in_words(text).recipient
    return to if to and to.lower() not in ours else None
