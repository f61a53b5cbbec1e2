"""A Markdown renderer is compiled before threads share it: markdown-it compiles its rules at its first use, unguarded."""

from __future__ import annotations

import importlib
import importlib.util

import pytest
from markdown_it import MarkdownIt


def is_compiled(markdown: MarkdownIt) -> bool:
    """Say that no ruler has its rules to compile yet."""
    rulers = (markdown.core.ruler, markdown.block.ruler, markdown.inline.ruler, markdown.inline.ruler2)
    return all(ruler.__cache__ is not None for ruler in rulers)


def test_a_renderer_that_was_never_used_is_not_compiled() -> None:
    assert not is_compiled(MarkdownIt("commonmark"))


@pytest.mark.parametrize("name", ["messages.mail", "bot.channels.slack.text"])
def test_a_renderer_is_compiled_with_its_module(name: str) -> None:
    spec = importlib.import_module(name).__spec__
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)  # nobody has rendered anything with this copy
    spec.loader.exec_module(fresh)
    assert is_compiled(fresh._MARKDOWN)
