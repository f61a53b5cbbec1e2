"""Predicting the same rows again with some features changed: for reasons and shocks, many times over.

Models of which `predictors.additive` knows the parts are asked quickly, all others by a whole prediction; both say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from predictors.additive import Changes, Linear, Part, Trees
from predictors.frames import FEW_ROWS, Array, FrameEncoder, expit, logit
from predictors.issue import BlendModel, BoostingModel, LogisticModel
from predictors.kinds import KINDS, PRIOR_EACH, KindModel
from predictors.model import TrainedModel

__all__ = ["Predicted", "kind_shares", "predicted"]

Values = Mapping[str, float | str | None]


class Predicted(Protocol):
    """Rows with what the model predicts for them, (n,)."""

    @property
    def probabilities(self) -> Array: ...

    def with_values(self, cases: Sequence[Values]) -> Array:
        """Predict with some features at the same value in all rows, (cases, n)."""

    def with_columns(self, cases: Sequence[Mapping[str, pl.Series]]) -> Array:
        """Predict with some features replaced row by row, (cases, n)."""


def predicted(model: TrainedModel, frame: pl.DataFrame, probabilities: Array | None = None) -> Predicted:
    """Predict rows, ready to be predicted again.

    Parameters
    ----------
    probabilities : array, (n,), optional
        What the model predicts for the rows, where that is known already.
    """
    if not frame.height:
        return _Whole(model, frame, np.empty(0))
    parts = _parts(model.estimator)
    if parts is None or type(model) is not TrainedModel:
        known = model.probabilities(frame) if probabilities is None else probabilities
        return _Whole(model, frame, known)
    encoder, additive = parts
    return _InParts(model, encoder, additive, model.taken(frame), probabilities)


@dataclass(frozen=True)
class _Whole:
    """Any model: each change is a prediction of the rows that it changes."""

    model: TrainedModel
    frame: pl.DataFrame
    probabilities: Array

    def with_values(self, cases: Sequence[Values]) -> Array:
        return np.stack([self._with(case) for case in cases]) if cases else np.empty((0, self.frame.height))

    def with_columns(self, cases: Sequence[Mapping[str, pl.Series]]) -> Array:
        shaken = [self.model.probabilities(self.frame.with_columns(_named(case))) for case in cases]
        return np.stack(shaken) if shaken else np.empty((0, self.frame.height))

    def _with(self, values: Values) -> Array:
        typical = [pl.lit(value).cast(self.frame.schema[name]).alias(name) for name, value in values.items()]
        unusual = self.frame.select(
            pl.any_horizontal(
                pl.col(name).ne_missing(value) for name, value in zip(values, typical, strict=True)
            ).alias("_")
        )["_"]
        result = self.probabilities.copy()
        if unusual.any():
            result[unusual.to_numpy()] = self.model.probabilities(self.frame.filter(unusual).with_columns(typical))
        return result


class _InParts:
    """A model whose log-odds are known in parts."""

    def __init__(
        self,
        model: TrainedModel,
        encoder: FrameEncoder,
        parts: Sequence[Part],
        frame: pl.DataFrame,
        probabilities: Array | None,
    ) -> None:
        self._model = model
        self.encoder = encoder
        self._parts = parts
        self._frame = frame
        # Column by column in memory: parts read single columns.
        self.matrix = np.asfortranarray(encoder.transform(frame))
        self._places = _places(encoder)
        self._scores = [part.scores(self.matrix)[0] for part in parts]
        self.probabilities = self._linked(self._scores) if probabilities is None else probabilities

    def with_values(self, cases: Sequence[Values]) -> Array:
        return self._changed([self._constants(case) for case in cases])

    def with_columns(self, cases: Sequence[Mapping[str, pl.Series]]) -> Array:
        if any(not self.encoder.categories_.keys().isdisjoint(case) for case in cases):
            return _Whole(self._model, self._frame, self.probabilities).with_columns(cases)
        return self._changed(
            [
                {self._places[name][0]: _numbers(one) for name, one in case.items() if name in self._places}
                for case in cases
            ]
        )

    def _changed(self, cases: Sequence[Changes]) -> Array:
        if not cases:
            return np.empty((0, len(self.matrix)))
        return self._linked(
            [score + part.changes(self.matrix, cases) for score, part in zip(self._scores, self._parts, strict=True)]
        )

    def _linked(self, scores: Sequence[Array]) -> Array:
        # Of one part its own probability, of several the mean log-odds, bounded as `predictors.issue.BlendModel` does.
        if len(scores) == 1:
            return self._model.calibrator.transform(expit(scores[0]))
        bounded = [logit(expit(score)) for score in scores]
        return self._model.calibrator.transform(expit(np.mean(bounded, axis=0)))

    def _constants(self, values: Values) -> dict[int, float]:
        found: dict[int, float] = {}
        for name, value in values.items():
            if name in self.encoder.categories_:
                levels = self.encoder.categories_[name]
                found |= {place: float(value == level) for place, level in zip(self._places[name], levels, strict=True)}
            else:
                found[self._places[name][0]] = float("nan") if value is None else float(value)
        return found


def _numbers(column: pl.Series) -> Array:
    # Of few values this is far quicker than two steps of Polars.
    if len(column) <= FEW_ROWS:
        return np.array([np.nan if value is None else value for value in column.to_list()], dtype=np.float64)
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _named(case: Mapping[str, pl.Series]) -> list[pl.Series]:
    return [column.alias(name) for name, column in case.items()]


def _places(encoder: FrameEncoder) -> dict[str, list[int]]:
    """Return the columns of the matrix that stand for each feature."""
    places: dict[str, list[int]] = {}
    begin = 0
    for name in encoder.columns_:
        width = len(encoder.categories_[name]) if name in encoder.categories_ else 1
        places[name] = list(range(begin, begin + width))
        begin += width
    return places


def _parts(estimator: Any) -> tuple[FrameEncoder, list[Part]] | None:
    """Return a model's parts, read once; None where they are not of a form that is known here."""
    try:
        return _READ[estimator]
    except KeyError:
        found = _READ[estimator] = _read_parts(estimator)
        return found


# A model is opened once and asked many times.
_READ: WeakKeyDictionary[Any, tuple[FrameEncoder, list[Part]] | None] = WeakKeyDictionary()


_KIND_TERMS: WeakKeyDictionary[KindModel, Linear] = WeakKeyDictionary()


def _read_parts(estimator: Any) -> tuple[FrameEncoder, list[Part]] | None:
    models = estimator.parts_ if type(estimator) is BlendModel else [estimator]
    found: list[Part] = []
    for model in models:
        part: Part | None = None
        if type(model) is LogisticModel:
            part = Linear.of(model.pipeline_)
        elif type(model) is BoostingModel:
            part = Trees.of(model.model_)
        if part is None or model.encoder_.feature_names_ != models[0].encoder_.feature_names_:
            return None
        found.append(part)
    return models[0].encoder_, found


def kind_shares(model: KindModel, frame: pl.DataFrame, again: Predicted | None = None) -> Array:
    """Return what `KindModel.predict_proba` does, (n, 4), each row by itself.

    Parameters
    ----------
    again : Predicted, optional
        The same rows, from which their matrix may be taken.
    """
    if model.pipeline_ is None or not frame.height:
        return model.predict_proba(frame)
    if isinstance(again, _InParts) and again.encoder.feature_names_ == model.encoder_.feature_names_:
        matrix = again.matrix
    else:
        matrix = np.asfortranarray(model.encoder_.transform(frame))
    if (terms := _KIND_TERMS.get(model)) is None:
        terms = _KIND_TERMS[model] = Linear.of(model.pipeline_)
    scores = terms.scores(matrix)
    if len(scores) == 1:  # two kinds
        scores = np.stack([np.zeros(frame.height), scores[0]])
    weights = np.exp(scores - scores.max(axis=0))
    shares = np.zeros((frame.height, len(KINDS)))
    shares[:, [KINDS.index(kind) for kind in model.pipeline_.classes_]] = (weights / weights.sum(axis=0)).T
    result: Array = (model.rows_ * shares + PRIOR_EACH) / (model.rows_ + PRIOR_EACH * len(KINDS))
    return result
