"""The draft of an article about a gap: the customers' question and what agents replied to it, for a human to finish.

As a file, its front matter holds two keys that no article has, so that importing refuses it until somebody has read it and
taken them out. Proposing a draft in Slack is `bot.services.knowledge.gap_desk`'s business.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

import yaml

from bot.services.knowledge.gaps import Gap, most_representative
from bot.services.knowledge.quoting import quoted, without_contacts
from messages.answers import language_of
from messages.closings import closing, is_greeting
from messages.encoder import TextEncoder
from messages.phrases import fold

__all__ = ["PLACEHOLDERS", "Draft", "article_id", "draft_article", "draft_of"]

# What stands where a name, an address or a number was taken out.
PLACEHOLDERS = ("[name]", "[address]", "[number]")

TITLE_CHARACTERS = 120
ID_CHARACTERS = 60
_NOTE = """\
# A draft. Read it, cut greetings and whatever concerns one customer only, and have somebody answer for it.
# `aftercare kb import` refuses it until the lines `draft` and `sources` are taken out. Sources are utterance ids.
"""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The words of an article that nobody has read yet.

    Attributes
    ----------
    body : str
        The agents' reply without its greeting, its closing and what names anybody; empty where nobody replied.
    reply_id : int or None
        The utterance that the body is made of.
    """

    title: str
    questions: tuple[str, ...]
    locale: str
    body: str
    reply_id: int | None


def draft_of(gap: Gap, *, encoder: TextEncoder | None = None) -> Draft:
    """Draft an article from the customers' question and the agents' most representative reply."""
    reply = most_representative(gap, encoder)
    return Draft(
        title=quoted(gap.question, TITLE_CHARACTERS),
        questions=gap.examples,
        locale=language_of(" ".join(gap.examples)),
        body=_without_courtesies(without_contacts(reply.text, names=gap.names)) if reply else "",
        reply_id=reply.utterance_id if reply else None,
    )


def draft_article(gap: Gap, *, encoder: TextEncoder | None = None, taken: Collection[str] = ()) -> str:
    """Return a Markdown article with front matter; its body is empty where no agent replied.

    Parameters
    ----------
    encoder : TextEncoder, optional
        Judges which reply speaks for the others.
    taken : collection of str
        The ids of the articles that there are.
    """
    draft = draft_of(gap, encoder=encoder)
    sources: dict[str, object] = {"questions": list(gap.utterance_ids), "reply": draft.reply_id}
    head: dict[str, object] = {
        "id": article_id(draft.title, gap.utterance_ids[0], taken),
        "title": draft.title,
        "questions": list(draft.questions),
        "tags": [],
        "locale": draft.locale,
        "owner": None,
        "review_by": None,
    }
    marks = f"draft: true\nsources: {_yaml(sources, flow=True)}"
    return f"---\n{_NOTE}{marks}{_yaml(head, flow=False)}---\n\n{draft.body}\n"


def article_id(title: str, number: int, taken: Collection[str]) -> str:
    """Return an article's id made of its title, with a number behind it where another has that id."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:ID_CHARACTERS].rstrip("-") or f"question-{number}"
    return found if found not in taken else f"{found}-{number}"


def _without_courtesies(text: str) -> str:
    """Return a reply without the line that greets and the lines that end it; all of it where nothing else would be left."""
    lines = text.strip().split("\n")
    first = lines[0].replace("[name]", "Anna")  # a name stood there
    kept = lines[1:] if is_greeting(first, fold(first)) else lines
    while kept and not kept[-1].strip():
        kept = kept[:-1]
    for back in range(1, min(4, len(kept)) + 1):  # the closing, a name and a post below it
        if closing(kept[-back], fold(kept[-back])) is not None:
            kept = kept[:-back]
            break
    return "\n".join(kept).strip() or text.strip()


def _yaml(value: dict[str, object], *, flow: bool) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=flow, sort_keys=False, allow_unicode=True, width=float("inf")
    )  # one line a value, so that a line can be taken out
    return text.replace(": null\n", ":\n")
