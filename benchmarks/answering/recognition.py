"""Intents on real messages: the classifier beside each single representation of a text, taught and judged alike.

Banking77 is cross-validated (five folds; and taught by ten messages an intent, several draws). CLINC is taught by its training
part and judged on its validation part. HINT3's shops are cross-validated five times over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from benchmarks.answering.texts import SHOPS, RememberingEncoder, labelled, parsed, within
from messages.intents import IntentClassifier

__all__ = ["OURS", "Recognised", "banking", "banking_of_few", "clinc", "hint3"]

OURS = "IntentClassifier"
FOLDS, DRAWS, SHOTS = 5, 5, 10


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What one recogniser got right of a set.

    Attributes
    ----------
    accuracy : float
        Share of the messages with their own intent, mean over folds and draws.
    ahead : tuple of float, optional
        How far it is ahead of the classifier (mean, and the 95 % paired bootstrap interval over messages).
    auroc : float, optional
        Scope: messages in scope against those out of it.
    """

    data: str
    name: str
    accuracy: float
    ahead: tuple[float, float, float] | None = None
    auroc: float | None = None


def _recognisers(encoder: RememberingEncoder) -> dict[str, Callable[[], Any]]:
    def vectors(texts: Sequence[str]) -> NDArray[np.float64]:
        return encoder.encode(list(texts)).astype(np.float64)

    def words() -> Any:
        return make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC(random_state=0))

    def characters() -> Any:
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
        return make_pipeline(letters, LinearSVC(random_state=0))

    def alone() -> Any:
        return make_pipeline(FunctionTransformer(vectors), LogisticRegression(C=30.0, max_iter=500))

    return {
        OURS: lambda: IntentClassifier(encoder),
        "encoder alone": alone,
        "TF-IDF of words": words,
        "TF-IDF of characters": characters,
    }


def banking(folder: Path, encoder: RememberingEncoder) -> list[Recognised]:
    """Cross-validate on all of Banking77."""
    texts, labels = labelled(folder / "banking77_train.csv")
    splits = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(texts, labels)
    return _judged("Banking77", texts, labels, list(splits), encoder)


def banking_of_few(folder: Path, encoder: RememberingEncoder) -> list[Recognised]:
    """Teach ten messages an intent of Banking77, judge by the rest."""
    texts, labels = labelled(folder / "banking77_train.csv")
    wanted = np.array(labels)
    splits = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        taught = np.concatenate(
            [rng.permutation(np.flatnonzero(wanted == label))[:SHOTS] for label in np.unique(wanted)]
        )
        splits.append((taught, np.setdiff1d(np.arange(len(texts)), taught)))
    return _judged(f"Banking77, {SHOTS} an intent", texts, labels, splits, encoder)


def hint3(folder: Path, encoder: RememberingEncoder) -> Iterator[list[Recognised]]:
    """Cross-validate on each shop of HINT3, five times over."""
    for shop in SHOPS:
        texts, labels = labelled(folder / f"hint3_{shop}_train.csv")
        splits = [
            one for draw in range(DRAWS) for one in KFold(FOLDS, shuffle=True, random_state=draw).split(np.array(texts))
        ]
        yield _judged(f"HINT3 {shop}", texts, labels, splits, encoder)


def clinc(folder: Path, encoder: RememberingEncoder) -> list[Recognised]:
    """Teach CLINC's training part; judge accuracy and scope on its validation part."""
    parts = parsed(folder / "clinc150_train_val.json")
    texts, labels = zip(*parts["train"], strict=True)
    asked, wanted = zip(*parts["val"], strict=True)
    outside = [text for text, _ in parts["oos_val"]]
    in_scope = [1] * len(asked) + [0] * len(outside)
    right: dict[str, NDArray[np.float64]] = {}
    scope: dict[str, float] = {}
    for name, made in _recognisers(encoder).items():
        print(f"CLINC: {name}", file=sys.stderr, flush=True)
        model = made().fit(list(texts), list(labels))
        right[name] = (np.asarray(model.predict(list(asked))) == np.array(wanted)).astype(float)
        scope[name] = float(roc_auc_score(in_scope, _scope(model, [*asked, *outside])))
    return _beside("CLINC validation", right, scope)


def _scope(model: Any, texts: list[str]) -> NDArray[np.float64]:
    """Return how surely texts are in scope: the classifier's own score, else the winner's probability or margin."""
    if hasattr(model, "scope_score"):
        return np.asarray(model.scope_score(texts))
    sure = model.predict_proba(texts) if hasattr(model, "predict_proba") else model.decision_function(texts)
    return np.asarray(sure.max(axis=1))


def _judged(
    data: str,
    texts: list[str],
    labels: list[str],
    splits: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    encoder: RememberingEncoder,
) -> list[Recognised]:
    every, wanted = np.array(texts, dtype=object), np.array(labels)
    right: dict[str, NDArray[np.float64]] = {}
    asked = np.zeros(len(texts))
    for _, judged in splits:
        asked[judged] += 1
    for name, made in _recognisers(encoder).items():
        hits = np.zeros(len(texts))
        for number, (taught, judged) in enumerate(splits, 1):
            print(f"\r{data}: {name}, {number} of {len(splits)} ", end="", file=sys.stderr, flush=True)
            model = made().fit(list(every[taught]), list(wanted[taught]))
            hits[judged] += np.asarray(model.predict(list(every[judged]))) == wanted[judged]
        print(file=sys.stderr)
        right[name] = (hits / np.maximum(asked, 1))[asked > 0]
    return _beside(data, right, {})


def _beside(data: str, right: dict[str, NDArray[np.float64]], scope: dict[str, float]) -> list[Recognised]:
    found = []
    for name, hits in right.items():
        gap = hits - right[OURS]
        ahead = None if name == OURS else (float(gap.mean()), *within(gap))
        found.append(Recognised(data=data, name=name, accuracy=float(hits.mean()), ahead=ahead, auroc=scope.get(name)))
    return found
