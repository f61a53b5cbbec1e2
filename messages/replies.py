"""The sender's own new words in the plain text of a reply: quotations, their headers and signatures gone.

The text is hostile. It is cut at `CAP_OCTETS`, read once line by line, and no step looks at more than a fixed number
of lines around the present one. When in doubt a line is kept: a quotation too much is read by a person, a lost
`please stop` is not. What single lines are is judged in `messages.quoting` and `messages.closings`; MIME and charsets are the email
channel's business, HTML that of `messages.html_text`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from messages import closings, quoting
from messages.phrases import fold

__all__ = ["CAP_OCTETS", "OwnWords", "own_words"]

CAP_OCTETS = 65_536
# A mail of 64 kB has some 1,500 lines; many more are there to keep us busy.
MAX_LINES = 3_000
# A closing greeting is looked for in so many last lines; longer signatures stay.
_SIGNATURE_LINES = 14
# So many lines of apps and so many greetings are believed in one run.
_FOOTERS = 6
_GREETINGS = 20


@dataclass(frozen=True, kw_only=True)
class OwnWords:
    """What the sender of a reply has written.

    Attributes
    ----------
    text : str
        The own new words, lines as they came but without trailing spaces; '' where there are none.
    first_line : str
        The first own line that does not only greet, else the first own line. Words that opt out are looked for in it.
    language : str or None
        Two letters, where the header of the quotation, or else the signature, told.
    truncated : bool
        Whether more than `CAP_OCTETS` of UTF-8 or `MAX_LINES` lines came; the rest was not read.
    """

    text: str
    first_line: str
    language: str | None
    truncated: bool


def own_words(text: str, *, markers: Collection[str] = ()) -> OwnWords:
    """Find the sender's own new words.

    Parameters
    ----------
    text : str
        The plain text of a mail, or what `html_to_text` made of one.
    markers : collection of str
        Words that only our own mail holds: its signed token, its opt-out link. A line with one of them is quoted.
    """
    if isinstance(markers, str):  # its characters would be markers, and every line a quoted one
        markers = (markers,)
    text, truncated = _capped(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n", MAX_LINES)
    truncated = truncated or len(lines) > MAX_LINES
    reading = _Reading(lines[:MAX_LINES], [marker.lower() for marker in markers if marker])
    reading.find_runs()
    reading.drop_signatures()
    reading.drop_closings()
    seen = [index for run in reading.runs for index in run if reading.folded[index]][: _GREETINGS + 1]
    first = next((index for index in seen if reading.says(index)), seen[0] if seen else None)
    return OwnWords(
        text=_joined([[reading.lines[index] for index in run] for run in reading.runs]),
        first_line="" if first is None else reading.lines[first].strip(),
        language=reading.language,
        truncated=truncated,
    )


def _capped(text: str) -> tuple[str, bool]:
    octets = text[: CAP_OCTETS + 1].encode("utf-8", "surrogatepass")
    if len(octets) <= CAP_OCTETS:
        return text, False
    end = CAP_OCTETS
    while octets[end] & 0xC0 == 0x80:  # in the midst of a character
        end -= 1
    return octets[:end].decode("utf-8", "surrogatepass"), True


class _Reading:
    """The lines of one mail, sorted into own ones (in runs between quotations, by index) and others."""

    def __init__(self, lines: Sequence[str], markers: Sequence[str]) -> None:
        self.lines = lines
        self.folded = [fold(line) for line in lines]
        self.runs: list[list[int]] = [[]]
        self.language: str | None = None
        self._markers = markers
        self._saying: dict[int, bool] = {}

    def says(self, index: int) -> bool:
        """Return whether the line says something beyond a greeting."""
        if index not in self._saying:
            folded = self.folded[index]
            self._saying[index] = bool(folded) and not closings.is_greeting(self.lines[index], folded)
        return self._saying[index]

    def find_runs(self) -> None:
        """Sort out the quotations and their headers."""
        headers = quoting.Headers(self.folded)
        # A header that is believed only where one of our markers stands below it: its place in the run.
        doubtful: tuple[int, str | None] | None = None
        index = 0
        while index < len(self.lines):
            folded = self.folded[index]
            if not folded:
                self.runs[-1].append(index)
            elif quoting.is_quoted(folded):
                self._quote(None if self.language else self._language_within(index))
                doubtful = None
            elif (start := headers.start_at(index)) is not None:
                below = self._next_seen(start.end)
                quoted_below = below < len(self.lines) and quoting.is_quoted(self.folded[below])
                if quoted_below or start.certain:
                    self._quote(start.language)
                    if not quoted_below:
                        return
                    doubtful, index = None, below
                    continue
                doubtful = doubtful or (len(self.runs[-1]), start.language)
                if self._holds_marker(index):
                    self._end_at(doubtful)
                    return
                self.runs[-1].append(index)
            elif self._falls_out(index):
                pass
            elif self._holds_marker(index):
                # A long link that was wrapped out of its quoted line does not end the mail.
                if not (index and quoting.is_quoted(self.folded[index - 1])):
                    self._end_at(doubtful)
                    return
            else:
                self.runs[-1].append(index)
            index += 1

    def drop_signatures(self) -> None:
        """Drop all below `-- `, and the lines that apps, virus scanners and company servers add."""
        self.runs = [self._unsigned(run) for run in self.runs]

    def drop_closings(self) -> None:
        """Drop a closing greeting and the name below it, where other own words stay."""
        found = [self._closing_in(run) for run in self.runs]
        if not any(found):
            return
        saying = sum(self.says(index) for run in self.runs for index in run)
        for number, (run, closing) in enumerate(zip(self.runs, found, strict=True)):
            if closing is None:
                continue
            place, languages = closing
            below = sum(self.says(index) for index in run[place:])
            if saying > below:
                self._learn(languages[0] if len(languages) == 1 else None)
                self.runs[number] = run[:place]
                saying -= below

    def _end_at(self, doubtful: tuple[int, str | None] | None) -> None:
        """Take the words back to the doubtful header, where there is one, now that a marker proves it."""
        if doubtful is not None:
            del self.runs[-1][doubtful[0] :]
            self._learn(doubtful[1])

    def _learn(self, language: str | None) -> None:
        self.language = self.language or language

    def _quote(self, language: str | None) -> None:
        self._learn(language)
        if self.runs[-1]:
            self.runs.append([])

    def _next_seen(self, index: int) -> int:
        while index < len(self.folded) and not self.folded[index]:
            index += 1
        return index

    def _holds_marker(self, index: int) -> bool:
        line = self.lines[index].lower() if self._markers else ""
        return any(marker in line for marker in self._markers)

    def _falls_out(self, index: int) -> bool:
        if not 0 < index < len(self.lines) - 1:
            return False
        return quoting.falls_out(self.folded[index - 1], self.lines[index], self.folded[index + 1])

    def _language_within(self, index: int) -> str | None:
        """Return the language of a header that is quoted itself, as the iPhone's is."""
        bare = [line[1:].lstrip() for line in self.folded[index : index + 4]]
        start = quoting.Headers(bare).start_at(0) if bare[0] else None
        return start.language if start else None

    def _unsigned(self, run: list[int]) -> list[int]:
        kept: list[int] = []
        for turn, index in enumerate(run):
            folded = self.folded[index]
            below = run[turn + 1 : turn + 1 + 2 * _SIGNATURE_LINES] if folded == "--" else []
            if folded == "--" and (self.lines[index].endswith(" ") or self._is_signature(below)):
                self._learn(next(filter(None, (closings.footer(self.folded[line]) for line in below[:5])), None))
                break
            if closings.is_disclaimer(folded) and any(self.says(above) for above in kept):
                break
            kept.append(index)
        footers = 0
        while kept and footers < _FOOTERS:
            folded = self.folded[kept[-1]]
            if folded and not quoting.is_rule(folded):
                if (language := closings.footer(folded)) is None:
                    break
                self._learn(language or None)
                footers += 1
            kept.pop()
        return kept

    def _is_signature(self, below: Sequence[int]) -> bool:
        """Return whether what stands below a `--` without its space is a signature, and not the next thought."""
        seen = [index for index in below if self.folded[index]]
        return len(seen) <= _SIGNATURE_LINES and all(
            closings.is_signature_line(self.lines[index])
            or closings.footer(self.folded[index]) is not None
            or closings.is_disclaimer(self.folded[index])
            for index in seen
        )

    def _closing_in(self, run: Sequence[int]) -> tuple[int, tuple[str, ...]] | None:
        """Return the place of a closing greeting with nothing but a signature below it, and its languages."""
        last = range(max(0, len(run) - 2 * _SIGNATURE_LINES), len(run))
        seen = [place for place in last if self.folded[run[place]]][-_SIGNATURE_LINES:]
        for turn in range(len(seen) - 1, -1, -1):
            index = run[seen[turn]]
            found = closings.closing(self.lines[index], self.folded[index])
            if found is None:
                continue
            languages, thanks, named = found
            below = [self.lines[run[place]] for place in seen[turn + 1 :]]
            if below and not named:
                safe = closings.is_name(below[0]) and all(map(closings.is_signature_line, below[1:]))
            else:
                safe = (named or not thanks) and all(map(closings.is_signature_line, below))
            return (seen[turn], languages) if safe else None
        return None


def _joined(runs: Sequence[Sequence[str]]) -> str:
    """Put the runs below each other, with one empty line wherever there were some."""
    joined: list[str] = []
    for run in runs:
        for line in (*run, ""):
            stripped = line.rstrip()
            if stripped or (joined and joined[-1]):
                joined.append(stripped)
    return "\n".join(joined).strip()
