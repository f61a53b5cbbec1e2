"""The customers' mail program: reads what lies in the outbox as its readers would, and writes their replies.

It reads with the standard library and not with our own code, so that what it shows does not depend on how we wrote it.
Everything in a mail is taken to be hostile here; how it is shown is `bot.demo.mailbox_page`'s business.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import datetime, tzinfo
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import format_datetime, make_msgid, parsedate_to_datetime
from pathlib import Path

from bot.errors import InputError, NotFound

__all__ = ["Letter", "MailProgram"]

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,99}\Z")
# What a mail program shows of a mail at most; ours are a hundredth of it.
MOST_CHARACTERS = 200_000
MOST_REPLY = 20_000


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One mail, as its reader has it before them.

    Attributes
    ----------
    id : str
        The name of its file; lower-case letters, digits and hyphens.
    written_here : bool
        The customer wrote it; otherwise they got it.
    customer : str
        The customer's address, whichever side they are on.
    html : str or None
        As it came; may hold anything.
    answer_to : str
        Where a reply goes.
    """

    id: str
    written_here: bool
    customer: str
    sender: str
    recipient: str
    subject: str
    date: datetime | None
    text: str
    html: str | None
    headers: tuple[tuple[str, str], ...]
    message_id: str
    references: str
    answer_to: str
    arrived: float

    @property
    def customer_name(self) -> str:
        """The name that the address lets one guess: `ida.becker.17@example.com` is Ida Becker."""
        words = re.split(r"[._+-]", self.customer.partition("@")[0])
        return " ".join(word.capitalize() for word in words if word and not word.isdigit()) or self.customer


class MailProgram:
    """All customers' mailboxes in one.

    Parameters
    ----------
    outbox, sent : Path
        What the shop sent, and where the replies are kept; neither need be there yet.
    zone : tzinfo
        Where the readers' clocks are.
    """

    def __init__(self, outbox: Path, sent: Path, zone: tzinfo) -> None:
        self._folders = ((outbox, False), (sent, True))
        self._sent = sent
        self._zone = zone
        self._read: dict[Path, tuple[float, Letter]] = {}
        self._lock = threading.Lock()

    def letters(self) -> list[Letter]:
        """Return all mails, the newest first."""
        found: list[Letter] = []
        with self._lock:
            for folder, written_here in self._folders:
                files = (file for file in folder.glob("*.eml") if _ID.match(file.stem))
                found += [letter for file in files if (letter := self._open(file, written_here)) is not None]
        return sorted(found, key=lambda one: (-one.arrived, one.id))

    def letter(self, letter_id: str) -> Letter:
        """Return one mail.

        Raises
        ------
        NotFound
            There is none of that name.
        """
        with self._lock:
            for folder, written_here in self._folders if _ID.match(letter_id) else ():
                if (letter := self._open(folder / f"{letter_id}.eml", written_here)) is not None:
                    return letter
        raise NotFound("there is no such mail")

    def to_customer(self, address: str) -> list[Letter]:
        """Return what one customer got, the oldest first."""
        return [one for one in reversed(self.letters()) if not one.written_here and one.customer == address]

    def reply(self, letter: Letter, text: str, now: datetime) -> bytes:
        """Write a reply as a mail program does: to Reply-To, threaded, the mail quoted below.

        Raises
        ------
        InputError
            There is nothing to send, or the mail names nobody to answer.
        """
        words = text.replace("\r\n", "\n").strip()
        if not words or len(words) > MOST_REPLY:
            raise InputError(f"write between one and {MOST_REPLY} characters")
        if letter.written_here or not letter.answer_to:
            raise InputError("this mail names nobody who could be answered")
        mail = EmailMessage(policy=policy.SMTP)
        subject = letter.subject if letter.subject.casefold().startswith("re:") else f"Re: {letter.subject}"
        try:
            mail["From"], mail["To"], mail["Subject"] = letter.customer, letter.answer_to, subject
            mail["Date"], mail["Message-ID"] = format_datetime(now), make_msgid("demo", "example.com")
            if letter.message_id:
                mail["In-Reply-To"] = letter.message_id
                mail["References"] = f"{letter.references} {letter.message_id}".strip()
        except (ValueError, MessageError) as error:  # its header fields were made up to break ours
            raise InputError("this mail cannot be answered: its header is malformed") from error
        when = f"On {letter.date:%a, %d %b %Y} at {letter.date:%H:%M}, " if letter.date else ""
        quoted = "\n".join(f"> {line}".rstrip() for line in letter.text.strip().splitlines())
        mail.set_content(f"{words}\n\n{when}{letter.sender} wrote:\n\n{quoted}\n", cte="quoted-printable")
        return mail.as_bytes()

    def keep(self, content: bytes) -> None:
        """Keep a reply that was sent, so that both sides can be read."""
        self._sent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            number = sum(1 for _ in self._sent.glob("*.eml")) + 1
            (self._sent / f"reply-{number}.eml").write_bytes(content)

    def _open(self, file: Path, written_here: bool) -> Letter | None:
        try:
            arrived = file.stat().st_mtime
            known = self._read.get(file)
            if known is None or known[0] != arrived:
                known = self._read[file] = (arrived, _read(file, written_here, arrived, self._zone))
        except OSError:
            return None
        return known[1]


def _read(file: Path, written_here: bool, arrived: float, zone: tzinfo) -> Letter:
    mail = BytesParser(policy=policy.default).parsebytes(file.read_bytes())
    assert isinstance(mail, EmailMessage)
    fields = {name: _field(mail, name) for name in ("From", "To", "Subject", "Message-ID", "References", "Reply-To")}
    sender, recipient = _address(mail, "From"), _address(mail, "To")
    return Letter(
        id=file.stem,
        written_here=written_here,
        customer=sender if written_here else recipient,
        sender=fields["From"],
        recipient=fields["To"],
        subject=fields["Subject"] or "(no subject)",
        date=_date(mail, zone),
        text=_part(mail, "plain") or "",
        html=_part(mail, "html"),
        headers=tuple((name, " ".join(_text(value).split())) for name, value in mail.items()),
        message_id=fields["Message-ID"],
        references=fields["References"],
        answer_to=_address(mail, "Reply-To") or sender,
        arrived=arrived,
    )


def _field(mail: EmailMessage, name: str) -> str:
    try:
        return " ".join(_text(mail[name] or "").split())
    except Exception:  # a header of a stranger: the library's parser is known to break on some
        return ""


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _address(mail: EmailMessage, name: str) -> str:
    try:
        addresses: tuple[Address, ...] = mail[name].addresses if mail[name] is not None else ()
        return _text(addresses[0].addr_spec) if addresses else ""
    except Exception:
        return ""


def _date(mail: EmailMessage, zone: tzinfo) -> datetime | None:
    try:
        return parsedate_to_datetime(_field(mail, "Date")).astimezone(zone)
    except (ValueError, TypeError, OverflowError):
        return None


def _part(mail: EmailMessage, kind: str) -> str | None:
    try:
        part = mail.get_body((kind,))
        if part is None:
            return None
        try:
            words = str(part.get_content())
        except (LookupError, ValueError):  # an unknown or a wrong character set
            words = (part.get_payload(decode=True) or b"").decode("utf-8", "replace")  # type: ignore[union-attr]
    except Exception:
        return None
    return _text(words).replace("\r\n", "\n")[:MOST_CHARACTERS]
