"""How a customer feels, as far as words show: sentiment and urgency of one message.

Sentiment is a linear model over the shipped encoder's vector; its numbers (`feelings.json`) were fitted by
`benchmarks.feelings` on sentences of product reviews and posts that twenty people each had rated. Urgency adds up
independent hints of `feelings.yaml`. What is done about either is the product's business.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from messages.answers import speaks_of_danger
from messages.encoder import DEFAULT_SHA256, load_encoder
from messages.languages import spoken

__all__ = ["Feeling", "feeling"]

_DATA = Path(__file__)
# As much as is searched for an answer, so that a message which was just asked is not encoded twice.
_READ = 4_000
# Whole words in capitals, at least so many of them, are shouting.
_SHOUTED = re.compile(r"\b[A-ZÄÖÜ]{3,}\b")
_SHOUTS = 4
_SHOUTING = 0.3
_EXCLAIMED = re.compile(r"!\s*!|[!?]{2,}")
_EXCLAIMING = 0.2


@dataclass(frozen=True, kw_only=True)
class Feeling:
    """How a message sounds.

    Attributes
    ----------
    sentiment : float or None
        -1 (as bad as it gets) to 1; None where the language is not English or the shipped encoder is absent, for which
        nothing was learned.
    urgency : float
        0 to 1: how strongly it asks for haste. Danger is 1. Hints are known in English, German, French and Spanish.
    """

    sentiment: float | None
    urgency: float


def feeling(text: str) -> Feeling:
    """Return how a customer's own words sound; a pure function of the text."""
    read = text.strip()[:_READ]
    return Feeling(sentiment=_sentiment(read), urgency=_urgency(read))


def _sentiment(text: str) -> float | None:
    if not text or spoken(text) != "en":
        return None
    encoder = load_encoder()
    if encoder is None:
        return None
    weights, intercept = _fitted()
    value = float(encoder.encode([text])[0].astype(np.float64) @ weights) + intercept
    return round(min(max(value, -1.0), 1.0), 4)


def _urgency(text: str) -> float:
    if not text:
        return 0.0
    if speaks_of_danger(text):
        return 1.0
    folded = " ".join(text.casefold().replace("’", "'").split())
    calm = 1.0
    for weight, pattern in _hints():
        if pattern.search(folded):
            calm *= 1.0 - weight
    if len(_SHOUTED.findall(text)) >= _SHOUTS:
        calm *= 1.0 - _SHOUTING
    if _EXCLAIMED.search(text):
        calm *= 1.0 - _EXCLAIMING
    return round(1.0 - calm, 4)


@cache
def _hints() -> tuple[tuple[float, re.Pattern[str]], ...]:
    tree = yaml.safe_load(_DATA.with_name("feelings.yaml").read_text(encoding="utf-8"))
    return tuple(
        (
            float(group["weight"]),
            re.compile("|".join(r"\b" + re.escape(one).replace(r"\*", r"\w*") + r"\b" for one in group["phrases"])),
        )
        for group in tree.values()
    )


@cache
def _fitted() -> tuple[NDArray[np.float64], float]:
    tree = json.loads(_DATA.with_name("feelings.json").read_text(encoding="utf-8"))
    if tree["encoder_sha256"] != DEFAULT_SHA256:
        raise ValueError("messages/feelings.json was fitted for another encoder; run python -m benchmarks.feelings fit")
    return np.asarray(tree["weights"], dtype=np.float64), float(tree["intercept"])
