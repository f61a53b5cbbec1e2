"""What a reader may choose under the bot's answer: it helped, it did not, a human please; in the answer's language.

What choosing does is the product's business; a channel without buttons leaves the choices out, and the same words written
by hand do the same.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path

import yaml

__all__ = ["Choice", "labels", "said", "told"]

_WORDS = Path(__file__).with_name("choices.yaml")
_FALLBACK = "en"


class Choice(StrEnum):
    """What may be chosen under an answer."""

    HELPED = "helped"
    UNHELPFUL = "unhelpful"
    HUMAN = "human"


_TOLD = {Choice.HELPED: "thanks", Choice.UNHELPFUL: "sorry", Choice.HUMAN: "asked"}


def labels(locale: str) -> dict[Choice, str]:
    """Return what stands on each button.

    Parameters
    ----------
    locale : str
        A language tag such as `de-AT`; falls back to its language, then to English.
    """
    return {choice: _words(locale)[choice.value] for choice in Choice}


def said(choice: Choice, locale: str) -> str:
    """Return what choosing says in the conversation, as if it had been written."""
    return _words(locale)[f"{choice.value}_said"]


def told(choice: Choice, locale: str) -> str:
    """Return what stands below the answer once something was chosen."""
    return _words(locale)[_TOLD[choice]]


def _words(locale: str) -> dict[str, str]:
    known = _read()
    return known.get(locale.replace("_", "-").partition("-")[0].lower(), known[_FALLBACK])


@cache
def _read() -> dict[str, dict[str, str]]:
    return dict(yaml.safe_load(_WORDS.read_text(encoding="utf-8")))
