"""What a mail that came in says, once it is read: the terms in which the email channel tells the services.

Reading octets is `bot.channels.email.reading`'s business, acting on a mail `bot.services.mail.mailroom`'s. Nothing in
here is trusted: every field was written by a stranger, and a token is only a claim until its signature is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["Attachment", "InboundMail", "MailKind"]


class MailKind(StrEnum):
    """What sort of mail came in; it decides who may ever be answered."""

    REPLY = "reply"  # a person wrote
    AUTO_REPLY = "auto_reply"  # a machine answered for a person (RFC 3834): out of office, received, challenge
    BOUNCE = "bounce"  # a mail system reports on a delivery (RFC 3464, and the forms before it)
    COMPLAINT = "complaint"  # a mailbox provider reports that the recipient called it spam (RFC 5965)
    OWN = "own"  # we wrote it ourselves, and it came round


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A part that is noted and never opened.

    Attributes
    ----------
    name : str
        As the sender named it, on one line, at most 200 characters; empty where it has none.
    octets : int
        Its size before decoding.
    """

    name: str
    content_type: str
    octets: int


@dataclass(frozen=True, kw_only=True)
class InboundMail:
    """One mail that came in.

    Attributes
    ----------
    message_id : str or None
        With its angle brackets; None where the mail has none that is sound.
    sender : str or None
        The one address in From, its domain in lower case; None where there is not exactly one.
    subject : str
        On one line.
    sent_at : datetime or None
        Its Date, aware; a claim of the sender's clock.
    in_reply_to : str or None
        The first identifier of In-Reply-To, else the last one of References.
    references : tuple of str
        All sound identifiers of References and In-Reply-To, oldest first, at most 50.
    token : str or None
        The reply token found in an address that the mail was sent to (`local+TOKEN@domain`), or, in a bounce or a
        complaint, in the returned mail; unchecked.
    text : str
        A reply's own new words, without quotes and signature; empty for the other kinds.
    opt_out : bool
        The first own line asks to end contact (by its words, in the sender's language), or the mail went to the
        unsubscribe address with that subject.
    language : str or None
        The two-letter language that the words, the quote's header or Content-Language speak, where one is known.
    recipient : str or None
        In a bounce or a complaint, whom the report is about.
    recipient_status : str or None
        In a bounce, the enhanced status code (RFC 3463) such as `5.1.1`.
    action : str or None
        In a bounce, RFC 3464's action: failed, delayed, delivered, relayed or expanded.
    original_message_id : str or None
        In a bounce, a complaint or an auto-reply, the Message-ID of the mail that it is about.
    original_key : str or None
        The X-Aftercare-Key of that mail, where its headers came back.
    attachments : tuple of Attachment
        In order.
    truncated : bool
        More than was read followed; the raw mail is kept.
    """

    kind: MailKind
    message_id: str | None = None
    sender: str | None = None
    subject: str = ""
    sent_at: datetime | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    token: str | None = None
    text: str = ""
    opt_out: bool = False
    language: str | None = None
    recipient: str | None = None
    recipient_status: str | None = None
    action: str | None = None
    original_message_id: str | None = None
    original_key: str | None = None
    attachments: tuple[Attachment, ...] = ()
    truncated: bool = False

    @property
    def permanent(self) -> bool:
        """Whether a bounce says that the address will never take mail."""
        return self.action == "failed" and (self.recipient_status or "").startswith("5.")
