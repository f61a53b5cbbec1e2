"""Which message of the catalogue says what was decided, with which values.

What was decided is `bot.services.conversation.conversations`'s business, the words themselves are the catalogue's.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.config import Settings
from messages.answers import Answer, Decision, KnownIntent, language_of
from messages.catalogue import Catalogue

__all__ = ["Wording"]

_HANDOFFS = {
    KnownIntent.SAFETY: "handoff_safety",
    KnownIntent.HUMAN: "handoff_asked",
}
_FIXED = {
    KnownIntent.OPT_OUT: "opt_out_confirmed",
    KnownIntent.SMALLTALK: "smalltalk",
}


class Wording:
    """Turns decisions into words in the customer's language."""

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        self._catalogue = catalogue
        self._settings = settings

    def locale(self, question: str, locale: str | None) -> str:
        """Return the language to answer in: the words', else the customer's, else the shop's."""
        return language_of(question, locale or self._settings.shop.locale)

    def asks(self, template: str) -> str:
        """Return what a reply to a message is read for; empty for none, or a message that there is no more."""
        return self._catalogue.meta(template).asks if template in self._catalogue.names else ""

    def reply(self, answer: Answer, *, question: str, locale: str | None, channel: str) -> str:
        """Return what the customer is told."""
        values: dict[str, str | None] = {}
        if answer.decision is Decision.HANDOFF:
            template = _HANDOFFS.get(answer.intent, "handoff")
        elif answer.article is not None:
            template = "answer"
            values = {"quote": answer.text, "article_title": answer.article.title}
        elif answer.decision is Decision.CLARIFY and answer.about_contact:
            template = "opt_out_unclear"
        elif answer.decision is Decision.CLARIFY:
            template = "clarify"
            one, two, *_ = (*answer.options, None, None)
            values = {"option_one": one, "option_two": two}
        else:
            template = _FIXED[answer.intent]
        return self.say(template, question=question, locale=locale, channel=channel, values=values)

    def say(
        self,
        template: str,
        *,
        question: str,
        locale: str | None,
        channel: str,
        values: Mapping[str, str | None] | None = None,
    ) -> str:
        """Fill in one message of the catalogue, in the language of the customer's words."""
        filled = {"shop_name": self._settings.shop.name, **(values or {})}
        return self._catalogue.render_draft(template, self.locale(question, locale), channel, filled).text
