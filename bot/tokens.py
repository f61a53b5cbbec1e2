"""Signed tokens that travel in links and reply addresses: who is meant, for what, until when.

A token proves that we wrote it; it hides nothing. It is made of `a-z0-9.-` only, because mail systems fold
the case of addresses. Sessions and API keys do not belong here. Signatures count real time, so the clock
here is the machine's own unless a test says otherwise.
"""

from __future__ import annotations

import base64
import hmac
import re
from datetime import timedelta
from enum import StrEnum

from bot.clock import Clock, SystemClock
from bot.errors import Refused

# RFC 2104 section 5 allows truncation to no less than half of the hash.
MAC_BYTES = 16
# Links in a mail are clicked late; CAN-SPAM asks for 30 days at least.
LIFETIME = timedelta(days=365)

_SHAPE = re.compile(r"(?P<subject>[a-z0-9]+(?:\.[a-z0-9]+)*)-(?P<expiry>[0-9a-f]{1,9})-(?P<mac>[a-z2-7]{26})\Z")
_SUBJECT = re.compile(r"[a-z0-9]+(?:\.[a-z0-9]+)*\Z")


class Purpose(StrEnum):
    """What a token may be used for; one made for one purpose is worthless for another."""

    REPLY = "reply"  # finds the outreach that a mail answers
    OPT_OUT = "opt-out"  # ends contact on one channel


class InvalidToken(Refused):
    """The link is not one of ours, was altered or has expired."""


class Signer:
    """Signs and reads tokens with the installation's secret key."""

    def __init__(self, secret: str, clock: Clock | None = None) -> None:
        self._secret = secret.encode()
        self._clock = clock or SystemClock()

    def sign(self, purpose: Purpose, subject: str, lifetime: timedelta = LIFETIME) -> str:
        """Return a token for `subject` (`a-z0-9` in dotted parts), valid for `lifetime`."""
        if not _SUBJECT.match(subject):
            raise ValueError(f"{subject!r} cannot be the subject of a token")
        # Whole days keep the token of one subject the same through a day, so that a retry repeats it.
        expiry = format(int((self._clock.now() + lifetime).timestamp()) // 86400, "x")
        return f"{subject}-{expiry}-{self._mac(purpose, subject, expiry)}"

    def read(self, purpose: Purpose, token: str) -> str:
        """Return the subject of a token.

        Raises
        ------
        InvalidToken
            It is malformed, forged, made for another purpose, or expired.
        """
        found = _SHAPE.match(token.lower()) if len(token) <= 200 else None
        if found is None:
            raise InvalidToken
        subject, expiry = found["subject"], found["expiry"]
        if not hmac.compare_digest(found["mac"], self._mac(purpose, subject, expiry)):
            raise InvalidToken
        if (int(expiry, 16) + 1) * 86400 <= self._clock.now().timestamp():
            raise InvalidToken("the link has expired; use the one in a newer message")
        return subject

    def _mac(self, purpose: Purpose, subject: str, expiry: str) -> str:
        digest = hmac.digest(self._secret, f"{purpose}\0{subject}\0{expiry}".encode(), "sha256")
        return base64.b32encode(digest[:MAC_BYTES]).decode().rstrip("=").lower()
