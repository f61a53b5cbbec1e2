"""Octets become text: transfer encodings undone, charsets repaired, flowed lines joined, control characters gone.

Everything here is linear in its input and raises nothing, whatever the octets; the caller caps their number.
Which part of a mail is read is `mime.py`'s business.
"""

from __future__ import annotations

import binascii
import re
from encodings.aliases import aliases

__all__ = ["clean", "decoded_text", "one_line", "transfer_decoded", "unflowed"]

# Names that a mail may give are looked up here and never imported: Python knows codecs that are no charsets, and some
# (punycode) take quadratic time. Each is read as the wider charset that mailers mean by it.
_WIDER = {
    "ascii": "cp1252", "latin_1": "cp1252", "iso8859_9": "cp1254", "iso8859_11": "cp874", "tis_620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "hz": "hz", "big5": "cp950",
    "iso2022_jp": "iso2022_jp_3", "iso2022_jp_1": "iso2022_jp_3", "iso2022_jp_2": "iso2022_jp_3",
}  # fmt: skip
_SINGLE = frozenset(
    {f"cp125{n}" for n in range(9)}
    | {f"iso8859_{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)}
    | {"cp437", "cp850", "cp852", "cp855", "cp866", "cp874", "koi8_r", "koi8_u", "mac_roman", "mac_cyrillic"}
)
_MULTIPLE = frozenset({
    "utf_8", "utf_7", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "gb18030", "big5hkscs",
    "cp950", "cp932", "cp949", "euc_jp", "hz", "iso2022_jp_3", "iso2022_kr", "johab",
})  # fmt: skip
_OTHER_NAMES = {"cp1252": "cp1252", "utf8mb4": "utf_8", "unicode_1_1_utf_7": "utf_7", "ks_c_5601_1987": "euc_kr"}

_ASCII = bytes(range(128))
_STRAY = re.compile("[\udc80-\udcff]+")
# What Python reads a wrong octet of UTF-8 as, and what windows-1252 says it is.
_WINDOWS = {0xDC00 + octet: bytes([octet]).decode("cp1252", "replace") for octet in range(0x80, 0x100)}
# A character of UTF-8 that was read as windows-1252 and written as UTF-8 once more: a lead byte's letter, then the
# characters that stand for continuation bytes.
_TWICE = re.compile(
    "[\u00c2-\u00f4][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)
_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ud800-\udfff\ufffe\uffff]")
# On one line nothing may break it, and nothing may turn the direction of what follows.
_BREAKS = re.compile("[\x00-\x20\x7f-\xa0\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]+")
_NO_BASE64 = bytes(sorted(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")))


def transfer_decoded(octets: bytes, encoding: str) -> bytes:
    """Undo a Content-Transfer-Encoding; broken quoted-printable and cut-off base64 give what can be read."""
    encoding = encoding.strip(" \t\"'").lower()
    if encoding in ("quoted-printable", "quoted_printable", "q"):
        return binascii.a2b_qp(octets)
    if encoding in ("base64", "b"):
        # What follows the padding is a footer that somebody added, not base64.
        sound = octets.partition(b"=")[0].translate(None, _NO_BASE64)
        sound = sound[: len(sound) - 1] if len(sound) % 4 == 1 else sound
        return binascii.a2b_base64(sound + b"=" * (-len(sound) % 4))
    return octets


def decoded_text(octets: bytes, declared: str | None) -> str:
    """Return octets as text, in the charset they are in rather than the one that is claimed.

    Octets that are sound UTF-8 are UTF-8 where a single-byte charset, an unknown one or none is declared: text in
    those is never UTF-8 by chance. Octets declared UTF-8 that are not are windows-1252 where they are not sound.
    """
    name = _charset(declared)
    if octets.isascii():
        return _ascii(octets, name)
    if octets[:2] in (b"\xff\xfe", b"\xfe\xff") and name not in _SINGLE:
        return octets.decode("utf-16", "replace")
    if name in _MULTIPLE and name != "utf_8" and (text := _strict(octets, name)) is not None:
        return text
    if (text := _strict(octets, "utf_8")) is not None:
        return _read_once(text)
    if name in _MULTIPLE and name != "utf_8":  # one wrong octet must not spoil the rest
        return octets.decode(name, "replace")
    if name is None or name == "utf_8":
        text = octets.decode("utf-8", "surrogateescape")
        strays = sum(map(len, _STRAY.findall(text)))
        if 2 * strays < len(octets.translate(None, _ASCII)):  # UTF-8 with strays, or cut in a character
            return text.translate(_WINDOWS)
    return octets.decode(name if name in _SINGLE else "cp1252", "replace")


def clean(text: str) -> str:
    """Return text with line feeds for line ends, and without control characters, byte order marks and surrogates."""
    return _CONTROL.sub("", _LINE_END.sub("\n", text))


def one_line(text: str, limit: int) -> str:
    """Return text on one line of at most `limit` characters."""
    return _BREAKS.sub(" ", text[: 4 * limit]).strip()[:limit]


def unflowed(text: str, *, delete_space: bool = False) -> str:
    """Join the lines of `format=flowed` (RFC 3676): a line that ends with a space goes on in the next one."""
    paragraphs: list[list[str]] = []
    going_on, depth = False, 0
    for line in text.split("\n"):
        content = line.lstrip(">")
        before, depth = depth, len(line) - len(content)
        content = content.removeprefix(" ")
        if going_on and depth == before and content != "-- ":
            paragraphs[-1].append(content)
        else:
            paragraphs.append([f"{'>' * depth} " if depth else "", content])
        going_on = content.endswith(" ") and content != "-- "
        if going_on and delete_space:
            paragraphs[-1][-1] = content[:-1]
    return "\n".join(map("".join, paragraphs))


def _charset(declared: str | None) -> str | None:
    """Return Python's name of a charset that is known here."""
    if not declared or len(declared) > 60:
        return None
    name = re.sub(r"[^a-z0-9]+", "_", declared.lower().removeprefix("x-").removeprefix("cs")).strip("_")
    name = _OTHER_NAMES.get(name, name)
    name = re.sub(r"^windows_?(?=\d)", "cp", name)
    name = aliases.get(name, name)
    name = _WIDER.get(name, name)
    return name if name in _SINGLE or name in _MULTIPLE else None


def _ascii(octets: bytes, name: str | None) -> str:
    """Read octets without a high bit: mostly ASCII, and the charsets that are written in it."""
    shifted = name is not None and (name in ("utf_7", "hz") or name.startswith("iso2022"))
    wide = name is not None and name.startswith(("utf_16", "utf_32")) and b"\0" in octets
    if name is not None and (shifted or wide):
        return octets.decode(name, "replace")
    # Japanese that forgot to say so: its escape sequences stand in nothing else.
    if b"\x1b$" in octets and (text := _strict(octets, "iso2022_jp_3")) is not None:
        return text
    return octets.decode("ascii")


def _strict(octets: bytes, name: str) -> str | None:
    try:
        return octets.decode(name)
    except ValueError:  # UnicodeError among it
        return None


def _read_once(text: str) -> str:
    """Undo UTF-8 that was encoded twice; text that holds anything else is left alone."""
    if not _TWICE.search(text):
        return text
    try:
        return _sloppy(text).decode("utf-8")
    except UnicodeError:
        return text


def _sloppy(text: str) -> bytes:
    """Write windows-1252 with its five holes filled as browsers do."""
    return text.translate(_HOLES).encode("cp1252", "surrogateescape")


# cp1252 cannot write these five; as escaped surrogates they become the octets that they were.
_HOLES = {value: 0xDC00 + value for value in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}
