"""DKIM: a mail of ours proves where it comes from (RFC 6376), where no relay signs for us.

dkimpy canonicalises and writes the header; which headers are covered, and which can no longer be added, is decided here.
Keys are read by `keys.py`; what DNS must say about them is `records.py`'s business.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import dkim  # type: ignore[import-untyped]
from dkim.canonicalization import CanonicalizationPolicy  # type: ignore[import-untyped]

from bot.channels.email.keys import PrivateKey, read_private_key
from bot.clock import Clock
from bot.errors import ConfigurationError

__all__ = ["DkimSigner"]

# What a reader sees, what threads a conversation, what ends contact, and how the body is to be read.
COVERED = (
    "from", "to", "subject", "date", "message-id", "reply-to", "in-reply-to", "references", "list-unsubscribe",
    "list-unsubscribe-post", "list-id", "auto-submitted", "feedback-id", "mime-version", "content-type",
    "content-transfer-encoding",
)  # fmt: skip
# Listed once more than they stand in the mail, so that the signature breaks where somebody adds one (RFC 6376 section
# 8.15). Not all of them: relays add Feedback-ID and List-Id of their own to mails that they carry.
SEALED = frozenset({
    "from", "to", "subject", "date", "reply-to", "list-unsubscribe", "list-unsubscribe-post", "content-type",
})  # fmt: skip
# RFC 6376 section 3.1: labels of a domain name.
_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\Z", re.I)
_RELAXED = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")


@dataclass(frozen=True)
class _Signed:
    signature: bytes


@dataclass(frozen=True)
class _Pen:
    """A key in the form in which dkimpy lets an object sign."""

    key: PrivateKey

    def sign(self, digest: bytes) -> _Signed:
        return _Signed(self.key.sign(digest))


class _Header(dkim.DKIM):  # type: ignore[misc]
    """dkimpy's signature of one mail, with our own key, clock and choice of headers.

    `dkim.DKIM.sign` would parse the key anew for every mail and take the time from the machine.
    """

    def over(self, fields: list[tuple[bytes, bytes]], covered: list[bytes], key: PrivateKey) -> bytes:
        """Return the DKIM-Signature header, with its line end."""
        algorithm = key.algorithm.encode()
        self.hasher = dkim.HASH_ALGORITHMS[algorithm]
        body = self.hasher(_RELAXED.canonicalize_body(self.body)).digest()
        tags = [
            (b"v", b"1"),
            (b"a", algorithm),
            (b"c", _RELAXED.to_c_value()),
            *fields,
            (b"h", b" : ".join(covered)),
            (b"bh", base64.b64encode(body)),
            (b"b", b"0" * 60),  # filled by dkimpy, which folds before it
        ]
        # Only what comes after this name asks an object to sign; the algorithm itself stands in the tags.
        self.signature_algorithm = b"ed25519-sha256"
        return b"DKIM-Signature: " + bytes(self.gen_header(tags, covered, _RELAXED, b"DKIM-Signature", _Pen(key)))


class DkimSigner:
    """Signs mails for one domain; any thread may.

    Parameters
    ----------
    domain : str
        The `d=` of the signature: the domain of From, so that DMARC finds them aligned.
    selector : str
        Names the public key in DNS: SELECTOR._domainkey.DOMAIN.
    key : str
        The private key, see `read_private_key`.

    Raises
    ------
    ConfigurationError
        The selector is no name, or the key cannot be used.
    """

    def __init__(self, *, domain: str, selector: str, key: str, clock: Clock) -> None:
        if not _SELECTOR.match(selector):
            raise ConfigurationError([("email.dkim_selector", "write letters, digits and hyphens, such as aftercare1")])
        self.domain = domain.lower()
        self.selector = selector
        self.key = read_private_key(key)
        self._clock = clock

    def __repr__(self) -> str:  # the key never reaches a log
        return f"DkimSigner({self.selector}._domainkey.{self.domain}, {self.key.algorithm})"

    def sign(self, content: bytes) -> bytes:
        """Return the mail with its signature on top.

        Parameters
        ----------
        content : bytes
            The whole mail, with CRLF line ends, as it will leave.
        """
        return self.header(content) + content

    def header(self, content: bytes) -> bytes:
        """Return the DKIM-Signature header of a mail, folded and with its line end."""
        mail = _Header(content)
        fields = [
            (b"d", self.domain.encode("ascii")),
            (b"s", self.selector.encode("ascii")),
            (b"t", str(int(self._clock.now().timestamp())).encode("ascii")),
        ]
        return mail.over(fields, _to_cover(mail.headers), self.key)


def _to_cover(headers: list[Any]) -> list[bytes]:
    """List each covered header as often as it stands there, and the sealed ones once more."""
    present = Counter(bytes(name).decode("ascii", "replace").lower() for name, _ in headers)
    return [name.encode("ascii") for name in COVERED for _ in range(present[name] + (1 if name in SEALED else 0))]
