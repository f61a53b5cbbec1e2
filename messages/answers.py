"""Answer, ask back or hand over: what one message deserves, judged by its words alone.

Order: safety, opt-out, a person asked for, small talk, order status, then the articles. An answer is always a
section of an article, word for word, with its source; nothing is ever made up. Who the customer is, what is
remembered and what leaves is `bot.services.conversation.conversations`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from messages.answerable import Answerability, Costs
from messages.contact_wish import ContactWish, contact_wish
from messages.encoder import TextEncoder
from messages.intents import IntentClassifier
from messages.knowledge import Article, Hit, KnowledgeIndex
from messages.languages import language_of
from messages.replies import own_words

__all__ = [
    "SHORT_CHARACTERS",
    "Answer",
    "Answerer",
    "Decision",
    "KnownIntent",
    "Thresholds",
    "known_intents",
    "language_of",
    "speaks_of_danger",
]

_DATA = Path(__file__).with_name("intents.yaml")
# Other sentences bury the question: besides the whole, those that ask are searched, at most this many.
_MAX_SENTENCES = 6
# The classifier alone, and what was learned from sample questions, decide on short messages only: single sentences taught them.
SHORT_CHARACTERS = 300
# Thanks without a word, as a sign or as Slack writes it.
_APPLAUSE = re.compile(
    r"\s*(?:(?:[👍👌🙏👏🎉💯❤♥][\U0001F3FB-\U0001F3FF\uFE0F]?"
    r"|:(?:\+1|thumbsup|ok_hand|pray|clap|tada|heart|100):(?::skin-tone-\d:)?)\s*){1,20}"
)


class Decision(StrEnum):
    """What to do about a message."""

    ANSWER = "answer"  # say what an article says, or the fixed words of a known intent
    CLARIFY = "clarify"  # ask one question back
    HANDOFF = "handoff"  # give it to a human


class KnownIntent(StrEnum):
    """The intents that Aftercare knows without being taught."""

    SAFETY = "safety"  # somebody may be in danger
    OPT_OUT = "opt_out"  # no more check-ins, please
    HUMAN = "human"  # a person is asked for
    SMALLTALK = "smalltalk"  # thanks, hello
    ORDER_STATUS = "order_status"  # where is my order
    QUESTION = "question"  # everything that articles may answer


# In this order a message is looked at; the first that fits decides.
_ORDER = (
    KnownIntent.SAFETY,
    KnownIntent.OPT_OUT,
    KnownIntent.HUMAN,
    KnownIntent.SMALLTALK,
    KnownIntent.ORDER_STATUS,
)
# How sure the classifier must be where no phrase decided. An opt-out that it suspects is asked about, never carried
# out; safety by mistake costs one look of a colleague.
_SURE = {
    KnownIntent.SAFETY: 0.45,
    KnownIntent.OPT_OUT: 0.75,
    KnownIntent.HUMAN: 0.6,
    KnownIntent.SMALLTALK: 0.6,
    KnownIntent.ORDER_STATUS: 0.5,
}
# No score is as high.
_NEVER = 2.0
# Only a phrase is quite sure.
_NEARLY_SURE = 0.9999


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """From which score an article is said, and from which one question is asked back; see docs/explanation/answers.md.

    Attributes
    ----------
    long_answer : float
        The same as `answer` for a long message as a whole, which is like no article's question word for word.
    """

    answer: float = 0.62
    clarify: float = 0.45
    long_answer: float = 0.52


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a message deserves.

    Attributes
    ----------
    intent : str
        A `KnownIntent`.
    confidence : float
        0 to 1: the score of the best article, or the classifier's probability (1 where a phrase decided).
    hits : tuple of Hit
        The nearest articles, best first; the first one is cited when the decision is to answer from an article.
    article : Article or None
        The cited article.
    text : str
        The section that answers, word for word; empty where nothing is quoted.
    options : tuple of str
        Where one question is asked back: the titles to choose from.
    about_contact : bool
        The message may ask to end contact, and may not: that is what is to be asked.
    """

    intent: KnownIntent
    decision: Decision
    confidence: float
    hits: tuple[Hit, ...] = ()
    article: Article | None = None
    text: str = ""
    options: tuple[str, ...] = field(default=())
    about_contact: bool = False


class Answerer:
    """Decides about single messages.

    Parameters
    ----------
    index : KnowledgeIndex
        The articles that may be cited.
    classifier : IntentClassifier
        Fitted on the known intents; see `known_intents`.
    answerable : Answerability, optional
        Decides about short messages instead of `thresholds.answer`, at `costs`.
    """

    def __init__(
        self,
        index: KnowledgeIndex,
        classifier: IntentClassifier,
        thresholds: Thresholds | None = None,
        *,
        answerable: Answerability | None = None,
        costs: Costs | None = None,
    ) -> None:
        self._index = index
        self._classifier = classifier
        self._thresholds = thresholds or Thresholds()
        self._answerable = answerable
        self._costs = costs or Costs()
        self._by_id = {article.id: article for article in index.articles}

    def answer(
        self,
        question: str,
        *,
        locale: str | None = None,
        products: Collection[str] = (),
        may_clarify: bool = True,
    ) -> Answer:
        """Decide about one message.

        Parameters
        ----------
        locale : str, optional
            The customer's language; None guesses it from the words.
        products : collection of str
            The customer's products; articles about others are only cited when nothing else fits.
        may_clarify : bool
            False where the one question back was already asked: then a human takes over instead.
        """
        if _APPLAUSE.fullmatch(question):
            return Answer(intent=KnownIntent.SMALLTALK, decision=Decision.ANSWER, confidence=1.0)
        if not re.search(r"\w", question):
            return Answer(intent=KnownIntent.QUESTION, decision=Decision.HANDOFF, confidence=0.0)
        intent, sure = self.intent_of(question)
        queries = asking_sentences(question)
        # A question in one language may stand among courtesies in another.
        hits, enough = self._search(queries, language_of(" ".join(queries[1:]) or question, locale), products)
        if intent in (KnownIntent.SAFETY, KnownIntent.HUMAN):
            return Answer(intent=intent, decision=Decision.HANDOFF, confidence=sure, hits=hits)
        if intent is KnownIntent.OPT_OUT and sure == 1.0:
            return Answer(intent=intent, decision=Decision.ANSWER, confidence=sure)
        found = self._from_articles(intent, hits, may_clarify, enough)
        if intent is KnownIntent.SMALLTALK:
            # A question with a greeting before it and thanks below is a question, where an article answers it.
            asked = sure < 1.0 and _asks(question) and found.decision is Decision.ANSWER
            return (
                replace(found, intent=KnownIntent.QUESTION)
                if asked
                else Answer(intent=intent, decision=Decision.ANSWER, confidence=sure)
            )
        if intent is KnownIntent.OPT_OUT:  # as the classifier thinks
            return self._about_contact(intent, question, sure, hits, may_clarify)
        if intent is KnownIntent.QUESTION and contact_wish(question) is ContactWish.UNCLEAR:
            # An article that answers a question about it says more.
            asked = found.decision is Decision.ANSWER and _asks(question)
            return found if asked else self._about_contact(intent, question, 0.0, hits, may_clarify)
        return found

    def intent_of(self, question: str) -> tuple[KnownIntent, float]:
        """Return the known intent of a message and how sure that is; `question` where none fits."""
        phrases = _intent_data().phrases
        text, bare, wish = _normal(question), _bare(question), contact_wish(question)
        for intent in _ORDER:
            if intent is KnownIntent.OPT_OUT:
                # Its phrases, and what turns them into their contrary, are looked at there.
                found_there = wish is ContactWish.END
            else:
                found_there = bare in phrases[intent].whole or phrases[intent].inside.search(text) is not None
            if found_there:
                return intent, 1.0
        if len(question) > SHORT_CHARACTERS or wish is ContactWish.UNCLEAR:
            return KnownIntent.QUESTION, 0.0
        found = self._classifier.decide([question])[0]
        if found.label is None or found.label not in _SURE or found.confidence < _SURE[KnownIntent(found.label)]:
            return KnownIntent.QUESTION, 0.0
        if found.label == KnownIntent.OPT_OUT and wish is ContactWish.KEEP:
            return KnownIntent.QUESTION, 0.0
        return KnownIntent(found.label), min(round(found.confidence, 4), _NEARLY_SURE)

    @staticmethod
    def _about_contact(
        intent: KnownIntent, question: str, sure: float, hits: tuple[Hit, ...], may_clarify: bool
    ) -> Answer:
        """Ask whether contact shall end; a longer message has more in it than this, so a human reads it."""
        short = may_clarify and len(question) <= SHORT_CHARACTERS
        decision = Decision.CLARIFY if short else Decision.HANDOFF
        return Answer(intent=intent, decision=decision, confidence=sure, hits=hits, about_contact=True)

    def _bar(self, whole: str) -> float:
        """Return the score from which an article is said to a message."""
        if len(whole) <= SHORT_CHARACTERS:
            return self._thresholds.answer
        # Of many words some always stand in some article: BM25 alone answered 67 of 187 long messages wrongly.
        return _NEVER if self._index.encoder is None else self._thresholds.long_answer

    def _from_articles(self, intent: KnownIntent, hits: tuple[Hit, ...], may_clarify: bool, enough: bool) -> Answer:
        best = hits[0].score if hits else 0.0
        if enough:
            article = self._by_id[hits[0].article_id]
            return Answer(
                intent=intent,
                decision=Decision.ANSWER,
                confidence=best,
                hits=hits,
                article=article,
                text=quotable(hits[0].passage),
            )
        if hits and best >= self._thresholds.clarify and may_clarify:
            near = [hit for hit in hits[:2] if hit.score >= self._thresholds.clarify]
            options = tuple(self._by_id[hit.article_id].title for hit in near)
            return Answer(intent=intent, decision=Decision.CLARIFY, confidence=best, hits=hits, options=options)
        return Answer(intent=intent, decision=Decision.HANDOFF, confidence=best, hits=hits)

    def _search(self, queries: Sequence[str], locale: str, products: Collection[str]) -> tuple[tuple[Hit, ...], bool]:
        """Return the nearest articles, and whether the first is near enough to be said."""
        own = self._nearest(queries, locale, products)
        if not products or own[1]:
            return own
        every = self._nearest(queries, locale, ())
        return every if every[1] else own

    def _nearest(self, queries: Sequence[str], locale: str, products: Collection[str]) -> tuple[tuple[Hit, ...], bool]:
        found = self._index.search_many(queries, 5, locale=locale, products=products)
        if len(queries[0]) > SHORT_CHARACTERS:
            # A sentence out of a story is near to many articles: it counts where it is sure by itself.
            sure = [[hit for hit in hits if hit.score >= self._thresholds.answer] for hits in found[1:]]
            found = [found[0], *sure]
        elif self._answerable is not None:
            likely = [self._answerable.probability(*one) for one in zip(queries, found, strict=True)]
            surest = likely.index(max(likely))
            enough = self._costs.worth_answering(likely[surest])
            return tuple(found[surest]) if enough else self._best(found), enough
        hits = self._best(found)
        return hits, bool(hits) and hits[0].score >= self._bar(queries[0])

    @staticmethod
    def _best(found: Sequence[Sequence[Hit]]) -> tuple[Hit, ...]:
        best: dict[str, Hit] = {}
        for hits in found:
            for hit in hits:
                if hit.article_id not in best or best[hit.article_id].score < hit.score:
                    best[hit.article_id] = hit
        return tuple(sorted(best.values(), key=lambda hit: -hit.score)[:5])


def asking_sentences(question: str) -> list[str]:
    """Return what is searched: the whole message, and the sentences that ask, where others stand beside them.

    Of a long message only its sender's own words are searched, for a quoted mail speaks of other things.
    """
    whole = question.strip()[:4_000]
    if len(whole) > SHORT_CHARACTERS:
        whole = own_words(whole).text.strip() or whole
    sentences = [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", whole)]
    asking = [part for part in sentences if part.endswith("?") and len(part) > 10 and part != whole]
    return [whole, *asking[:_MAX_SENTENCES]]


def _asks(question: str) -> bool:
    return any(mark in question for mark in ("?", "？"))


def speaks_of_danger(text: str) -> bool:
    """Return whether a phrase of danger stands in a message, wherever."""
    return _intent_data().phrases[KnownIntent.SAFETY].inside.search(_normal(text)) is not None


def quotable(passage: str) -> str:
    """Return a section as it is said to a customer: without Markdown headings."""
    return re.sub(r"(?m)^#{1,6} +(.+)$", r"\1.", passage).strip()


@dataclass(frozen=True, kw_only=True)
class _Phrases:
    whole: frozenset[str]
    inside: re.Pattern[str]


@dataclass(frozen=True, kw_only=True)
class _IntentData:
    phrases: Mapping[KnownIntent, _Phrases]
    texts: tuple[str, ...]
    labels: tuple[str, ...]


@lru_cache(maxsize=1)
def _intent_data() -> _IntentData:
    tree: dict[str, Any] = yaml.safe_load(_DATA.read_text(encoding="utf-8"))
    examples = [(text, label) for label, content in tree.items() for text in content["examples"]]
    return _IntentData(
        phrases={intent: _phrases(tree[intent.value].get("phrases", ())) for intent in _ORDER},
        texts=tuple(text for text, _ in examples),
        labels=tuple(label for _, label in examples),
    )


def _phrases(listed: Sequence[str]) -> _Phrases:
    inside = [
        r"\b" + re.escape(_normal(phrase)).replace(r"\*", r"\w*") + r"\b" for phrase in listed if phrase[0] != "="
    ]
    return _Phrases(
        whole=frozenset(_bare(phrase[1:]) for phrase in listed if phrase[0] == "="),
        inside=re.compile("|".join(inside) or r"(?!)"),
    )


def known_intents(encoder: TextEncoder | None = None, *, lexical_only: bool = False) -> IntentClassifier:
    """Return a classifier taught on the shipped examples (English and German) of the known intents."""
    examples = _intent_data()
    classifier = IntentClassifier(encoder, lexical_only=lexical_only, scope_threshold=0.0)
    return classifier.fit(examples.texts, examples.labels)


def _normal(text: str) -> str:
    return " ".join(text.casefold().replace("’", "'").replace("`", "'")[:20_000].split())


def _bare(text: str) -> str:
    """Return a whole message without punctuation, for comparing it with a phrase."""
    return " ".join(re.sub(r"[^\w\s'*-]", " ", _normal(text)).split())
