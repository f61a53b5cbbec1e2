"""Articles as files: read as meant, or refused with file and line; hostile ones do no harm."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messages.reading import read_article, read_folder

GOOD = """---
id: returns
title: How to return something
questions:
  - Can I send it back?
tags: [returns]
locale: en
products: [VAC-200]
valid_from: 2026-01-01
valid_until: 2026-12-31
owner: care
review_by: 2026-06-30
---

Within 30 days.
"""


def test_a_good_file_is_read_as_meant(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(GOOD)
    article, problems = read_article(tmp_path / "a.md")
    assert problems == []
    assert article is not None
    assert (article.id, article.body, article.questions) == ("returns", "Within 30 days.", ("Can I send it back?",))
    assert (article.valid_until, article.products) == (date(2026, 12, 31), ("VAC-200",))


def test_equal_content_has_an_equal_digest_and_any_change_shows(tmp_path: Path) -> None:
    texts = {
        "a": GOOD,
        "b": GOOD.replace("\n", "\r\n"),
        "c": GOOD.replace("30 days", "31 days"),
        "d": GOOD.replace("care", "x"),
    }
    digests = {}
    for name, text in texts.items():
        (tmp_path / f"{name}.md").write_bytes(text.encode())
        article, _ = read_article(tmp_path / f"{name}.md")
        assert article is not None
        digests[name] = article.sha256
    assert digests["a"] == digests["b"]
    assert len(set(digests.values())) == 3


@pytest.mark.parametrize(
    ("text", "line", "advice"),
    [
        ("no front matter", 1, "front matter"),
        ("---\ntitle: x\n---\nbody", 2, "id is missing"),
        ("---\nid: x\n---\nbody", 2, "title is missing"),
        ("---\nid: x\ntitle: y\n---\n", 4, "no body"),
        ("---\nid: x\ntitle: y\ncolour: red\n---\nb", 4, "unknown key colour"),
        ("---\nid: x\nid: y\n---\nb", 3, "twice"),
        ("---\nid: a b\ntitle: y\n---\nb", 2, "letters"),
        ("---\nid: x\ntitle: y\nvalid_from: soon\n---\nb", 4, "day"),
        ("---\nid: x\ntitle: y\nvalid_from: 2026-02-01\nvalid_until: 2026-01-01\n---\nb", 5, "before"),
        ("---\nid: x\ntitle: y\nquestions: {a: b}\n---\nb", 4, "list"),
        ("---\nid: x\ntitle: [\n---\nb", 3, "YAML"),
        ("---\n- a\n---\nb", 2, "key: value"),
        ("---\nid: &a x\ntitle: *a\n---\nb", 3, "aliases"),
        ("---\nid: !!python/object/apply:os.system [ls]\ntitle: y\n---\nb", 2, "YAML"),
        ("---\nid: x\ntitle: y\n---\nb\0", 5, "NUL"),
    ],
)
def test_every_problem_is_named_with_file_and_line(tmp_path: Path, text: str, line: int, advice: str) -> None:
    (tmp_path / "bad.md").write_text(text)
    article, problems = read_article(tmp_path / "bad.md")
    assert article is None
    assert [problem for problem in problems if advice in problem.advice and problem.line == line], problems
    assert str(problems[0]).startswith("bad.md:")


def test_good_files_land_beside_bad_ones_and_an_id_belongs_to_one(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.md").write_text(GOOD)
    (tmp_path / "sub" / "b.md").write_text(GOOD)
    (tmp_path / "c.md").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "d.md").write_text("x" * 600_000)
    (tmp_path / "notes.txt").write_text("ignored")
    articles, problems = read_folder(tmp_path)
    assert [article.id for article in articles] == ["returns"]
    assert {problem.file for problem in problems} == {"sub/b.md", "c.md", "d.md"}


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text(GOOD)
    (tmp_path / "kb").mkdir()
    (tmp_path / "kb" / "link.md").symlink_to(tmp_path / "secret.md")
    assert read_folder(tmp_path / "kb") == ([], [])


def test_a_deeply_nested_front_matter_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "deep.md").write_text(f"---\nid: {'[' * 7_000}\n---\nb")
    article, problems = read_article(tmp_path / "deep.md")
    assert article is None
    assert problems


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200), st.text(max_size=50))
def test_any_file_is_read_or_refused_but_never_breaks(tmp_path: Path, front: str, body: str) -> None:
    (tmp_path / "any.md").write_bytes(f"---\n{front}\n---\n{body}".encode("utf-8", "surrogatepass"))
    article, problems = read_article(tmp_path / "any.md")
    assert (article is None) == bool(problems)
