"""The knowledge base at work: importing articles as versions, one cached index over them, asking it.

Ranking is `messages.knowledge`'s business, deciding `messages.answers`'; dialogues are in
`bot.services.conversation.conversations`, lint and gaps in `bot.services.knowledge.curation`.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import structlog

from bot.clock import Clock, local_date, local_midnight
from bot.config import Settings
from bot.errors import ConfigurationError, InputError, NotFound
from bot.services.knowledge.deciding import Decider, decider
from bot.services.review.wording import Wording
from bot.store import knowledge as store
from bot.store.database import Database
from bot.store.examples import examples_of
from bot.store.knowledge import NewVersion, Saved, StoredArticle
from messages.answers import Answer, Decision, known_intents
from messages.catalogue import Catalogue
from messages.encoder import TextEncoder, load_encoder
from messages.errors import EncoderError
from messages.intents import IntentClassifier
from messages.knowledge import Article, KnowledgeIndex
from messages.reading import SHIPPED_ARTICLES, ArticleFile, Problem, read_files, read_folder

__all__ = ["AskLine", "ImportReport", "KnowledgeDesk"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import of articles did; drafts of a help centre are left out."""

    new: int
    updated: int
    unchanged: int
    retired: int
    drafts: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class AskLine:
    """One answered question, as `aftercare ask --json` prints it."""

    question: str
    answer: Answer
    versions: dict[str, int]
    titles: dict[str, str]
    text: str | None

    def line(self) -> dict[str, Any]:
        """Return the JSON object of the contract."""
        return {
            "question": self.question,
            "intent": self.answer.intent.value,
            "decision": self.answer.decision.value,
            "confidence": round(self.answer.confidence, 4),
            "articles": [
                {
                    "id": hit.article_id,
                    "version": self.versions[hit.article_id],
                    "title": self.titles[hit.article_id],
                    "score": hit.score,
                }
                for hit in self.answer.hits
            ],
            "answer": self.text,
        }


class KnowledgeDesk:
    """The shop's articles, and what they answer."""

    def __init__(
        self, database: Database, clock: Clock, settings: Settings, catalogue: Catalogue | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._wording = Wording(catalogue or Catalogue.load(), settings)
        self._lock = threading.Lock()
        self._index: KnowledgeIndex | None = None
        self._decider: Decider | None = None
        self._version_ids: dict[str, int] = {}
        self._signature: tuple[int, ...] | None = None
        # Between these instants the same articles are valid.
        self._valid: tuple[datetime, datetime | None] = (clock.now(), None)

    @property
    def folder(self) -> Path:
        """Where the configured articles lie: `knowledge.dir`, else the shipped samples."""
        configured = self._settings.knowledge.dir
        return self._settings.path(configured) if configured else SHIPPED_ARTICLES

    def import_folder(self, path: Path | None = None) -> ImportReport:
        """Import a folder of articles (or one file); good ones land, problems are returned.

        The shipped samples are retired as soon as articles of the shop's own are imported.

        Raises
        ------
        InputError
            There is no such folder.
        """
        path = path or self.folder
        if not path.exists():
            raise InputError(f"{path}: no such folder or file; name one with articles (.md, .html, .csv or .json)")
        files, problems, drafts = read_files(path)
        counts = dict.fromkeys(Saved, 0)
        retired = 0
        samples = set() if _is_shipped(path) else {article.sha256 for article in read_folder(SHIPPED_ARTICLES)[0]}
        now = self._clock.now()
        with self._database.write() as connection:
            for article in files:
                counts[store.save_version(connection, self._new_version(article), now)] += 1
            if files and samples:
                own = {article.id for article in files}
                present = store.current_articles(connection)
                old = [a.external_id for a in present if a.sha256 in samples and a.external_id not in own]
                retired = store.retire(connection, old)
        report = ImportReport(
            new=counts[Saved.NEW],
            updated=counts[Saved.UPDATED],
            unchanged=counts[Saved.UNCHANGED],
            retired=retired,
            drafts=drafts,
            problems=tuple(problems),
        )
        log.info("articles_imported", new=report.new, updated=report.updated, problems=len(problems), retired=retired)
        return report

    def articles(self) -> list[StoredArticle]:
        """Return the articles in use, valid now or not; the configured folder is read where there are none."""
        with self._database.read() as connection:
            found = store.current_articles(connection)
        if found:
            return found
        self.import_folder()
        with self._database.read() as connection:
            return store.current_articles(connection)

    def article(self, external_id: str) -> StoredArticle:
        """Return one article in use.

        Raises
        ------
        NotFound
            There is none with this id.
        """
        found = next((article for article in self.articles() if article.external_id == external_id), None)
        if found is None:
            raise NotFound(f"there is no article {external_id}; `aftercare kb list` shows all")
        return found

    def index(self) -> KnowledgeIndex:
        """Return the index over all articles that customers may be told now; rebuilt when that changed."""
        return self._indexed()[0]

    def decide(
        self, question: str, *, locale: str | None = None, products: Collection[str] = (), may_clarify: bool = True
    ) -> tuple[Answer, int | None]:
        """Decide about one message; with the id of the article version that the answer cites."""
        index, versions = self._indexed()
        answerer = self._decider_over(index).answerer
        answer = answerer.answer(question, locale=locale, products=products, may_clarify=may_clarify)
        return answer, versions[answer.article.id] if answer.article else None

    def ask(self, question: str, *, locale: str | None = None, products: Collection[str] = ()) -> AskLine:
        """Answer a question of somebody unknown, as `aftercare ask` does; nothing is remembered."""
        index, _ = self._indexed()
        answer = self._decider_over(index).answerer.answer(question, locale=locale, products=products)
        cited = [index.article(hit.article_id) for hit in answer.hits]
        text: str | None = answer.text or None
        if text is None and answer.decision is not Decision.HANDOFF:
            text = self._wording.reply(answer, question=question, locale=locale, channel="slack")
        return AskLine(
            question=question,
            answer=answer,
            versions={article.id: article.version for article in cited},
            titles={article.id: article.title for article in cited},
            text=text,
        )

    @cached_property
    def encoder(self) -> TextEncoder | None:
        """The encoder that the settings ask for, None where there is none."""
        path = self._settings.knowledge.encoder.path
        try:
            return load_encoder(self._settings.path(path) if path else None)
        except EncoderError as error:
            raise ConfigurationError([("knowledge.encoder.path", str(error))]) from error

    @cached_property
    def classifier(self) -> IntentClassifier:
        """Knows the intents that need no teaching."""
        return known_intents(self.encoder, lexical_only=self.encoder is None)

    def decided_by(self) -> str:
        """Say what decides whether a short message is answered, and why."""
        return self._decider_over(self._indexed()[0]).reason

    def _decider_over(self, index: KnowledgeIndex) -> Decider:
        """Return what decides over an index; made once an index and day, because it goes through all articles."""
        made, now = self._decider, self._clock.now()
        today = local_date(now, self._settings.shop.zone)
        if made is None or made.index is not index or made.day != today:
            with self._database.read() as connection:
                examples = examples_of(connection, now)
            made = self._decider = decider(index, self.classifier, self._settings.knowledge, examples, today)
        return made

    def _indexed(self) -> tuple[KnowledgeIndex, dict[str, int]]:
        now = self._clock.now()
        with self._lock:
            with self._database.read() as connection:
                signature = store.signature(connection)
            since, until = self._valid
            unchanged = since <= now and (until is None or now < until)
            if self._index is None or signature != self._signature or not unchanged:
                every = self.articles()
                articles = [article for article in every if article.valid_at(now)]
                with self._database.read() as connection:
                    self._signature = store.signature(connection)
                self._valid = (now, _next_change(every, now))
                encoder = self.encoder
                self._index = KnowledgeIndex.build(
                    [_searchable(article) for article in articles],
                    encoder,
                    lexical_only=encoder is None,
                    previous=self._index,
                )
                self._version_ids = {article.external_id: article.version_id for article in articles}
                log.info("knowledge_indexed", articles=len(articles), answered_by=self._index.answered_by)
            return self._index, self._version_ids

    def _new_version(self, article: ArticleFile) -> NewVersion:
        zone = self._settings.shop.zone
        until = article.valid_until
        return NewVersion(
            external_id=article.id,
            title=article.title,
            body=article.body,
            questions=article.questions,
            tags=article.tags,
            locale=article.locale,
            products=article.products,
            valid_from=local_midnight(article.valid_from, zone) if article.valid_from else None,
            # A last day runs to its end.
            valid_until=local_midnight(until + timedelta(days=1), zone) if until else None,
            owner=article.owner,
            review_by=article.review_by.isoformat() if article.review_by else None,
            sha256=article.sha256,
        )


def _next_change(articles: Sequence[StoredArticle], now: datetime) -> datetime | None:
    """Return when the next article becomes valid or ceases to be, None where none will."""
    ends = [end for article in articles for end in (article.valid_from, article.valid_until)]
    return min((end for end in ends if end is not None and end > now), default=None)


def _is_shipped(path: Path) -> bool:
    return path.resolve().is_relative_to(SHIPPED_ARTICLES.resolve())


def _searchable(article: StoredArticle) -> Article:
    return Article(
        id=article.external_id,
        title=article.title,
        body=article.body,
        questions=article.questions,
        tags=article.tags,
        locale=article.locale,
        version=article.version,
        products=article.products,
    )
