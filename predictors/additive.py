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

from predictors.frames import FEW_ROWS, Array

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
        if len(matrix) <= FEW_ROWS:
            first = np.repeat(self.intercept[:, None, None], len(matrix), axis=1)
            return _added_up(np.concatenate([first, self._all_terms(matrix)], axis=2))
        total = np.repeat(self.intercept[:, None], len(matrix), axis=1)
        for column in range(matrix.shape[1]):
            total += self._terms(column, matrix[:, column])
        return total

    def change(self, matrix: Array, changes: Changes) -> Array:
        """Return by how much the scores change, (n,) of one class or (classes, n)."""
        total = np.zeros((len(self.intercept), len(matrix)))
        for column, value in sorted(changes.items()):
            total += self._terms(column, np.asarray(value)) - self._terms(column, matrix[:, column])
        return total

    def changes(self, matrix: Array, cases: Sequence[Changes]) -> Array:
        """Return by how much the score of one class changes, for several cases at once, (cases, n)."""
        if len(matrix) > FEW_ROWS:
            return np.stack([self.change(matrix, case)[0] for case in cases])
        changed, before = self._all_terms(_stacked(matrix, cases))[0], self._all_terms(matrix)[0]
        return _added_up(changed.reshape(len(cases), *before.shape) - before)

    def _all_terms(self, matrix: Array) -> Array:
        """Return what each column of each row adds, (classes, n, k)."""
        slope, offset, missing = (of[:, None, :] for of in (self.slope, self.offset, self.missing))
        terms: Array = np.where(np.isnan(matrix), missing, slope * matrix + offset)
        return terms

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
            ways |= self._left(bit, np.asarray(x)).astype(np.uint8) << np.uint8(bit)
        return ways

    def values_after(self, matrix: Array, changes: Changes, before: Bits) -> Array:
        """Return what each row is given after a change, (n,); `before` are the ways without it."""
        if any(isinstance(changes.get(column), np.ndarray) for column in self.columns):
            return self.values[self.ways(matrix, changes)]
        # The same for all rows: the table itself is changed.
        return self._values_at(changes)[before]

    def _values_at(self, constants: Changes) -> Array:
        ways = np.arange(len(self.values))
        for bit, column in enumerate(self.columns):
            if column in constants:
                went = int(self._left(bit, np.asarray(constants[column])))
                ways = (ways & ~(1 << bit)) | (went << bit)
        return self.values[ways]

    def _left(self, bit: int, x: Any) -> Any:
        # What is missing is neither above nor below a threshold.
        return ~(x > self.thresholds[bit]) if self.missing_left[bit] else x <= self.thresholds[bit]


class Trees:
    """Boosted trees of few splits each.

    Of many rows tree after tree is visited, of up to `FEW_ROWS` all trees at once; either way a row's values are added up in the
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
            return _added_up(np.hstack([first, self._all_values(matrix)]))[None, :]
        total = np.full(len(matrix), self._baseline)
        for tree in self._trees:
            total += tree.values[tree.ways(matrix)]
        return total[None, :]

    def changes(self, matrix: Array, cases: Sequence[Changes]) -> Array:
        """Return by how much the scores change, for several cases at once, (cases, n)."""
        if len(matrix) <= FEW_ROWS:
            changed, before = self._all_values(_stacked(matrix, cases)), self._all_values(matrix)
            return _added_up(changed.reshape(len(cases), *before.shape) - before)
        total = np.zeros((len(cases), len(matrix)))
        for tree in self._trees:
            touched = [number for number, case in enumerate(cases) if not case.keys().isdisjoint(tree.columns)]
            if touched:
                ways = tree.ways(matrix)
                for number in touched:
                    total[number] += tree.values_after(matrix, cases[number], ways) - tree.values[ways]
        return total

    def _all_values(self, matrix: Array) -> Array:
        """Return what each tree says, (n, trees)."""
        x = matrix[:, self._columns]
        left = np.where(self._missing_left, ~(x > self._thresholds), x <= self._thresholds)
        ways = left @ (1 << np.arange(left.shape[-1]))
        values: Array = self._values[np.arange(len(self._trees)), ways]
        return values


def _stacked(matrix: Array, cases: Sequence[Changes]) -> Array:
    """Return the rows as they are in one case after the other, (cases * n, k)."""
    rows = len(matrix)
    stacked = np.tile(matrix, (len(cases), 1))
    for number, case in enumerate(cases):
        for column, value in case.items():
            stacked[number * rows : (number + 1) * rows, column] = value
    return stacked


def _added_up(parts: Array) -> Array:
    """Add up the last axis one after the other: NumPy's sum adds in pairs, which gives other last bits."""
    total: Array = np.cumsum(parts, axis=-1)[..., -1]
    return total


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
