"""Long, messy messages over articles that are easily confused: answered right, wrong, or left to a human.

`tests/data/messy` says how they were made. Beside the product stands a single similarity threshold over its search as it is for
short messages (the whole message as it came, and the sentences that ask), chosen on the same half as the product's own, and the best
one that could have been chosen knowing all answers, at the price of at most 5 % of all messages answered wrongly.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.answering.texts import RememberingEncoder
from messages.answers import Answerer, Decision, known_intents
from messages.knowledge import Article, KnowledgeIndex

__all__ = ["PRICE", "Handled", "handled"]

DATA = Path(__file__).parents[2] / "tests" / "data" / "messy"
PRICE = 0.05


@dataclass(frozen=True, kw_only=True)
class Handled:
    """What became of the messages of one half, or of all."""

    part: str
    name: str
    messages: int
    answerable: int
    right: int
    wrong: int


def handled(encoder: RememberingEncoder) -> list[Handled]:
    """Answer all messages in each way."""
    messages = [json.loads(line) for line in (DATA / "messages.jsonl").read_text(encoding="utf-8").splitlines()]
    index = KnowledgeIndex.build(
        [Article(**one) for one in yaml.safe_load((DATA / "articles.yaml").read_text(encoding="utf-8"))], encoder
    )
    answerer = Answerer(index, known_intents(encoder))
    ours = [_said(answerer, message) for message in messages]
    scored = [_scored(index, message) for message in messages]
    choosing = [found for found, message in zip(scored, messages, strict=True) if message["part"] == "dev"]
    chosen = _threshold(choosing)
    rows: list[Handled] = []
    for part in ("dev", "test", "all"):
        kept = [number for number, message in enumerate(messages) if part in (message["part"], "all")]
        known = [scored[number] for number in kept]
        ways = {
            "Answerer": [ours[number] for number in kept],
            f"threshold {chosen:.2f}, chosen on dev": [right if score >= chosen else None for score, right in known],
            "best threshold in hindsight": [right if score >= _threshold(known) else None for score, right in known],
        }
        rows += [
            Handled(
                part=part,
                name=name,
                messages=len(kept),
                answerable=sum(bool(messages[number]["articles"]) for number in kept),
                right=outcomes.count(True),
                wrong=outcomes.count(False),
            )
            for name, outcomes in ways.items()
        ]
    return rows


def _said(answerer: Answerer, message: dict[str, Any]) -> bool | None:
    """Return whether the answer was right, None where no article was quoted."""
    answer = answerer.answer(message["text"], may_clarify=False)
    if answer.decision is not Decision.ANSWER:
        return None
    return answer.article is not None and answer.article.id in message["articles"]


def _scored(index: KnowledgeIndex, message: dict[str, Any]) -> tuple[float, bool]:
    """Return the score of the nearest article of all, and whether it is right."""
    whole = message["text"].strip()
    asking = [part for part in re.split(r"(?<=[.!?])\s+|\n+", whole) if part.endswith("?") and len(part) > 10]
    hits = [hit for found in index.search_many([whole, *asking[:6]], 1) for hit in found]
    best = max(hits, key=lambda hit: hit.score)
    return best.score, best.article_id in message["articles"]


def _threshold(known: list[tuple[float, bool]]) -> float:
    """Return the threshold that answers most right at the price."""
    best, most = 1.01, 0
    for bar in sorted({score for score, _ in known}):
        said = [right for score, right in known if score >= bar]
        if said.count(False) <= PRICE * len(known) and said.count(True) > most:
            best, most = bar, said.count(True)
    return best
