"""Text as quoted-printable (RFC 2045 section 6.7), whatever it holds: lines stay short, and no relay needs to alter it.

Most octets of a mail are its frame, which many mails share: what a text says to be shared is encoded once.
"""

from __future__ import annotations

import binascii
from functools import lru_cache

from messages.joined import Joined

__all__ = ["quoted_printable"]

# RFC 2045 section 6.7, rule 5; the mark that the line goes on counts.
LINE_OCTETS = 76
# The line goes on (RFC 2045 calls it a soft line break).
_GOES_ON = b"=\r\n"


def quoted_printable(text: str) -> bytes:
    """Encode text, with CRLF line ends; lone surrogates, which no mail can carry, become question marks."""
    if not isinstance(text, Joined):
        return _encoded(text)
    *pieces, last = text.pieces
    written = [_piece(piece) if number % 2 else _shared_piece(piece) for number, piece in enumerate(pieces)]
    return b"".join([*written, _encoded(last) if len(pieces) % 2 else _shared_end(last)])


def _encoded(text: str) -> bytes:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace")
    return binascii.b2a_qp(lines, istext=True).replace(b"\n", b"\r\n")


def _piece(text: str) -> bytes:
    """Encode what more follows upon, as lines of its own."""
    written = _encoded(text)
    if not written or written.endswith(b"\n"):
        return written
    length = len(written) - 1 - written.rfind(b"\n")
    if length < LINE_OCTETS:
        return written + _GOES_ON
    # There is no room for the mark: the last octet, or the three that stand for one, go to another line.
    cut = len(written) - (3 if written[-3:-2] == b"=" else 1)
    return written[:cut] + _GOES_ON + written[cut:] + _GOES_ON


_shared_piece = lru_cache(maxsize=512)(_piece)
_shared_end = lru_cache(maxsize=64)(_encoded)
