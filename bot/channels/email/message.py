"""One approved message becomes one mail: parts and headers, for exactly one recipient.

Every value that reaches a header passes through here and is checked or flattened, so that neither a line
break nor a second recipient in any field can alter the mail. Sending is not this module's business.

Headers follow RFC 5322, RFC 2369 and RFC 8058 (unsubscribe), RFC 2919 (List-Id), RFC 3834 (Auto-Submitted).
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from bot.channels.base import DeadAddressError, Message
from bot.channels.email.addresses import domain_of, one_address, with_detail
from bot.channels.email.quoted import quoted_printable
from bot.errors import ConfigurationError, PermanentChannelError
from bot.tokens import Purpose, Signer

if TYPE_CHECKING:
    from bot.channels.email.signing import DkimSigner

# The whole References header stays far under RFC 5322's 998 octets a line.
MAX_REFERENCES = 10
_KEY = re.compile(r"(?P<subject>[a-z]+:[A-Za-z0-9]+):(?P<attempt>[0-9]+)\Z")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,200}>\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_URL = re.compile(r"https?://[!-;=?-~]{1,900}\Z")
_NO_TOKEN = re.compile(r"[^A-Za-z0-9_-]+")
# What may stand in a header on the wire: printable ASCII on lines of at most 998 octets (RFC 5322 section 2.1.1), and
# a line break only where a space and more text follow it (folding). The name's octets are counted generously.
_ON_THE_WIRE = re.compile(r"[ -~]{0,950}(?:\r\n [ -~]{1,950})*\Z")
_PLAIN_TEXT = re.compile(r"[ -~]{0,200}\Z")
_ENCODING = "quoted-printable"
_TYPES = {subtype: f'text/{subtype}; charset="utf-8"' for subtype in ("plain", "html")}
_PLAIN_HEAD, _HTML_HEAD = (
    f"Content-Type: {value}\r\nContent-Transfer-Encoding: {_ENCODING}\r\n" for value in _TYPES.values()
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A mail as it leaves: what stands in it is on the wire's form already.

    Attributes
    ----------
    headers : mapping of str to str
        In their order, each name once.
    plain, html : bytes
        Quoted-printable, with CRLF line ends; empty HTML: the mail has only the plain part.
    boundary : str
        What stands between the parts, where there are two.

    Raises
    ------
    PermanentChannelError
        A header would not be sound: whatever a field slipped past, it ends here.
    """

    headers: Mapping[str, str]
    plain: bytes
    html: bytes = b""
    boundary: str = ""

    def __post_init__(self) -> None:
        for name, value in self.headers.items():
            if not _ON_THE_WIRE.match(value):
                raise PermanentChannelError(f"the header {name} would not be sound; nothing was sent")

    def octets(self) -> bytes:
        """Write the whole mail."""
        head = "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()])
        if not self.html:
            return f"{head}\r\n".encode("ascii") + self.plain
        return b"".join(
            [
                f"{head}\r\n--{self.boundary}\r\n{_PLAIN_HEAD}\r\n".encode("ascii"),
                self.plain,
                f"\r\n--{self.boundary}\r\n{_HTML_HEAD}\r\n".encode("ascii"),
                self.html,
                f"\r\n--{self.boundary}--\r\n".encode("ascii"),
            ]
        )


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who writes: the shop's sender, its reply address and the key that signs.

    Attributes
    ----------
    sender : str
        The address in From; `name` stands beside it.
    reply_to : str
        The address that gets `+TOKEN`; the sender where empty.
    dkim : DkimSigner or None
        Signs whole mails; None where the relay does, or nobody.
    """

    sender: str
    name: str
    signer: Signer
    secret: str
    reply_to: str = ""
    dkim: DkimSigner | None = None

    def __post_init__(self) -> None:
        """Refuse a sender that no mail can come from, lest the customer's address be blamed for it."""
        for setting, address in (("email.from", self.sender), ("email.reply_to", self.reply_to)):
            try:
                one_address(address or self.sender)
            except DeadAddressError as error:
                advice = "write one plain address such as care@shop.example"
                raise ConfigurationError([(setting, advice)]) from error

    @property
    def domain(self) -> str:
        return domain_of(one_address(self.sender))


def message_id(identity: Identity, key: str) -> str:
    """Return the Message-ID of a key: every attempt at the same outreach carries the same one.

    A mail that was sent again after doubt is then recognised as the same mail by the recipient's side.
    """
    subject = _key(key)["subject"]
    digest = hmac.digest(identity.secret.encode(), f"message-id\0{subject}".encode(), "sha256").hex()[:20]
    return f"<{subject.replace(':', '.')}.{digest}@{identity.domain}>"


def compose(message: Message, identity: Identity, now: datetime) -> Written:
    """Build the mail.

    Raises
    ------
    DeadAddressError
        The recipient is not exactly one address.
    PermanentChannelError
        The mail has no words, or its key is malformed.
    """
    recipient = one_address(message.address)
    if not message.text.strip():
        raise PermanentChannelError("the message is empty; edit it and approve it again")
    key = _key(message.key)
    token = identity.signer.sign(Purpose.REPLY, key["subject"].replace(":", ".").lower())
    reply_to = _reply_address(identity, token)
    headers = {
        "From": _mailbox(identity.name, identity.sender),
        "To": recipient,
        "Subject": _unstructured(flat(message.subject) or flat(identity.name)),
        "Date": _date(now.replace(microsecond=0)),
        "Message-ID": message_id(identity, message.key),
        "Reply-To": _mailbox(identity.name, reply_to),
        **_thread(message),
    }
    if message.proactive:
        headers |= _list(message, identity, reply_to)
    if message.automatic:
        headers["Auto-Submitted"] = "auto-generated" if message.proactive else "auto-replied"
        headers["X-Auto-Response-Suppress"] = "All"
    headers["X-Aftercare-Key"] = message.key
    headers["MIME-Version"] = "1.0"
    plain = quoted_printable(_plain(message))
    if not message.html:
        headers |= {"Content-Type": _TYPES["plain"], "Content-Transfer-Encoding": _ENCODING}
        return Written(headers=headers, plain=plain)
    # No part can hold this boundary: in quoted-printable "=" is followed by two digits or the end of the line.
    boundary = f"=_{secrets.token_hex(16)}"
    headers["Content-Type"] = f'multipart/alternative;\r\n boundary="{boundary}"'
    return Written(headers=headers, plain=plain, html=quoted_printable(message.html), boundary=boundary)


def _reply_address(identity: Identity, token: str) -> str:
    """Return the reply address with its token; without one where the name before the @ would grow too long.

    RFC 5321 allows it 64 octets, of which a token takes about fifty; replies are then found by their References.
    """
    plain = one_address(identity.reply_to or identity.sender)
    try:
        return one_address(with_detail(plain, token))
    except DeadAddressError:
        return plain


def wire(mail: Written, identity: Identity) -> bytes:
    """Write the mail as it leaves: CRLF line ends, signed where we sign. Nothing may be changed in it afterwards."""
    content = mail.octets()
    return content if identity.dkim is None else identity.dkim.sign(content)


def headers_on_the_wire(mail: Written, identity: Identity) -> list[tuple[str, str]]:
    """Return the headers as they leave, to be shown: the signature first where we sign."""
    ours = list(mail.headers.items())
    if identity.dkim is None:
        return ours
    name, _, value = identity.dkim.header(mail.octets()).decode("ascii").partition(":")
    return [(name, " ".join(value.split())), *ours]


def flat(text: str) -> str:
    """Return text on one line: control characters and line breaks become single spaces."""
    return " ".join(_CONTROL.sub(" ", _sound(text)).split())


def _thread(message: Message) -> dict[str, str]:
    """Say which mails this one follows; identifiers came from outside, so odd ones are left out."""
    earlier = [reference for reference in (message.thread, *message.references) if reference]
    if message.in_reply_to:
        earlier.append(message.in_reply_to)
    known = [reference for reference in dict.fromkeys(earlier) if _MESSAGE_ID.match(reference)]
    if len(known) > MAX_REFERENCES:  # the first and the latest ones matter to mail programs
        known = [known[0], *known[-(MAX_REFERENCES - 1) :]]
    if not known:
        return {}
    answered = message.in_reply_to if message.in_reply_to in known else known[-1]
    return {"In-Reply-To": answered, "References": "\r\n ".join(known)}


def _list(message: Message, identity: Identity, reply_to: str) -> dict[str, str]:
    found = {"List-Unsubscribe": f"<mailto:{reply_to}?subject=unsubscribe>"}
    if _URL.match(message.opt_out_url):
        found = {
            "List-Unsubscribe": f"<{message.opt_out_url}>,\r\n {found['List-Unsubscribe']}",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
    found["List-Id"] = f"<check-ins.{identity.domain}>"
    # Google's format: identifiers from the narrow to the wide, the sender last.
    campaign, locale = _token(message.campaign, "check-in"), _token(message.locale[:2], "en")
    found["Feedback-ID"] = f"{campaign}:{locale}:aftercare:{identity.domain}"
    return found


def _plain(message: Message) -> str:
    return "\n".join(_sound(message.plain or message.text).splitlines()).strip("\n") + "\n"


def _sound(text: str) -> str:
    """Replace lone surrogates, which no mail can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _unstructured(text: str) -> str:
    """Write one line of text as a header's value (RFC 2047 where it is not short, plain ASCII)."""
    if _PLAIN_TEXT.match(text) and "=?" not in text:
        return text
    return Header(text, "utf-8", maxlinelen=75, header_name="Subject").encode(linesep="\r\n")


def _mailbox(name: str, address: str) -> str:
    """Write a display name and one address (RFC 5322 section 3.4)."""
    shown = _displayed(name)
    return f"{shown}<{one_address(address)}>" if shown else one_address(address)


@lru_cache(maxsize=64)
def _displayed(name: str) -> str:
    """Return a display name as it stands before an address; every mail bears the sender's, most bear it twice."""
    shown = flat(name)
    if not shown:
        return ""
    if _PLAIN_TEXT.match(shown) and "=?" not in shown:
        escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" '
    return f"{_unstructured(shown)}\r\n "


@lru_cache(maxsize=8)
def _date(now: datetime) -> str:
    """Write an instant (RFC 5322 section 3.3); many mails leave within a second."""
    return format_datetime(now)


def _token(text: str, otherwise: str) -> str:
    """Return text as a short identifier: anything but ASCII letters, digits, `_` and `-` becomes one `_`."""
    return _NO_TOKEN.sub("_", text).strip("_")[:60] or otherwise


def _key(key: str) -> re.Match[str]:
    found = _KEY.match(key)
    if found is None:
        raise PermanentChannelError(f"{key!r} is no delivery key; it must read outreach:ID:ATTEMPT")
    return found
