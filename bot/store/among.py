"""Asking for the rows whose column is among given values, by one statement however many are given.

An `IN` of SQLAlchemy's is another text for each number of values: each is put together, sent, prepared and planned anew,
which costs more than what it finds. Worth it only where the same question is asked again and again.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

__all__ = ["among"]


def among(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column is among the values of the parameter `name`: a collection, perhaps empty."""
    item = sa.Text() if isinstance(column.type, sa.String) else sa.BigInteger()
    return _Among(column, sa.bindparam(name, type_=_Many(item)))


class _Many(TypeDecorator[Collection[Any]]):
    """Several values as one parameter: an array on PostgreSQL, JSON on SQLite."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else postgresql.ARRAY(self.item))

    def process_bind_param(self, value: Collection[Any] | None, dialect: sa.Dialect) -> Any:
        given = list(value or ())
        return json.dumps(given) if dialect.name == "sqlite" else given


class _Among(FunctionElement[bool]):
    type = sa.Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> _Among:
        """Stand as it is beside others: SQLAlchemy would write `= 1` behind it for SQLite, which then uses no index."""
        return self


@compiles(_Among)
def _array(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, given = (compiler.process(one, **options) for one in element.clauses)
    return f"{column} = ANY ({given})"


@compiles(_Among, "sqlite")
def _json(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, given = (compiler.process(one, **options) for one in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({given}))"  # noqa: S608 - a column and the mark of a parameter
