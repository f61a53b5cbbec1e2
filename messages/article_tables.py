"""Articles from CSV files: one a row, under a header that names the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from messages.article_checks import KEYS, ArticleFile, Problem, Values, checked
from messages.article_pages import as_day, listed
from messages.html_pages import looks_like_html, read_page

__all__ = ["read_table"]

COLUMNS = (*KEYS, "body")
NEEDED = ("id", "title", "body")
# So many rows whose quotes or commas are wrong, and the rest of the file means nothing.
MAX_BROKEN = 100
_LISTS = ("questions", "tags", "products")
_DAYS = ("valid_from", "valid_until", "review_by")


def read_table(source: str, name: str) -> tuple[list[ArticleFile], list[Problem], int]:
    """Read the articles of a table; each problem has the physical line at which its row begins."""
    articles: list[ArticleFile] = []
    problems: list[Problem] = []
    first = source.partition("\n")[0]
    rows = _rows(source, ";" if ";" in first and "," not in first else ",")
    _, header = next(rows, (1, []))
    if isinstance(header, str):
        return [], [Problem(file=name, line=1, advice=f"the header {header}")], 0
    names = [column.strip().lower() for column in header]
    if (wrong := _wrong_header(names)) is not None:
        return [], [Problem(file=name, line=1, advice=wrong)], 0
    broken = 0
    for line, row in rows:
        if isinstance(row, str):
            problems.append(Problem(file=name, line=line, advice=row))
            broken += 1
            if broken == MAX_BROKEN:
                problems.append(
                    Problem(file=name, line=line, advice=f"{broken} rows cannot be read; what follows is left out")
                )
                break
            continue
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(names):
            advice = f"the row has {len(row)} columns, the header {len(names)}; put quotes around text with commas"
            problems.append(Problem(file=name, line=line, advice=advice))
            continue
        article, found = _article(dict(zip(names, row, strict=True)), name, line)
        problems.extend(found)
        if article is not None:
            articles.append(article)
    return articles, problems, 0


def _wrong_header(names: list[str]) -> str | None:
    known = ", ".join(COLUMNS)
    if missing := [column for column in NEEDED if column not in names]:
        return f"the header lacks {', '.join(missing)}; known columns: {known}"
    if unknown := [column for column in names if column not in COLUMNS]:
        return f"unknown column {unknown[0]:.40}; known: {known}"
    twice = [column for column in names if names.count(column) > 1]
    return f"the column {twice[0]} stands twice" if twice else None


def _article(row: dict[str, str], name: str, line: int) -> tuple[ArticleFile | None, list[Problem]]:
    body = row.pop("body").strip()
    tree: dict[str, Any] = {}
    for key, cell in row.items():
        if not cell.strip():
            continue
        tree[key] = listed(cell) if key in _LISTS else as_day(cell) if key in _DAYS else cell
    body = read_page(body).body if looks_like_html(body) else body
    return checked(Values(name, tree, {}, line=line), body, line)


def _rows(source: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield each row with the line at which it begins, or what is wrong with it; reading goes on with the next line."""
    lines = source.replace("\r", "\n").split("\n")
    position = 0
    while position < len(lines):
        reader = csv.reader((f"{line}\n" for line in lines[position:]), delimiter=delimiter, strict=True)
        begins = position
        try:
            for row in reader:
                yield begins + 1, row
                begins = position + reader.line_num
            return
        except csv.Error as error:
            what = "a quotation mark is never closed" if "end of data" in str(error) else str(error)
            yield begins + 1, f"cannot be read: {what}"
            position = begins + 1
