"""Facts of a shop laid out for looking up: those of one key's value, strictly before a moment.

What the facts are is decided in `predictors.histories`; who asks for them, in `predictors.kept`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.frames import Array
from predictors.histories import HALF_LIFE_DAYS, KEYS
from predictors.running import power
from predictors.snapshot import INSTANT

__all__ = ["FACETS", "Facet", "RenewedFacet"]

Places = npt.NDArray[np.int32]
# Facts of one value that are added up at once.
BLOCK = 512
# So many facts are sorted by their keys in plain Python.
FEW_FACTS = 20_000
# Counts that one fact adds to together; a fact adds to one of these.
FACETS: tuple[tuple[str, ...], ...] = (
    ("placed",),
    ("due", "late", "watched"),
    ("shipped", "shipped_days"),
    ("delivered", "delivered_days", "overdue_days"),
    ("travelled", "transit_days", "transit_days_squared"),
    ("rated", "rated_for", "bad", "stars", "rated_late", "bad_late", "trouble"),
)


@dataclass(frozen=True, kw_only=True)
class Facet:
    """The facts that add to some counts, in the order of the facts.

    Attributes
    ----------
    at : array of int, (n,)
        Microseconds since 1970.
    order_ids : array of int, (n,)
    counts : mapping of count to array, (n,)
    growth : array, (n,)
        What a count is worth where it fades.
    places : mapping of key to array, (n,)
        The facts sorted by key, those of one key in their order.
    numbers : mapping of key to mapping
        Each value's place in `bounds`.
    bounds : mapping of key to array, (values + 1,)
        Where in `places` the facts of each value begin; they end where those of the next begin.
    marks : mapping
        Of values that were asked about, their running sums after each `BLOCK` facts.
    """

    at: npt.NDArray[np.int64]
    order_ids: npt.NDArray[np.int64]
    counts: Mapping[str, Array]
    growth: Array
    places: Mapping[str, Places]
    numbers: Mapping[str, Mapping[Any, int]]
    bounds: Mapping[str, npt.NDArray[np.int64]]
    marks: dict[tuple[str, int, str, bool], Array] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Sequence[pl.DataFrame], counts: Sequence[str]) -> Facet:
        added = pl.any_horizontal(pl.col(counts) != 0)
        parts = [part.filter(added).select("available_at", "order_id", *KEYS, *counts) for part in facts]
        mine = pl.concat(parts) if parts else _no_facts(counts)
        # The order in which `predictors.histories.history_events` has them.
        mine = mine.sort("available_at", "order_id", maintain_order=True)
        by_value = {key: (_few if mine.height <= FEW_FACTS else _many)(mine[key]) for key in KEYS}
        return cls(
            at=mine["available_at"].to_physical().to_numpy(),
            order_ids=mine["order_id"].to_numpy(),
            counts={count: mine[count].to_numpy() for count in counts},
            growth=mine.select(power("available_at", HALF_LIFE_DAYS).alias("growth"))["growth"].to_numpy(),
            places={key: places for key, (places, _, _) in by_value.items()},
            numbers={key: numbers for key, (_, numbers, _) in by_value.items()},
            bounds={key: bounds for key, (_, _, bounds) in by_value.items()},
        )

    def of_orders(self, orders: pl.DataFrame) -> Facet:
        """Return the facts of some orders.

        Parameters
        ----------
        orders : polars.DataFrame
            order_id and the columns of `KEYS`; other orders may be missing.
        """
        mine = np.flatnonzero(np.isin(self.order_ids, orders["order_id"].to_numpy()))
        facts = pl.DataFrame(
            {"available_at": self.at[mine], "order_id": self.order_ids[mine]}
            | {count: numbers[mine] for count, numbers in self.counts.items()}
        ).with_columns(pl.col("available_at").cast(INSTANT))
        return Facet.of([facts.join(orders, on="order_id", maintain_order="left")], tuple(self.counts))

    def total(self, key: str, value: Any, moment: int, count: str, *, growing: bool = False) -> float:
        """Return what a count comes to over the facts of a key's value that were available strictly before a moment.

        Parameters
        ----------
        moment : int
            Microseconds since 1970.
        growing : bool
            Count each fact with its growth.
        """
        number = self.numbers[key].get(value)
        if number is None:
            return 0.0
        places = self._places(key, number)
        # Facts stand in the order of time, and so do those of one value.
        length = int(np.searchsorted(places, np.searchsorted(self.at, moment, side="left"), side="left"))
        blocks = length // BLOCK
        begin = self._marks(key, number, count, growing)[blocks - 1] if blocks else 0.0
        # Added up one after the other, as running sums are: NumPy's sum adds in pairs.
        numbers = np.concatenate([[begin], self._numbers(places[blocks * BLOCK : length], count, growing)])
        return float(np.cumsum(numbers)[-1])

    def _places(self, key: str, number: int) -> Places:
        bounds = self.bounds[key]
        return self.places[key][bounds[number] : bounds[number + 1]]

    def _numbers(self, places: Places, count: str, growing: bool) -> Array:
        numbers = self.counts[count][places]
        return numbers * self.growth[places] if growing else numbers

    def _marks(self, key: str, number: int, count: str, growing: bool) -> Array:
        """Return the running sum after each block; found once, so that a large region costs no more than a small one."""
        asked = key, number, count, growing
        if asked not in self.marks:
            running = np.cumsum(self._numbers(self._places(key, number), count, growing))
            self.marks[asked] = running[BLOCK - 1 :: BLOCK].copy()
        return self.marks[asked]


class RenewedFacet:
    """A facet in which the facts of some orders are replaced; the others stay where they are.

    Parameters
    ----------
    kept, gone, fresh : Facet
        Of all orders, of what is no more, and of what is in its place.
    """

    def __init__(self, kept: Facet, gone: Facet, fresh: Facet) -> None:
        self._kept = kept
        self._gone = gone
        self._fresh = fresh

    def total(self, key: str, value: Any, moment: int, count: str, *, growing: bool = False) -> float:
        """Return what `Facet.total` would, were all facts in one."""
        kept, gone, fresh = (
            facet.total(key, value, moment, count, growing=growing) for facet in (self._kept, self._gone, self._fresh)
        )
        return kept - gone + fresh


# Of the facts' values of a key: the facts sorted by value, each value's number, and where each begins.
_ByValue = tuple[Places, dict[Any, int], npt.NDArray[np.int64]]


def _many(values: pl.Series) -> _ByValue:
    known = values.alias("value").to_frame().with_row_index("place").drop_nulls().sort("value", maintain_order=True)
    lengths = known.group_by("value", maintain_order=True).len()
    numbers = {value: number for number, value in enumerate(lengths["value"].to_list())}
    return known["place"].to_numpy().astype(np.int32), numbers, _bounds(lengths["len"].to_list())


def _few(values: pl.Series) -> _ByValue:
    # Of the facts of some orders this takes no time, where five steps of Polars for each key do.
    found: dict[Any, list[int]] = {}
    for place, value in enumerate(values.to_list()):
        if value is not None:
            found.setdefault(value, []).append(place)
    places = np.array([place for of_value in found.values() for place in of_value], dtype=np.int32)
    return places, {value: number for number, value in enumerate(found)}, _bounds([len(one) for one in found.values()])


def _bounds(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)


def _no_facts(counts: Sequence[str]) -> pl.DataFrame:
    numbers = dict.fromkeys(counts, pl.Float64)
    return pl.DataFrame(
        schema={"available_at": INSTANT, "order_id": pl.Int64, **dict.fromkeys(KEYS, pl.String), **numbers}
    )
