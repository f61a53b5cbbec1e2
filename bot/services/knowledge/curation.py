"""Caring for the knowledge base: what is wrong with articles, and what customers ask that none answers.

All of it only reads. Importing and answering are `bot.services.knowledge.desk`'s business.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.errors import NotFound
from bot.services.knowledge.desk import KnowledgeDesk
from bot.services.knowledge.drafting import draft_article
from bot.services.knowledge.gaps import Gap, find_gaps
from bot.services.knowledge.linting import BROKEN, Finding, Shelf, lint
from bot.store import knowledge as store
from bot.store.database import Database
from bot.store.unanswered import agent_replies, unanswered
from messages.encoder import TextEncoder
from messages.reading import SHIPPED_ARTICLES, read_folder

__all__ = ["Curation", "Finding", "Gap"]


class Curation:
    """Looks over the articles and the questions."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, knowledge: KnowledgeDesk) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._knowledge = knowledge

    @property
    def encoder(self) -> TextEncoder | None:
        """What judges which texts mean the same, None where there is none."""
        return self._knowledge.encoder

    def lint(self, unused_days: int = 180) -> list[Finding]:
        """Return what is to be mended in the articles in use and in the configured folder, by article.

        Parameters
        ----------
        unused_days : int
            An article that nothing cited for so many days is named.
        """
        now = self._clock.now()
        articles = self._knowledge.articles()
        files, problems = read_folder(self._knowledge.folder)
        with self._database.read() as connection:
            unused = store.unused_articles(connection, now - timedelta(days=unused_days))
        shelf = Shelf(
            articles=tuple(articles),
            told=frozenset(article.external_id for article in articles if article.valid_at(now)),
            # A file of many articles names each of them behind its own name.
            files={file.file if file.file.endswith(".md") else f"{file.file}#{file.id}": file.id for file in files},
            samples=frozenset(article.sha256 for article in read_folder(SHIPPED_ARTICLES)[0]),
            unused=frozenset(unused),
            unused_days=unused_days,
            today=local_date(now, self._settings.shop.zone),
        )
        return [
            *(Finding(article_id=problem.file, kind=BROKEN, advice=str(problem)).harmless() for problem in problems),
            *lint(shelf, self._knowledge.index(), self._settings.knowledge.answer_threshold),
        ]

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
