"""`bot.decide` decides and does nothing else: it imports the standard library, itself and the errors."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import bot.decide

MODULES = sorted(Path(bot.decide.__path__[0]).glob("*.py"))
# Parts of the standard library that reach outside the process or make things happen by themselves.
REACHING_OUT = {"os", "io", "socket", "subprocess", "pathlib", "random", "secrets", "threading", "urllib", "sqlite3"}


def _imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.stem)
def test_a_decision_imports_only_the_standard_library_and_the_errors(file: Path) -> None:
    for name in _imported(file):
        ours = name == "bot.errors" or name == "bot.decide" or name.startswith("bot.decide.")
        top = name.split(".")[0]
        assert ours or (top in sys.stdlib_module_names and top not in REACHING_OUT), f"{file.name} imports {name}"


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.stem)
def test_a_decision_reads_no_clock(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in {"now", "utcnow", "today"}, f"{file.name}:{node.lineno} reads a clock"


def test_there_are_modules_to_look_at() -> None:
    assert {"lifecycle", "policy", "assignment"} <= {file.stem for file in MODULES}
