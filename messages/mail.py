"""The look of a mail: an agent's words become safe HTML paragraphs inside the MJML frame.

Delivery headers, tokens and MIME are the email channel's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import mrml
from jinja2 import Template
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup, escape

from messages import render
from messages.errors import TemplateError
from messages.joined import Joined
from messages.warming import warmed

FRAME_VALUES = frozenset(
    {"lang", "subject", "preview", "body", "shop_name", "shop_url", "why", "replies", "unsubscribe", "unsubscribe_url"}
)
# What differs from mail to mail; the rest is the shop's and the language's.
OWN_VALUES = ("subject", "preview", "body", "unsubscribe_url")
# Stands around a name where a mail's own value goes. A frame that holds it itself is never proved, and so never filled in.
_MARK = "%own%"
_OTHER_GAP = re.compile(r">(?:\s\s+|[^\S\n])<")
# mrml writes other characters of a title differently where it becomes an attribute.
_SAME_EVERYWHERE = re.compile(r"[ -\[\]-~\u00a1-\u00ac\u00ae-\u02ff]*\Z")
_BARE_URL = re.compile(r"https?://[^\s<>\"'`\\]+[^\s<>\"'`\\.,;:!?)\]]")
_PREVIEW_CHARACTERS = 110
# So much of the words is enough for a preview, mostly.
_PREVIEW_REACH = 300
_MAY_BE_MARKS = re.compile(r"[*_#\]]")
_MARKS = re.compile(r"[*_#]|\]\([^)]*\)")
_PARAGRAPH_STYLE = "margin:0 0 16px 0;"
# Paragraphs stand between blank lines, and none of those rules that are switched on reaches over one but lists.
_BLANK_LINES = re.compile(r"\n(?:[ ]*\n)+")
# What may be markup or in need of escaping, what may be a link, and what may begin a line of a list.
_MARKED = re.compile(r"[*_`\[\]<>\\&\"]")
_LINKED = ("http:", "https:", "mailto:")
_LISTED = frozenset("-+0123456789")


@dataclass(frozen=True, kw_only=True)
class FrameWords:
    """The fixed sentences around every mail, in one language; `{shop}` stands for the shop's name."""

    why_proactive: str
    why_reply: str
    replies: str
    unsubscribe: str

    @classmethod
    def from_mapping(cls, tree: Mapping[str, Any], where: str) -> FrameWords:
        """Check and take the sentences of a `words.yaml`.

        Raises
        ------
        TemplateError
            A sentence is missing.
        """
        wanted = [field.name for field in fields(cls)]
        if missing := [name for name in wanted if not isinstance(tree.get(name), str)]:
            raise TemplateError(f"{where}: {', '.join(missing)} missing")
        return cls(**{name: str(tree[name]) for name in wanted})


@dataclass(frozen=True, kw_only=True)
class MailContent:
    """What one mail says."""

    locale: str
    shop_name: str
    subject: str
    text: str
    unsubscribe_url: str | None
    shop_url: str | None
    proactive: bool


def to_html(frame: Template, words: FrameWords, content: MailContent, *, fillable: bool = False) -> str:
    """Render a mail to HTML that needs nothing from the network.

    Parameters
    ----------
    fillable : bool
        The frame only shows the `OWN_VALUES` of a mail: MJML is then read once, and what it became is filled in.

    Raises
    ------
    TemplateError
        The frame is no valid MJML.
    """
    values: dict[str, Any] = {
        **_common(words, content.locale, content.shop_name, content.shop_url, content.proactive),
        "subject": render.line_value(content.subject),
        "preview": _preview(content.text),
        "body": Markup(words_to_html(content.text)),  # noqa: S704 - made by markdown-it with HTML switched off
        "unsubscribe_url": render.url_value(content.unsubscribe_url or ""),
    }
    plain = _SAME_EVERYWHERE.match(str(values["subject"])) and not _OTHER_GAP.search(str(values["body"]))
    if not (fillable and plain):
        return _from_mjml(frame, values)
    given = [
        (name, f"{_MARK}{name}{_MARK}" if name in OWN_VALUES and value else value) for name, value in values.items()
    ]
    form = _form(frame, tuple(given))
    filled = _filled(form.pieces, values)
    if not form.is_proved:  # a frame may do with a value what filling it in does not
        whole = _from_mjml(frame, values)
        form.is_proved = filled == whole
        return whole
    return filled


@lru_cache(maxsize=256)
def _common(
    words: FrameWords, locale: str, shop_name: str, shop_url: str | None, proactive: bool
) -> dict[str, str | None]:
    """Return the values that all mails of a shop have in common, in one language."""
    shop = render.line_value(shop_name)
    return {
        "lang": re.sub(r"[^A-Za-z0-9-]", "", locale) or "en",
        "shop_name": shop,
        "shop_url": render.url_value(shop_url or ""),
        "why": (words.why_proactive if proactive else words.why_reply).replace("{shop}", shop),
        "replies": words.replies.replace("{shop}", shop),
        "unsubscribe": words.unsubscribe,
    }


def _from_mjml(frame: Template, values: Mapping[str, Any]) -> str:
    source = render.run(frame, values, "email.mjml")
    try:
        return str(mrml.to_html(source, render_options=mrml.RenderOptions(disable_comments=True, fonts={})).content)
    except OSError as error:
        raise TemplateError(f"email.mjml: is no valid MJML ({error})") from error


@dataclass(kw_only=True)
class _Form:
    """What a frame became, to be filled in.

    Attributes
    ----------
    pieces : tuple of str
        The HTML around the own values of a mail, and, at every other place, the name of the value there.
    is_proved : bool
        A mail was compared with what MJML made of it.
    """

    pieces: tuple[str, ...]
    is_proved: bool = False


@lru_cache(maxsize=256)
def _form(frame: Template, given: tuple[tuple[str, str | None], ...]) -> _Form:
    """Return the form of all mails that have these values in common, with marks for those of their own."""
    return _Form(pieces=tuple(_from_mjml(frame, dict(given)).split(_MARK)))


def _filled(pieces: tuple[str, ...], values: Mapping[str, Any]) -> Joined:
    own = {name: str(escape(values[name])) for name in OWN_VALUES}
    # As mrml leaves it: it drops a line break that stands alone between two tags; other gaps are left to it.
    own["body"] = own["body"].replace(">\n<", "><").strip()
    return Joined.of([own[piece] if number % 2 else piece for number, piece in enumerate(pieces)])


def to_text(words: FrameWords, *, shop_name: str, text: str, unsubscribe_url: str | None, proactive: bool) -> str:
    """Return the plain-text part: links written out, the footer below the usual `-- ` line."""
    shop = render.line_value(shop_name)
    plain = re.sub(r"\[([^\]\n]{1,300})\]\((https?://[^\s)]{1,2000})\)", r"\1: \2", render.text_value(text))
    footer = [shop, (words.why_proactive if proactive else words.why_reply).replace("{shop}", shop)]
    if (link := render.url_value(unsubscribe_url or "")) is not None:
        footer.append(f"{words.unsubscribe}: {link}")
    return f"{plain}\n\n-- \n" + "\n".join(footer) + "\n"


def words_to_html(text: str) -> str:
    """Turn Markdown words into HTML: paragraphs, lists, emphasis and safe links, nothing else.

    HTML in the words is escaped; images are shown as their text; only http, https and mailto links stay links.
    """
    paragraphs = _BLANK_LINES.split(render.text_value(text))
    made: list[str] = []
    marked: list[str] = []
    for paragraph in paragraphs:
        if paragraph.strip(" ") and _is_plain(paragraph):
            made += [_rendered(marked), _plain_paragraph(paragraph)]
            marked = []
        else:
            marked.append(paragraph)
    return "".join([*made, _rendered(marked)])


def _is_plain(paragraph: str) -> bool:
    """Say whether Markdown certainly makes nothing of a paragraph but its lines; a doubt costs time and nothing else."""
    if _MARKED.search(paragraph) or any(link in paragraph for link in _LINKED):
        return False
    return not any(
        line and (line[0] in _LISTED or line[0].isspace() or line[-1].isspace()) for line in paragraph.split("\n")
    )


def _rendered(paragraphs: Sequence[str]) -> str:
    return _from_markdown("\n\n".join(paragraphs)) if paragraphs else ""


@lru_cache(maxsize=256)
def _from_markdown(text: str) -> str:
    """Read Markdown; what many mails of a day share, such as an article's link, is read once."""
    return str(_MARKDOWN.render(text))


def _plain_paragraph(text: str) -> str:
    """Write a paragraph without any markup as Markdown would, in a tenth of the time: most paragraphs are so."""
    lines = "<br />\n".join(line.strip(" ") for line in text.split("\n"))
    return f'<p style="{_PARAGRAPH_STYLE}">{lines}</p>\n'


def _preview(text: str) -> str:
    start = text[:_PREVIEW_REACH]
    flat = _flat(start)
    if len(flat) <= _PREVIEW_CHARACTERS or "](" in start:  # a link's end may be further off
        flat = _flat(text[:1000])
    return flat if len(flat) <= _PREVIEW_CHARACTERS else flat[:_PREVIEW_CHARACTERS].rsplit(" ", 1)[0] + "…"


def _flat(text: str) -> str:
    return " ".join(render.line_value(_MARKS.sub("", text) if _MAY_BE_MARKS.search(text) else text).split())


def _link_bare_addresses(state: StateCore) -> None:
    for block in state.tokens:
        if block.type != "inline" or not block.children:
            continue
        children: list[Token] = []
        depth = 0
        for token in block.children:
            depth += {"link_open": 1, "link_close": -1}.get(token.type, 0)
            children.extend([token] if token.type != "text" or depth else _linked(token))
        block.children = children


def _linked(token: Token) -> list[Token]:
    made: list[Token] = []
    position = 0
    for found in _BARE_URL.finditer(token.content):
        made.append(_text(token.content[position : found.start()]))
        made.append(Token("link_open", "a", 1, attrs={"href": found.group()}))
        made.append(_text(found.group()))
        made.append(Token("link_close", "a", -1))
        position = found.end()
    return [*made, _text(token.content[position:])]


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _safe_link(url: str) -> bool:
    return bool(re.match(r"(https?://|mailto:)", url.strip(), re.IGNORECASE))


def _open_link(self: Any, tokens: list[Token], index: int, options: Any, env: MutableMapping[str, Any]) -> str:
    tokens[index].attrSet("style", "color:#0b5c55;text-decoration:underline;")
    return str(self.renderToken(tokens, index, options, env))


def _open_paragraph(self: Any, tokens: list[Token], index: int, options: Any, env: MutableMapping[str, Any]) -> str:
    tokens[index].attrSet("style", _PARAGRAPH_STYLE)
    return str(self.renderToken(tokens, index, options, env))


def _make_markdown() -> MarkdownIt:
    markdown = MarkdownIt("zero", {"html": False, "breaks": True, "xhtmlOut": True})
    markdown.enable(["newline", "escape", "emphasis", "link", "autolink", "list", "entity", "backticks"])
    markdown.validateLink = _safe_link  # type: ignore[method-assign]
    markdown.core.ruler.push("bare_addresses", _link_bare_addresses)
    markdown.add_render_rule("link_open", _open_link)
    markdown.add_render_rule("paragraph_open", _open_paragraph)
    return warmed(markdown)


_MARKDOWN = _make_markdown()
