"""What customers ask and no article answers: questions grouped into gaps, named, and ranked by whom they affect.

Reading them is `bot.store.unanswered`'s business. Nothing here depends on the order of the questions, and a question
that is like no other changes no other group.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from bot.services.knowledge.quoting import quoted
from bot.store.unanswered import AgentReply, Unanswered
from messages.encoder import TextEncoder
from messages.knowledge import words

__all__ = ["SAME_QUESTION", "Gap", "find_gaps", "most_representative"]

# Measured on StackFAQ: .83 of the pairs of rephrasings of one question lie above, .002 of the pairs of two questions.
SAME_QUESTION = 0.6
MAX_CHARACTERS = 2_000
MAX_EXAMPLES = 3
NAMING_WORDS = 3
# So many rows of the table of nearness are held at a time.
ROWS_A_TIME = 512


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A question that customers ask and no article answers.

    Attributes
    ----------
    rank : int
        1 is the gap that affects most.
    name : str
        Its most telling words: frequent in it, rare in other gaps and in the articles.
    question : str
        The customers' wording that is nearest to most others, quoted.
    affected : float
        The customers' predicted risk summed, where 1 stands for a customer of whom nothing was predicted.
    unhelpful : int
        How many of the questions were answered from an article that did not help; the others were handed over.
    replies : tuple of AgentReply
        What agents wrote to these questions, oldest first.
    names : tuple of str
        The customers' names, to be left out of what is quoted.
    """

    rank: int
    name: str
    question: str
    examples: tuple[str, ...]
    times: int
    customers: int
    affected: float
    unhelpful: int
    utterance_ids: tuple[int, ...]
    replies: tuple[AgentReply, ...]
    names: tuple[str, ...]

    @property
    def risk(self) -> float:
        """The mean predicted risk of the customers, 0 to 1."""
        return self.affected / self.customers

    def line(self) -> dict[str, Any]:
        """Return the gap as JSON."""
        return {
            "rank": self.rank,
            "name": self.name,
            "question": self.question,
            "examples": list(self.examples),
            "times": self.times,
            "customers": self.customers,
            "risk": round(self.risk, 4),
            "affected": round(self.affected, 4),
            "unhelpful": self.unhelpful,
            "utterances": list(self.utterance_ids),
            "replies": [reply.utterance_id for reply in self.replies],
        }


def find_gaps(
    asked: Iterable[Unanswered],
    replies: Iterable[AgentReply] = (),
    *,
    encoder: TextEncoder | None = None,
    background: Iterable[str] = (),
) -> list[Gap]:
    """Group questions into gaps, the gap that affects most first.

    Parameters
    ----------
    asked : iterable of Unanswered
        In any order; each lands in exactly one gap.
    replies : iterable of AgentReply
        What agents replied to them.
    encoder : TextEncoder, optional
        Judges which questions are one; without it their common words do.
    background : iterable of str
        Texts of the shop's articles: what is common there names no gap.
    """
    ordered = sorted(asked, key=lambda one: one.utterance_id)
    groups = _groups(ordered, encoder)
    namings = _name(
        [[words(quoted(one.text, 500, names=_names(group))) for one in group] for group in groups], background
    )
    answers = sorted(replies, key=lambda one: one.utterance_id)
    gaps = [_gap(group, name, answers) for group, name in zip(groups, namings, strict=True)]
    gaps.sort(key=lambda gap: (-round(gap["affected"], 9), -gap["customers"], -gap["times"], gap["utterance_ids"]))
    return [Gap(rank=rank, **gap) for rank, gap in enumerate(gaps, 1)]


def most_representative(gap: Gap, encoder: TextEncoder | None = None) -> AgentReply | None:
    """Return the agents' reply that is nearest to the others and to the question; None where nobody replied."""
    if not gap.replies:
        return None
    near = _nearness([gap.question, *(reply.text[:MAX_CHARACTERS] for reply in gap.replies)], encoder)
    sums = near(np.arange(1, len(gap.replies) + 1)).sum(axis=1)
    return gap.replies[int(np.argmax(np.round(sums, 6)))]


def _gap(group: Sequence[Unanswered], name: str, replies: Sequence[AgentReply]) -> dict[str, Any]:
    names = _names(group)
    risks: dict[str, list[float]] = {}
    for one in group:
        who = f"thread {one.conversation_id}" if one.customer_id is None else str(one.customer_id)
        risks.setdefault(who, []).extend([] if one.risk is None else [one.risk])
    examples = dict.fromkeys(quoted(one.text, names=names) for one in group)
    ids = {one.utterance_id for one in group}
    return {
        "name": name or quoted(group[0].text, 30, names=names),
        "question": next(iter(examples)),
        "examples": tuple(examples)[:MAX_EXAMPLES],
        "times": len(group),
        "customers": len(risks),
        "affected": math.fsum(max(known, default=1.0) for known in risks.values()),
        "unhelpful": sum(one.unhelpful for one in group),
        "utterance_ids": tuple(sorted(ids)),
        "replies": tuple(reply for reply in replies if reply.question_id in ids),
        "names": names,
    }


def _names(group: Sequence[Unanswered]) -> tuple[str, ...]:
    return tuple(sorted({one.name for one in group if one.name}))


def _groups(asked: Sequence[Unanswered], encoder: TextEncoder | None) -> list[list[Unanswered]]:
    """Group by the neighbours that each question has: who has most founds a group of those still free.

    Source: D. Butina, J. Chem. Inf. Comput. Sci. 39 (1999) 747, with ties broken by the text. A group's first is its
    founder, the others follow from near to far.
    """
    rows: dict[str, list[Unanswered]] = {}
    for one in asked:
        rows.setdefault(" ".join(one.text[:MAX_CHARACTERS].casefold().split()), []).append(one)
    texts = sorted(rows)
    near = _nearness(texts, encoder)
    times = np.array([len(rows[text]) for text in texts])
    weight: list[int] = []
    for start in range(0, len(texts), ROWS_A_TIME):
        table = near(np.arange(start, min(start + ROWS_A_TIME, len(texts))))
        weight += ((table >= SAME_QUESTION) @ times).tolist()
    free = np.ones(len(texts), dtype=bool)
    groups = []
    for founder in sorted(range(len(texts)), key=lambda row: (-weight[row], row)):
        if not free[founder]:
            continue
        values = np.round(near(np.array([founder]))[0], 6)
        values[founder] = 2.0  # whatever an encoder says of a text and itself
        members = np.flatnonzero(free & (values >= SAME_QUESTION))
        free[members] = False
        nearest_first = members[np.argsort(-values[members], kind="stable")]
        groups.append([one for member in nearest_first.tolist() for one in rows[texts[member]]])
    return groups


def _nearness(texts: Sequence[str], encoder: TextEncoder | None) -> Callable[[Any], Any]:
    """Return what gives, for some rows, how near each is to every text: a cosine, or the share of common words."""
    if encoder is not None and texts:
        vectors = encoder.encode(list(texts))
        return lambda rows: vectors[rows] @ vectors.T
    sets = [set(words(text)) or {text} for text in texts]
    columns: dict[str, int] = {}
    for one in sets:
        for word in one:
            columns.setdefault(word, len(columns))
    ends = np.cumsum([0, *(len(one) for one in sets)])
    cells = np.array([columns[word] for one in sets for word in one], dtype=np.int64)
    held = csr_array((np.ones(len(cells)), cells, ends), shape=(len(sets), len(columns)))
    sizes = np.diff(ends)

    def overlap(rows: Any) -> Any:
        common = (held[rows] @ held.T).toarray()
        return common / (sizes[rows][:, np.newaxis] + sizes - common)

    return overlap


def _name(groups: Sequence[Sequence[Sequence[str]]], background: Iterable[str]) -> list[str]:
    """Return the most telling words of each group: questions that hold a word, by its rarity in everything else."""
    held = [Counter(word for question in group for word in set(question)) for group in groups]
    others = [set(words(text)) for text in background]
    spread = Counter(word for counts in held for word in counts) + Counter(word for text in others for word in text)
    total = len(held) + len(others)
    named = []
    for group, counts in zip(groups, held, strict=True):
        place = {word: -at for question in reversed(group) for at, word in reversed(list(enumerate(question)))}
        best = sorted(
            (word for word in counts if len(word) > 2 and word not in ("address", "number", "name")),
            key=lambda word: (-counts[word] * math.log((total + 1) / spread[word]), -len(word), word),
        )[:NAMING_WORDS]
        # In the order in which they were said.
        named.append(" ".join(sorted(best, key=lambda word: (-place[word], word))))
    return named
