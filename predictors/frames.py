"""From a frame of numbers and strings to a matrix; what every estimator here checks before it learns.

Unseen categories and missing values are no errors: an unseen one belongs to no column, a missing number is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import BaseEstimator, TransformerMixin

from predictors.errors import FeatureMismatchError, FrameError, NotEnoughDataError

Array = npt.NDArray[np.float64]
# Up to so many rows plain numbers are quicker than a query.
FEW_ROWS = 32


def as_polars(X: Any) -> pl.DataFrame:
    """Return a Polars frame of a Polars or pandas frame; anything else is an error."""
    if isinstance(X, pl.DataFrame):
        return X
    if hasattr(X, "columns") and hasattr(X, "to_numpy") and hasattr(X, "dtypes"):
        return pl.DataFrame({str(name): _plain(X[name]) for name in X.columns}, strict=False)
    raise FrameError(f"{type(X).__name__} is no frame; pass a Polars or pandas DataFrame with named columns")


def _plain(column: Any) -> Any:
    values = column.to_numpy()
    if values.dtype.kind in "fiub":
        return values
    return [None if value is None or value != value else value for value in values.tolist()]


def check_target(y: Any, rows: int) -> npt.NDArray[np.int64]:
    """Return `y` as zeros and ones of both kinds.

    Raises
    ------
    NotEnoughDataError
        No rows, or only one class.
    FrameError
        Another length, or other values than 0 and 1.
    """
    target = np.asarray(y)
    if rows == 0 or target.size == 0:
        raise NotEnoughDataError("there are no rows to learn from; import more orders, or train later")
    if target.shape != (rows,):
        raise FrameError(f"the target has shape {target.shape}; it needs one value for each of the {rows} rows")
    if not np.isin(target, (0, 1)).all():
        raise FrameError("the target must be 0 or 1 in every row")
    if target.min() == target.max():
        raise NotEnoughDataError("only one class was observed; a model needs rows with and without the outcome")
    return target.astype(np.int64)


class FrameEncoder(TransformerMixin, BaseEstimator):
    """Numbers as they are, strings as one column for each frequent category.

    Parameters
    ----------
    max_categories : int
        The most frequent categories of a string column that get a column of their own.
    """

    def __init__(self, max_categories: int = 12) -> None:
        self.max_categories = max_categories

    def fit(self, X: Any, y: Any = None) -> FrameEncoder:
        frame = as_polars(X)
        self.columns_: list[str] = list(frame.columns)
        self.categories_: dict[str, list[str]] = {}
        for name, dtype in frame.schema.items():
            if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
                continue
            counts = frame.select(pl.col(name).cast(pl.String).alias("value")).drop_nulls()
            ranked = counts.group_by("value").len().sort("len", "value", descending=[True, False])
            self.categories_[name] = ranked["value"].head(self.max_categories).to_list()
        self.feature_names_: list[str] = self._names()
        return self

    def transform(self, X: Any) -> Array:
        """Return (n, k) floats; NaN where a number is missing."""
        frame = as_polars(X)
        known = set(frame.columns)
        if missing := [name for name in self.columns_ if name not in known]:
            raise FeatureMismatchError(f"the frame lacks the column {missing[0]}, which the model was trained on")
        schema = frame.schema  # made anew each time it is asked for
        matrix = self._few(frame, schema) if frame.height <= FEW_ROWS else self._many(frame, schema)
        if np.isinf(matrix).any():
            column = self.feature_names_[int(np.argwhere(np.isinf(matrix))[0, 1])]
            raise FrameError(f"{column} holds an infinite value; leave it empty where it is unknown")
        return matrix

    def _few(self, frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> Array:
        # A query of a hundred columns costs a millisecond, however few the rows.
        columns: list[list[float]] = []
        for name in self.columns_:
            column = frame[name]
            if name in self.categories_:
                values = (column if schema[name] == pl.String else column.cast(pl.String)).to_list()
                columns += [[float(value == level) for value in values] for level in self.categories_[name]]
                continue
            self._check_number(name, schema[name])
            columns.append([np.nan if value is None else float(value) for value in column.to_list()])
        return np.array(columns, dtype=np.float64).reshape(len(columns), frame.height).T.copy()

    def _many(self, frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> Array:
        columns: list[pl.Expr] = []
        for has_categories, group in groupby(self.columns_, key=lambda name: name in self.categories_):
            names = list(group)
            if has_categories:
                columns += [
                    (pl.col(name).cast(pl.String) == level).fill_null(False).cast(pl.Float64).alias(f"{name}={level}")
                    for name in names
                    for level in self.categories_[name]
                ]
                continue
            for name in names:
                self._check_number(name, schema[name])
            columns.append(pl.col(names).cast(pl.Float64).fill_null(float("nan")))
        matrix: Array = np.array(frame.select(columns).to_numpy(), dtype=np.float64)
        return matrix

    def _check_number(self, name: str, dtype: pl.DataType) -> None:
        if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
            raise FeatureMismatchError(f"{name} held numbers in training and holds {dtype} now")

    def _names(self) -> list[str]:
        names: list[str] = []
        for name in self.columns_:
            names += [f"{name}={level}" for level in self.categories_[name]] if name in self.categories_ else [name]
        return names


def feature_columns(frame: pl.DataFrame, identity: Sequence[str]) -> list[str]:
    """Return the columns that are features."""
    return [name for name in frame.columns if name not in identity]


def logit(p: Array) -> Array:
    """Return log-odds, bounded so that certainty stays finite."""
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    result: Array = np.log(clipped / (1 - clipped))
    return result


def expit(z: Array) -> Array:
    """Return the probability of log-odds."""
    result: Array = 1.0 / (1.0 + np.exp(-np.clip(z, -35, 35)))
    return result
