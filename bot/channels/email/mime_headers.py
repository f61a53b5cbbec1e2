"""Header fields, read by scanners of our own: fields, encoded words, parameters, addresses and identifiers.

The standard library's parsers have corners that raise or take quadratic time on crafted headers; these are linear,
capped, and raise `UnreadableMail` alone. What the fields mean is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bot.channels.email.mime_text import clean, decoded_text, one_line, transfer_decoded
from bot.errors import InputError

__all__ = ["Headers", "UnreadableMail", "addresses", "identifiers", "instant", "parameters", "read_headers"]

# Far above any real mail: a long trace with signatures of five relays takes 40 kB in 120 fields.
MAX_HEADER_OCTETS = 256 * 1024
MAX_FIELDS = 1_000
MAX_VALUE = 16 * 1024
MAX_IDENTIFIERS = 50

_BLANK = re.compile(rb"\r*\n")
_END = re.compile(rb"\n\r*\n")
_FIELD = re.compile(rb"([!-9;-~]{1,100})[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)\n?")
# A mailbox file's separator is no field; some programs export it, quoted or not.
_FROM_LINE = re.compile(rb">?From [^\n]*\n")
_FOLD = re.compile(rb"[\r\n]+")
# RFC 2047 section 2 allows 75 characters; mailers write longer ones. `?` ends each piece, so the scan is linear.
_ENCODED_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]{0,4000})\?=")
_PARAMETER = re.compile(r""";\s*([^\s=;"]{1,60})\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_MAILBOX_TOKEN = re.compile(
    r"""("(?:[^"\\]|\\.)*"?|\((?:[^()\\]|\\.)*\)?)|<([^<>]*)>?|([,;:])|[^",;:<>()]+|.""", re.DOTALL
)
_ADDRESS = re.compile(r"""[^\s@<>()",;:\\\x00-\x20\x7f]{1,64}@[^\s@<>()",;:\\\x00-\x20\x7f]{1,253}\Z""")
_QUOTED_LOCAL = re.compile(r"\A\"([^\s\"\\]{1,64})\"@")
# No longer than what `message.py` writes into In-Reply-To.
_IDENTIFIER = re.compile(r"<[!-;=?-~]{1,200}>")
_BARE_IDENTIFIER = re.compile(r"[!-;=?A-~]{1,120}@[!-;=?A-~]{1,120}\Z")


class UnreadableMail(InputError):
    """The mail cannot be read and is to be set aside, its octets kept."""


@dataclass(frozen=True, kw_only=True)
class Headers:
    """The fields of a mail or a part, by their names in lower case; every reading is capped."""

    fields: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def raw(self, name: str) -> str:
        """Return the first field of a name, unfolded and otherwise as it was written; empty where there is none."""
        return next(iter(self.all(name)), "")

    def all(self, *names: str) -> list[str]:
        """Return every field of these names, unfolded and otherwise as they were written."""
        return [_unfolded(value) for name in names for value in self.fields.get(name, ())]

    def text(self, name: str, limit: int = 500) -> str:
        """Return the first field of a name as people read it, on one line."""
        return one_line(decoded_words(self.raw(name)[: 8 * limit]), limit)

    def word(self, name: str) -> str:
        """Return the first word of a field in lower case, without comments and parameters."""
        found = re.match(r"\s*(?:\([^()]*\)\s*)?([^\s;(]{0,100})", self.raw(name))
        return found[1].lower() if found else ""


def read_headers(content: bytes, start: int = 0, end: int | None = None) -> tuple[Headers, int]:
    """Return the fields that stand at `start`, and where the body begins.

    Raises
    ------
    UnreadableMail
        The fields are more, or longer, than any real mail's.
    """
    end = len(content) if end is None else end
    if blank := _BLANK.match(content, start, end):
        return Headers(), blank.end()
    limit = min(end, start + MAX_HEADER_OCTETS)
    found = _END.search(content, start, limit)
    if found is None and limit < end:
        raise UnreadableMail(f"its header is longer than {MAX_HEADER_OCTETS // 1024} kB")
    at, stop = start, found.start() + 1 if found else end
    body = found.end() if found else end
    fields: dict[str, list[bytes]] = {}
    for count in range(MAX_FIELDS + 1):
        while separator := _FROM_LINE.match(content, at, stop):
            at = separator.end()
        if at >= stop:
            break
        one = _FIELD.match(content, at, stop)
        if one is None:  # the body began without an empty line
            body = at
            break
        if count == MAX_FIELDS:
            raise UnreadableMail(f"its header has more than {MAX_FIELDS} fields")
        fields.setdefault(one[1].decode("ascii").lower(), []).append(one[2])
        at = one.end()
    return Headers(fields={name: tuple(values) for name, values in fields.items()}), body


def decoded_words(value: str) -> str:
    """Decode encoded words (RFC 2047); those that stand side by side are one text, cut even within a character."""
    pieces: list[str] = []
    at, pending, charset = 0, b"", ""
    for found in _ENCODED_WORD.finditer(value):
        between = value[at : found.start()]
        name = found[1].partition("*")[0].lower()
        octets = found[3].encode("utf-8", "replace")
        if found[2] in "qQ":
            octets = octets.replace(b"_", b" ")
        octets = transfer_decoded(octets, found[2])
        if pending and not between.strip() and name == charset:
            pending += octets
        else:
            if pending:
                pieces.append(decoded_text(pending, charset))
            if between.strip() or not pending:
                pieces.append(between)
            pending, charset = octets, name
        at = found.end()
    if pending:
        pieces.append(decoded_text(pending, charset))
    pieces.append(value[at:])
    return clean("".join(pieces))


def parameters(value: str) -> dict[str, str]:
    """Return the parameters of a Content-Type or Content-Disposition, continued and encoded ones (RFC 2231) decoded."""
    plain: dict[str, str] = {}
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for count, found in enumerate(_PARAMETER.finditer(value[:MAX_VALUE])):
        if count == 100:
            break
        name, text = found[1].lower(), found[2]
        text = _ESCAPED.sub(r"\1", text[1:].removesuffix('"')) if text.startswith('"') else text.strip()
        base, star, rest = name.partition("*")
        number = rest.removesuffix("*")
        if not star:
            plain.setdefault(name, text)
        elif not number or (number.isdecimal() and len(number) < 4):
            pieces.setdefault(base, []).append((int(number or 0), name.endswith("*"), text))
    for name, parts in pieces.items():
        plain[name] = _continued(sorted(parts, key=lambda part: part[0]))
    return plain


def addresses(values: Iterable[str]) -> list[str]:
    """Return the addresses of address fields, domains in lower case and ASCII; odd ones are left out."""
    found: list[str] = []
    for value in values:
        bare, angle = "", None
        for token in _MAILBOX_TOKEN.finditer(value):
            if token[2] is not None:
                angle = token[2]
            elif token[3] == ":":
                bare = ""  # a group's name
            elif token[3]:
                found.append(_address(bare, angle))
                bare, angle = "", None
            elif token[1] is None:
                bare += token[0]
        found.append(_address(bare, angle))
    return [address for address in found if address]


def identifiers(values: Iterable[str]) -> tuple[str, ...]:
    """Return the message identifiers of References and the like, each once, at most 50: the first and the last."""
    found: dict[str, None] = {}
    for value in values:
        ids = _IDENTIFIER.findall(value)
        if not ids and _BARE_IDENTIFIER.match(value.strip()):
            ids = [f"<{value.strip()}>"]
        found.update(dict.fromkeys(ids))
    every = tuple(found)
    return every if len(every) <= MAX_IDENTIFIERS else every[:10] + every[10 - MAX_IDENTIFIERS :]


def instant(value: str) -> datetime | None:
    """Return the time of a Date field in UTC, None where it is none."""
    try:
        moment = parsedate_to_datetime(value[:100])
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _unfolded(value: bytes) -> str:
    value = _FOLD.sub(b"", value[: 2 * MAX_VALUE])[:MAX_VALUE].strip(b" \t")
    return value.decode("ascii") if value.isascii() else decoded_text(value, None)


def _address(bare: str, angle: str | None) -> str:
    """Return one address; empty where it is none. Local parts that RFC 5322 forbids are written by real carriers."""
    # In angles a route of the old kind may stand before a colon.
    text = (bare if angle is None else angle.rpartition(":")[2]).strip()
    text = _QUOTED_LOCAL.sub(r"\1@", text)
    if not _ADDRESS.match(text):
        return ""
    local, _, domain = text.rpartition("@")
    try:
        domain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    return f"{local}@{domain.lower()}"


def _continued(parts: list[tuple[int, bool, str]]) -> str:
    octets, charset = [], "utf-8"
    for place, (_, encoded, text) in enumerate(parts):
        if encoded and place == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        piece = text.encode("utf-8", "replace")
        octets.append(_PERCENT.sub(lambda found: bytes([int(found[1], 16)]), piece) if encoded else piece)
    return decoded_text(b"".join(octets), charset or "utf-8")
