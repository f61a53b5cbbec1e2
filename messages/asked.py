"""What a reply says to a message that asked for a number, a yes or a goal.

A number counts only as the first of the sender's own words ("4", "4/5", "4 - quick help"), so that none is read out of an
address or an order. What is done with an answer is the product's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["ASKABLE", "Said", "said"]

# What a message may ask for, and which numbers answer it.
_SCALES = {"csat": (1, 5), "review": (1, 5), "nps": (0, 10)}
ASKABLE = frozenset({*_SCALES, "goal", "activated"})
_NUMBER = re.compile(r"\W*(\d{1,2})(?!\d)(?![.,:]\d)(?:\s?/\s?(\d{1,2}))?(?=\s*(?:$|[.,;:!)(\-–—]|\n|[^\W\d_]|\*))")
_YES = re.compile(r"(?i)\W*(?:yes|yeah|yep|sure|ja|jawohl|jep|klar)\b(?!\W+(?:but|aber)\b)")
# What stands behind a number makes another thing of it: an hour, a day, pieces, an amount.
_OTHER = re.compile(
    r"(?i)\s*(?:uhr|h\b|am\b|pm\b|o'clock|days?\b|tage?\b|weeks?\b|wochen?\b|x\b|%|€|\$|euro?s?\b|pieces?\b|stück\b)"
)
FEWEST_LETTERS = 8
LONGEST = 2000


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer: the kind of touchpoint that it is, with its number or its words."""

    kind: str
    value: float | None = None
    text: str | None = None


def said(asked: str, text: str) -> Said | None:
    """Return the answer in a reply's own words; None where there is none.

    Parameters
    ----------
    asked : str
        What the message asked for, one of `ASKABLE`.
    """
    words = text.strip()
    if asked in _SCALES:
        return _number(asked, words)
    if asked == "activated":
        return Said(kind="activated") if _YES.match(words) else None
    if asked == "goal" and sum(one.isalpha() for one in words) >= FEWEST_LETTERS and not words.endswith("?"):
        return Said(kind="goal", text=words[:LONGEST])
    return None


def _number(asked: str, words: str) -> Said | None:
    least, most = _SCALES[asked]
    found = _NUMBER.match(words)
    if found is None or words[: found.start(1)].rstrip().endswith(("-", "#", "$", "€")):
        return None
    if found[2] is not None and int(found[2]) != most:
        return None
    value = int(found[1])
    if not least <= value <= most or _OTHER.match(words[found.end() :]):
        return None
    return Said(kind=asked, value=float(value))
