"""The draft of an article about a gap: what a human finishes, and an import refuses until then."""

from __future__ import annotations

import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.services.knowledge.drafting import draft_article, draft_of
from bot.services.knowledge.gaps import Gap, find_gaps
from bot.store.unanswered import AgentReply, Unanswered
from messages.reading import ArticleFile, Problem, read_article

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def gap(question: str, *replies: str) -> Gap:
    asked = Unanswered(
        utterance_id=7, conversation_id=1, customer_id=1, text=question, recorded_at=NOW, name="Anna Born"
    )
    given = [AgentReply(utterance_id=8 + at, question_id=7, text=text) for at, text in enumerate(replies)]
    return find_gaps([asked], given)[0]


def read(text: str) -> tuple[ArticleFile | None, list[Problem]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "draft.md"
        file.write_text(text, encoding="utf-8", newline="")
        return read_article(file)


def finished(draft: str) -> str:
    return re.sub(r"(?m)^(draft|sources):.*\n", "", draft, count=2)


def test_a_draft_holds_the_question_the_reply_and_where_both_come_from() -> None:
    draft = draft_article(gap("Is the iron pan kosher?", "Dear Anna,\n\nyes: write to a@example.org."))
    assert "\ndraft: true\nsources: {questions: [7], reply: 8}\n" in draft
    article, problems = read(finished(draft))
    assert problems == []
    assert article is not None
    assert (article.id, article.title, article.locale) == ("is-the-iron-pan-kosher", "Is the iron pan kosher?", "en")
    assert article.questions == ("Is the iron pan kosher?",)
    assert article.body == "yes: write to [address]"
    assert (article.owner, article.review_by) == (None, None)


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        ("Hello Anna,\n\nyes.\nOn any hob.\n\nKind regards\nAda Agent", "yes.\nOn any hob."),
        ("Hallo Frau Born,\nja, das geht.\n\nViele Grüße", "ja, das geht."),
        ("Hello, please send it back.", "Hello, please send it back."),
        ("Hello Anna,", "Hello [name],"),
        ("Yes.\n\nThanks", "Yes."),
    ],
)
def test_a_draft_has_no_greeting_and_no_closing(reply: str, body: str) -> None:
    assert draft_of(gap("Kosher?", reply)).body == body


def test_an_id_that_is_taken_is_not_taken_again() -> None:
    article, _ = read(finished(draft_article(gap("Kosher?", "Yes."), taken={"kosher"})))
    assert article is not None
    assert article.id == "kosher-7"


def test_where_no_agent_replied_the_body_is_left_to_write_and_the_import_says_so() -> None:
    article, problems = read(finished(draft_article(gap("Kosher?"))))
    assert article is None
    assert "no body" in problems[0].advice


hostile = st.text(max_size=60) | st.sampled_from(
    [
        "---\nid: x\n---\n",
        "{{ 7*7 }}",
        "*a &a",
        "x\x85y",
        "a: b\n- c",
        "\ud7ff\ufeff---",
        "'\"\\",
        "\x1b[2J",
        "[[[[{{{{",
        "null",
        "1",
    ]
)


@settings(max_examples=80)
@given(hostile.filter(lambda text: any(c.isalnum() for c in text)), hostile)
def test_whatever_was_written_a_draft_is_refused_as_it_stands_and_an_article_once_finished(
    question: str, reply: str
) -> None:
    draft = draft_article(gap(question, reply))
    article, problems = read(draft)
    assert article is None
    assert "unknown key draft" in problems[0].advice
    article, problems = read(finished(draft))
    if article is None:
        assert [problem.advice[:23] for problem in problems] == ["the article has no body"]
    assert "\x1b" not in draft
