"""The draft of an article about a gap: the customers' question and what agents replied to it, for a human to finish.

A draft is text that is printed. Its front matter holds two keys that no article has, so that importing refuses it until
somebody has read it and taken them out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

import yaml

from bot.services.knowledge.gaps import Gap, most_representative
from bot.services.knowledge.quoting import quoted, without_contacts
from messages.answers import language_of
from messages.encoder import TextEncoder

__all__ = ["draft_article"]

TITLE_CHARACTERS = 120
ID_CHARACTERS = 60
_NOTE = """\
# A draft. Read it, cut greetings and whatever concerns one customer only, and have somebody answer for it.
# `aftercare kb import` refuses it until the lines `draft` and `sources` are taken out. Sources are utterance ids.
"""


def draft_article(gap: Gap, *, encoder: TextEncoder | None = None, taken: Collection[str] = ()) -> str:
    """Return a Markdown article with front matter; its body is empty where no agent replied.

    Parameters
    ----------
    encoder : TextEncoder, optional
        Judges which reply speaks for the others.
    taken : collection of str
        The ids of the articles that there are.
    """
    reply = most_representative(gap, encoder)
    title = quoted(gap.question, TITLE_CHARACTERS)
    sources: dict[str, object] = {"questions": list(gap.utterance_ids), "reply": reply.utterance_id if reply else None}
    head: dict[str, object] = {
        "id": _identifier(title, gap.utterance_ids[0], taken),
        "title": title,
        "questions": list(gap.examples),
        "tags": [],
        "locale": language_of(" ".join(gap.examples)),
        "owner": None,
        "review_by": None,
    }
    marks = f"draft: true\nsources: {_yaml(sources, flow=True)}"
    body = without_contacts(reply.text, names=gap.names).strip() if reply else ""
    return f"---\n{_NOTE}{marks}{_yaml(head, flow=False)}---\n\n{body}\n"


def _yaml(value: dict[str, object], *, flow: bool) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=flow, sort_keys=False, allow_unicode=True, width=float("inf")
    )  # one line a value, so that a line can be taken out
    return text.replace(": null\n", ":\n")


def _identifier(title: str, number: int, taken: Collection[str]) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:ID_CHARACTERS].rstrip("-") or f"question-{number}"
    return found if found not in taken else f"{found}-{number}"
