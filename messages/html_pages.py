"""HTML pages as articles keep them: title, metadata and a Markdown body of headings, paragraphs, lists and links.

What the page would do in a browser is gone: scripts, styles, forms, navigation, comments, event handlers, pictures,
what is hidden, and links other than to web pages, mail addresses, telephones and places beside the page. Text that
would be markup again (`<b`, `](`) loses its power.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from messages.html_tokens import Begin, End, Raw, tokens, unescaped

__all__ = ["Page", "looks_like_html", "read_page"]

# fmt: off
# What is left out with all that it holds.
_DROPPED = frozenset(
    {
        "audio", "button", "canvas", "datalist", "dialog", "fieldset", "form", "frameset", "head", "iframe",
        "map", "math", "menu", "nav", "noembed", "noframes", "noscript", "object", "option", "select", "svg",
        "template", "textarea", "video",
    }
)
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
_PARAGRAPHS = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl", "dt",
        "figcaption", "figure", "footer", "header", "hr", "html", "main", "p", "pre", "section", "summary",
        "table", "tbody", "tfoot", "thead",
    }
)
# fmt: on
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_MAX_DEPTH = 8
_SPACE = re.compile(r"[\s\xa0]+")
# The marks of a link of ours while the text around it is made harmless; no text holds them.
_LINK_MARKS = {"\x01": "[", "\x02": "](", "\x03": ")"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_TAG_AGAIN = re.compile(r"<(?=[A-Za-z/!?])")
_LINK_AGAIN = re.compile(r"\](?=[(:\[])")
_SCHEME = re.compile(r"[^/?#]*:")
_SAFE = re.compile(r"(?i)https?://|mailto:|tel:")
_UNSAFE_CHARACTERS = re.compile(r"[\s\x00-\x20()<>\"\\\[\]`\x7f-\xa0]")
_MARKUP = re.compile(r"(?i)</[a-z][a-z0-9]*\s*>|<(?:br|hr|p)\b[^<>]{0,200}>")


@dataclass(frozen=True, kw_only=True)
class Page:
    """What an HTML page says.

    Attributes
    ----------
    heading : str
        The first heading of the first level, which is not in the body.
    metadata : dict
        The contents of each `<meta name=…>`, by name in small letters.
    """

    title: str
    heading: str
    language: str
    metadata: dict[str, list[str]]
    body: str


def looks_like_html(text: str) -> bool:
    """Say whether a text of unknown kind holds HTML elements."""
    return _MARKUP.search(text) is not None


def read_page(source: str) -> Page:
    """Read a page or a part of one."""
    reader = _Reader()
    for token in tokens(source):
        if isinstance(token, str):
            reader.text(token)
        elif isinstance(token, Begin):
            reader.begin(token.name, token.attributes)
        elif isinstance(token, End):
            reader.end(token.name)
        elif isinstance(token, Raw) and token.name == "title" and not reader.title:
            reader.title = _line(unescaped(token.content))
    reader.end_block()
    return Page(
        title=reader.title,
        heading=reader.heading,
        language=reader.language,
        metadata=reader.metadata,
        body=_harmless(reader.body()),
    )


class _Reader:
    def __init__(self) -> None:
        self.title = self.heading = self.language = ""
        self.metadata: dict[str, list[str]] = {}
        self._blocks: list[str] = []
        self._inline: list[str] = []
        self._prefix = ""
        self._level = ""  # the heading that is open
        self._lists: list[int | None] = []  # the next number of each open list, None where it has none
        self._item = self._cell = False
        self._keeps_spaces = 0
        self._link: str | None = None
        self._dropped: tuple[str, int] | None = None  # the element that is left out, and how often it is open

    def body(self) -> str:
        return "".join(self._blocks).strip()

    def text(self, source: str) -> None:
        if self._dropped is None:
            text = _CONTROL.sub("", unescaped(source))
            self._inline.append(text.replace("\n", "\x04") if self._keeps_spaces else text)

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name == "html":
            self.language = self.language or unescaped(attributes.get("lang", ""))
        elif name == "meta" and attributes.get("name"):
            known = self.metadata.setdefault(unescaped(attributes["name"]).strip().lower(), [])
            known.append(unescaped(attributes.get("content", "")))
        elif name == "body" and self._dropped is not None and self._dropped[0] == "head":
            self._dropped = None
        if self._dropped is not None:
            if name == self._dropped[0]:
                self._dropped = (name, self._dropped[1] + 1)
            return
        hidden = "hidden" in attributes or "display:none" in "".join(attributes.get("style", "").lower().split())
        if name in _DROPPED or (hidden and name not in _VOID):
            self._end_link()
            self._dropped = (name, 1)
        else:
            self._show(name, attributes)

    def end(self, name: str) -> None:
        if self._dropped is not None:
            if name == self._dropped[0]:
                self._dropped = (name, self._dropped[1] - 1) if self._dropped[1] > 1 else None
            return
        if name in _HEADINGS or name in _PARAGRAPHS or name == "li":
            self.end_block()
        elif name in ("ul", "ol"):
            self.end_block()
            if self._lists:
                self._lists.pop()
            self._item = bool(self._lists)
        elif name == "a":
            self._end_link()
        if name == "pre":
            self._keeps_spaces = max(0, self._keeps_spaces - 1)

    def _show(self, name: str, attributes: dict[str, str]) -> None:
        if name in _HEADINGS:
            self.end_block()
            self._level, self._prefix = name, _HEADINGS[name]
        elif name in ("ul", "ol"):
            self.end_block()
            self._lists.append(1 if name == "ol" else None)
        elif name == "li":
            self.end_block()
            self._begin_item()
        elif name == "br":
            self._inline.append("\x04")
        elif name == "tr":
            self._inline.append("\x04")
            self._cell = False
        elif name in ("td", "th"):
            self._inline.append(" | " if self._cell else "")
            self._cell = True
        elif name == "a":
            self._end_link()
            if address := _address(attributes.get("href", "")):
                self._link = address
                self._inline.append("\x01")
        elif name in _PARAGRAPHS:
            self.end_block()
        if name == "pre":
            self._keeps_spaces += 1

    def _begin_item(self) -> None:
        number = self._lists[-1] if self._lists else None
        self._prefix = self._indent(1) + (f"{number}. " if number else "- ")
        self._item = True
        if number:
            self._lists[-1] = number + 1

    def _indent(self, less: int) -> str:
        return "   " * min(max(0, len(self._lists) - less), _MAX_DEPTH)

    def _end_link(self) -> None:
        if self._link is not None:
            self._inline.append(f"\x02{self._link}\x03")
            self._link = None

    def end_block(self) -> None:
        """Write the paragraph, heading or item that is open."""
        self._end_link()
        lines = [_line(line) for line in "".join(self._inline).split("\x04")]
        lines = [re.sub(r"\x01\s*\x02[^\x03]*\x03", "", line) for line in lines]  # links without words
        lines = [line for line in lines if line]
        self._inline = []
        level, prefix, self._level = self._level, self._prefix, ""
        if not lines:
            self._prefix = prefix if not level else ""
            return
        self._prefix = ""
        if level == "h1" and not self.heading:
            self.heading = _without_links(" ".join(lines))
            return
        if level:
            self._blocks.append(f"\n\n{prefix}{' '.join(lines)}")
            return
        inside = self._indent(0) if self._item and self._lists else ""
        text = (prefix or inside) + f"\n{inside}".join(lines)
        # The items of a list stand together, as a section of an article is quoted.
        self._blocks.append(("\n" if inside and self._blocks else "\n\n") + text)


def _line(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


def _without_links(text: str) -> str:
    return _TAG_AGAIN.sub("‹", re.sub(r"\x01|\x02[^\x03]*\x03", "", text))


def _address(href: str) -> str | None:
    """Return the address of a link, None where it may not be followed."""
    # Browsers overlook control characters and spaces within a scheme; so they are taken out before it is looked at.
    address = re.sub(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]", "", unescaped(href))
    if address.startswith("//"):
        address = f"https:{address}"
    if not address or address.startswith("#") or (_SCHEME.match(address) and not _SAFE.match(address)):
        return None
    return _UNSAFE_CHARACTERS.sub(lambda found: f"%{ord(found.group()):02X}", address)


def _harmless(text: str) -> str:
    """Take the power from text that would be a tag or a link, and set in the links that are meant."""
    text = _LINK_AGAIN.sub("] ", _TAG_AGAIN.sub("‹", text))
    for mark, written in _LINK_MARKS.items():
        text = text.replace(mark, written)
    return text
