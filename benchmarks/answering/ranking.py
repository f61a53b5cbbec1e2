"""Which article comes first: the index beside BM25 alone, the encoder alone and a fixed mix of both.

StackFAQ: question and answer are indexed, people's rephrasings are asked. HINT3: an intent is an article whose sample questions
are every second of its messages; the others are asked. The FAQ file: answers are indexed without their questions, which
are asked; equal answers count as one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.answering.texts import SHOPS, RememberingEncoder, labelled, parsed, within
from messages.knowledge import Article, Hit, KnowledgeIndex

__all__ = ["OURS", "Asked", "Ranked", "ecommerce_faq", "hint3", "ranked", "stackfaq"]

OURS = "KnowledgeIndex"
# The share of the encoder in the fixed mix of standardised scores: the usual one, chosen on no set of these.
MIXED = 0.65


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A set of articles and the questions put to them; an article's id begins with its answer's key and a slash."""

    data: str
    articles: list[Article]
    questions: list[str]
    wanted: list[str]


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """How often a right article came first, and how far that is ahead of the index (mean, 95 % interval)."""

    data: str
    name: str
    recall_at_1: float
    ahead: tuple[float, float, float] | None


def stackfaq(folder: Path) -> Asked:
    """Return StackFAQ's threads."""
    threads = parsed(folder / "stackfaq_dev.json")
    asked = [(text, str(thread["id"])) for thread in threads for text in thread["rephrasings"]]
    return Asked(
        data="StackFAQ",
        articles=[
            Article(id=f"{thread['id']}/{number}", title=thread["question"], body=answer)
            for thread in threads
            for number, answer in enumerate(thread["answers"])
        ],
        questions=[text for text, _ in asked],
        wanted=[key for _, key in asked],
    )


def hint3(folder: Path) -> Iterator[Asked]:
    """Return the shops of HINT3; intents with one message only are left out."""
    for shop in SHOPS:
        by_label: dict[str, list[str]] = {}
        for text, label in zip(*labelled(folder / f"hint3_{shop}_train.csv"), strict=True):
            by_label.setdefault(label, []).append(text)
        kept = {label: texts for label, texts in by_label.items() if len(texts) > 1}
        asked = [(text, label) for label, texts in kept.items() for text in texts[1::2]]
        yield Asked(
            data=f"HINT3 {shop}",
            articles=[
                Article(id=f"{label}/0", title=label.replace("_", " ").lower(), body="", questions=texts[::2])
                for label, texts in kept.items()
            ],
            questions=[text for text, _ in asked],
            wanted=[label for _, label in asked],
        )


def ecommerce_faq(folder: Path) -> Asked:
    """Return the FAQ file: its answers, and its questions to find them by."""
    pairs = parsed(folder / "ecommerce_faq.json")["questions"]
    answers = list(dict.fromkeys(pair["answer"] for pair in pairs))
    return Asked(
        data="FAQ file",
        articles=[Article(id=f"{number}/0", title=text, body=text) for number, text in enumerate(answers)],
        questions=[pair["question"] for pair in pairs],
        wanted=[str(answers.index(pair["answer"])) for pair in pairs],
    )


def ranked(asked: Asked, encoder: RememberingEncoder) -> list[Ranked]:
    """Rank the articles of a set in each way; the index is named first."""
    print(
        f"{asked.data}: {len(asked.questions)} questions, {len(asked.articles)} articles", file=sys.stderr, flush=True
    )
    every = len(asked.articles)
    alone = KnowledgeIndex.build(asked.articles, lexical_only=True)
    lexical = np.zeros((len(asked.questions), every))
    rows = {article.id: row for row, article in enumerate(asked.articles)}
    by_words = alone.search_many(asked.questions, every)
    for number, hits in enumerate(by_words):
        for hit in hits:
            lexical[number, rows[hit.article_id]] = hit.score
    vectors = encoder.encode(asked.questions)
    wholes = encoder.encode(["\n".join([one.title, *one.questions, one.body]) for one in asked.articles])
    whole = (vectors @ wholes.T).astype(np.float64)
    nearest = np.column_stack(
        [
            (vectors @ encoder.encode([one.title, *one.questions, one.body or one.title]).T).max(1)
            for one in asked.articles
        ]
    ).astype(np.float64)
    ours = KnowledgeIndex.build(asked.articles, encoder).search_many(asked.questions, 1)
    right = {
        OURS: _first(ours, asked),
        "BM25 alone": _first(by_words, asked),
        "encoder alone, whole article": _right(whole, asked),
        "encoder alone, nearest text": _right(nearest, asked),
        f"fixed mix, {MIXED:.2f} nearest + {1 - MIXED:.2f} BM25": _right(
            MIXED * _standardised(nearest) + (1 - MIXED) * _standardised(lexical), asked
        ),
    }
    found = []
    for name, firsts in right.items():
        gap = firsts.astype(float) - right[OURS].astype(float)
        ahead = None if name == OURS else (float(gap.mean()), *within(gap))
        found.append(Ranked(data=asked.data, name=name, recall_at_1=float(firsts.mean()), ahead=ahead))
    return found


def _key(article_id: str) -> str:
    return article_id.rsplit("/", 1)[0]


def _first(found: list[list[Hit]], asked: Asked) -> NDArray[np.bool_]:
    best = [_key(hits[0].article_id) if hits else None for hits in found]
    return np.array([one == key for one, key in zip(best, asked.wanted, strict=True)])


def _right(scores: NDArray[np.float64], asked: Asked) -> NDArray[np.bool_]:
    best = [_key(asked.articles[row].id) for row in scores.argmax(axis=1)]
    return np.array([one == key for one, key in zip(best, asked.wanted, strict=True)])


def _standardised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores with mean 0 and deviation 1 over the articles of each question."""
    deviation = scores.std(axis=1, keepdims=True)
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1.0))
