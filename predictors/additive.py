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
# Up to so many rows are seen by all trees at once.
FEW_ROWS = 32
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

    Of many rows tree after tree is visited, of a few rows all trees at once; either way a row's values are added up in the
    order of the trees.

    Parameters
    ----------
    trees : sequence of _Tree
    baseline : float
        Log-odds before the first tree.
    """

    def __init__(self, trees: Sequence[_Tree], baseline: float) -> None:
        self._trees = trees
        self._baseline = baseline
        splits = max((len(tree.columns) for tree in trees), default=0)
        # A split that is not there never goes left.
        self._columns = np.array([_padded(tree.columns, splits, 0) for tree in trees], dtype=np.intp)
        self._thresholds = np.array([_padded(tree.thresholds, splits, -np.inf) for tree in trees])
        self._missing_left = np.array([_padded(tree.missing_left, splits, False) for tree in trees], dtype=bool)
        self._values = np.array([_padded(tree.values.tolist(), 1 << splits, 0.0) for tree in trees])

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
        if len(matrix) <= FEW_ROWS:
            first = np.full((len(matrix), 1), self._baseline)
            return np.cumsum(np.hstack([first, self._all_values(matrix)]), axis=1)[None, :, -1]
        total = np.full(len(matrix), self._baseline)
        for tree in self._trees:
            total += tree.values[tree.ways(matrix)]
        return total[None, :]

    def changes(self, matrix: Array, cases: Sequence[Mapping[int, float]]) -> Array:
        """Return by how much the scores change where columns are constant, for several cases at once, (cases, n)."""
        if len(matrix) <= FEW_ROWS:
            return np.stack([self.change(matrix, case)[0] for case in cases])
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
        if len(matrix) <= FEW_ROWS:
            changed = matrix.copy()
            for column, value in changes.items():
                changed[:, column] = value
            return np.cumsum(self._all_values(changed) - self._all_values(matrix), axis=1)[None, :, -1]
        total = np.zeros(len(matrix))
        for tree in self._trees:
            if not changes.keys().isdisjoint(tree.columns):
                total += tree.values[tree.ways(matrix, changes)] - tree.values[tree.ways(matrix)]
        return total[None, :]

    def _all_values(self, matrix: Array) -> Array:
        """Return what each tree says, (n, trees)."""
        x = matrix[:, self._columns]
        left = np.where(self._missing_left, ~(x > self._thresholds), x <= self._thresholds)
        ways = left @ (1 << np.arange(left.shape[-1]))
        values: Array = self._values[np.arange(len(self._trees)), ways]
        return values


def _padded(values: Sequence[Any], length: int, filler: Any) -> list[Any]:
    return [*values, *[filler] * (length - len(values))]


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
