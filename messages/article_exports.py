"""Articles from the JSON export of a help centre: Zendesk Guide's, Intercom's, or a list of objects like theirs.

Fields, after the providers' descriptions: https://developer.zendesk.com/api-reference/help_center/help-center-api/articles/
and https://developers.intercom.com/docs/references/rest-api/api.intercom.io/articles. What is not known is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from messages.article_checks import ArticleFile, Problem, Values, checked
from messages.article_pages import as_day, listed
from messages.html_pages import looks_like_html, read_page

__all__ = ["read_export"]

_ZENDESK = frozenset({"html_url", "label_names", "section_id", "source_locale"})
_INTERCOM = frozenset({"default_locale", "translated_content", "workspace_id"})
_NOT_PUBLISHED = frozenset({"archived", "draft", "unpublished"})
_LOCALE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,2}")
_LISTS = ("questions", "tags", "products")
_DAYS = ("valid_from", "valid_until", "review_by")


def read_export(source: str, name: str) -> tuple[list[ArticleFile], list[Problem], int]:
    """Read the articles of an export; problems name the path in the file, and drafts are left out and counted."""

    def refuse(line: int, advice: str) -> tuple[list[ArticleFile], list[Problem], int]:
        return [], [Problem(file=name, line=line, advice=advice)], 0

    try:
        tree = json.loads(source)
    except json.JSONDecodeError as error:
        return refuse(error.lineno, f"is no valid JSON: {error.msg}")
    except (ValueError, RecursionError) as error:
        return refuse(0, f"cannot be read as JSON ({type(error).__name__})")
    key, items = "", tree
    if isinstance(tree, dict):
        key = next((key for key in ("articles", "data") if isinstance(tree.get(key), list)), "")
        items = tree.get(key)
    if not isinstance(items, list):
        return refuse(0, "holds no articles; a list of them is read, or an object with such a list as articles or data")
    articles: list[ArticleFile] = []
    problems: list[Problem] = []
    drafts = 0
    for number, item in enumerate(items):
        place = f"{key}[{number}]"
        if not isinstance(item, dict):
            problems.append(Problem(file=name, line=0, advice=f"{place} must be an object with id, title and body"))
            continue
        for path, said in _translations(item, place):
            if _is_draft(said):
                drafts += 1
                continue
            article, found = _article(said, name, path)
            problems.extend(found)
            if article is not None:
                articles.append(article)
    return articles, problems, drafts


def _translations(item: Mapping[str, Any], place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield an article in each of its languages with its path; Intercom keeps the others within it."""
    yield place, item
    others = item.get("translated_content")
    for locale, content in others.items() if isinstance(others, dict) else ():
        if isinstance(content, dict) and _LOCALE.fullmatch(locale) and locale != item.get("default_locale"):
            kept = {key: item[key] for key in ("id", "tags", "workspace_id", "default_locale") if key in item}
            yield f"{place}.translated_content.{locale}", {**content, **kept, "locale": locale}


def _is_draft(item: Mapping[str, Any]) -> bool:
    state = item.get("state", item.get("status"))
    return item.get("draft") is True or (isinstance(state, str) and state.lower() in _NOT_PUBLISHED)


def _article(item: Mapping[str, Any], name: str, place: str) -> tuple[ArticleFile | None, list[Problem]]:
    def first(*keys: str) -> Any:
        return next((item[key] for key in keys if item.get(key) not in (None, "")), None)

    provider = "zendesk" if _ZENDESK & item.keys() else "intercom" if _INTERCOM & item.keys() else ""
    locale = first("locale", "language", "default_locale")
    original = first("source_locale", "default_locale")
    identifier = item.get("id")
    if isinstance(identifier, int | str) and not isinstance(identifier, bool) and identifier != "":
        # One article in several languages has one id with its provider.
        other = f"-{locale}" if original is not None and locale != original else ""
        identifier = f"{provider}-{identifier}{other}" if provider else identifier
    else:
        identifier = None
    tree: dict[str, Any] = {
        "id": identifier,
        "title": first("title", "name"),
        "locale": locale,
        "owner": item.get("owner"),
        "tags": first("tags", "label_names"),
        **{key: item.get(key) for key in ("questions", "products")},
        **{key: as_day(value) if isinstance(value := first(key), str) else value for key in _DAYS},
    }
    for key in _LISTS:
        if isinstance(tree[key], str):
            tree[key] = listed(tree[key])
        elif isinstance(tree[key], dict):  # what Intercom writes about its own tags
            tree[key] = None
    values = Values(name, tree, {}, place=f"{place}.")
    body = first("body", "content")
    if not isinstance(body, str):
        values.problem(0, "body is missing" if body is None else "body must be text")
        return None, values.problems
    html = provider or looks_like_html(body)
    return checked(values, read_page(body).body if html else body.strip(), 0)
