"""The parts of a mail: which text is its body, and what is noted as an attachment and never opened.

Parts are found by one scan a level, with caps on depth and number; a mail that goes past them is read as far as it
was, and says so. What the words mean is `reading.py`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

from bot.channels.email.mime_headers import (
    Headers,
    UnreadableMail,
    decoded_words,
    parameters,
    read_headers,
)
from bot.channels.email.mime_text import clean, decoded_text, one_line, transfer_decoded, unflowed
from bot.services.mail.inbound import Attachment
from messages.html_text import html_to_text

__all__ = ["MAX_OCTETS", "Body", "Part", "read_body", "read_parts"]

# Mail programs nest four or five levels; a newsletter with pictures has thirty parts.
MAX_DEPTH = 20
MAX_PARTS = 200
# What no mail system lets through to a mailbox.
MAX_OCTETS = 64 * 1024 * 1024
# The reply scanner looks at 64 kB; a page of HTML needs more for the same words.
MAX_TEXT_OCTETS = 256 * 1024
MAX_CHARACTERS = 65_536 + 1
# Apple Mail puts each picture between two texts.
MAX_BODIES = 20
# What makes HTML slow to read. A long thread has some thousand, and its own words come first.
MAX_TAGS = 12_000
_NAME_CHARACTERS = 200

_TYPE = re.compile(r"\s*([A-Za-z0-9!#$&^_.+-]{1,60})/([A-Za-z0-9!#$&^_.+-]{1,100})")
# RFC 2046 section 5.1.1 allows 70 characters.
_BOUNDARY = re.compile(r"[ -~]{0,199}[!-~]\Z")
_FIRST_DELIMITER = re.compile(rb"\n--([^\r\n]{1,200})\r*\n")
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s{0,5}=\s{0,5}["']?([A-Za-z0-9_:-]{1,40})""", re.IGNORECASE)
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a mail, or the whole of it: fields, and where its body stands.

    Attributes
    ----------
    content_type : str
        In lower case; text/plain where none is given.
    children : tuple of Part
        The parts of a multipart. A message in a message is a part without children.
    cut : bool
        More parts followed than are read.
    """

    headers: Headers
    content: bytes = field(repr=False)
    start: int
    end: int
    content_type: str
    children: tuple[Part, ...] = ()
    cut: bool = False

    @property
    def octets(self) -> int:
        return self.end - self.start

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The parameters of Content-Type."""
        return parameters(self.headers.raw("content-type"))

    @cached_property
    def name(self) -> str:
        """The file name, on one line; empty where the sender gave none."""
        name = parameters(self.headers.raw("content-disposition")).get("filename") or self.parameters.get("name", "")
        return one_line(decoded_words(name[: 8 * _NAME_CHARACTERS]), _NAME_CHARACTERS)

    @property
    def attached(self) -> bool:
        """Whether the sender meant this part as a file."""
        return self.headers.word("content-disposition") == "attachment" or bool(self.name)

    def walk(self) -> Iterator[Part]:
        """Yield this part and all within it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, *content_types: str) -> Part | None:
        """Return the first part of one of these types."""
        return next((part for part in self.walk() if part.content_type in content_types), None)

    def decoded(self, limit: int) -> bytes:
        """Return the body without its transfer encoding, made of its first `limit` octets."""
        raw = self.content[self.start : min(self.end, self.start + limit)]
        return transfer_decoded(raw, self.headers.raw("content-transfer-encoding"))

    @cached_property
    def text(self) -> str:
        """The body as text, of HTML its source, made of its first `MAX_TEXT_OCTETS`."""
        octets = self.decoded(MAX_TEXT_OCTETS)
        charset = self.parameters.get("charset")
        if self.content_type == "text/html":
            said = _META_CHARSET.search(octets, 0, 4096)
            return clean(decoded_text(octets, charset or (said[1].decode("ascii") if said else None)))
        text = clean(decoded_text(octets, charset))[:MAX_CHARACTERS]
        if self.parameters.get("format", "").lower() == "flowed":
            return unflowed(text, delete_space=self.parameters.get("delsp", "").lower() == "yes")
        return text


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a mail says, and what came with it."""

    text: str
    attachments: tuple[Attachment, ...]
    truncated: bool


def read_parts(content: bytes) -> Part:
    """Return the mail's parts.

    Raises
    ------
    UnreadableMail
        It is no mail, or one that no mail system would let through.
    """
    if len(content) > MAX_OCTETS:
        raise UnreadableMail(f"it is larger than {MAX_OCTETS // 1024**2} MB")
    content = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if b"\n" not in content:  # line ends of old Macs
        content = content.replace(b"\r", b"\n")
    headers, body = read_headers(content)
    if not headers.fields:
        raise UnreadableMail("it does not begin with a header such as `From: ana@example.org`; is it a mail?")
    return _Reader(content).part(headers, body, len(content), 0)


def read_body(mail: Part) -> Body:
    """Return the text of a mail, plain where there is any, and note the other parts."""
    others: list[Part] = []
    leaves = _leaves(mail, others)
    if not leaves:  # a file name on the only text, as some phones write it
        leaves = [part for part in others if part.content_type in ("text/plain", "text/html")][:1]
        leaves = [part for part in leaves if part.headers.word("content-disposition") != "attachment"]
        others = [part for part in others if part not in leaves]
    considered = leaves[:MAX_BODIES]
    read = [part for part in considered if part.content_type == "text/plain" and _says_something(part)]
    if read:
        text = "\n".join(part.text for part in read)
        cut = len(text) > MAX_CHARACTERS
    else:
        read = [part for part in considered if part.content_type == "text/html"]
        text, cut = _words_of("\n".join(part.text for part in read))
    return Body(
        text=text[:MAX_CHARACTERS],
        attachments=tuple(
            Attachment(name=part.name, content_type=part.content_type, octets=part.octets) for part in others
        ),
        truncated=cut
        or len(leaves) > MAX_BODIES
        or any(part.octets > MAX_TEXT_OCTETS for part in read)
        or any(part.cut for part in mail.walk()),
    )


def _words_of(html: str) -> tuple[str, bool]:
    """Return the words of HTML, and whether more followed than is read."""
    last = next(islice(re.finditer("<", html), MAX_TAGS, None), None)
    return html_to_text(html[: last.start()] if last else html), last is not None


def _leaves(part: Part, others: list[Part]) -> list[Part]:
    """Return the parts that may be the body; put the files into `others`."""
    if not part.content_type.startswith("multipart/"):
        if part.content_type in ("text/plain", "text/html") and not part.attached:
            return [part]
        others.append(part)
        return []
    found = [_leaves(child, others) for child in part.children]
    if part.content_type != "multipart/alternative":
        return [leaf for leaves in found for leaf in leaves]
    # The same words several times: plain ones where they are there, else the richest that says anything.
    for leaves in found:
        if any(leaf.content_type == "text/plain" and _says_something(leaf) for leaf in leaves):
            return leaves
    return next((leaves for leaves in reversed(found) if leaves), [])


def _says_something(part: Part) -> bool:
    return bool(part.text.strip().strip(_INVISIBLE).strip())


class _Reader:
    """Splits multiparts, and counts."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._parts = 0

    def part(self, headers: Headers, start: int, end: int, depth: int, default: str = "text/plain") -> Part:
        self._parts += 1
        kind = _TYPE.match(headers.raw("content-type"))
        content_type = f"{kind[1]}/{kind[2]}".lower() if kind else default
        part = Part(headers=headers, content=self._content, start=start, end=end, content_type=content_type)
        if not content_type.startswith("multipart/"):
            return part
        if depth >= MAX_DEPTH:
            return replace(part, content_type="application/octet-stream", cut=True)
        # RFC 2046 section 5.1.5.
        inner = "message/rfc822" if content_type == "multipart/digest" else "text/plain"
        children: list[Part] = []
        for child_start, child_end in self._parts_of(part):
            if self._parts >= MAX_PARTS:
                return replace(part, children=tuple(children), cut=True)
            try:
                child_headers, child_body = read_headers(self._content, child_start, child_end)
            except UnreadableMail:
                return replace(part, children=tuple(children), cut=True)
            children.append(self.part(child_headers, child_body, max(child_body, child_end), depth + 1, inner))
        # Without a single delimiter it is what it looks like: text.
        return replace(part, children=tuple(children), content_type=content_type if children else "text/plain")

    def _parts_of(self, part: Part) -> Iterator[tuple[int, int]]:
        said = part.parameters.get("boundary", "").rstrip()
        if _BOUNDARY.match(said):
            spans = self._spans(said.encode("ascii"), part.start, part.end)
            if (first := next(spans, None)) is not None:
                yield first
                yield from spans
                return
        # Lost or altered on the way: the first line that looks like a delimiter is one.
        found = _FIRST_DELIMITER.search(self._content, max(part.start - 1, 0), min(part.end, part.start + 65_536))
        if found and (guessed := found[1].rstrip()):
            yield from self._spans(guessed, part.start, part.end)

    def _spans(self, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield where each part begins and ends; a mail that was cut off ends its last part."""
        # The line end before a delimiter belongs to it; the one before the body ended the header.
        delimiter = re.compile(rb"\n--" + re.escape(boundary) + rb"(--)?[ \t]*\r*(?:\n|\Z)")
        at, opened = max(start - 1, 0), -1
        while found := delimiter.search(self._content, at, end):
            if opened >= 0:
                yield opened, max(opened, found.start() - (self._content[found.start() - 1 : found.start()] == b"\r"))
            opened = -1 if found[1] else found.end()
            if found[1]:
                return
            at = max(found.end() - 1, found.start() + 1)
        if opened >= 0:
            yield opened, end
