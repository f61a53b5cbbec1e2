"""Articles from HTML, CSV and help-centre exports: read as meant, or refused with file and place; hostile ones do no harm."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from messages.html_pages import read_page
from messages.reading import MAX_PAGE_BYTES, ArticleFile, read_files

PAGE = """<!DOCTYPE html><html lang="de"><head><title>Filter – Kehrwerk</title>
<meta name="aftercare:questions" content="Can I wash it? | The light is on"><meta name="aftercare:tags" content="care">
<meta name="aftercare:valid_until" content="2026-12-31"><meta name="viewport" content="x"><style>p { }</style></head>
<body><nav><a href="/">Home</a></nav><h1>How to clean the <i>filter</i></h1><p>Rinse it&nbsp;under
<b>cold</b> water.<br>Let it dry.</p><!-- never <b>seen</b> --><h2>Tools</h2><ol><li>Open the lid<ul><li>press</li></ul></li>
<li>See <a href="https://shop.example/a?x=(1)&amp;y">the video</a></li></ol><form><p>Rate us</p><input></form>
<table><tr><th>Model</th><th>Days</th></tr><tr><td>A</td><td>2</td></tr></table><p onclick="evil()">Done.</p></body></html>"""
BODY = """Rinse it under cold water.
Let it dry.

## Tools
1. Open the lid
   - press
2. See [the video](https://shop.example/a?x=%281%29&y)

Model | Days
A | 2

Done."""
ZENDESK = {
    "count": 3,
    "articles": [
        {"id": 123, "title": "Returns", "body": "<p>Within <b>30</b> days.</p>", "locale": "en-us", "draft": False}
        | {
            "label_names": ["returns"],
            "html_url": "https://s.zendesk.com/hc/en-us/articles/123",
            "source_locale": "en-us",
        },
        {"id": 123, "title": "Rückgabe", "body": "<p>30 Tage.</p>", "locale": "de", "source_locale": "en-us"},
        {"id": 9, "title": "Soon", "body": "<p>x</p>", "draft": True, "section_id": 1},
    ],
}
INTERCOM = {
    "type": "list",
    "data": [
        {"id": "7", "title": "Hours", "body": "<p>At nine.</p>", "state": "published", "default_locale": "en"}
        | {
            "translated_content": {
                "type": "x",
                "de": {"title": "Zeiten", "body": "<p>Um neun.</p>", "state": "published"},
            }
        },
        {"id": "8", "title": "Soon", "body": "<p>x</p>", "state": "draft", "default_locale": "en"},
    ],
}
TEXT = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="<>&|"), min_size=1, max_size=20)


def put(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def only(file: Path) -> ArticleFile:
    found = read_files(file)
    assert found.problems == []
    (article,) = found.articles
    return article


def test_a_page_becomes_an_article_of_headings_lists_and_links(tmp_path: Path) -> None:
    article = only(put(tmp_path, "clean filter.html", PAGE))
    assert article.body == BODY
    assert (article.id, article.title, article.locale) == ("clean-filter", "How to clean the filter", "de")
    assert article.questions == ("Can I wash it?", "The light is on")
    assert (article.tags, article.valid_until) == (("care",), date(2026, 12, 31))


def test_a_page_without_a_heading_has_its_title(tmp_path: Path) -> None:
    assert only(put(tmp_path, "a.htm", "<title>Gift &amp; wrap</title><p>Free.")).title == "Gift & wrap"


def test_a_table_is_an_article_a_row_and_its_mistakes_have_physical_lines(tmp_path: Path) -> None:
    rows = [
        "id,title,body,questions,valid_from",
        'a,One,"First\n\nSecond","Why?|How?",2026-01-01',
        "b,Two,x,,soon",
        "c,,x,,",
        "d,Four,x",
        'e,"Fi"ve,x,,',
        "a,Six,x,,",
        "g,Seven,<p>Bold</p><script>x</script>,,",
        'h,Eight,"never closed,,',
    ]
    found = read_files(put(tmp_path, "kb.csv", "\ufeff" + "\r\n".join(rows)))
    assert [(one.id, one.body) for one in found.articles] == [("a", "First\n\nSecond"), ("g", "Bold")]
    assert found.articles[0].questions == ("Why?", "How?")
    said = [str(problem) for problem in found.problems]
    starts = [
        "kb.csv:5: valid_from",
        "kb.csv:6: title is missing",
        "kb.csv:7: the row has 3",
        "kb.csv:8: cannot be read",
    ]
    starts += ["kb.csv:11: cannot be read: a quotation mark", "kb.csv:9: the id a is already"]
    assert len(said) == len(starts)
    assert all(line.startswith(start) for line, start in zip(said, starts, strict=True)), said


@pytest.mark.parametrize(
    ("header", "advice"),
    [("id,title", "lacks body"), ("id,title,body,colour", "colour"), ("id,title,body,id", "twice"), ("", "lacks id")],
)
def test_a_header_that_is_wrong_refuses_the_table(tmp_path: Path, header: str, advice: str) -> None:
    found = read_files(put(tmp_path, "kb.csv", f"{header}\na,b,c,d\n"))
    assert found.articles == []
    assert [problem.line for problem in found.problems] == [1]
    assert advice in found.problems[0].advice


def test_a_table_with_semicolons_is_read(tmp_path: Path) -> None:
    assert only(put(tmp_path, "kb.csv", "id;title;body\na;One, two;Text\n")).title == "One, two"


def test_exports_keep_the_ids_and_languages_of_their_articles_and_leave_drafts_out(tmp_path: Path) -> None:
    zendesk = read_files(put(tmp_path, "z.json", json.dumps(ZENDESK)))
    assert [(one.id, one.locale, one.body) for one in zendesk.articles] == [
        ("zendesk-123", "en-us", "Within 30 days."),
        ("zendesk-123-de", "de", "30 Tage."),
    ]
    assert (zendesk.articles[0].tags, zendesk.drafts, zendesk.problems) == (("returns",), 1, [])
    intercom = read_files(put(tmp_path, "i.json", json.dumps(INTERCOM)))
    assert [(one.id, one.title) for one in intercom.articles] == [("intercom-7", "Hours"), ("intercom-7-de", "Zeiten")]
    assert (intercom.drafts, intercom.problems) == (1, [])
    plain = only(put(tmp_path, "g.json", '[{"id": "x", "title": "T", "content": "As *it* stands", "votes": {}}]'))
    assert (plain.id, plain.body) == ("x", "As *it* stands")


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ({"id": 1, "body": "x"}, "articles[1].title is missing"),
        ({"id": 1, "title": "t"}, "articles[1].body is missing"),
        ({"id": 1, "title": "t", "body": "<i></i>"}, "articles[1].body is missing"),
        ({"id": 1, "title": "t", "body": ["x"]}, "articles[1].body must be text"),
        ({"id": True, "title": "t", "body": "x"}, "articles[1].id is missing"),
        ({"id": 1, "title": "t\ud800", "body": "x"}, "articles[1].title holds"),
        ({"id": 1, "title": "t", "body": "x\0"}, "articles[1].body holds"),
        ({"id": 1, "title": "t", "body": "x", "valid_from": "soon"}, "articles[1].valid_from must be a day"),
        ("text", "articles[1] must be an object"),
    ],
)
def test_a_mistake_in_an_export_is_named_with_its_path_and_the_others_land(
    tmp_path: Path, item: Any, problem: str
) -> None:
    tree = {"articles": [{"id": "a", "title": "A", "body": "b"}, item, {"id": "c", "title": "C", "body": "d"}]}
    found = read_files(put(tmp_path, "x.json", json.dumps(tree)))
    assert [one.id for one in found.articles] == ["a", "c"]
    assert [str(one).startswith(f"x.json: {problem}") for one in found.problems] == [True], found.problems


@pytest.mark.parametrize("source", ["{", "[" * 200_000, "9" * 5000, "3", '{"data": {}}', "\ufeff", "[NaN]"])
def test_what_is_no_export_is_refused(tmp_path: Path, source: str) -> None:
    found = read_files(put(tmp_path, "x.json", source))
    assert found.articles == []
    assert len(found.problems) == 1


def test_a_page_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (problem,) = read_files(put(tmp_path, "a.html", "x" * (MAX_PAGE_BYTES + 1))).problems
    assert "larger than 1000 kB" in str(problem)


def harmless(markdown: str) -> bool:
    """Say whether a body holds no tag, and no link that a reader of Markdown would follow into a script."""
    parser = MarkdownIt("commonmark")
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    shown = parser.render(markdown)
    targets = [re.sub(r"[\x00-\x20]", "", target).lower() for target in re.findall(r'(?:href|src)="([^"]*)"', shown)]
    scripts = [target for target in targets if target.startswith(("javascript", "data", "vbscript", "file"))]
    return re.search(r"<[A-Za-z/!?]", markdown) is None and not scripts


@pytest.mark.parametrize(
    "html",
    [
        '<a href="javascript:alert(1)">x</a>',
        '<a href=" java&#10;script:alert(1)">x</a>',
        '<a href="&#1;JaVaScRiPt&colon;alert(1)">x</a>',
        '<a href="data:text/html,<script>">x</a>',
        "[x](javascript:alert(1))",
        "[x]<b>(javascript:alert(1))",
        "[x]&lpar;javascript:alert(1))",
        "[x][y]<p>[y]: javascript:alert(1)",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&lt;javascript:alert(1)&gt;",
        "&lt;<b>img src=x onerror=alert(1)&gt;",
        "&lt;<!-- -->script&gt;",
        '<a href="https://x.example/) [y](javascript:alert(1)">x</a>',
        '<a href="https://x.example">](javascript:alert(1)) [</a>',
        '<svg><script>alert(1)</script></svg><img src=x onerror="alert(1)">x',
        "\x01x\x02javascript:alert(1)\x03",
        "<scr<script>ipt>alert(1)</script>",
    ],
)
def test_hostile_html_leaves_no_tag_and_no_script_link(html: str) -> None:
    assert harmless(read_page(html).body), read_page(html).body


PIECES = st.sampled_from(
    [
        *("<", ">", "</", "<!", "<!--", "-->", "[", "]", "(", ")", ":", "javascript:", "script", "&lt;", "&gt;", "\\"),
        *("&colon;", "\n", "\n\n", "\x01", "\x02", "\x03", "\x04", "#", "-", "`", "!", "x", " ", '">', "</a>", "<p>"),
        *('<a href="javascript:x">', '<a href="https://a.example/', "<li>", "<ul>", "</ul>", "<pre>"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_no_pieces_of_html_make_a_tag_or_a_script_link(html: str) -> None:
    assert harmless(read_page(html).body), read_page(html).body


def test_deep_and_unclosed_html_is_read_once() -> None:
    many = 60_000
    for part in (
        "<ul><li>x",
        "<div>",
        "<a href='",
        "<a href=https://a.example>x",
        "<!--",
        "<td>x",
        "&lt;",
        "]",
        "<pre>x\n",
    ):
        assert harmless(read_page(part * many).body[:20_000])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["a.html", "a.csv", "a.json"]), st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused_by_name(tmp_path: Path, name: str, content: bytes, begun: bool) -> None:
    begins = {"a.html": b"<h1>T</h1><p>", "a.csv": b"id,title,body\n", "a.json": b'[{"id":1,"title":"t","body":"'}
    found = read_files(put(tmp_path, name, (begins[name] if begun else b"") + content))
    assert found.articles or found.problems or name == "a.csv" or not content.strip(b" []\n\r\t")
    assert all(problem.file == name for problem in found.problems)
    assert all(re.fullmatch("[0-9a-f]{64}", article.sha256) for article in found.articles)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "title", "body", "locale", "tags", "label_names", "translated_content", "de", "default_locale"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(JSON, min_size=1, max_size=3))
def test_any_json_is_read_or_refused_by_name(tmp_path: Path, items: list[Any]) -> None:
    found = read_files(put(tmp_path, "a.json", json.dumps({"articles": items})))
    assert found.articles or found.problems
    assert all(str(problem).encode() for problem in found.problems)
    assert all(article.sha256 for article in found.articles)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=TEXT, body=TEXT, questions=st.lists(TEXT, max_size=3))
def test_one_article_says_the_same_in_each_format(tmp_path: Path, title: str, body: str, questions: list[str]) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([["id", "title", "body", "questions"], ["a", title, body, "|".join(questions)]])
    asked = "".join(f"<meta name=\"aftercare:questions\" content='{q.replace(chr(39), '&apos;')}'>" for q in questions)
    article = only(put(tmp_path, "a.csv", table.getvalue()))
    export = [{"id": "a", "title": title, "body": body, "questions": questions}]
    assert only(put(tmp_path, "a.json", json.dumps(export))).sha256 == article.sha256
    page = only(put(tmp_path, "a.html", f"{asked}<h1>{title}</h1><p>{body}</p>"))
    assert (page.id, page.title, page.questions) == (article.id, article.title, article.questions)
