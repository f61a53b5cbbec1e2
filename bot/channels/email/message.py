"""One approved message becomes one mail: parts and headers, for exactly one recipient.

Every value that reaches a header passes through here and is checked or flattened, so that neither a line
break nor a second recipient in any field can alter the mail. Sending is not this module's business.

Headers follow RFC 5322, RFC 2369 and RFC 8058 (unsubscribe), RFC 2919 (List-Id), RFC 3834 (Auto-Submitted).
"""

from __future__ import annotations

import binascii
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.message import EmailMessage, MIMEPart
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from bot.channels.base import DeadAddressError, Message
from bot.channels.email.addresses import domain_of, one_address, with_detail
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


class _Policy(EmailPolicy):
    """SMTP's policy, except that every header is kept as we wrote it, once it was found sound.

    The standard library would decode an encoded word that stands in a subject or a name (`=?utf-8?q?=0A?=` becomes a
    line break), folds in the middle of long identifiers, and spends most of the time of a mail on parsing what we
    have just written.
    """

    def header_max_count(self, name: str) -> int:
        return 1

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        if not _ON_THE_WIRE.match(value):  # whatever a field slipped past, it ends here
            raise PermanentChannelError(f"the header {name} would not be sound; nothing was sent")
        return name, value

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return value

    def fold(self, name: str, value: str) -> str:
        return f"{name}: {value}\r\n"

    def fold_binary(self, name: str, value: str) -> bytes:
        return self.fold(name, value).encode("ascii")


POLICY = _Policy(linesep="\r\n", raise_on_defect=False)


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


def compose(message: Message, identity: Identity, now: datetime) -> EmailMessage:
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
    mail = EmailMessage(policy=POLICY)
    mail["From"] = _mailbox(identity.name, identity.sender)
    mail["To"] = recipient
    mail["Subject"] = _unstructured(flat(message.subject) or flat(identity.name))
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = message_id(identity, message.key)
    token = identity.signer.sign(Purpose.REPLY, key["subject"].replace(":", ".").lower())
    reply_to = _reply_address(identity, token)
    mail["Reply-To"] = _mailbox(identity.name, reply_to)
    _thread(mail, message)
    if message.proactive:
        _list(mail, message, identity, reply_to)
    if message.automatic:
        mail["Auto-Submitted"] = "auto-generated" if message.proactive else "auto-replied"
        mail["X-Auto-Response-Suppress"] = "All"
    mail["X-Aftercare-Key"] = message.key
    mail["MIME-Version"] = "1.0"
    if not message.html:
        _fill(mail, "plain", _plain(message))
        return mail
    # No part can hold this boundary: in quoted-printable "=" is followed by two digits or the end of the line.
    mail["Content-Type"] = f'multipart/alternative;\r\n boundary="=_{secrets.token_hex(16)}"'
    for subtype, text in (("plain", _plain(message)), ("html", _sound(message.html))):
        part = EmailMessage(policy=POLICY)
        _fill(part, subtype, text)
        mail.attach(part)
    return mail


def _reply_address(identity: Identity, token: str) -> str:
    """Return the reply address with its token; without one where the name before the @ would grow too long.

    RFC 5321 allows it 64 octets, of which a token takes about fifty; replies are then found by their References.
    """
    plain = one_address(identity.reply_to or identity.sender)
    try:
        return one_address(with_detail(plain, token))
    except DeadAddressError:
        return plain


def wire(mail: EmailMessage, identity: Identity) -> bytes:
    """Write the mail as it leaves: CRLF line ends, signed where we sign. Nothing may be changed in it afterwards."""
    content = octets(mail)
    return content if identity.dkim is None else identity.dkim.sign(content)


def headers_on_the_wire(mail: EmailMessage, identity: Identity) -> list[tuple[str, str]]:
    """Return the headers as they leave, to be shown: unfolded, the signature first where we sign."""
    ours = [(name, str(value)) for name, value in mail.items()]
    if identity.dkim is None:
        return ours
    name, _, value = identity.dkim.header(octets(mail)).decode("ascii").partition(":")
    return [(name, " ".join(value.split())), *ours]


def octets(mail: EmailMessage) -> bytes:
    """Write a mail of ours as the standard library's generator would, in a fifth of its time.

    Its headers are on the wire's form already, and its parts are quoted-printable (a test compares the two).
    """
    return _lines(mail).encode("ascii")


def _lines(part: MIMEPart) -> str:
    head = "".join(f"{name}: {value}\r\n" for name, value in part.raw_items())
    if not part.is_multipart():
        return f"{head}\r\n" + str(part.get_payload()).replace("\n", "\r\n")
    boundary = part.get_boundary()
    inner = "".join(f"--{boundary}\r\n{_lines(one)}\r\n" for one in part.iter_parts())
    return f"{head}\r\n{inner}--{boundary}--\r\n"


def flat(text: str) -> str:
    """Return text on one line: control characters and line breaks become single spaces."""
    return " ".join(_CONTROL.sub(" ", _sound(text)).split())


def _thread(mail: EmailMessage, message: Message) -> None:
    """Say which mails this one follows; identifiers came from outside, so odd ones are left out."""
    earlier = [reference for reference in (message.thread, *message.references) if reference]
    if message.in_reply_to:
        earlier.append(message.in_reply_to)
    known = [reference for reference in dict.fromkeys(earlier) if _MESSAGE_ID.match(reference)]
    if len(known) > MAX_REFERENCES:  # the first and the latest ones matter to mail programs
        known = [known[0], *known[-(MAX_REFERENCES - 1) :]]
    if known:
        mail["In-Reply-To"] = message.in_reply_to if message.in_reply_to in known else known[-1]
        mail["References"] = "\r\n ".join(known)


def _list(mail: EmailMessage, message: Message, identity: Identity, reply_to: str) -> None:
    mailto = f"<mailto:{reply_to}?subject=unsubscribe>"
    if _URL.match(message.opt_out_url):
        mail["List-Unsubscribe"] = f"<{message.opt_out_url}>,\r\n {mailto}"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    else:
        mail["List-Unsubscribe"] = mailto
    mail["List-Id"] = f"<check-ins.{identity.domain}>"
    # Google's format: identifiers from the narrow to the wide, the sender last.
    campaign, locale = _token(message.campaign, "check-in"), _token(message.locale[:2], "en")
    mail["Feedback-ID"] = f"{campaign}:{locale}:aftercare:{identity.domain}"


def _fill(part: EmailMessage, subtype: str, text: str) -> None:
    """Put text into a part, as quoted-printable whatever it holds: lines stay short, and no relay needs to alter it."""
    part["Content-Type"] = f'text/{subtype}; charset="utf-8"'
    part["Content-Transfer-Encoding"] = "quoted-printable"
    lines = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    part.set_payload(binascii.b2a_qp(lines, istext=True).decode("ascii"))


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
    shown = flat(name)
    if not shown:
        return one_address(address)
    if _PLAIN_TEXT.match(shown) and "=?" not in shown:
        escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{one_address(address)}>'
    return f"{_unstructured(shown)}\r\n <{one_address(address)}>"


def _token(text: str, otherwise: str) -> str:
    """Return text as a short identifier: anything but ASCII letters, digits, `_` and `-` becomes one `_`."""
    return _NO_TOKEN.sub("_", text).strip("_")[:60] or otherwise


def _key(key: str) -> re.Match[str]:
    found = _KEY.match(key)
    if found is None:
        raise PermanentChannelError(f"{key!r} is no delivery key; it must read outreach:ID:ATTEMPT")
    return found
