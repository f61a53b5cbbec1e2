"""Rows that are kept as columns and only built when somebody looks at one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

T_co = TypeVar("T_co", covariant=True)


class LazyRows(Sequence[T_co]):
    """A sequence of which `__len__` and `row` are all that a subclass says."""

    @abstractmethod
    def row(self, index: int) -> T_co:
        """Build one row; the index is at least 0 and below the length."""

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | Sequence[T_co]:
        # A range knows slices, negative indices, and which are out of it.
        found = range(len(self))[index]
        return self.row(found) if isinstance(found, int) else [self.row(one) for one in found]

    def __iter__(self) -> Iterator[T_co]:
        return (self.row(index) for index in range(len(self)))
