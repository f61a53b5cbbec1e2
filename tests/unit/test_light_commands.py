"""Commands that predict, answer and post nothing do not pay for what they do not use."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from bot.lazy import OnFirstUse
from bot.wiring import app, channels, knowledge, planning, prediction

HEAVY = {"sklearn", "polars", "scipy", "onnxruntime", "slack_bolt", "matplotlib"}


@pytest.mark.parametrize("module", ["reviewing", "importing", "privacy", "database", "reporting"])
def test_a_light_command_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, bot.commands.{module}; print(*({HEAVY!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.mark.parametrize("part", [app, channels, knowledge, planning, prediction])
def test_what_is_wired_on_first_use_is_what_the_type_checker_was_told(part: ModuleType) -> None:
    lazy = {name: value for name, value in vars(part).items() if isinstance(value, OnFirstUse)}
    assert lazy
    for name, value in lazy.items():
        assert (value.target.__name__, value.target.__module__) == (name, value.module)
