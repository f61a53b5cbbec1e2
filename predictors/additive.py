"""Log-odds as a sum of parts that each look at few features, so that a change of few features visits only those parts.

A reason or a shock changes a handful of features. Predicting all rows again for each would cost twenty predictions; a
linear model needs only the terms of these features, and small trees only the trees that ask about them. Each row is
worked on by itself and in the same order, so that one row alone gets the same numbers as among a million. What is asked,
and of which models, is decided in `predictors.rescoring`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from predictors.frames import Array

__all__ = ["Linear", "Part", "Trees"]

# A tree with more splits would need a table of more than 256 ways through it.
MAX_SPLITS = 8
# New values of columns of the matrix: one for all rows, or one for each.
Changes = Mapping[int, float | Array]
Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Imputed, standardised, weighted: scores of one or more classes.

    Attributes
    ----------
    slope, offset, missing : array, (classes, k)
        A number x of column j adds slope * x + offset, a missing one `missing`.
    intercept : array, (classes,)
    """

    slope: Array
    offset: Array
    missing: Array
    intercept: Array

    @classmethod
    def of(cls, pipeline: Pipeline) -> Linear:
        """Read a pipeline of `SimpleImputer` with indicators, `StandardScaler` and `LogisticRegression`."""
        imputer, scaler, model = (step for _, step in pipeline.steps)
        assert isinstance(model, LogisticRegression)
        typical = np.asarray(imputer.statistics_, dtype=np.float64)
        columns = len(typical)
        weights = model.coef_ / scaler.scale_
        slope = weights[:, :columns]
        offset = -slope * scaler.mean_[:columns]
        missing = slope * typical + offset
        for place, column in enumerate(imputer.indicator_.features_):
            weight, mean = weights[:, columns + place], scaler.mean_[columns + place]
            offset[:, column] -= weight * mean
            missing[:, column] += weight * (1.0 - mean)
        return cls(slope=slope, offset=offset, missing=missing, intercept=model.intercept_)

    def scores(self, matrix: Array) -> Array:
        """Return (classes, n)."""
        total = np.repeat(self.intercept[:, None], len(matrix), axis=1)
        for column in range(matrix.shape[1]):
            total += self._terms(column, matrix[:, column])
        return total

    def change(self, matrix: Array, changes: Changes) -> Array:
        """Return by how much the scores change, (n,) of one class or (classes, n)."""
        total = np.zeros((len(self.intercept), len(matrix)))
        for column, value in changes.items():
            total += self._terms(column, np.asarray(value)) - self._terms(column, matrix[:, column])
        return total

    def _terms(self, column: int, x: Array) -> Array:
        slope, offset, missing = (of[:, column, None] for of in (self.slope, self.offset, self.missing))
        terms: Array = np.where(np.isnan(x), missing, slope * x + offset)
        return terms


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """One small tree: its splits, and a table of what each way through them leads to.

    Bit k of a way is set where split k goes left.
    """

    columns: tuple[int, ...]
    thresholds: tuple[float, ...]
    missing_left: tuple[bool, ...]
    values: Array

    def ways(self, matrix: Array, changes: Changes | None = None) -> Bits:
        ways = np.zeros(len(matrix), dtype=np.uint8)
        for bit, column in enumerate(self.columns):
            x = matrix[:, column] if changes is None or column not in changes else changes[column]
            ways |= self._left(bit, x).astype(np.uint8) << np.uint8(bit)
        return ways

    def values_at(self, constants: Mapping[int, float]) -> Array:
        """Return the table as it is where some columns have constant values."""
        ways = np.arange(len(self.values))
        for bit, column in enumerate(self.columns):
            if column in constants:
                went = int(self._left(bit, np.float64(constants[column])))
                ways = (ways & ~(1 << bit)) | (went << bit)
        return self.values[ways]

    def _left(self, bit: int, x: Any) -> Any:
        # What is missing is neither above nor below a threshold.
        return ~(x > self.thresholds[bit]) if self.missing_left[bit] else x <= self.thresholds[bit]


class Trees:
    """Boosted trees of few splits each.

    Parameters
    ----------
    trees : sequence of _Tree
    baseline : float
        Log-odds before the first tree.
    """

    def __init__(self, trees: Sequence[_Tree], baseline: float) -> None:
        self._trees = trees
        self._baseline = baseline

    @classmethod
    def of(cls, model: Any) -> Trees | None:
        """Read a `HistGradientBoostingClassifier` of two classes; None where its trees are not of this form.

        It has no public way to its trees: this reads what scikit-learn's own `plot` and export tools read. A model file
        is only opened by the scikit-learn that wrote it, and a test compares the two.
        """
        trees = [_read(predictor.nodes) for (predictor,) in model._predictors]
        if any(tree is None for tree in trees):
            return None
        return cls([tree for tree in trees if tree is not None], float(np.ravel(model._baseline_prediction)[0]))

    def scores(self, matrix: Array) -> Array:
        """Return (1, n)."""
        total = np.full(len(matrix), self._baseline)
        for tree in self._trees:
            total += tree.values[tree.ways(matrix)]
        return total[None, :]

    def changes(self, matrix: Array, cases: Sequence[Mapping[int, float]]) -> Array:
        """Return by how much the scores change where columns are constant, for several cases at once, (cases, n)."""
        total = np.zeros((len(cases), len(matrix)))
        for tree in self._trees:
            touched = [number for number, case in enumerate(cases) if not case.keys().isdisjoint(tree.columns)]
            if touched:
                ways = tree.ways(matrix)
                for number in touched:
                    total[number] += (tree.values_at(cases[number]) - tree.values)[ways]
        return total

    def change(self, matrix: Array, changes: Changes) -> Array:
        """Return by how much the scores change, (1, n)."""
        total = np.zeros(len(matrix))
        for tree in self._trees:
            if not changes.keys().isdisjoint(tree.columns):
                total += tree.values[tree.ways(matrix, changes)] - tree.values[tree.ways(matrix)]
        return total[None, :]


Part = Linear | Trees


def _read(nodes: Any) -> _Tree | None:
    splits = [index for index in range(len(nodes)) if not nodes[index]["is_leaf"]]
    if len(splits) > MAX_SPLITS or any(nodes[index]["is_categorical"] for index in splits):
        return None
    bits = {index: bit for bit, index in enumerate(splits)}

    def leaf(way: int) -> float:
        index = 0
        while not nodes[index]["is_leaf"]:
            index = int(nodes[index]["left" if way >> bits[index] & 1 else "right"])
        return float(nodes[index]["value"])

    def of_splits(name: str) -> Iterable[Any]:
        return (nodes[index][name] for index in splits)

    return _Tree(
        columns=tuple(int(column) for column in of_splits("feature_idx")),
        thresholds=tuple(float(threshold) for threshold in of_splits("num_threshold")),
        missing_left=tuple(bool(left) for left in of_splits("missing_go_to_left")),
        values=np.array([leaf(way) for way in range(1 << len(splits))]),
    )
