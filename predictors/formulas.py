"""What formulas of features are written over, so that each stands once: Polars for many rows, plain numbers for one.

A Polars query of a hundred expressions costs milliseconds however few the rows; a hundred sums of floats cost nothing. What is
missing is null there and NaN here, and goes through every operation. Which formulas there are is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import polars as pl

__all__ = ["EXPRESSIONS", "Expressions", "Formulas", "Numbers"]


class Formulas(Protocol):
    """Columns by name, and what formulas do with them beyond `+ - * /`."""

    def of(self, name: str) -> Any:
        """Return a column."""

    def ratio(self, top: Any, bottom: Any) -> Any:
        """Divide; missing where `bottom` is not above zero."""

    def log1p(self, value: Any) -> Any:
        """Return log(1 + value) of a value that is at least zero."""

    def root(self, value: Any) -> Any:
        """Return the square root of a value that is at least zero."""

    def at_least(self, value: Any, low: float) -> Any:
        """Raise what lies below; what is missing stays missing."""

    def least(self, one: Any, other: Any) -> Any:
        """Return the smaller of two values that are there."""


class Expressions:
    """Polars expressions."""

    def of(self, name: str) -> pl.Expr:
        return pl.col(name)

    def ratio(self, top: pl.Expr, bottom: pl.Expr) -> pl.Expr:
        return pl.when(bottom > 0).then(top / bottom)

    def log1p(self, value: pl.Expr) -> pl.Expr:
        return value.log1p()

    def root(self, value: pl.Expr) -> pl.Expr:
        return value.sqrt()

    def at_least(self, value: pl.Expr, low: float) -> pl.Expr:
        return value.clip(low)

    def least(self, one: pl.Expr, other: pl.Expr) -> pl.Expr:
        return pl.min_horizontal(one, other)


EXPRESSIONS = Expressions()


class Numbers:
    """The floats of one row; NaN is missing.

    Parameters
    ----------
    row : mapping of str to float
        May grow while formulas are read.
    """

    def __init__(self, row: Mapping[str, float]) -> None:
        self._row = row

    def of(self, name: str) -> float:
        return self._row[name]

    def ratio(self, top: float, bottom: float) -> float:
        return top / bottom if bottom > 0 else math.nan

    def log1p(self, value: float) -> float:
        return math.log1p(value)

    def root(self, value: float) -> float:
        return math.sqrt(value)

    def at_least(self, value: float, low: float) -> float:
        return low if value < low else value

    def least(self, one: float, other: float) -> float:
        return min(one, other)
