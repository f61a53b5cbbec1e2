"""Quoting what people wrote: cut, on one line, without addresses, numbers and names, and harmless to a terminal.

It is meant for reports and drafts that colleagues read. What it takes out cannot be found again from them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

__all__ = ["harmless", "quoted", "without_contacts"]

# Longer texts are cut before anything is looked for, so that nobody's text takes long.
MAX_READ = 20_000
MIN_DIGITS = 7
_NUMBER = re.compile(r"[+(]?\d[\d\s()./-]{4,40}\d")
_LINK = re.compile(r"(?i)^\W*(?:https?:|www\.|mailto:|tel:)")


def quoted(text: str, limit: int = 160, *, names: Collection[str] = ()) -> str:
    """Return a text on one line of at most `limit` characters, as `without_contacts` leaves it."""
    line = " ".join(without_contacts(text, names=names).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def harmless(text: str) -> str:
    """Return a text with spaces for control and invisible characters; lines stay."""
    return "".join(c if c == "\n" or not unicodedata.category(c).startswith("C") else " " for c in text)


def without_contacts(text: str, *, names: Collection[str] = ()) -> str:
    """Return a text without mail and web addresses, long numbers, given names and control characters; lines stay.

    Parameters
    ----------
    names : collection of str
        People's full names; each part of three letters and more is taken out.
    """
    # What looks like an @ or a digit is one, and what steers a terminal or hides is none.
    plain = unicodedata.normalize("NFKC", text[:MAX_READ])
    lines = [" ".join(_shown(word) for word in line.split()) for line in harmless(plain).split("\n")]
    found = _NUMBER.sub(_long_number, "\n".join(lines))
    parts = {part for name in names for part in re.findall(r"[^\W\d_]{3,}", unicodedata.normalize("NFKC", name))}
    if parts:
        listed = "|".join(sorted((re.escape(part) for part in parts), key=lambda part: (-len(part), part)))
        found = re.sub(rf"(?i)\b(?:{listed})\b", "[name]", found)
    return found


def _shown(word: str) -> str:
    return "[address]" if "@" in word or _LINK.match(word) else word


def _long_number(found: re.Match[str]) -> str:
    long = sum(character.isdigit() for character in found.group()) >= MIN_DIGITS
    return "[number]" if long else found.group()
