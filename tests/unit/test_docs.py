"""The reference says what exists, and what it says exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bot.cli import cli
from bot.config import ENVIRONMENT

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")


def commands_of(group: click.Group, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group) and not command.invoke_without_command:
            yield from commands_of(command, (*prefix, name))
        else:
            yield (*prefix, name)


EXISTING = {" ".join(words) for words in commands_of(cli)}
DOCUMENTED = {match.group(1) for match in re.finditer(r"^\| `aftercare ([a-z ]+?)`", REFERENCE, re.MULTILINE)}


def test_every_command_is_documented() -> None:
    assert set() == EXISTING - DOCUMENTED


def test_every_documented_command_exists() -> None:
    assert set() == DOCUMENTED - EXISTING


def test_every_secret_of_the_environment_is_documented() -> None:
    assert [name for name in ENVIRONMENT if f"`{name}`" not in REFERENCE] == []


@pytest.mark.parametrize(
    "page", [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name
)
def test_every_relative_link_and_named_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    linked = [m.group(1).split("#")[0] for m in re.finditer(r"\]\((?!https?://|mailto:|#)([^)\s]+)\)", text)]
    missing = [link for link in linked if not (page.parent / link).exists()]
    named = [
        m.group(1) for m in re.finditer(r"`((?:docs|bot|predictors|messages|tests|benchmarks)/[\w./-]+\.\w+)`", text)
    ]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_no_module_is_over_400_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("bot", "predictors", "messages", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
        and "versions" not in path.parts
        and (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


def test_no_registry_address_stands_in_a_pinned_file() -> None:
    pinned = [*ROOT.glob("requirements*.txt"), *ROOT.glob("tests/peers/*/package-lock.json")]
    assert pinned
    # Checked by shape, so that no host has to be named here either.
    offenders = [
        path.name
        for path in pinned
        if re.search(r"https?://(?![^/\s]*github)[^\s\"']+/(?:simple|packages|-)/", path.read_text())
    ]
    assert offenders == []
    assert not any('"resolved"' in path.read_text() for path in pinned)
