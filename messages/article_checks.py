"""What an article must be, whichever file it comes from: its values taken out one by one, each mistake named.

Files are opened by `messages.reading`; how each kind is cut into values is the business of the modules it names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

__all__ = ["KEYS", "MAX_LIST", "ArticleFile", "Problem", "Values", "checked"]

MAX_LIST = 50
MAX_BODY_CHARACTERS = 1_000_000
KEYS = ("id", "title", "questions", "tags", "locale", "products", "valid_from", "valid_until", "owner", "review_by")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# A database takes neither a NUL nor half of a character.
_UNSTORABLE = re.compile(r"[\0\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something to mend in a file; line 0 means the whole file."""

    file: str
    line: int
    advice: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.advice}" if self.line else f"{self.file}: {self.advice}"


@dataclass(frozen=True, kw_only=True)
class ArticleFile:
    """One article as its file says it; the dates are the shop's own calendar days."""

    id: str
    title: str
    body: str
    questions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    locale: str = "en"
    products: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_until: date | None = None
    owner: str | None = None
    review_by: date | None = None
    file: str = ""
    line: int = 0

    @property
    def sha256(self) -> str:
        """Digest of all that makes a version; equal content has an equal digest, wherever the file lies."""
        content = [getattr(self, name) for name in (*KEYS, "body")]
        return hashlib.sha256(json.dumps(content, default=str, ensure_ascii=False).encode()).hexdigest()


class Values:
    """Takes values out of what a file says about one article and collects what is wrong with them.

    Parameters
    ----------
    lines : mapping of str to int
        The line of each key.
    line : int
        The line of a key that is not there.
    place : str
        Put before each advice, such as `articles[3].`.
    """

    def __init__(
        self, file: str, tree: Mapping[str, Any], lines: Mapping[str, int], *, line: int = 0, place: str = ""
    ) -> None:
        self.file = file
        self._tree = tree
        self._lines = lines
        self.line = line
        self._place = place
        self.problems: list[Problem] = []

    def problem(self, line: int, advice: str) -> None:
        self.problems.append(Problem(file=self.file, line=line, advice=f"{self._place}{advice}"))

    def line_of(self, key: str) -> int:
        return self._lines.get(key, self.line)

    def text(
        self, key: str, default: str | None = None, *, required: bool = True, pattern: re.Pattern[str] | None = None
    ) -> str | None:
        value = self._tree.get(key)
        if value is None:
            if required and default is None:
                self.problem(self.line_of(key), f"{key} is missing")
            return default
        if isinstance(value, list | dict) or not str(value).strip() or len(str(value)) > 300:
            self.problem(self.line_of(key), f"{key} must be one line of at most 300 characters")
            return default
        text = " ".join(str(value).split())
        if pattern is not None and not pattern.fullmatch(text):
            self.problem(
                self.line_of(key),
                f"{key} may hold letters, digits, dots, hyphens and underscores only, and 100 of them at most",
            )
        return text if self._storable(key, text) else default

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._tree.get(key)
        if value is None:
            return ()
        items: Sequence[Any] = value if isinstance(value, list) else [value]
        if len(items) > MAX_LIST or any(isinstance(i, list | dict) or i is None or len(str(i)) > 300 for i in items):
            self.problem(self.line_of(key), f"{key} must be a list of at most {MAX_LIST} single lines")
            return ()
        found = tuple(text for item in items if (text := " ".join(str(item).split())))
        return found if self._storable(key, "".join(found)) else ()

    def day(self, key: str) -> date | None:
        value = self._tree.get(key)
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.date()
        if not isinstance(value, date):
            self.problem(self.line_of(key), f"{key} must be a day such as 2026-12-31")
            return None
        return value

    def body(self, body: str, line: int) -> str:
        if not body:
            missing = "body is missing" if self._place else "the article has no body"
            self.problem(line, f"{missing}; write what the customer should know")
        elif len(body) > MAX_BODY_CHARACTERS:
            self.problem(line, f"body is longer than {MAX_BODY_CHARACTERS:,} characters; split the article")
        elif not self._storable("body", body, line):
            return ""
        return body

    def _storable(self, key: str, text: str, line: int | None = None) -> bool:
        if _UNSTORABLE.search(text):
            self.problem(self.line_of(key) if line is None else line, f"{key} holds a NUL or half of a character")
            return False
        return True


def checked(values: Values, body: str, body_line: int) -> tuple[ArticleFile | None, list[Problem]]:
    """Return the article that the values make, or None and what is wrong with them."""
    article = ArticleFile(
        id=values.text("id", pattern=_ID) or "",
        title=values.text("title") or "",
        body=body,
        questions=values.texts("questions"),
        tags=values.texts("tags"),
        locale=values.text("locale", "en") or "en",
        products=values.texts("products"),
        valid_from=values.day("valid_from"),
        valid_until=values.day("valid_until"),
        owner=values.text("owner", required=False),
        review_by=values.day("review_by"),
        file=values.file,
        line=values.line,
    )
    values.body(body, body_line)
    if article.valid_from and article.valid_until and article.valid_until < article.valid_from:
        values.problem(values.line_of("valid_until"), "valid_until lies before valid_from")
    return (None if values.problems else article), values.problems
