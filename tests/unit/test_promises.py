"""Each promise, and each point of the Slack page, names the tests that hold it, and those tests exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / f"docs/reference/{name}.md").read_text(encoding="utf-8") for name in ("promises", "slack")}
PAGE = "\n".join(PAGES.values())
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LISTED = {"promises": {*range(1, 24), 26, 27, 30}, "slack": {*range(1, 41)}}


@cache
def names_in(path: str) -> frozenset[str]:
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_promise_is_listed_once(page: str) -> None:
    numbers = [int(row[0]) for row in ROW.findall(PAGES[page])]
    assert numbers == sorted(LISTED[page])


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(PAGE))))
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    assert name.startswith("test_")
    assert name in names_in(path)


@pytest.mark.parametrize("row", ROW.findall(PAGE), ids=lambda row: row[0])
def test_a_promise_names_its_tests_and_its_state(row: tuple[str, str, str, str]) -> None:
    number, _, tests, state = row
    word = re.match(r"held|partly: \w|open: \w", state)
    assert word, f"promise {number}: write held, or partly or open and what is missing"
    if not state.startswith("open"):
        assert NAMED.search(tests), f"promise {number} is said to be held, and names no test"
