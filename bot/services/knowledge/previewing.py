"""The knowledge base for looking only: as `KnowledgeDesk.index` gives it, but nothing is imported on the way."""

from __future__ import annotations

from collections.abc import Callable

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store.database import Database
from bot.store.knowledge import current_articles
from messages.knowledge import Article, KnowledgeIndex
from messages.reading import read_folder

__all__ = ["previewing"]


def previewing(
    database: Database, clock: Clock, settings: Settings, knowledge: KnowledgeDesk
) -> Callable[[], KnowledgeIndex]:
    """Return what a dry run searches: the articles in use, or the files that would be imported at first use."""

    def preview() -> KnowledgeIndex:
        with database.read() as connection:
            imported = bool(current_articles(connection))
        if imported:
            return knowledge.index()
        today = local_date(clock.now(), settings.shop.zone)
        valid = [
            Article(
                id=file.id,
                title=file.title,
                body=file.body,
                questions=file.questions,
                tags=file.tags,
                locale=file.locale,
                products=file.products,
            )
            for file in read_folder(knowledge.folder)[0]
            if (file.valid_from is None or file.valid_from <= today)
            and (file.valid_until is None or today <= file.valid_until)
        ]
        return KnowledgeIndex.build(valid, knowledge.encoder, lexical_only=knowledge.encoder is None)

    return preview
