"""Reports on a mail of ours: delivery status (RFC 3464), spam complaints (RFC 5965), and read receipts (RFC 8098).

Bounces that are written in words for people are `reports_in_words.py`'s business; who may write to whom after a
report is the services'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bot.channels.email.machine_words import status_words
from bot.channels.email.mime import Part
from bot.channels.email.mime_headers import Headers, UnreadableMail, addresses, identifiers, read_headers
from bot.channels.email.mime_text import clean, decoded_text
from bot.services.mail.inbound import MailKind

__all__ = ["Report", "Returned", "report_of", "returned_by", "sound_key", "status_in", "token_in"]

MAX_REPORT_OCTETS = 64 * 1024
MAX_GROUPS = 200

# `local+TOKEN@`, a token being what `bot.tokens` signs; mail systems fold case.
_TOKEN = re.compile(r"\+([a-z0-9][a-z0-9.]{0,99}-[0-9a-f]{1,9}-[a-z2-7]{26})@", re.IGNORECASE)
_MACHINES = re.compile(
    r"(mailer[-_]?daemon|mail[-_]?daemon|mdaemon|postmaster|microsoftexchange[0-9a-f]{20,})(?:[-+.][^@]*)?@",
    re.IGNORECASE,
)
_KEY = re.compile(r"[a-z]+:[A-Za-z0-9]{1,40}:[0-9]{1,9}\Z")
_FIELD = re.compile(r"^([A-Za-z][A-Za-z0-9-]{0,60})[ \t]*:[ \t]*([^\n]*(?:\n[ \t]+[^\n]*)*)", re.MULTILINE)
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_RETURNED = (
    "message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/global-headers",
    "text/rfc822",
)  # fmt: skip
_STATUS_PARTS = ("message/delivery-status", "message/global-delivery-status")
# RFC 3464 section 2.3.3, the most telling first: a mail to several says the worst of them.
_ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")
_BY_CLASS = {"5": "failed", "4": "delayed", "2": "delivered"}
# RFC 5965 section 7.3. The recipient complains in these; `not-spam` takes a complaint back, and an authentication
# failure (RFC 6591) is between servers.
_COMPLAINTS = frozenset({"abuse", "fraud", "virus", "other", "opt-out", "opt-out-list", "miscategorized", "complaint"})

_SMTP_CODE = re.compile(r"(?:^|[:(<>\[]|said|error|code|status)[ \t]{0,5}#?([45][0-5][0-9])(?=[ -][^\n])", re.MULTILINE)
_ENHANCED = (
    re.compile(r"#[ ]?([45]\.[0-7]\.\d{1,3})(?![\d.])"),
    re.compile(r"(?<![\w.])[45]\d\d[ -]#?([45]\.[0-7]\.\d{1,3})(?![\d.])"),
    re.compile(r"(?<![\w.])([45]\.[0-7]\.\d{1,3})(?![\d.])"),
)


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What came back of the mail that a report is about."""

    message_id: str | None = None
    key: str | None = None
    token: str | None = None
    recipient: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a machine reports: a bounce, a complaint, or a receipt (as an automatic reply)."""

    kind: MailKind
    recipient: str | None = None
    status: str | None = None
    action: str | None = None
    message_id: str | None = None


def report_of(mail: Part) -> Report | None:
    """Return what a mail reports in a machine's form, None where it is no such report.

    A person's mail may carry a report as a file (a forwarded bounce): it counts only where the whole mail is one.
    """
    whole = mail.content_type == "multipart/report"
    kind = mail.parameters.get("report-type", "").lower() if whole else ""
    if (whole or mail.content_type == "message/feedback-report") and (found := mail.find("message/feedback-report")):
        return _complaint(_fields(found))
    if receipt := mail.find("message/disposition-notification") if whole else None:
        ids = identifiers(group.get("original-message-id", "") for group in _groups(receipt))
        return Report(kind=MailKind.AUTO_REPLY, message_id=next(iter(ids), None))
    status = mail.find(*_STATUS_PARTS)
    if status is not None and (whole or mail.content_type in _STATUS_PARTS or from_no_person(mail.headers)):
        return _bounce(status)
    if kind == "disposition-notification":
        return Report(kind=MailKind.AUTO_REPLY)
    return None


def returned_by(mail: Part) -> Returned:
    """Return what a report brings back of the original mail, as a part of its own."""
    for part in mail.walk():
        if part is mail or part.content_type not in _RETURNED:
            continue
        try:
            headers, _ = read_headers(part.decoded(MAX_REPORT_OCTETS).lstrip(b"\r\n"))
        except UnreadableMail:
            continue
        if headers.fields:
            key = headers.raw("x-aftercare-key")
            # Outlook.com hides To and tells it here; AOL writes redacted@ there.
            to = addresses(headers.all("x-hmxmroriginalrecipient", "to"))
            to = [address for address in to if not address.lower().startswith(("redacted", "undisclosed"))]
            return Returned(
                message_id=next(iter(identifiers(headers.all("message-id"))), None),
                key=key if _KEY.match(key) else None,
                token=token_in(headers.all("reply-to", "list-unsubscribe", "return-path", "x-original-from")),
                recipient=to[0] if to else None,
            )
    return Returned()


def token_in(values: Iterable[str]) -> str | None:
    """Return the first reply token that stands in an address; whether it is ours is checked elsewhere."""
    return next((found[1].lower() for value in values for found in [_TOKEN.search(value)] if found), None)


def sound_key(text: str) -> str | None:
    """Return a delivery key, None where the text is none."""
    return text if _KEY.match(text) else None


def status_in(text: str) -> str | None:
    """Return the enhanced status code (RFC 3463) that a server's words hold or stand for."""
    text = text[:16_384]
    for pattern in _ENHANCED:
        if found := pattern.search(text):
            return found[1]
    code = _SMTP_CODE.search(text)
    for status, words in status_words():
        if words.search(text):
            return f"{code[1][0]}{status[1:]}" if code else status
    return f"{code[1][0]}.0.0" if code else None


def _bounce(part: Part) -> Report:
    ranked: list[tuple[int, Report]] = []
    for group in _groups(part):
        if not group.keys() & {"final-recipient", "original-recipient", "action", "status"}:
            continue
        said = _STATUS.search(group.get("status", ""))
        status, diagnostic = said[1] if said else None, group.get("diagnostic-code", "")
        if status is None or status.endswith(".0.0"):  # the server often said more than the report does
            status = status_in(diagnostic) or status
        word = re.match(r"[a-z]{0,20}", group.get("action", "").lower())
        action = next((one for one in _ACTIONS if word and word[0][:5] == one[:5]), None)
        action = action or (_BY_CLASS.get(status[0]) if status else None) or "failed"
        to = addresses([group.get("original-recipient", "")]) or addresses([group.get("final-recipient", "")])
        report = Report(kind=MailKind.BOUNCE, recipient=to[0] if to else None, status=status, action=action)
        ranked.append((_ACTIONS.index(action), report))
    if not ranked:
        return Report(kind=MailKind.BOUNCE)
    return min(ranked, key=lambda one: one[0])[1]


def _complaint(fields: dict[str, str]) -> Report:
    feedback = fields.get("feedback-type", "abuse").strip().lower()
    if feedback not in _COMPLAINTS:
        return Report(kind=MailKind.AUTO_REPLY)
    to = addresses(
        fields[name] for name in ("original-rcpt-to", "removal-recipient", "original-recipient") if name in fields
    )
    return Report(kind=MailKind.COMPLAINT, recipient=to[0] if to else None)


def _groups(part: Part) -> list[dict[str, str]]:
    """Read the groups of fields of a report, folded lines joined."""
    text = clean(decoded_text(part.decoded(MAX_REPORT_OCTETS), "utf-8"))
    groups = []
    for block in re.split(r"\n[ \t]*\n", text, maxsplit=MAX_GROUPS):
        group: dict[str, str] = {}
        for found in _FIELD.finditer(block):
            group.setdefault(found[1].lower(), " ".join(found[2][:4_000].split()))
        if group:
            groups.append(group)
    return groups


def _fields(part: Part) -> dict[str, str]:
    merged: dict[str, str] = {}
    for group in _groups(part):
        merged = {**group, **merged}
    return merged


def machine_name(headers: Headers) -> str | None:
    """Return the local part of the sender where it is one that mail systems write under, None otherwise."""
    for address in addresses(headers.all("from")):
        if found := _MACHINES.match(address):
            return found[1].lower()
    return None


def has_no_return_path(headers: Headers) -> bool:
    """Whether the envelope's sender was empty, as bounces' and many answering machines' are (RFC 5321 section 4.5.5)."""
    path = headers.raw("return-path").replace(" ", "").strip("<>")
    return "return-path" in headers and (not path or path.upper().startswith("MAILER-DAEMON"))


def from_no_person(headers: Headers) -> bool:
    """Whether a mail system is the sender, by its name or by its empty return path."""
    return has_no_return_path(headers) or machine_name(headers) is not None
