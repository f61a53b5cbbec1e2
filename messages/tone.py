"""How a message should sound: a thin lint for drafts, shipped words and articles.

It only remarks; whether a remark stops anything is for people to decide. The rules are those of the shipped words:
warm, short, one question, nothing to sell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Remark", "RemarkKind", "check_tone"]

MAX_CHARACTERS = 1_600
MAX_SENTENCE_WORDS = 40
# Words of campaigns and of blame, by language family; a stem ends in *.
_FORBIDDEN = (
    "discount", "special offer", "limited time", "act now", "buy now", "best price", "don't miss", "exclusive deal",
    "as per my last", "you failed to", "you should have", "unfortunately for you", "dear valued customer",
    "rabatt*", "sonderangebot*", "jetzt kaufen", "nur für kurze zeit", "jetzt zugreifen", "sie hätten",
    "sehr geehrter kunde", "wie bereits erwähnt",
)  # fmt: skip
_PATTERN = re.compile(
    r"\b(?:" + "|".join(re.escape(words).replace(r"\*", r"\w*") for words in _FORBIDDEN) + r")\b", re.IGNORECASE
)
_GREETING = re.compile(
    r"(?i)\A\W*(?:hello|hi|dear|good (?:morning|day|evening)|hallo|guten (?:tag|morgen|abend)|liebe)"
)


class RemarkKind(StrEnum):
    """What may be wrong with how a message sounds."""

    FORBIDDEN = "forbidden"  # words of campaigns or of blame
    EXCLAMATION = "exclamation"  # an exclamation mark
    LONG = "long"  # more than is read on a telephone
    LONG_SENTENCE = "long_sentence"  # a sentence one has to read twice
    GREETING = "greeting"  # a check-in without a greeting
    QUESTIONS = "questions"  # more than one question
    SHOUTING = "shouting"  # words in capitals


@dataclass(frozen=True, kw_only=True)
class Remark:
    """One remark, with what to do."""

    kind: RemarkKind
    advice: str


def check_tone(text: str, *, greeting: bool = True) -> list[Remark]:
    """Return what may be wrong with how a message sounds; nothing where it is fine.

    Parameters
    ----------
    greeting : bool
        The message begins a contact and should greet; answers in a conversation need not.
    """
    words = re.sub(r"https?://\S+", "", text[:20_000])
    found: list[Remark] = []

    def remark(kind: RemarkKind, advice: str) -> None:
        found.append(Remark(kind=kind, advice=advice))

    for match in dict.fromkeys(match.group().lower() for match in _PATTERN.finditer(words)):
        remark(RemarkKind.FORBIDDEN, f"“{match}” sounds like a campaign or like blame; say it plainly")
    if "!" in words:
        remark(RemarkKind.EXCLAMATION, "leave out the exclamation mark")
    if len(text) > MAX_CHARACTERS:
        remark(RemarkKind.LONG, f"{len(text)} characters are long for a message; stay under {MAX_CHARACTERS}")
    longest = max((len(part.split()) for part in re.split(r"[.!?]\s|\n", words)), default=0)
    if longest > MAX_SENTENCE_WORDS:
        remark(RemarkKind.LONG_SENTENCE, f"a sentence has {longest} words; make two of it")
    if greeting and not _GREETING.match(words):
        remark(RemarkKind.GREETING, "begin with a greeting")
    if greeting and words.count("?") > 1:
        remark(RemarkKind.QUESTIONS, f"{words.count('?')} questions at once; ask the one that matters")
    if shouted := re.findall(r"\b[A-ZÄÖÜ]{5,}\b(?!\d)", words):
        remark(RemarkKind.SHOUTING, f"{shouted[0]} reads as shouting")
    return found
