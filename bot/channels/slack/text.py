"""Words made fit for Slack: escaping, cutting, quoting, and Markdown turned into Slack's mrkdwn.

Everything that a customer, an article or an agent wrote passes through here before it stands in a block; what a
card says is `cards`' business. Slack's rules: https://docs.slack.dev/messaging/formatting-message-text/
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from messages.warming import warmed

__all__ = ["SECTION_LIMIT", "cut", "escape", "one_line", "pieces", "quoted", "to_mrkdwn", "width"]

# https://docs.slack.dev/reference/block-kit/blocks/section-block: 3,000 characters, less some room for quote marks.
SECTION_LIMIT = 2900
# Invisible characters that turn the reading direction around and so make a text look like another one.
_DIRECTION = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
# What must not be torn apart when a text is cut: an entity, a link.
_ATOM = re.compile(r"&(?:amp|lt|gt);|<[^<>\n]*>|.", re.DOTALL)
_URL = re.compile(r"https?://[^\s<>|]+[^\s<>|.,;:!?)\]]")
_MARKDOWN = warmed(MarkdownIt("commonmark", {"html": False}).enable("strikethrough"))


def width(text: str) -> int:
    """Count a text as Slack may count it: in UTF-16 units, so that an emoji is two."""
    return len(text) + sum(character > "\uffff" for character in text)


def clean(text: str) -> str:
    """Drop what no reader sees: control characters, half characters and direction overrides."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_DIRECTION)
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def escape(text: str) -> str:
    """Escape Slack's three control characters, so that no text can become a link or a mention."""
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def one_line(text: str) -> str:
    """Put a text on one line, without leading or trailing space."""
    return " ".join(clean(text).split())


def cut(text: str, limit: int) -> str:
    """Cut a text visibly: the last sign is then an ellipsis. Entities and links stay whole."""
    if width(text) <= limit:
        return text
    kept, used = [], 0
    for atom in _ATOM.findall(text):
        used += width(atom)
        if used > limit - 1:
            break
        kept.append(atom)
    return "".join(kept).rstrip() + "…"


def pieces(text: str, limit: int = SECTION_LIMIT) -> list[str]:
    """Split a text at line ends, else at spaces, else anywhere, into pieces of at most `limit`; none is empty."""
    found: list[str] = []
    current, used = "", 0
    for line in text.split("\n"):
        for part in _parts(line, limit):
            extra = width(part) + (1 if current else 0)
            if current and used + extra > limit:
                found.append(current)
                current, used = part, width(part)
            else:
                current = f"{current}\n{part}" if current else part
                used += extra
    found.append(current)
    return [piece for piece in found if piece.strip()]


def _parts(line: str, limit: int) -> list[str]:
    """Split one line that is too long."""
    if width(line) <= limit:
        return [line]
    found, current, used = [], "", 0
    for atom in _ATOM.findall(line):
        if used + width(atom) > limit:
            head, space, tail = current.rpartition(" ")
            # A space in the second half is a good place; else the word itself is split.
            if space and len(head) > limit // 2 and "<" not in tail:
                found.append(head)
                current = tail
            else:
                found.append(current)
                current = ""
            used = width(current)
        current += atom
        used += width(atom)
    return [*found, current]


def quoted(text: str, limit: int = SECTION_LIMIT, most: int = 3) -> list[str]:
    """Quote an already escaped text for cards: each line behind `>`, in at most `most` pieces, cut visibly."""
    marked = "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))
    found = pieces(marked, limit - 2)
    if len(found) > most:
        left = sum(map(width, found[most:]))
        found = [*found[: most - 1], cut(found[most - 1], limit - 80) + f"\n_… cut here, about {left} characters more_"]
    return [piece if piece.startswith(">") else f"> {piece}" for piece in found]


def to_mrkdwn(markdown: str, hosts: Collection[str] = ()) -> str:
    """Turn plain Markdown into Slack's mrkdwn, escaped; HTML stays visible text.

    Parameters
    ----------
    hosts : collection of str
        Whose addresses become links (their subdomains too). Any other address is shown as it is written, beside its
        label, so that a label can never hide where it leads.
    """
    return _Renderer(frozenset(host.lower() for host in hosts if host)).blocks(_MARKDOWN.parse(clean(markdown)))


class _Renderer:
    """Writes a Markdown token tree as mrkdwn."""

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = hosts

    def blocks(self, tokens: Sequence[Token]) -> str:
        lines: list[str] = []
        marks: list[str] = []  # the bullets of the lists around, innermost last
        prefix = ""
        tight_before = True
        depth = 0  # of quotes around
        for index, token in enumerate(tokens):
            text: str | None = None
            depth += (token.type == "blockquote_open") - (token.type == "blockquote_close")
            if token.type in ("bullet_list_open", "ordered_list_open"):
                marks.append("• " if token.type.startswith("bullet") else f"{token.attrGet('start') or 1}. ")
            elif token.type in ("bullet_list_close", "ordered_list_close"):
                marks.pop()
            elif token.type == "list_item_open" and marks:
                prefix = "    " * (len(marks) - 1) + marks[-1]
                if (number := re.fullmatch(r"(\d+)\. ", marks[-1])) is not None:
                    marks[-1] = f"{int(number[1]) + 1}. "
            elif token.type == "inline":
                text = self.inline(token.children or [])
                if index and tokens[index - 1].type == "heading_open" and text:
                    text = f"*{text.replace('*', '')}*"
            elif token.type in ("fence", "code_block"):
                text = f"```\n{escape(token.content.rstrip())}\n```"
            elif token.type == "hr":
                text = "———"
            if text is not None:
                quote = "> " * min(depth, 3)
                if lines and not (marks and tight_before):
                    lines.append("")
                indent = prefix or "    " * len(marks)
                shown = [
                    f"{quote}{indent if at == 0 else '    ' * len(marks)}{line}"
                    for at, line in enumerate(text.split("\n"))
                ]
                lines += shown
                prefix = ""
                tight_before = bool(marks)
        return "\n".join(lines)

    def inline(self, tokens: Sequence[Token]) -> str:
        written = ""
        links: list[tuple[str, int]] = []
        for token in tokens:
            match token.type:
                case "text" | "text_special":
                    written += self._text(token.content) if not links else escape(token.content)
                case "softbreak" | "hardbreak":
                    written += "\n"
                case "strong_open" | "strong_close":
                    written += "*"
                case "em_open" | "em_close":
                    written += "_"
                case "s_open" | "s_close":
                    written += "~"
                case "code_inline":
                    written += f"`{escape(token.content)}`"
                case "link_open":
                    links.append((str(token.attrGet("href") or ""), len(written)))
                case "link_close" if links:
                    href, start = links.pop()
                    written = written[:start] + self._link(href, written[start:])
                case _:
                    written += escape(token.content)
        return written

    def _text(self, content: str) -> str:
        """Escape a text; addresses of our own hosts become links."""
        written, at = "", 0
        for found in _URL.finditer(content):
            if self._ours(found[0]):
                written += escape(content[at : found.start()]) + f"<{escape(found[0])}>"
                at = found.end()
        return written + escape(content[at:])

    def _link(self, href: str, label: str) -> str:
        shown = escape(href).replace("|", "%7C")
        if self._ours(href):
            plain = re.sub(r"[<>|\n]", " ", label)
            return f"<{shown}>" if not plain.strip() or plain == shown else f"<{shown}|{plain}>"
        return label if label == shown else f"{label} ({shown})"

    def _ours(self, href: str) -> bool:
        try:
            parts = urlsplit(href)
            host = (parts.hostname or "").lower()
        except ValueError:
            return False
        known = any(host == ours or host.endswith(f".{ours}") for ours in self._hosts)
        return parts.scheme in ("http", "https") and known and "@" not in parts.netloc
