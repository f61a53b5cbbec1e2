"""The words that mail systems and answering machines write, from machine_words.yaml.

What a mail is, is decided where the words are looked for.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

__all__ = ["status_words", "words"]

_WORDS = Path(__file__).with_suffix(".yaml")


@lru_cache
def words(name: str, ending: str = "") -> re.Pattern[str]:
    """Return what finds any of the words of one list; `ending` is a pattern that must follow them."""
    return _either(_tree()[name], ending)


@lru_cache(maxsize=1)
def status_words() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return the status codes (RFC 3463) and what finds the words that stand for each, in the order to look."""
    return tuple((code, _either(listed)) for code, listed in _tree()["status"].items())


@lru_cache(maxsize=1)
def _tree() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(_WORDS.read_text(encoding="utf-8"))
    return tree


def _either(listed: list[str], ending: str = "") -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(listed)}){ending}", re.IGNORECASE)
