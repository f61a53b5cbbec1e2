"""Whether a message asks to end contact: surely, perhaps, or not; in ten languages.

A sentence or clause that is a request as a whole decides (`messages.opting_out_words`). Within other sentences the words
of contact_wishes.yaml are searched: what speaks of ending contact without saying clearly whether it is wished is asked
about, neither ignored nor carried out. What somebody else said, in quotation marks, is not read. What follows is
`messages.answers`' business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import yaml

from messages.opting_out_words import asks_to_end_contact, folded, is_bare_word

__all__ = ["ContactWish", "contact_wish", "says_more_than_a_request"]

_WORDS = Path(__file__).with_name("contact_wishes.yaml")
_PHRASES = Path(__file__).with_name("intents.yaml")
# Longer messages are read to here. A sentence that is longer than 400 characters is read in pieces.
_READ_CHARACTERS = 10_000
_SENTENCES = 200
_CLAUSES = 16
_SENTENCE = re.compile(r"[^.!?…。！？\n]{1,400}[.!?…。！？]{0,9}")
_CLAUSE = re.compile(r"[,;:、，；：]+|\s[-–—]+\s|[–—]+")
_ASKS = ("?", "？")
# What stands at the end of business mails says how to leave somebody's list, not ours.
_FOOTER = re.compile(
    r"https?:|www\.|click (?:here|below|on|the)|klick|cliquez|haga clic|clique|clicca|klik|tıkla|クリック",
    re.IGNORECASE,
)
# So far a single word is taken for a wish of its own, and not for a button of a footer.
_FIRST_SENTENCES = 3
_WISH_WORDS = 3
# "Stop" begins other sentences too; so few words around it are hardly one.
_LONE_WORDS = 4
# Fewer words beside a request are thanks, a name or a reason.
_MORE_WORDS = 6
# What stands in marks that open and close differs from what is said; an apostrophe is no mark.
_QUOTED = re.compile(
    r"“[^“”]{1,300}”|„[^„“”]{1,300}[“”]|«[^«»]{1,300}»|「[^「」]{1,300}」|『[^『』]{1,300}』|\"[^\"]{1,300}\""
)


class ContactWish(StrEnum):
    """What a message says about contact."""

    END = "end"  # surely asks to end it
    UNCLEAR = "unclear"  # may ask to end it: to be asked back
    KEEP = "keep"  # says the contrary, or that it was never asked for
    NONE = "none"  # says nothing of the kind


@dataclass(frozen=True, kw_only=True)
class _Words:
    """The compiled words of one language, each searched in a folded sentence with a space at both ends."""

    about: re.Pattern[str]
    keep: re.Pattern[str]
    hinder: re.Pattern[str]
    doubt: re.Pattern[str]
    joins: re.Pattern[str]


def contact_wish(text: str) -> ContactWish:
    """Judge a whole message.

    Parameters
    ----------
    text : str
        The sender's own words, of any length; read to 10,000 characters and 200 sentences.
    """
    text = text[:_READ_CHARACTERS].strip()
    first_line, _, below = text.partition("\n")
    if asks_to_end_contact(text) or asks_to_end_contact(first_line):
        return ContactWish.UNCLEAR if ContactWish.KEEP in _wishes(below) else ContactWish.END
    wishes = _wishes(text)
    if ContactWish.KEEP in wishes:
        return ContactWish.UNCLEAR if ContactWish.END in wishes else ContactWish.KEEP
    # "Stop. Thanks, Ana", but not "Stop. The lamp blinks again."
    begins = _SENTENCE.match(text)
    lone = begins is not None and is_bare_word(begins[0]) and len(folded(text).split()) <= _LONE_WORDS
    if lone and ContactWish.END not in wishes:
        return ContactWish.UNCLEAR
    return next((one for one in (ContactWish.END, ContactWish.UNCLEAR) if one in wishes), ContactWish.NONE)


def _wishes(text: str) -> list[ContactWish]:
    """Judge each sentence, without what stands in quotation marks."""
    sentences = (part.strip() for part in _SENTENCE.findall(_QUOTED.sub(" ", text))[:_SENTENCES])
    return [_at(place, part) for place, part in enumerate(filter(None, sentences))]


def _at(place: int, sentence: str) -> ContactWish:
    """Judge a sentence by where it stands: the footer that a customer's company adds wishes nothing of us."""
    if place and _FOOTER.search(sentence):
        return ContactWish.NONE
    wish = _of_sentence(sentence)
    if place < _FIRST_SENTENCES or wish is not ContactWish.END or len(folded(sentence).split()) >= _WISH_WORDS:
        return wish
    return ContactWish.UNCLEAR


def says_more_than_a_request(text: str) -> bool:
    """Return whether a message that ends contact says or asks something else as well, which somebody should read."""
    sentences = [part.strip() for part in _SENTENCE.findall(text[:_READ_CHARACTERS])[:_SENTENCES]]
    others = [part for part in sentences if part and _of_sentence(part) is ContactWish.NONE]
    return any(part.endswith(_ASKS) or len(folded(part).split()) >= _MORE_WORDS for part in others)


def _of_sentence(sentence: str) -> ContactWish:
    text = f" {folded(sentence)} "
    spoken = [words for words in _languages() if words.about.search(text)]
    # The little words of one language are others' in another.
    heard = spoken or _languages()
    hindered = any(words.hinder.search(text) for words in heard)
    if not hindered and any(words.keep.search(text) for words in heard):
        return ContactWish.KEEP
    if not hindered and _requested(sentence):
        return ContactWish.END
    if _requests_within().search(text) or any(_requested(clause) for clause in _clauses(sentence)):
        doubtful = hindered or sentence.endswith(_ASKS) or any(words.doubt.search(text) for words in heard)
        return ContactWish.UNCLEAR if doubtful else ContactWish.END
    return ContactWish.UNCLEAR if spoken else ContactWish.NONE


def _requested(words: str) -> bool:
    return asks_to_end_contact(words) and not is_bare_word(words)


def _clauses(sentence: str) -> list[str]:
    """Return the clauses of a sentence, without the words that join them to others."""
    found = []
    for clause in _CLAUSE.split(sentence, _CLAUSES):
        text = f" {folded(clause)} "
        for words in _languages():
            text = words.joins.sub("", text, count=1)
        found.append(text.strip())
    return found


@lru_cache(maxsize=1)
def _languages() -> tuple[_Words, ...]:
    tree: dict[str, dict[str, list[str]]] = yaml.safe_load(_WORDS.read_text(encoding="utf-8"))
    found = []
    for language, parts in tree.items():
        rows = {part: "|".join(_row(row, joined=language == "ja") for row in listed) for part, listed in parts.items()}
        rows["joins"] = rf"\A(?:{rows['joins']})"
        found.append(_Words(**{part: re.compile(pattern) for part, pattern in rows.items()}))
    return tuple(found)


@lru_cache(maxsize=1)
def _requests_within() -> re.Pattern[str]:
    phrases = yaml.safe_load(_PHRASES.read_text(encoding="utf-8"))["opt_out"]["phrases"]
    return re.compile(rf" (?:{'|'.join(re.escape(folded(one)) for one in phrases if one[0] != '=')}) ")


def _row(row: str, *, joined: bool) -> str:
    """Compile one row: places one after the other; each word with the space before it, where there are spaces."""
    pattern = ""
    for place in row.split():
        if place == "…":
            pattern += ".{0,10}?" if joined else r"(?: \S+){0,3}?"
            continue
        either = "|".join(sorted(map(_choice, place.removesuffix("?").split("|")), key=len, reverse=True))
        one = f"(?:{either}) ?" if joined else f" (?:{either})"
        pattern += f"(?:{one})?" if place.endswith("?") else one
    return pattern if joined else f"{pattern}(?= )"


def _choice(choice: str) -> str:
    words = re.escape(folded(choice.removesuffix("*").replace("_", " ")))
    return words + (r"[\w']*" if choice.endswith("*") else "")
