"""Whether the words of a reply ask to end contact: the whole first line, in ten languages, never a word within it.

The phrases are those of `opt_out` in intents.yaml and the patterns of opting_out_words.yaml. What a longer text is
about is judged by `messages.contact_wish`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

__all__ = ["asks_to_end_contact", "folded", "is_bare_word"]

_WORDS = Path(__file__).with_name("opting_out_words.yaml")
_PHRASES = Path(__file__).with_name("intents.yaml")
# A longer line tells a story, in which the same words mean something else.
_LINE_CHARACTERS = 160
_QUESTION_WORDS = 3
_LETTERS = str.maketrans({"ı": "i", "ł": "l", "’": "'", "`": "'", "´": "'"})
_CLAUSE_END = re.compile(r"[.!?;,:…。！？、，；：\n]+|\s[-–—]+\s|[–—]+")
_NO_WORD = re.compile(r"[^\w']+")


@dataclass(frozen=True, kw_only=True)
class _Grammar:
    """The compiled words; each pattern is matched against folded text that ends with one space."""

    requests: re.Pattern[str]
    courtesy_before: re.Pattern[str]
    courtesy_after: re.Pattern[str]
    reason: re.Pattern[str]
    alone: frozenset[str]


def asks_to_end_contact(line: str) -> bool:
    """Return whether the first line of someone's own words asks to end contact."""
    line = line.strip()
    if not line or len(line) > _LINE_CHARACTERS:
        return False
    grammar = _grammar()
    clauses = [clause for clause in map(_bare, map(folded, _CLAUSE_END.split(line))) if clause]
    first = grammar.reason.split(clauses[0], maxsplit=1)[0].strip() if clauses else ""
    if not grammar.requests.fullmatch(f"{first} "):
        return False
    if len(clauses) == 1 and line.endswith(("?", "？")):
        return len(first.split()) >= _QUESTION_WORDS  # "Could you unsubscribe me?", but not "Stop?"
    return first not in grammar.alone or all(grammar.requests.fullmatch(f"{clause} ") for clause in clauses)


def _bare(clause: str) -> str:
    """Return a folded clause without the courtesies around it; empty where it is nothing else."""
    grammar, text = _grammar(), f" {clause} "
    for pattern in (grammar.courtesy_before, grammar.courtesy_after):
        text = pattern.sub(" ", text)
    return text.strip()


def is_bare_word(line: str) -> bool:
    """Return whether a line is one of the words that begin other sentences too, such as `stop`."""
    return _bare(folded(line)) in _grammar().alone


def folded(text: str) -> str:
    """Return text without case, accents and punctuation, words one space apart."""
    text = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return _NO_WORD.sub(" ", text).strip()


@lru_cache(maxsize=1)
def _grammar() -> _Grammar:
    tree: dict[str, Any] = yaml.safe_load(_WORDS.read_text(encoding="utf-8"))
    phrases = yaml.safe_load(_PHRASES.read_text(encoding="utf-8"))["opt_out"]["phrases"]
    rows = [re.escape(folded(phrase.removeprefix("="))) + " " for phrase in phrases if "*" not in phrase]
    for language, listed in tree["words"].items():
        rows += [_row(row, " ?" if language == "ja" else " ") for row in listed]
    courtesies = _choices(tree["courtesies"])
    # Japanese courtesies end a clause without a space.
    spaced = _either(one for one in courtesies if one.isascii())
    joined = _either(one for one in courtesies if not one.isascii())
    return _Grammar(
        requests=re.compile("|".join(rows)),
        courtesy_before=re.compile(rf"\A (?:(?:{spaced}|{joined}) )+"),
        courtesy_after=re.compile(rf"(?: (?:{spaced})|(?:{joined}))+ \Z"),
        alone=frozenset(_choices(tree["alone"])),
        reason=re.compile(rf" (?:{_either(_choices(tree['reasons']))})\b"),
    )


def _row(row: str, space: str) -> str:
    """Compile one line of the file: a place is a choice, its words joined by `_`, and may be missing with `?`."""
    pattern = ""
    for place in row.split():
        choice = f"(?:{_either(_choices([place.removesuffix('?')]))}){space}"
        pattern += f"(?:{choice})?" if place.endswith("?") else choice
    return pattern + (" ?" if space == " ?" else "")


def _choices(rows: Iterable[str]) -> list[str]:
    return [folded(one.replace("_", " ")) for row in rows for one in row.split("|")]


def _either(choices: Iterable[str]) -> str:
    return "|".join(re.escape(one) for one in sorted(choices, key=len, reverse=True))
