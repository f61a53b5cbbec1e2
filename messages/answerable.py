"""How probable it is that the nearest article answers a short message, learned from the shop's own articles.

Each sample question is asked of an index that does not hold it, once with its article (the answer is right where that one
comes first) and once without (no answer is right). A logistic regression on how near and how far ahead
the first article is says how probable a right answer is. `Trial` says whether that was cheaper than a threshold on articles that
it did not learn from; only then it may decide. What a mistake costs against a hand-over is the shop's to say; searching is
`messages.knowledge`'s business, deciding `messages.answers`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from messages.encoder import TextEncoder, Vectors
from messages.knowledge import Article, Hit, KnowledgeIndex

__all__ = ["Answerability", "Costs", "Label", "Trial", "coverage_at"]

# The smallest shop on which this was measured has so many articles with so many sample questions each. An article of four
# is a quarter poorer without the one that is asked, and what is learned from such is far too shy.
LEAST_ARTICLES, LEAST_QUESTIONS = 19, 5
# Beyond, all questions would have to be compared with too many texts while a customer waits: the threshold decides.
MOST_ARTICLES = 500
# Of many sample questions so many are asked, evenly over all: more change the few weights no longer.
MOST_ASKED = 600
FOLDS = 5
# Of .1, .3, 1 and 10 the one with the least log loss on HINT3's sample questions, by articles that were left out.
_C = 1.0
_NEAREST = 5
_BATCH = 64

Features = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a wrong answer and a hand-over cost, in any unit."""

    wrong_answer: float = 20.0
    handoff: float = 1.0

    @property
    def least_probability(self) -> float:
        """From which probability of being right an answer costs less than a hand-over."""
        return 1.0 - self.handoff / self.wrong_answer

    def worth_answering(self, probability: float) -> bool:
        """Return whether an answer is expected to cost less than a hand-over."""
        return (1.0 - probability) * self.wrong_answer < self.handoff


@dataclass(frozen=True, kw_only=True)
class Label:
    """What somebody said about which article answers a message.

    Attributes
    ----------
    article : str or None
        None: no article answers it.
    right : bool
        False: this article does not answer it.
    weight : float
        How many sample questions it counts as.
    """

    text: str
    article: str | None
    right: bool = True
    weight: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How the model did on sample questions of articles that it had not seen, half of them unanswerable.

    Attributes
    ----------
    asked, right, wrong : int
        How many were asked, answered right and answered wrong; the others were handed over.
    cost, threshold_cost : float
        What that cost, and what the threshold cost that would decide otherwise.
    matched : int
        How many the model could answer right at the threshold's precision.
    threshold_right, threshold_wrong : int
        How many the threshold answered right and wrong.
    """

    asked: int
    right: int
    wrong: int
    cost: float
    matched: int
    threshold_right: int
    threshold_wrong: int
    threshold_cost: float

    @property
    def won(self) -> bool:
        """Whether the model answered, was cheaper, and could answer no fewer right at the threshold's own precision."""
        return self.right > 0 and self.cost < self.threshold_cost and self.matched >= self.threshold_right


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What was asked: features, scores, whether the first article was right, and whose question it was."""

    features: Features
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    weights: NDArray[np.float64]
    groups: NDArray[np.int64]


class Answerability:
    """Says how probable it is that the first article found answers a message; made by `Answerability.fit`."""

    def __init__(self, likeness: _Likeness, scaler: StandardScaler, model: LogisticRegression, trial: Trial) -> None:
        self._likeness = likeness
        self._scaler = scaler
        self._model = model
        self.trial = trial

    @classmethod
    def fit(
        cls, index: KnowledgeIndex, labels: Iterable[Label] = (), *, costs: Costs | None = None, threshold: float = 0.62
    ) -> Answerability | None:
        """Learn from the articles of an index, and from labelled messages.

        Parameters
        ----------
        labels : iterable of Label
            Beside the sample questions; such about articles that are no longer there are left out.
        threshold : float
            The score from which articles are said where no model decides.

        Returns
        -------
        Answerability or None
            None where there is no encoder, too little to learn from or too much to go through. Whether it is better
            than the threshold is said by its `trial`.
        """
        questioned = [one for one in index.articles if len(one.questions) >= LEAST_QUESTIONS]
        if index.encoder is None or len(questioned) < LEAST_ARTICLES or len(index.articles) > MOST_ARTICLES:
            return None
        rows = _asked(index, index.encoder)
        likeness = _Likeness(index.articles)
        taught = _labelled(index, likeness, labels)
        if len(set(rows.right.tolist())) < 2:
            return None
        scaler, model = _fitted(rows, taught)
        return cls(likeness, scaler, model, _trial(rows, taught, costs or Costs(), threshold))

    def probability(self, query: str, hits: Sequence[Hit]) -> float:
        """Return how probable it is that the first of the articles found by a query answers it, 0 to 1."""
        if not hits:
            return 0.0
        row = _features(self._likeness, query, hits).reshape(1, -1)
        return float(self._model.predict_proba(self._scaler.transform(row))[0, 1])


class _Likeness:
    """How many characters in a row a message shares with the headings of each article."""

    def __init__(self, articles: Sequence[Article]) -> None:
        headings = [(text, row) for row, one in enumerate(articles) for text in (one.questions or (one.title,))]
        self._vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
        self._matrix = self._vectorizer.fit_transform([text for text, _ in headings])
        self._ids = [one.id for one in articles]
        self._starts = np.searchsorted([row for _, row in headings], range(len(articles)))

    def __call__(self, query: str) -> dict[str, float]:
        """Return the likeness, 0 to 1, of each article."""
        like = (self._vectorizer.transform([query]) @ self._matrix.T).toarray()[0]
        return dict(zip(self._ids, np.maximum.reduceat(like, self._starts).tolist(), strict=True))


class _Known:
    """An encoder that does not run for texts whose vectors an index has."""

    def __init__(self, index: KnowledgeIndex, encoder: TextEncoder) -> None:
        self._vectors = index.vectors
        self._encoder = encoder
        self.name = encoder.name

    def encode(self, texts: Sequence[str]) -> Vectors:
        if all(text in self._vectors for text in texts) and texts:
            return np.stack([self._vectors[text] for text in texts])
        return self._encoder.encode(texts)


def _features(likeness: _Likeness, query: str, hits: Sequence[Hit]) -> Features:
    """Return how near the first article is, how far ahead of the others, and whether each way of looking agrees."""
    first = hits[0]
    scores = [hit.score for hit in hits[:_NEAREST]] + [0.0] * (_NEAREST - len(hits[:_NEAREST]))
    # An article that was left out is no rival.
    known = likeness(query)
    like = [known[hit.article_id] for hit in hits[:_NEAREST]]
    return np.array(
        [
            first.heading,
            first.section,
            like[0],
            like[0] - max(like[1:], default=0.0),
            scores[0],
            scores[0] - scores[1],
            scores[1] - scores[2],
            first.heading >= max(hit.heading for hit in hits),
        ],
        dtype=np.float64,
    )


def _asked(index: KnowledgeIndex, encoder: TextEncoder) -> _Rows:
    """Ask the sample questions of an index without them, with and without their articles."""
    known = _Known(index, encoder)
    step = max(1, -(-sum(len(one.questions) for one in index.articles) // MOST_ASKED))
    kept: list[tuple[Features, float, bool, int]] = []
    for fold in range(FOLDS):
        # An article keeps at least its other questions: one of only a few loses one at a time.
        left = [[q for at, q in enumerate(one.questions) if at % FOLDS == fold] for one in index.articles]
        rest = [
            replace(one, questions=[q for at, q in enumerate(one.questions) if at % FOLDS != fold])
            for one in index.articles
        ]
        without = KnowledgeIndex.build(rest, known)
        likeness = _Likeness(rest)
        every = [(q, row) for row, texts in enumerate(left) for q in texts][fold % step :: step]
        for locale in sorted({one.locale for one in index.articles}):
            own = [(q, row) for q, row in every if index.articles[row].locale == locale]
            for start in range(0, len(own), _BATCH):
                batch = own[start : start + _BATCH]
                texts = [q for q, _ in batch]
                ids = [index.articles[row].id for _, row in batch]
                found = without.search_many(texts, _NEAREST, locale=locale)
                absent = without.search_many(texts, _NEAREST, locale=locale, without=ids)
                for (text, row), key, hits, others in zip(batch, ids, found, absent, strict=True):
                    for near in (hits, others):
                        if near:
                            right = near[0].article_id == key
                            kept.append((_features(likeness, text, near), near[0].score, right, row))
    return _Rows(
        features=np.array([one[0] for one in kept]),
        scores=np.array([one[1] for one in kept]),
        right=np.array([one[2] for one in kept], dtype=bool),
        weights=np.ones(len(kept)),
        groups=np.array([one[3] for one in kept], dtype=np.int64),
    )


def _labelled(index: KnowledgeIndex, likeness: _Likeness, labels: Iterable[Label]) -> _Rows | None:
    """Return what labels say about the article that is found first for their messages."""
    there = {one.id for one in index.articles}
    kept = [one for one in labels if one.text.strip() and (one.article is None or one.article in there)]
    rows: list[tuple[Features, float, bool, float]] = []
    for label, hits in zip(kept, index.search_many([one.text for one in kept], _NEAREST), strict=True):
        first = hits[0].article_id if hits else None
        # That another article is wrong says nothing about this one.
        if first is not None and (label.right or label.article == first):
            right = label.right and label.article == first
            rows.append((_features(likeness, label.text, hits), hits[0].score, right, label.weight))
    if not rows:
        return None
    return _Rows(
        features=np.array([one[0] for one in rows]),
        scores=np.array([one[1] for one in rows]),
        right=np.array([one[2] for one in rows], dtype=bool),
        weights=np.array([one[3] for one in rows]),
        groups=np.full(len(rows), -1),
    )


def _fitted(rows: _Rows, taught: _Rows | None) -> tuple[StandardScaler, LogisticRegression]:
    scaler = StandardScaler().fit(rows.features)
    features, right, weights = rows.features, rows.right, rows.weights
    if taught is not None:
        features = np.vstack([features, taught.features])
        right = np.concatenate([right, taught.right])
        weights = np.concatenate([weights, taught.weights])
    model = LogisticRegression(C=_C, max_iter=500).fit(scaler.transform(features), right, sample_weight=weights)
    return scaler, model


def _trial(rows: _Rows, taught: _Rows | None, costs: Costs, threshold: float) -> Trial:
    """Compare with the threshold on the questions of articles that were left out of learning."""
    likely = np.zeros(len(rows.right))
    for fold in range(FOLDS):
        judged = rows.groups % FOLDS == fold
        learned = _Rows(
            features=rows.features[~judged],
            scores=rows.scores[~judged],
            right=rows.right[~judged],
            weights=rows.weights[~judged],
            groups=rows.groups[~judged],
        )
        if judged.any() and len(set(learned.right.tolist())) == 2:
            scaler, model = _fitted(learned, taught)
            likely[judged] = model.predict_proba(scaler.transform(rows.features[judged]))[:, 1]
    said, passed = likely > costs.least_probability, rows.scores >= threshold
    right, wrong = int((said & rows.right).sum()), int((said & ~rows.right).sum())
    good, bad = int((passed & rows.right).sum()), int((passed & ~rows.right).sum())
    precision = good / max(good + bad, 1)
    return Trial(
        asked=len(said),
        right=right,
        wrong=wrong,
        cost=wrong * costs.wrong_answer + (len(said) - right - wrong) * costs.handoff,
        matched=_right_at(likely, rows.right, precision),
        threshold_right=good,
        threshold_wrong=bad,
        threshold_cost=bad * costs.wrong_answer + (len(said) - good - bad) * costs.handoff,
    )


def coverage_at(scores: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> float:
    """Return the largest share that can be answered, highest scores first, with such a precision."""
    return _answered_at(scores, right, precision) / max(len(right), 1)


def _right_at(scores: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> int:
    """Return how many of those are right."""
    order = np.argsort(-scores, kind="stable")
    return int(right[order][: _answered_at(scores, right, precision)].sum())


def _answered_at(scores: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> int:
    order = np.argsort(-scores, kind="stable")
    ranked, values = right[order], scores[order]
    share = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    # A bar cannot part equal scores.
    ends = np.append(values[:-1] > values[1:], True) if len(values) else np.zeros(0, dtype=bool)
    held = np.flatnonzero(ends & (share >= precision - 1e-9))
    return int(held[-1]) + 1 if len(held) else 0
