"""Where a quotation begins: `On … wrote:`, blocks of From, Sent, To and Subject, separators, `>`.

The phrases, by language, are in `quoting.yaml`. Which lines are the sender's own is decided in `messages.replies`.
Nothing here looks at more than the beginning of a line and a fixed number of lines, so that whoever asks once a line
needs time in proportion to the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from messages.phrases import phrases

__all__ = ["SEPARATOR", "Headers", "Start", "falls_out", "is_quoted", "is_rule"]

# Written by `messages.html_text` where the HTML says that a quotation begins and no words do.
SEPARATOR = "-----8<-----"
_HEADER_LINES = 4
# Programs wrap at 72 to 78 characters.
_WRAPPED_FROM = 60
_BLOCK_LINES = 16
# So many lines with a colon at their end are looked at; no thread has as many, and lists of the customer's are no headers.
_MOST_ATTRIBUTIONS = 300
# How much of an attribution header a line is: opening word and verb; verb, address and date; less.
_FULL, _NEARLY, _PERHAPS = 3, 2, 1
_DAY = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|(?<!\d)(?:19|20)\d\d(?!\d)")
_CLOCK = re.compile(r"(?<!\d)\d{1,2}[:.h]\d\d(?!\d)")
_BRACKETED = re.compile(r"[<(\[] ?(?:mailto:)?[^\s<>()\[\]@]{1,100}@")
_DASHES = "-_=*~—–‒―─━ :"
_RULE = frozenset(_DASHES) - {":"}
_IN_LINKS = frozenset("/=?&%_0123456789")
_LONGEST_NAME = 30
# `On 5/1/26, A wrote` is longer.
_SHORTEST = 16


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a quotation begins.

    Attributes
    ----------
    end : int
        Index of the first line after the header.
    certain : bool
        Whether what follows is a quotation even where no `>` stands before it.
    language : str or None
        Two letters, where the words told.
    """

    end: int
    certain: bool
    language: str | None


def is_quoted(folded: str) -> bool:
    """Return whether a `>` stands before the line."""
    return folded.startswith(">")


def is_rule(folded: str) -> bool:
    """Return whether the line is a drawn rule, such as the underscores above Outlook's headers."""
    return len(folded) >= 5 and _RULE.issuperset(folded)


def falls_out(above: str, line: str, below: str) -> bool:
    """Return whether a line between two quoted ones was wrapped out of the one above, its `>` forgotten.

    It is the rest of a link, or goes on in small letters with a long line that ends no sentence. An answer begins
    where a sentence has ended, and a single word is an answer even below a link.
    """
    if not (is_quoted(above) and is_quoted(below)):
        return False
    if "://" in above.rpartition(" ")[2] and " " not in line.strip():
        return not _IN_LINKS.isdisjoint(line)
    return len(above) >= _WRAPPED_FROM and above[-1] not in ".?!:;)。？！…" and line.lstrip()[:1].islower()


class Headers:
    """Finds the headers of quotations in the lines of one mail, folded by `phrases.fold`."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._colons = [line.endswith((":", ":*", ":_", ": *")) for line in lines]
        self._names = [_header_names(line) for line in lines]
        # What was found out about the attribution that ends on a line, so that no line is judged from each line above.
        self._ending: dict[int, tuple[int, Start] | None] = {}
        self._left = _MOST_ATTRIBUTIONS

    def start_at(self, index: int) -> Start | None:
        """Tell whether a header begins at the line `index`, which is neither blank nor quoted."""
        known, line = phrases(), self._lines[index]
        if line[0] in _RULE and _RULE.issuperset(line[:2]):
            bare = line.strip(_DASHES)
            if line == SEPARATOR.lower() or bare in known.separators:
                return self._with_block(index + 1, known.separators.get(bare, ()))
            # Zoho: ---- On … wrote ----
            if line[-1] in _RULE and (judged := _judge(bare, index + 1)) is not None and judged[0] == _FULL:
                return replace(judged[1], certain=True)
            if is_rule(line) and (block := self._block(self._next_line(index + 1), enough=2)) is not None:
                return block
        if self._colons[index] and (bare := line.strip(_DASHES)) in known.forwards:
            return self._with_block(index + 1, known.forwards[bare])
        return self._block(index, enough=3) or self._attribution(index)

    def _attribution(self, index: int) -> Start | None:
        """Recognise `On … wrote:`, wrapped over up to four lines, or with the quotation beginning on the same line."""
        for end in range(index, min(len(self._lines), index + _HEADER_LINES)):
            line = self._lines[end]
            if not line or is_quoted(line):
                return None
            if self._colons[end]:
                found = self._ending_at(end)
                return found[1] if found and found[0] == index else None
            # Yahoo on Android puts the quotation's first words behind the colon; the address must be there then.
            if end == index and (at := line.find("@")) > 0 and (colon := line.find(":", at)) > 0 and "<" in line:
                judged = _judge(line[: colon + 1], end + 1)
                if judged is not None and judged[0] == _FULL and judged[1].certain:
                    return judged[1]
        return None

    def _ending_at(self, end: int) -> tuple[int, Start] | None:
        """Return the best first line of the attribution that ends on this line, the nearest of equally good ones."""
        if end in self._ending:
            return self._ending[end]
        best: tuple[int, tuple[int, Start]] | None = None
        text = ""
        self._left -= 1
        if self._left < 0:
            return None
        for index in range(end, max(-1, end - _HEADER_LINES), -1):
            line = self._lines[index]
            if index < end and (not line or is_quoted(line) or self._colons[index]):
                break
            # A line that the next word would have made too long goes on there, and may be the header's beginning.
            wrapped = len(line) + len(text.split(" ", 1)[0]) >= _WRAPPED_FROM
            text = f"{line} {text}" if text else line
            judged = _judge(text, end + 1)
            if judged is not None and (best is None or judged[0] > best[0] or (wrapped and judged[0] == best[0])):
                best = (judged[0], (index, judged[1]))
                if judged[0] == _FULL:
                    break
        self._ending[end] = found = best[1] if best else None
        return found

    def _with_block(self, after: int, languages: tuple[str, ...]) -> Start:
        """Return the start that a separator makes; the headers below it know the language better than it does."""
        block = self._block(self._next_line(after), enough=2)
        told = languages[0] if len(languages) == 1 else None
        return Start(end=block.end if block else after, certain=True, language=(block and block.language) or told)

    def _next_line(self, index: int) -> int:
        """Return the index, or that of the next line where this one is blank."""
        return index + 1 if index < len(self._lines) and not self._lines[index] else index

    def _block(self, index: int, *, enough: int) -> Start | None:
        """Recognise From, Sent, To and Subject below each other: so many different ones, From among them."""
        lines, names = self._lines, self._names
        # A block never begins with its copies, of which there may be many: all would be walked through from each.
        if index >= len(lines) or not names[index] or names[index][0][1] == "copy":
            return None
        roles: set[str] = set()
        told: list[str] = []
        end, continued = index, 0
        for position in range(index, min(len(lines), index + _BLOCK_LINES)):
            if found := names[position]:
                new = [role for _, role in found if role not in roles]
                if new:
                    roles.add("from" if "from" in new else new[0])
                    told += {language for language, _ in found}
                elif found[0][1] != "copy":
                    break
                end, continued = position + 1, 0
            elif not lines[position]:
                if position + 1 >= len(lines) or not names[position + 1]:
                    break
            else:
                # A long list of recipients goes on in the next line; a line of the mail itself ends the block.
                continued += 1
                if continued > 3 or "subject" in roles or is_quoted(lines[position]):
                    break
        if "from" not in roles or len(roles) < enough:
            return None
        # From, To and Date may be a customer's own list of places; programs name a subject or an address.
        if "subject" not in roles and not any("@" in line for line in lines[index:end]):
            return None
        return Start(end=end, certain=True, language=_winner(Counter(told)))


def _header_names(line: str) -> tuple[tuple[str, str], ...]:
    """Return the languages and roles of what stands before the colon of a line."""
    colon = line.find(":", 0, _LONGEST_NAME)
    return () if colon < 1 else phrases().keys.get(line[:colon].strip("*_ "), ())


def _winner(tongues: Counter[str]) -> str | None:
    best = tongues.most_common(2)
    return best[0][0] if best and (len(best) == 1 or best[0][1] > best[1][1]) else None


def _judge(text: str, end: int) -> tuple[int, Start] | None:
    """Judge one folded line as an attribution: how much of one it is, and what starts there."""
    text = text.rstrip(":*_ ").lstrip("*_ ")
    if len(text) < _SHORTEST:
        return None
    address, day, clock = _has_address(text), _DAY.search(text) is not None, _CLOCK.search(text) is not None
    dated = day or clock
    if not (address or dated):
        return None
    known, words = phrases(), text.split(" ")
    # Programs put the address into brackets; `on 5 January I wrote to you@shop.example:` is a customer's sentence.
    sure = dated and address and _BRACKETED.search(text) is not None
    ends = _phrases_at_end(text, words[-1])
    told = ends + [
        language
        for word in dict.fromkeys((*words, ""))
        for language, phrase in known.holds.get(word, ())
        if phrase in text
    ]
    opened = {language for language, phrase in known.opens.get(words[0], ()) if text.startswith(phrase)}
    if whole := [language for language in told if language in opened]:
        return _FULL, Start(end=end, certain=sure, language=_only(whole))
    if told and (sure or ends):
        return (_NEARLY if sure else _PERHAPS), Start(end=end, certain=sure, language=_only(told))
    # A header in a language that is not known: believed where `>` follows.
    believable = dated and (address or (day and clock))
    return (_PERHAPS, Start(end=end, certain=False, language=None)) if believable else None


def _only(languages: list[str]) -> str | None:
    """Return the language where there is one; `skrev` is Swedish, Danish and Norwegian."""
    return languages[0] if len(set(languages)) == 1 else None


def _phrases_at_end(text: str, last: str) -> list[str]:
    """Return the languages in which the line ends as an attribution does, `last` being its last word."""
    known = phrases().ends
    spaced = known.get(last.rpartition(">")[2], ())
    return [language for language, phrase in (*spaced, *known.get("", ())) if text.endswith(phrase)]


def _has_address(text: str) -> bool:
    at = text.find("@")
    return at > 0 and text[at - 1].isalnum() and "." in text[at : at + 255]
