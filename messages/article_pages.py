"""Articles from HTML files: one a file, its metadata in `<meta name="aftercare:…">`."""

from __future__ import annotations

import re
from datetime import date
from pathlib import PurePath
from typing import Any

from messages.article_checks import KEYS, ArticleFile, Problem, Values, checked
from messages.html_pages import read_page

__all__ = ["as_day", "listed", "read_html"]

_PREFIX = "aftercare:"
_LISTS = ("questions", "tags", "products")
_DAYS = ("valid_from", "valid_until", "review_by")


def read_html(source: str, name: str) -> tuple[list[ArticleFile], list[Problem], int]:
    """Read the article of a page; without an id of its own it has its file's name for one."""
    page = read_page(source)
    said = {key.removeprefix(_PREFIX): found for key, found in page.metadata.items() if key.startswith(_PREFIX)}
    tree: dict[str, Any] = {
        "id": re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(name).stem).strip("-._") or None,
        "title": page.heading or page.title or None,
        "locale": page.language.strip() or None,
    }
    values = Values(name, tree, {})
    for key, found in said.items():
        if key not in KEYS:
            values.problem(0, f"unknown key {_PREFIX}{key:.40}; known: {', '.join(KEYS)}")
        elif key in _LISTS:
            tree[key] = [item for one in found for item in listed(one)]
        elif found[-1].strip():
            tree[key] = as_day(found[-1]) if key in _DAYS else found[-1]
    article, problems = checked(values, page.body, 0)
    return [article] if article is not None else [], problems, 0


def listed(text: str) -> list[str]:
    """Return the items of a list that is written with `|` or line breaks between them."""
    return [item.strip() for item in re.split(r"[|\n\r]", text) if item.strip()]


def as_day(text: str) -> date | str:
    """Return a day written as 2026-12-31, and anything else as it is."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return text
