"""Caring for the knowledge base: what is wrong with articles, and what customers ask that none answers.

Both only read. Importing and answering are `bot.services.knowledge.desk`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store import knowledge as store
from bot.store.database import Database
from bot.store.knowledge import StoredArticle, Unanswered
from messages.knowledge import words
from messages.reading import SHIPPED_ARTICLES, read_folder

__all__ = ["Curation", "Finding", "Gap"]

# Measured on StackFAQ: .83 of the pairs of rephrasings of one question lie above, .002 of the pairs of two questions.
SAME_QUESTION = 0.6
LONG_BODY = 6_000


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to mend in an article."""

    article_id: str
    kind: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A question that customers ask and no article answers.

    Attributes
    ----------
    question : str
        The shortest of the customers' own wordings.
    """

    question: str
    times: int
    customers: int
    utterance_ids: tuple[int, ...]

    def line(self) -> dict[str, Any]:
        """Return the gap as JSON."""
        return {
            "question": self.question,
            "times": self.times,
            "customers": self.customers,
            "utterances": list(self.utterance_ids),
        }


class Curation:
    """Looks over the articles and the questions."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, knowledge: KnowledgeDesk) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._knowledge = knowledge

    def lint(self) -> list[Finding]:
        """Return what is wrong with the articles in use, by article."""
        articles = self._knowledge.articles()
        today = local_date(self._clock.now(), self._settings.shop.zone)
        samples = {article.sha256 for article in read_folder(SHIPPED_ARTICLES)[0]}
        found = [finding for article in articles for finding in self._findings(article, today, samples)]
        return sorted([*found, *_doubles(articles)], key=lambda one: (one.article_id, one.kind))

    def gaps(self, days: int = 90) -> list[Gap]:
        """Return the questions of the last days that no article answered, most asked first."""
        now = self._clock.now()
        with self._database.read() as connection:
            asked = store.unanswered(connection, now - timedelta(days=days), now)
        asked = [one for one in asked if any(c.isalnum() for c in one.text)]
        gaps = [
            Gap(
                question=" ".join(min((one.text for one in group), key=len).split())[:200],
                times=len(group),
                customers=len({one.customer_id or f"thread {one.conversation_id}" for one in group}),
                utterance_ids=tuple(one.utterance_id for one in group),
            )
            for group in self._clusters(asked)
        ]
        return sorted(gaps, key=lambda gap: (-gap.customers, -gap.times, gap.question))

    def _clusters(self, asked: list[Unanswered]) -> list[list[Unanswered]]:
        """Group questions greedily: each joins the first group whose founder is near enough."""
        texts = [one.text[:2_000] for one in asked]
        encoder = self._knowledge.encoder
        near = encoder.encode(texts) if encoder is not None and texts else None
        groups: list[list[int]] = []
        for row in range(len(asked)):
            for group in groups:
                nearness = (
                    float(np.dot(near[row], near[group[0]])) if near is not None else _overlap(texts, row, group[0])
                )
                if nearness >= SAME_QUESTION:
                    group.append(row)
                    break
            else:
                groups.append([row])
        return [[asked[row] for row in group] for group in groups]

    @staticmethod
    def _findings(article: StoredArticle, today: date, samples: set[str]) -> list[Finding]:
        found: list[tuple[str, str]] = []
        if article.sha256 in samples:
            found.append(("sample", "is a sample that came with Aftercare; set knowledge.dir to your own articles"))
        if article.review_by and date.fromisoformat(article.review_by) < today:
            found.append(("stale", f"should have been reviewed by {article.review_by}"))
        if not article.owner:
            found.append(("no_owner", "has no owner; write `owner:`"))
        if not article.questions:
            found.append(("no_questions", "has no sample questions; two or three in customers' words find it better"))
        if len(article.body) > LONG_BODY:
            found.append(("long", f"has {len(article.body)} characters; split it, an answer quotes one section"))
        return [Finding(article_id=article.external_id, kind=kind, advice=advice) for kind, advice in found]


def _doubles(articles: list[StoredArticle]) -> list[Finding]:
    """Return pairs of articles in one language whose titles or questions another article owns word for word."""
    found: list[Finding] = []
    owner: dict[tuple[str, str], str] = {}
    for article in articles:
        for heading in dict.fromkeys([article.title, *article.questions]):
            key = (article.locale, " ".join(words(heading)))
            other = owner.setdefault(key, article.external_id)
            if other != article.external_id and not article.products:
                found.append(
                    Finding(
                        article_id=article.external_id,
                        kind="double_question",
                        advice=f"asks {heading!r}, which is already a question of {other}",
                    )
                )
    return found


def _overlap(texts: list[str], one: int, other: int) -> float:
    left, right = set(words(texts[one])), set(words(texts[other]))
    return len(left & right) / max(len(left | right), 1)
