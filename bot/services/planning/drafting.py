"""From a chosen customer to a draft in their language, with the article that answers what they will ask.

The words are templates of `messages.catalogue`, found articles come from `messages.knowledge`; nothing is stored
here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.clock import local_date
from bot.config import Settings
from bot.services.planning.audience import Considered
from bot.services.review.cards import first_name
from messages.catalogue import LOCALES, Catalogue
from messages.knowledge import Article, KnowledgeIndex

__all__ = ["Drafted", "Drafter", "shortened"]

# A check-in is read on a telephone: so much of an article fits, the link leads to the rest.
ANSWER_LIMIT = 1200


@dataclass(frozen=True, kw_only=True)
class Drafted:
    """A rendered draft and the article version that it cites."""

    subject: str
    text: str
    locale: str
    template: str
    article: tuple[str, int] | None


class Drafter:
    """Renders drafts; searches are remembered, because one playbook asks the same for many customers."""

    def __init__(
        self, settings: Settings, catalogue: Catalogue, index: Callable[[], KnowledgeIndex] | None = None
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._load_index = index
        self._index: KnowledgeIndex | None = None
        self._articles: Mapping[str, Article] = {}
        self._found: dict[tuple[str, str, str], tuple[Article, str] | None] = {}

    def draft(self, one: Considered, product_name: str | None) -> Drafted:
        """Render the message of one customer's step.

        Raises
        ------
        TemplateError
            The template needs a value that is not known about this customer.
        """
        template = one.playbook.template(one.step, one.drawn.arm)
        locale = one.customer.locale or self._settings.shop.locale
        cited = self._article(one.step.article, product_name or "", locale)
        order = one.order
        draft = self._catalogue.render_draft(
            template,
            locale,
            one.channel or "email",
            {
                "first_name": first_name(one.customer.name) or None,
                "order_id": order.external_id if order is not None else None,
                "shop_name": self._settings.shop.name,
                "product_name": product_name,
                "promised_on": self._day(order.promised_at, locale) if order is not None else None,
                "article_title": cited[0].title if cited else None,
                "article_answer": shortened(cited[1]) if cited else None,
                "article_url": None,
            },
        )
        return Drafted(
            subject=draft.subject,
            text=draft.text,
            locale=locale,
            template=template,
            article=(cited[0].id, cited[0].version) if cited else None,
        )

    def _article(self, question: str, product_name: str, locale: str) -> tuple[Article, str] | None:
        if not question or self._load_index is None:
            return None
        key = (question, product_name, locale)
        if key not in self._found:
            self._found[key] = self._search(question, product_name, locale)
        return self._found[key]

    def _search(self, question: str, product_name: str, locale: str) -> tuple[Article, str] | None:
        if self._index is None and self._load_index is not None:
            self._index = self._load_index()
            self._articles = {article.id: article for article in self._index.articles}
        if self._index is None or not self._articles:
            return None
        languages = {_language(locale)}
        if _language(locale) not in LOCALES:
            languages.add(LOCALES[0])  # the message itself falls back to this language too
        for hit in self._index.search(question, k=5):
            article = self._articles[hit.article_id]
            meant = {name.casefold() for name in article.products}
            if (
                hit.score >= self._settings.knowledge.answer_threshold
                and _language(article.locale) in languages
                and (not meant or product_name.casefold() in meant)
            ):
                return article, hit.passage or article.body
        return None

    def _day(self, instant: datetime | None, locale: str) -> str | None:
        if instant is None:
            return None
        day = local_date(instant, self._settings.shop.zone)
        return f"{day:%d.%m.%Y}" if _language(locale) == "de" else f"{day.day} {day:%B %Y}"


def _language(locale: str) -> str:
    return locale.replace("_", "-").split("-")[0].lower()


def shortened(text: str) -> str:
    words = text.strip()
    if len(words) <= ANSWER_LIMIT:
        return words
    cut = words[:ANSWER_LIMIT]
    end = max(cut.rfind("\n\n"), cut.rfind(". ") + 1)
    return cut[:end].rstrip() if end > ANSWER_LIMIT // 3 else f"{cut.rsplit(' ', 1)[0]} …"
