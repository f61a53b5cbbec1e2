"""HTML mail as plain text, for mails that have no text part.

Quotations become lines with `>`; where a program only marks the place at which its quotation begins, the text gets
`quoting.SEPARATOR`. What of it is the sender's own is decided in `messages.replies`. The HTML is hostile: every
character is read once, an unfinished tag or comment ends the text, and nothing is fetched or run.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from messages.html_tokens import Begin, End, tokens, unescaped
from messages.quoting import SEPARATOR

__all__ = ["MAX_HTML_CHARACTERS", "html_to_text"]

# Outlook's style sheets and a long history fit; the own words come first, so that what is cut off is quotation.
MAX_HTML_CHARACTERS = 262_144
# Just more than `own_words` reads, so that it can tell that it did not read all.
_MAX_TEXT_CHARACTERS = 70_000
_MAX_LINES = 3_100
_MAX_DEPTH = 8
_DROPPED = frozenset({"head", "script", "style", "title", "template", "svg", "object", "noembed", "iframe", "select"})
# Elements that hold others and are always closed; the rest needs no book-keeping.
_NESTING = frozenset(
    {
        "article",
        "aside",
        "blockquote",
        "center",
        "div",
        "footer",
        "header",
        "main",
        "ol",
        "pre",
        "section",
        "table",
        "td",
    }
    | {"th", "tr", "ul", "head", "template", "svg", "object", "select"}
)
_BREAKING = _NESTING - {"td", "th"} | {"body", "dd", "dl", "dt", "fieldset", "form", "hr", "html", "li"}
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6"})
_SPACE = re.compile(r"[ \t\r\n\f\v\xa0\u2000-\u200a\u202f\u3000]+")
# By class, id or name, without the prefixes that Yahoo (ydp…) and Outlook (x_) put before them.
_QUOTE_NAMES = re.compile(
    "yahoo_quoted|protonmail_quote|tutanota_quote|zmail_extra|moz-forward-container|messagereplysection"
)
_SEPARATOR_NAMES = re.compile(
    "divrplyfwdmsg|isforwardcontent|isreplycontent|orimsghtmlseperator|zwchr|olk_src_body_section"
)
# Outlook puts these around or before its quotation, and at times around all of the mail: so only below own words.
_LOWER_SEPARATOR_NAMES = re.compile("appendonsend|mail-editor-reference-message-container")
_SIGNATURE_NAMES = re.compile("gmail_signature|moz-signature|protonmail_signature_block|tutanota_signature")


class _Open(NamedTuple):
    name: str
    quotes: bool
    drops: bool
    keeps_spaces: bool

    @property
    def matters(self) -> bool:
        return self.quotes or self.drops or self.keeps_spaces


_BARE = {name: _Open(name, name == "blockquote", name in _DROPPED, name == "pre") for name in _NESTING}


def html_to_text(html: str) -> str:
    """Return the text of an HTML mail: paragraphs, breaks, lists, links with their target, quotations behind `>`.

    The target of a link stands behind its words, `words <https://…>`, unless the words name it: the opt-out link
    of our own mail, by which its quotation is known, is in no other place.
    """
    writer = _Writer()
    _Reader(html[:MAX_HTML_CHARACTERS], writer).read()
    return writer.text()


class _Writer:
    """Collects words into lines, each with the `>` of its quotation."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._parts: list[str] = []
        self._length = 0
        self._depth = 0
        self._gap = False
        self._space = False
        self._held = False
        self._spoken = False

    @property
    def full(self) -> bool:
        return self._length > _MAX_TEXT_CHARACTERS or len(self._lines) > _MAX_LINES

    @property
    def has_words(self) -> bool:
        return self._spoken

    def words(self, text: str, keeps_spaces: bool = False) -> None:
        """Add words to the present line; in preformatted text line breaks count."""
        if keeps_spaces:
            first, *others = text.replace("\r\n", "\n").split("\n", _MAX_LINES)
            self._add(first)
            for line in others:
                self.end_line(always=True)
                self._add(line)
            return
        # Programs write an empty line as <div>&nbsp;</div>.
        self._held = self._held or "\xa0" in text
        flat = _SPACE.sub(" ", text)
        self._space = self._space or flat.startswith(" ")
        if bare := flat.strip(" "):
            self._add((" " if self._space and self._parts else "") + bare)
            self._space = flat.endswith(" ")

    def end_line(self, *, always: bool = False) -> None:
        """End the present line; `always` as <br> does, else only where something stands on it."""
        if self._parts or always or self._held:
            line = "".join(self._parts).rstrip()
            line = "-- " if line == "--" and self._space else line  # the space tells a signature from a drawn line
            if self._gap and line and self._lines and self._lines[-1].strip("> "):
                self._lines.append(self._mark(""))
            self._gap = self._gap and not line
            self._lines.append(self._mark(line))
            self._length += len(self._lines[-1]) + 1
            self._parts = []
        self._space = self._held = False

    def end_paragraph(self) -> None:
        """End the present line and leave an empty one before what follows."""
        self.end_line()
        self._gap = True

    def separator(self) -> None:
        """Say that a quotation begins here."""
        self.end_line()
        if not self._depth and SEPARATOR not in self._lines[-3:]:
            self._lines.append(SEPARATOR)

    def to_depth(self, depth: int) -> None:
        """Begin or end a quotation."""
        if depth != self._depth:
            self.end_line()
            self._depth = depth

    def text(self) -> str:
        self.end_line()
        return "\n".join(self._lines).strip("\n") + "\n" if self._lines else ""

    def _add(self, text: str) -> None:
        if text:
            self._parts.append(text)
            self._spoken = self._spoken or not text.isspace()
            self._length += len(text)

    def _mark(self, line: str) -> str:
        return f"{'> ' * min(self._depth, _MAX_DEPTH)}{line}" if self._depth else line


class _Reader:
    """Reads tags and text once, from the beginning to the end."""

    def __init__(self, source: str, writer: _Writer) -> None:
        self._source = source
        self._writer = writer
        self._open: list[_Open] = []
        self._names: dict[str, int] = {}
        self._quoted = self._dropped = self._kept = 0
        self._numbers: list[int | None] = []
        self._link: tuple[str, list[str]] | None = None

    def read(self) -> None:
        for token in tokens(self._source):
            if isinstance(token, str):
                self._text(token)
            elif isinstance(token, End):
                self._close(token.name)
            elif isinstance(token, Begin):
                self._begin(token.name, token.attributes)
            if self._writer.full:
                break
        self._end_link()

    def _text(self, source: str) -> None:
        if self._dropped or not source:
            return
        text = unescaped(source)
        if self._link is not None:
            self._link[1].append(text)
        self._writer.words(text, bool(self._kept))

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        if not self._dropped:
            self._show(name, attributes)
        if name in ("ol", "ul"):
            self._numbers.append(1 if name == "ol" else None)
        elif name == "body":
            self._close("head")
        quotes, hidden = False, False
        if attributes:
            names = " ".join(
                attributes[key] for key in ("class", "id", "name", "data-marker") if key in attributes
            ).lower()
            style = "".join(attributes.get("style", "").lower().split())
            quotes = _is_quotation(name, names, attributes, style)
            hidden = "display:none" in style or _SIGNATURE_NAMES.search(names) is not None
            if not self._dropped and (
                _SEPARATOR_NAMES.search(names)
                or _is_outlook_rule(name, style)
                or (self._writer.has_words and _LOWER_SEPARATOR_NAMES.search(names))
            ):
                self._writer.separator()
        if name in _NESTING:
            self._push(_Open(name, quotes, hidden or name in _DROPPED, name == "pre") if attributes else _BARE[name])

    def _show(self, name: str, attributes: dict[str, str]) -> None:
        """Do for the text what the beginning of an element means to a reader."""
        if name in _BREAKING:
            self._writer.end_line()
            if name == "li":
                self._item()
        elif name == "br":
            self._writer.end_line(always=True)
        elif name in _PARAGRAPHS:
            self._writer.end_paragraph()
        elif name in ("td", "th"):
            self._writer.words(" ")
        elif name == "a":
            self._end_link()
            self._link = (unescaped(attributes.get("href", "")), [])
        elif name == "img" and len(alt := attributes.get("alt", "")) <= 4:
            self._text(alt)  # an emoji

    def _item(self) -> None:
        number = self._numbers[-1] if self._numbers else None
        self._writer.words(f"{number}. " if number else "- ")
        if number:
            self._numbers[-1] = number + 1

    def _close(self, name: str) -> None:
        if not self._dropped:
            if name in _PARAGRAPHS:
                self._writer.end_paragraph()
            elif name in _BREAKING:
                self._writer.end_line()
            elif name == "a":
                self._end_link()
        if name in ("ol", "ul") and self._numbers:
            self._numbers.pop()
        if self._names.get(name):
            # Each element is opened once and thrown away once, so that this costs no more than the tags did.
            while self._pop() != name:
                pass

    def _push(self, element: _Open) -> None:
        self._open.append(element)
        self._names[element.name] = self._names.get(element.name, 0) + 1
        if element.matters:
            self._count(element, 1)

    def _pop(self) -> str:
        element = self._open.pop()
        self._names[element.name] -= 1
        if element.matters:
            self._count(element, -1)
        return element.name

    def _count(self, element: _Open, step: int) -> None:
        if element.drops:
            self._end_link()
        self._dropped += step * element.drops
        self._kept += step * element.keeps_spaces
        if element.quotes:
            self._quoted += step
            self._writer.to_depth(self._quoted)

    def _end_link(self) -> None:
        """Write the target of the link behind its words, where they do not name it."""
        if self._link is None:
            return
        target, words = self._link[0].strip(), "".join(self._link[1]).strip()
        self._link = None
        address = target.removeprefix("mailto:").partition("?")[0] if target.startswith("mailto:") else target
        if self._dropped or not words or not target.lower().startswith(("http://", "https://", "mailto:")):
            return
        if address not in words and words not in address and not any(c.isspace() for c in address):
            self._writer.words(f" <{address}>", bool(self._kept))


def _is_quotation(name: str, names: str, attributes: dict[str, str], style: str) -> bool:
    if name == "blockquote":
        # Gmail and Outlook on the web indent own paragraphs by a bare blockquote with this margin.
        indents = "margin:00040px" in style or "margin-left:40px" in style or "margin:0px0px0px40px" in style
        return not indents or bool(names or attributes.get("type"))
    # GMX and web.de: <div name="quote">.
    return name == "div" and (attributes.get("name") == "quote" or _QUOTE_NAMES.search(names) is not None)


def _is_outlook_rule(name: str, style: str) -> bool:
    """Return whether this is the line that Outlook for Windows draws above the headers of what it quotes."""
    return name == "div" and "border:none;border-top:solid" in style and "padding:3.0pt0" in style
