"""What a message is about, and whether it is about anything known: an intent classifier with out-of-scope.

Words and characters (TF-IDF) stand beside the encoder's sentence vectors; each has its own linear model and
the two are multiplied. Scope is judged from the winner's probability and from how near the nearest known
messages are. The intents that Aftercare always knows and what is done about them are in `messages.answers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted

from messages.encoder import TextEncoder, load_encoder
from messages.errors import IntentError

__all__ = ["Intent", "IntentClassifier"]

# Measured on CLINC's validation part (accuracy in scope / AUROC of scope): encoder alone .959 / .956, words and
# characters alone .928 / .948, product of both .968 / .976, the same with the neighbours' nearness .968 / .988.
_MARGIN_SHARPNESS = 3.0
_WEIGHT_PROBABILITY = 0.5
_WEIGHT_NEIGHBOURS = 5.0
_NEIGHBOURS = 5
# So many texts are compared with all known ones at a time, for the sake of memory.
_CHUNK = 512
_WORD = r"(?u)\b\w+\b"


@dataclass(frozen=True)
class Intent:
    """A decision about one text: its intent, or None where it is out of scope."""

    label: str | None
    confidence: float


class IntentClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Intent of short texts, in scikit-learn's conventions.

    Parameters
    ----------
    encoder : TextEncoder, optional
        None takes the installed default; where there is none, TF-IDF answers alone.
    lexical_only : bool
        Use no encoder even where one is installed.
    encoder_cost, lexical_cost : float
        Inverse regularisation of the two models.
    scope_threshold : float
        Texts whose `scope_score` lies below it are out of scope in `decide`.
    seed : int
        For the linear models' coordinate order.
    """

    def __init__(
        self,
        encoder: TextEncoder | None = None,
        *,
        lexical_only: bool = False,
        encoder_cost: float = 30.0,
        lexical_cost: float = 0.5,
        scope_threshold: float = 0.5,
        seed: int = 0,
    ) -> None:
        self.encoder = encoder
        self.lexical_only = lexical_only
        self.encoder_cost = encoder_cost
        self.lexical_cost = lexical_cost
        self.scope_threshold = scope_threshold
        self.seed = seed

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> Self:
        """Learn from labelled texts.

        Raises
        ------
        IntentError
            No texts, as many labels as texts, or fewer than two intents.
        """
        texts = _texts(texts)
        wanted = np.asarray(list(labels), dtype=object)
        if len(texts) != len(wanted) or not texts:
            raise IntentError(f"{len(texts)} texts and {len(wanted)} labels: give one label a text, and at least one")
        self.classes_, rows = np.unique(wanted.astype(str), return_inverse=True)
        if len(self.classes_) < 2:
            raise IntentError("a classifier needs examples of at least two intents")
        self._encoder = None if self.lexical_only else (self.encoder or load_encoder())
        self._lexicon = FeatureUnion(
            [
                ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD)),
                ("characters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)),
            ]
        )
        try:
            lexical = self._lexicon.fit_transform(texts)
        except ValueError as error:
            raise IntentError(f"the texts hold no words to learn from ({error})") from error
        self._lexical_model = LinearSVC(C=self.lexical_cost, random_state=self.seed).fit(lexical, rows)
        self._known = lexical
        if self._encoder is not None:
            self._known = self._encoder.encode(texts)
            self._encoder_model = LogisticRegression(C=self.encoder_cost, max_iter=500).fit(
                self._known.astype(np.float64), rows
            )
        self._neighbours = min(_NEIGHBOURS, max(1, int(np.median(np.bincount(rows)) // 2)))
        return self

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the probabilities of the intents, shape (n, intents), columns as in `classes_`."""
        return self._judge(texts)[0]

    def predict(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return the likeliest intent of each text, in scope or not."""
        likeliest = self.predict_proba(texts).argmax(axis=1)
        return np.asarray(self.classes_[likeliest])

    def scope_score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return how surely each text is in scope, shape (n,), between 0 and 1."""
        return self._judge(texts)[1]

    def decide(self, texts: Sequence[str]) -> list[Intent]:
        """Return an intent or None (out of scope) for each text."""
        probabilities, scope = self._judge(texts)
        return [
            Intent(str(self.classes_[row.argmax()]) if in_scope >= self.scope_threshold else None, float(row.max()))
            for row, in_scope in zip(probabilities, scope, strict=True)
        ]

    def _judge(self, texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        check_is_fitted(self, "classes_")
        every = _texts(texts)
        if not every:
            return np.zeros((0, len(self.classes_))), np.zeros(0)
        parts = [self._judge_some(every[start : start + _CHUNK]) for start in range(0, len(every), _CHUNK)]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _judge_some(self, texts: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        lexical = self._lexicon.transform(texts)
        probabilities = _softmax(_MARGIN_SHARPNESS * _columns(self._lexical_model.decision_function(lexical)))
        vectors: Any = lexical
        if self._encoder is not None:
            vectors = self._encoder.encode(texts)
            meant = self._encoder_model.predict_proba(vectors.astype(np.float64))
            probabilities = np.sqrt(probabilities * meant)
            probabilities /= probabilities.sum(axis=1, keepdims=True)
        nearness = vectors @ self._known.T
        dense = np.asarray(nearness.todense() if hasattr(nearness, "todense") else nearness, dtype=np.float64)
        if self._encoder is None:
            dense = dense / 2  # two TF-IDF blocks of unit length each
        k = min(self._neighbours, dense.shape[1])
        near = -np.partition(-dense, k - 1, axis=1)[:, :k].mean(axis=1)
        raw = _WEIGHT_PROBABILITY * np.log(probabilities.max(axis=1)) + _WEIGHT_NEIGHBOURS * near
        # Centred where CLINC's and HINT3's out-of-scope messages balance; only the order matters to AUROC.
        return probabilities, 1.0 / (1.0 + np.exp(-2.0 * (raw - _SCOPE_CENTRE)))


_SCOPE_CENTRE = 2.5


def _texts(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str):
        raise IntentError("pass a list of texts, not one text")
    return [str(text)[:4_000] for text in texts]


def _columns(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([-margins, margins]) if margins.ndim == 1 else margins


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
