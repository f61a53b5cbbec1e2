"""HTML cut into text and tags, in one walk from the beginning to the end.

The HTML is hostile: every character is read once, an unfinished tag or comment ends it, and nothing is fetched or
run. What the tags mean is `messages.html_text`'s business for mail and `messages.html_pages`' for articles.
"""

from __future__ import annotations

import html as entities
import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Begin", "End", "Raw", "tokens", "unescaped"]

_MAX_VALUE = 2_000
_MAX_ATTRIBUTES = 64
# Their content is no markup: only their own closing tag ends them.
_RAW = {name: re.compile(rf"</{name}", re.IGNORECASE) for name in ("script", "style", "title", "iframe", "noembed")}
# What begins a tag, a comment or a declaration, and the end of a tag without attributes; any other `<` is a character.
_MARKUP = re.compile(r"<(?:(?P<name>/?[A-Za-z][A-Za-z0-9:_-]{0,40})(?P<end>\s*+/?>)?|[!?])")
_ATTRIBUTE = re.compile(
    r"""[\s/]*+(?:(?P<end>>)|(?P<name>[^\s/>=][^\s/>=]*+)(?:\s*+=\s*+(?:"(?P<two>[^"]*+)"|'(?P<one>[^']*+)'|(?P<bare>[^\s>"'][^\s>]*+)?))?)"""
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")


class Begin(NamedTuple):
    """The beginning of an element; the values of its attributes are as they are written."""

    name: str
    attributes: dict[str, str]


class End(NamedTuple):
    """The end of an element."""

    name: str


class Raw(NamedTuple):
    """An element whose content is no markup, such as a script or a title; its end follows as any other's."""

    name: str
    content: str


def tokens(source: str) -> Iterator[str | Begin | End | Raw]:
    """Yield text as it is written, and tags."""
    position = 0
    while 0 <= position < len(source):
        tag = _MARKUP.search(source, position)
        if (end := tag.start() if tag else len(source)) > position:
            yield source[position:end]
        if tag is None:
            return
        if not tag["name"]:
            position = _skipped(source, tag.start())
            continue
        name, position = tag["name"].lower(), tag.end()
        attributes: dict[str, str] = {}
        if tag["end"] is None:
            attributes, position = _attributes(source, position)
            if position < 0:
                return
        if name[0] == "/":
            yield End(name[1:])
        elif name in _RAW:
            closing = _RAW[name].search(source, position)
            if closing is None:
                return
            yield Raw(name, source[position : closing.start()])
            position = closing.start()
        else:
            yield Begin(name, attributes)


def unescaped(source: str) -> str:
    """Replace entities one by one: all at once, a number of thousands of digits would raise."""
    return _ENTITY.sub(lambda found: entities.unescape(found.group()), source) if "&" in source else source


def _skipped(source: str, start: int) -> int:
    """Return the place behind a comment or a declaration, -1 where it never ends."""
    comment = source.startswith("<!--", start)
    end = source.find("-->" if comment else ">", start + 4 * comment)
    return -1 if end < 0 else end + (3 if comment else 1)


def _attributes(source: str, position: int) -> tuple[dict[str, str], int]:
    attributes: dict[str, str] = {}
    for _ in range(_MAX_ATTRIBUTES):
        found = _ATTRIBUTE.match(source, position)
        if found is None:
            return attributes, -1
        position = found.end()
        if found["end"]:
            return attributes, position
        value = found["two"] or found["one"] or found["bare"] or ""
        attributes.setdefault(found["name"][:40].lower(), value[:_MAX_VALUE])
    end = source.find(">", position)
    return attributes, end + 1 if end >= 0 else -1
