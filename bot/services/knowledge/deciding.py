"""What decides whether an article is said: a model learned from the shop's own articles and labels, or a threshold.

The model decides only where it was cheaper, on articles that it had not seen, than the threshold, and better. Learning is
`messages.answerable`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import structlog

from bot.settings import Knowledge
from bot.store.enums import ExampleSource
from bot.store.examples import Example
from messages.answerable import Answerability, Costs, Label
from messages.answers import SHORT_CHARACTERS, Answerer, Thresholds
from messages.intents import IntentClassifier
from messages.knowledge import KnowledgeIndex

__all__ = ["Decider", "decider"]

log = structlog.get_logger(__name__)

# How many sample questions a label counts as. A customer says whether an answer helped, an agent what the answer is.
_WEIGHTS = {ExampleSource.RATING: 1.0, ExampleSource.AGENT_REPLY: 2.0, ExampleSource.AGENT_CHOICE: 3.0}


@dataclass(frozen=True, kw_only=True)
class Decider:
    """What decides over one index, as learned on a day.

    Attributes
    ----------
    reason : str
        What decides about short messages and why, in words.
    """

    index: KnowledgeIndex
    day: date
    answerer: Answerer
    reason: str


def decider(
    index: KnowledgeIndex, classifier: IntentClassifier, settings: Knowledge, examples: Iterable[Example], day: date
) -> Decider:
    """Learn what can be learned, and take the model only where it proved better."""
    costs = Costs(wrong_answer=settings.costs.wrong_answer, handoff=settings.costs.handoff)
    model = Answerability.fit(index, _labels(examples), costs=costs, threshold=settings.answer_threshold)
    fixed = f"short messages are answered from a score of {settings.answer_threshold:.2f} on"
    if model is None:
        reason = f"{fixed}: too few articles with sample questions, or too many, to learn from"
    elif not model.trial.won:
        reason = f"{fixed}: what was learned from {model.trial.asked} trials was no better"
    else:
        reason = (
            f"short messages are answered from a probability of {costs.least_probability:.2f} on; of "
            f"{model.trial.asked} trials, half without an article, {model.trial.right} were answered right and"
            f" {model.trial.wrong} wrong"
        )
    used = model if model is not None and model.trial.won else None
    log.info("answering_decided_by", model=used is not None, trials=model.trial.asked if model is not None else 0)
    thresholds = Thresholds(
        answer=settings.answer_threshold,
        clarify=settings.clarify_threshold,
        long_answer=settings.long_answer_threshold,
    )
    answerer = Answerer(index, classifier, thresholds, answerable=used, costs=costs)
    return Decider(index=index, day=day, answerer=answerer, reason=reason)


def _labels(examples: Iterable[Example]) -> list[Label]:
    return [
        Label(text=one.text, article=one.article, right=one.right, weight=_WEIGHTS[one.source])
        for one in examples
        # The model decides about short messages only.
        if len(one.text) <= SHORT_CHARACTERS
    ]
