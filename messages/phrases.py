"""The phrases of `quoting.yaml` in the form in which lines are compared with them. Loaded once, when first asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

__all__ = ["EXAMINED", "ROLES", "Phrases", "fold", "phrases", "visible"]

# Longer lines are judged by their beginning; no header or signature is longer.
EXAMINED = 400
_LOOKED_THROUGH = 1_000
# Kana and Chinese characters; all scripts below this code point put spaces between words.
_NO_SPACES_FROM = 0x2E80
# What the lines of a header block say; the keys of `quoting.yaml`.
ROLES = ("from", "date", "to", "copy", "subject")
_DATA = Path(__file__).with_name("quoting.yaml")
# Zero-width and direction marks, soft hyphen: programs put them around names and at the beginning of quotations.
_INVISIBLE = dict.fromkeys([0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, 0xFEFF])
_ALIKE = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "：": ":", "＜": "<", "＞": ">"})
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """What programs and people write around their words; pairs begin with the language."""

    opens: dict[str, tuple[tuple[str, str], ...]]
    # By the last word of the phrase; those of languages that put no spaces between words stand under "".
    ends: dict[str, tuple[tuple[str, str], ...]]
    holds: dict[str, tuple[tuple[str, str], ...]]
    keys: dict[str, tuple[tuple[str, str], ...]]
    separators: dict[str, tuple[str, ...]]
    forwards: dict[str, tuple[str, ...]]
    footers: tuple[tuple[str, str, str], ...]
    footer_beginnings: tuple[str, ...]
    footer_ends: tuple[str, ...]
    closings: dict[str, tuple[str, ...]]
    closing_words: frozenset[str]
    closing_ends: dict[str, tuple[str, ...]]
    ands: frozenset[str]
    thanks: frozenset[str]
    greetings: frozenset[str]
    greeting_words: frozenset[str]
    greeted: frozenset[str]
    disclaimers: tuple[str, ...]
    disclaiming: tuple[str, ...]
    devices: re.Pattern[str]
    postscripts: tuple[str, ...]
    particles: frozenset[str]
    not_names: frozenset[str]


def visible(line: str) -> str:
    """Return the beginning of a line, its spaces made alike and invisible characters gone; `…` where more follows."""
    text = line.strip()
    if not text.isascii():
        text = text[:_LOOKED_THROUGH].translate(_INVISIBLE)
    text = " ".join(text[:EXAMINED].split()) + ("…" if len(text) > EXAMINED else "")
    return text or ("…" if len(line) > _LOOKED_THROUGH and not line.isspace() else "")


def fold(line: str) -> str:
    """Return the same in lower case, with apostrophes and colons made alike; '' only where nothing can be seen."""
    text = visible(line)
    if text.isascii():
        return text.lower()
    return text.translate(_ALIKE).lower().replace("i̇", "i")  # the last is what becomes of a Turkish capital İ


@cache
def phrases() -> Phrases:
    """Return the phrases."""
    tree: dict[str, Any] = yaml.safe_load(_DATA.read_text(encoding="utf-8"))
    of_none = tree.pop("any")

    def pairs(name: str) -> tuple[tuple[str, str], ...]:
        return tuple((language, phrase) for language, words in tree.items() for phrase in words.get(name, ()))

    def languages(*names: str) -> dict[str, tuple[str, ...]]:
        found = _grouped((phrase, language) for name in names for language, phrase in pairs(name))
        return {phrase: tuple(dict.fromkeys(values)) for phrase, values in found.items()}

    def by_last_word(name: str) -> dict[str, tuple[tuple[str, str], ...]]:
        found = _grouped(
            (phrase.split(" ")[-1] if ord(phrase[0]) < _NO_SPACES_FROM else "", (language, phrase))
            for language, phrase in pairs(name)
        )
        return {word: tuple(values) for word, values in found.items()}

    footers = tuple(
        (language, (beginning, end)) for language, words in tree.items() for beginning, end in words.get("footers", ())
    )
    return Phrases(
        opens={
            word: tuple(values)
            for word, values in _grouped((p.split(" ")[0], (language, p)) for language, p in pairs("opens")).items()
        },
        ends=by_last_word("ends"),
        holds=by_last_word("holds"),
        keys={
            phrase: tuple(values)
            for phrase, values in _grouped(
                (p, (language, role)) for role in ROLES for language, p in pairs(role)
            ).items()
        },
        separators=languages("separators"),
        forwards=languages("forwards"),
        footers=tuple((language, beginning, end) for language, (beginning, end) in footers),
        footer_beginnings=tuple(beginning for _, (beginning, _) in footers if beginning),
        footer_ends=tuple(end for _, (beginning, end) in footers if not beginning),
        closings=languages("closings", "thanks"),
        closing_ends=languages("closing_ends"),
        ands=frozenset(of_none["ands"]),
        closing_words=frozenset(
            phrase.split(" ")[0].strip(",.") for name in ("closings", "thanks") for _, phrase in pairs(name)
        ),
        thanks=frozenset(phrase for _, phrase in pairs("thanks")),
        greetings=frozenset(phrase for _, phrase in pairs("greetings")),
        greeting_words=frozenset(phrase.split(" ")[0].strip(",") for _, phrase in pairs("greetings")),
        greeted=frozenset(phrase for _, phrase in pairs("greeted")),
        disclaimers=tuple(phrase for _, phrase in pairs("disclaimers")),
        disclaiming=tuple(of_none["disclaiming"]),
        devices=re.compile(rf"(?:^|[\s/(])(?:{'|'.join(map(re.escape, of_none['devices']))})"),
        postscripts=tuple(of_none["postscripts"]),
        particles=frozenset(of_none["particles"]),
        not_names=frozenset(of_none["not_names"]),
    )


def _grouped(pairs: Iterable[tuple[str, _Value]]) -> dict[str, list[_Value]]:
    found: dict[str, list[_Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
