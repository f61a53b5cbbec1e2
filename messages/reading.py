"""Reading articles from Markdown files with YAML front matter; every problem named with file and line.

Files may come from anywhere: sizes are capped, YAML aliases refused, links out of the folder not followed.
Storing versions is `bot.services.knowledge.desk`'s business.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

__all__ = ["SHIPPED_ARTICLES", "ArticleFile", "Problem", "read_article", "read_folder"]

# Samples of an invented shop, for the demo and for the first look.
SHIPPED_ARTICLES = Path(__file__).with_name("articles")
MAX_FILE_BYTES = 512_000
MAX_FRONT_CHARACTERS = 16_000
MAX_LIST = 50
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEYS = ("id", "title", "questions", "tags", "locale", "products", "valid_from", "valid_until", "owner", "review_by")


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

    @property
    def sha256(self) -> str:
        """Digest of all that makes a version; equal content has an equal digest, wherever the file lies."""
        content = [getattr(self, name) for name in (*_KEYS, "body")]
        return hashlib.sha256(json.dumps(content, default=str, ensure_ascii=False).encode()).hexdigest()


def read_folder(path: Path) -> tuple[list[ArticleFile], list[Problem]]:
    """Read a Markdown file, or all of a folder and its subfolders; files without front matter are problems.

    An id that stands twice is a problem of the second file.
    """
    if path.is_file():
        files = [path]
    else:
        root = path.resolve()
        files = [f for f in sorted(path.rglob("*.md")) if f.is_file() and f.resolve().is_relative_to(root)]
    articles: list[ArticleFile] = []
    problems: list[Problem] = []
    places: dict[str, str] = {}
    for file in files:
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        article, found = read_article(file, name)
        problems.extend(found)
        if article is None:
            continue
        if article.id in places:
            problems.append(
                Problem(file=name, line=2, advice=f"the id {article.id} is already that of {places[article.id]}")
            )
            continue
        places[article.id] = name
        articles.append(article)
    return articles, problems


def read_article(file: Path, name: str | None = None) -> tuple[ArticleFile | None, list[Problem]]:
    """Read one file; None and the problems where it is no article."""
    name = name or file.name

    def refuse(line: int, advice: str) -> tuple[None, list[Problem]]:
        return None, [Problem(file=name, line=line, advice=advice)]

    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            return refuse(0, f"is larger than {MAX_FILE_BYTES // 1000} kB; split the article")
        source = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        return refuse(0, f"is not UTF-8 text (byte {error.start})")
    except OSError as error:
        return refuse(0, f"cannot be read ({type(error).__name__})")
    if "\0" in source:
        return refuse(source[: source.index("\0")].count("\n") + 1, "holds a NUL character; remove it")
    parts = re.match(r"---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)(.*)", source, re.DOTALL)
    if parts is None:
        return refuse(1, "begin with front matter: a line ---, then `id:` and `title:`, then a line ---")
    front, body = parts.group(1), parts.group(2).strip()
    if len(front) > MAX_FRONT_CHARACTERS:
        return refuse(1, f"the front matter is longer than {MAX_FRONT_CHARACTERS} characters")
    tree, lines, problem = _front_matter(front)
    if problem is not None:
        return refuse(*problem)
    reader = _Reader(name, tree, lines)
    article = ArticleFile(
        id=reader.text("id", pattern=_ID) or "",
        title=reader.text("title") or "",
        body=body,
        questions=reader.texts("questions"),
        tags=reader.texts("tags"),
        locale=reader.text("locale", "en") or "en",
        products=reader.texts("products"),
        valid_from=reader.day("valid_from"),
        valid_until=reader.day("valid_until"),
        owner=reader.text("owner", required=False),
        review_by=reader.day("review_by"),
        file=name,
    )
    if not body:
        reader.problem(front.count("\n") + 3, "the article has no body; write what the customer should know")
    if article.valid_from and article.valid_until and article.valid_until < article.valid_from:
        reader.problem(lines.get("valid_until", 1), "valid_until lies before valid_from")
    return (None if reader.problems else article), reader.problems


def _front_matter(front: str) -> tuple[dict[str, Any], dict[str, int], tuple[int, str] | None]:
    """Return the mapping, the line of each key, and what is wrong (line, advice)."""
    if front.count("[") + front.count("{") > 2 * MAX_LIST:  # the parser takes seconds over thousands of them
        return {}, {}, (2, "the front matter holds too many brackets; write lists one item a line")
    try:
        for event in yaml.parse(front, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 2 if event.start_mark is not None else 2
                return {}, {}, (line, "YAML aliases (*name) are not allowed; write it out")
        root = yaml.compose(front, Loader=yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            return {}, {}, (2, "the front matter must be lines of `key: value`")
        lines: dict[str, int] = {}
        for key, _ in root.value:
            line = key.start_mark.line + 2
            if not isinstance(key, yaml.ScalarNode) or key.value not in _KEYS:
                return {}, {}, (line, f"unknown key {getattr(key, 'value', '?')!s:.40}; known: {', '.join(_KEYS)}")
            if key.value in lines:
                return {}, {}, (line, f"the key {key.value} stands twice")
            lines[key.value] = line
        return dict(yaml.safe_load(front)), lines, None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 2 if mark is not None else 2
        return {}, {}, (line, f"is no valid YAML: {error.problem or error.context}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return {}, {}, (2, f"the front matter cannot be read ({type(error).__name__})")


class _Reader:
    """Takes values out of the front matter and collects what is wrong with them."""

    def __init__(self, file: str, tree: Mapping[str, Any], lines: Mapping[str, int]) -> None:
        self._file = file
        self._tree = tree
        self._lines = lines
        self.problems: list[Problem] = []

    def problem(self, line: int, advice: str) -> None:
        self.problems.append(Problem(file=self._file, line=line, advice=advice))

    def text(
        self, key: str, default: str | None = None, *, required: bool = True, pattern: re.Pattern[str] | None = None
    ) -> str | None:
        value = self._tree.get(key)
        if value is None:
            if required and default is None:
                self.problem(self._lines.get(key, 2), f"{key} is missing")
            return default
        if isinstance(value, list | dict) or not str(value).strip() or len(str(value)) > 300:
            self.problem(self._lines[key], f"{key} must be one line of at most 300 characters")
            return default
        text = " ".join(str(value).split())
        if pattern is not None and not pattern.fullmatch(text):
            self.problem(self._lines[key], f"{key} may hold letters, digits, dots, hyphens and underscores only")
        return text

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._tree.get(key)
        if value is None:
            return ()
        items: Sequence[Any] = value if isinstance(value, list) else [value]
        if len(items) > MAX_LIST or any(isinstance(i, list | dict) or i is None or len(str(i)) > 300 for i in items):
            self.problem(self._lines[key], f"{key} must be a list of at most {MAX_LIST} single lines")
            return ()
        return tuple(text for item in items if (text := " ".join(str(item).split())))

    def day(self, key: str) -> date | None:
        value = self._tree.get(key)
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.date()
        if not isinstance(value, date):
            self.problem(self._lines[key], f"{key} must be a day such as 2026-12-31")
            return None
        return value
