"""Caring for the knowledge base: what is wrong with articles, and what customers ask that none answers.

Both only read. Importing and answering are `bot.services.knowledge.desk`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.errors import NotFound
from bot.services.knowledge.desk import KnowledgeDesk
from bot.services.knowledge.drafting import draft_article
from bot.services.knowledge.gaps import Gap, find_gaps
from bot.store.database import Database
from bot.store.knowledge import StoredArticle
from bot.store.unanswered import agent_replies, unanswered
from messages.knowledge import words
from messages.reading import SHIPPED_ARTICLES, read_folder

__all__ = ["Curation", "Finding", "Gap"]

LONG_BODY = 6_000


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to mend in an article."""

    article_id: str
    kind: str
    advice: str


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

    def gaps(self, days: int = 90, *, as_of: datetime | None = None) -> list[Gap]:
        """Return the questions of the last days that no article answered, those that affect most first.

        Parameters
        ----------
        as_of : datetime, optional
            The end of the days; now where it is not given.
        """
        until = as_of or self._clock.now()
        with self._database.read() as connection:
            asked = unanswered(connection, until - timedelta(days=days), until)
            asked = [one for one in asked if any(c.isalnum() for c in one.text)]
            replies = agent_replies(connection, asked, until)
        background = [f"{one.title}\n{one.body}" for one in self._knowledge.articles()] if asked else []
        return find_gaps(asked, replies, encoder=self._knowledge.encoder if asked else None, background=background)

    def draft(self, rank: int, days: int = 90, *, as_of: datetime | None = None) -> str:
        """Return the draft of an article about one gap, by its place among them; nothing is kept or published.

        Raises
        ------
        NotFound
            There are fewer gaps.
        """
        gaps = self.gaps(days, as_of=as_of)
        if not 1 <= rank <= len(gaps):
            raise NotFound(f"there is no gap {rank}, only {len(gaps)}; `aftercare kb gaps` lists them")
        taken = {article.external_id for article in self._knowledge.articles()}
        return draft_article(gaps[rank - 1], encoder=self._knowledge.encoder, taken=taken)

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
