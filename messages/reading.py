"""Reading articles from files: Markdown with YAML front matter here, other kinds by the modules named below.

Files may come from anywhere: sizes are capped, YAML aliases refused, links out of the folder not followed; every
problem is named with file and place. Storing versions is `bot.services.knowledge.desk`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from messages.article_checks import KEYS, MAX_LIST, ArticleFile, Problem, Values, checked
from messages.article_exports import read_export
from messages.article_pages import read_html
from messages.article_tables import read_table

__all__ = ["SHIPPED_ARTICLES", "ArticleFile", "Problem", "Reading", "read_article", "read_files", "read_folder"]

# Samples of an invented shop, for the demo and for the first look.
SHIPPED_ARTICLES = Path(__file__).with_name("articles")
MAX_FILE_BYTES = 512_000
MAX_PAGE_BYTES = 1_000_000
MAX_EXPORT_BYTES = 50_000_000
MAX_FRONT_CHARACTERS = 16_000


class Reading(NamedTuple):
    """What files hold: articles, what is wrong, and how many articles were left out because they are drafts."""

    articles: list[ArticleFile]
    problems: list[Problem]
    drafts: int


def read_folder(path: Path) -> tuple[list[ArticleFile], list[Problem]]:
    """Read articles as `read_files` does; drafts are not counted."""
    found = read_files(path)
    return found.articles, found.problems


def read_files(path: Path) -> Reading:
    """Read one file of articles, or all of a folder and its subfolders, by what their names end with.

    An id that stands twice is a problem of its second article.
    """
    if path.is_file():
        files = [path]
    else:
        root = path.resolve()
        files = [f for f in sorted(path.rglob("*")) if f.suffix.lower() in ENDINGS and f.is_file()]
        files = [f for f in files if f.resolve().is_relative_to(root)]
    found = Reading([], [], 0)
    places: dict[str, str] = {}
    for file in files:
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        articles, problems, drafts = _read_file(file, name)
        found = Reading(found.articles, found.problems + problems, found.drafts + drafts)
        for article in articles:
            if article.id in places:
                advice = f"the id {article.id} is already that of {places[article.id]}"
                found.problems.append(Problem(file=name, line=article.line, advice=advice))
                continue
            places[article.id] = name
            found.articles.append(article)
    return found


def _read_file(file: Path, name: str) -> Reading:
    ending = file.suffix.lower()
    most, read = _READERS.get(ending, _READERS[".md"])
    source, problem = _source(file, most)
    if problem is not None:
        return Reading([], [Problem(file=name, line=problem[0], advice=problem[1])], 0)
    articles, problems, drafts = read(source, name)
    return Reading(list(articles), list(problems), drafts)


def _source(file: Path, most: int) -> tuple[str, tuple[int, str] | None]:
    """Return the text of a file, or the line and what is wrong with it."""
    try:
        if file.stat().st_size > most:
            return "", (0, f"is larger than {most // 1000} kB; split it")
        source = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        return "", (0, f"is not UTF-8 text (byte {error.start})")
    except OSError as error:
        return "", (0, f"cannot be read ({type(error).__name__})")
    if "\0" in source:
        return "", (source[: source.index("\0")].count("\n") + 1, "holds a NUL character; remove it")
    return source, None


def read_article(file: Path, name: str | None = None) -> tuple[ArticleFile | None, list[Problem]]:
    """Read one Markdown file; None and the problems where it is no article."""
    name = name or file.name
    source, problem = _source(file, MAX_FILE_BYTES)
    if problem is not None:
        return None, [Problem(file=name, line=problem[0], advice=problem[1])]
    articles, problems, _ = _read_markdown(source, name)
    return next(iter(articles), None), list(problems)


def _read_markdown(source: str, name: str) -> tuple[list[ArticleFile], list[Problem], int]:
    def refuse(line: int, advice: str) -> tuple[list[ArticleFile], list[Problem], int]:
        return [], [Problem(file=name, line=line, advice=advice)], 0

    parts = re.match(r"---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)(.*)", source, re.DOTALL)
    if parts is None:
        return refuse(1, "begin with front matter: a line ---, then `id:` and `title:`, then a line ---")
    front, body = parts.group(1), parts.group(2).strip()
    if len(front) > MAX_FRONT_CHARACTERS:
        return refuse(1, f"the front matter is longer than {MAX_FRONT_CHARACTERS} characters")
    tree, lines, problem = _front_matter(front)
    if problem is not None:
        return refuse(*problem)
    values = Values(name, tree, lines, line=2)
    article, problems = checked(values, body, front.count("\n") + 3)
    return [article] if article is not None else [], problems, 0


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
            if not isinstance(key, yaml.ScalarNode) or key.value not in KEYS:
                return {}, {}, (line, f"unknown key {getattr(key, 'value', '?')!s:.40}; known: {', '.join(KEYS)}")
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


# Each kind of file by its ending: the most octets, and what reads it.
_READERS: dict[str, tuple[int, Callable[[str, str], tuple[Sequence[ArticleFile], Sequence[Problem], int]]]] = {
    ".md": (MAX_FILE_BYTES, _read_markdown),
    ".html": (MAX_PAGE_BYTES, read_html),
    ".htm": (MAX_PAGE_BYTES, read_html),
    ".csv": (MAX_EXPORT_BYTES, read_table),
    ".json": (MAX_EXPORT_BYTES, read_export),
}
ENDINGS = frozenset(_READERS)
