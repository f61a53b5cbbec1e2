"""Facts of a shop laid out for looking up: those of one key's value, strictly before a moment.

What the facts are is decided in `predictors.histories`; who asks for them, in `predictors.kept`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.frames import Array
from predictors.histories import HALF_LIFE_DAYS, KEYS
from predictors.running import power
from predictors.snapshot import INSTANT

__all__ = ["FACETS", "Facet", "Facts", "Places", "RenewedFacet", "after"]

Places = npt.NDArray[np.int32]
# So many facts are sorted by their keys in plain Python.
FEW_FACTS = 20_000
_NOWHERE: Places = np.empty(0, dtype=np.int32)
# Counts that one fact adds to together; a fact adds to one of these.
FACETS: tuple[tuple[str, ...], ...] = (
    ("placed",),
    ("due", "late"),
    ("shipped", "shipped_days"),
    ("delivered", "delivered_days", "overdue_days"),
    ("travelled", "transit_days", "transit_days_squared"),
    ("rated", "bad", "stars", "rated_late", "bad_late", "trouble"),
)


class Facts(NamedTuple):
    """Some facts of a facet, in their order: microseconds since 1970, growth, and the numbers of a count, each (n,)."""

    at: npt.NDArray[np.int64]
    growth: Array
    numbers: Callable[[str], Array]


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
    """

    at: npt.NDArray[np.int64]
    order_ids: npt.NDArray[np.int64]
    counts: Mapping[str, Array]
    growth: Array
    places: Mapping[str, Places]
    numbers: Mapping[str, Mapping[Any, int]]
    bounds: Mapping[str, npt.NDArray[np.int64]]

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

    def places_before(self, key: str, value: Any, moment: int) -> Places:
        """Return which facts of a key's value were available strictly before a moment, in their order."""
        number = self.numbers[key].get(value)
        if number is None:
            return _NOWHERE
        bounds = self.bounds[key]
        places = self.places[key][bounds[number] : bounds[number + 1]]
        return places[: int(np.searchsorted(self.at[places], moment, side="left"))]

    def before(self, key: str, value: Any, moment: int) -> Facts:
        """Return the facts of a key's value that were available strictly before a moment."""
        return self.facts(self.places_before(key, value, moment))

    def facts(self, places: Places) -> Facts:
        """Return some of the facts."""
        return Facts(self.at[places], self.growth[places], lambda count: self.counts[count][places])

    def of_shop(self, count: str, moment: int) -> tuple[float, float]:
        """Return what a count of all facts strictly before a moment comes to, and what with growth."""
        return self._shop(count, moment)

    @cached_property
    def _shop(self) -> _RunningSums:
        return _RunningSums(self.at, self.counts, self.growth)


class RenewedFacet:
    """A facet in which the facts of some orders are replaced; the others stay where they are.

    Parameters
    ----------
    kept : Facet
    gone : array of bool, (n,)
        Which of its facts are no more.
    fresh : Facet
        The facts in their place.
    """

    def __init__(self, kept: Facet, gone: npt.NDArray[np.bool_], fresh: Facet) -> None:
        self._kept = kept
        self._gone = gone
        self._fresh = fresh
        self._shop_gone = _RunningSums(
            kept.at[gone], {count: numbers[gone] for count, numbers in kept.counts.items()}, kept.growth[gone]
        )

    def before(self, key: str, value: Any, moment: int) -> Facts:
        """Return the facts of a key's value that were available strictly before a moment."""
        kept, fresh = self._kept, self._fresh
        old, new = kept.places_before(key, value, moment), fresh.places_before(key, value, moment)
        old = old[~self._gone[old]]
        if not len(new):
            return kept.facts(old)
        at = np.concatenate([kept.at[old], fresh.at[new]])
        # By time, then by order; facts of one order stay as they were.
        order = np.lexsort((np.concatenate([kept.order_ids[old], fresh.order_ids[new]]), at))
        growth = np.concatenate([kept.growth[old], fresh.growth[new]])
        return Facts(
            at[order],
            growth[order],
            lambda count: np.concatenate([kept.counts[count][old], fresh.counts[count][new]])[order],
        )

    def of_shop(self, count: str, moment: int) -> tuple[float, float]:
        """Return what a count of all facts strictly before a moment comes to, and what with growth."""
        kept, gone, fresh = (of(count, moment) for of in (self._kept.of_shop, self._shop_gone, self._fresh.of_shop))
        return kept[0] - gone[0] + fresh[0], kept[1] - gone[1] + fresh[1]


class _RunningSums:
    """The running sums of facts that stand in the order of time."""

    def __init__(self, at: npt.NDArray[np.int64], counts: Mapping[str, Array], growth: Array) -> None:
        self._at = at
        self._whole = {count: np.cumsum(numbers) for count, numbers in counts.items()}
        self._growing = {count: np.cumsum(numbers * growth) for count, numbers in counts.items()}

    def __call__(self, count: str, moment: int) -> tuple[float, float]:
        length = int(np.searchsorted(self._at, moment, side="left"))
        return after(self._whole[count], length), after(self._growing[count], length)


def after(running: Array, length: int) -> float:
    """Return a running sum after so many facts."""
    return float(running[length - 1]) if length else 0.0


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
