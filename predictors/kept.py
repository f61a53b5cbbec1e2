"""The facts of a whole shop, kept so that the histories of one order are read at once.

For one order the running sums of all others need not be added up: its seller's facts are, its route's, and so on. What is
kept is each fact once, and for each key where its facts are. The sums are added up in the same order as
`predictors.running` adds them. (Polars divides a single row by a number and many by its inverse: a feature may differ in
its last bit or two from that of the whole shop.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.features import describe, finished
from predictors.frames import Array
from predictors.histories import HALF_LIFE_DAYS, KEYS, all_histories_at_once
from predictors.moments import Moment
from predictors.running import Sums, power
from predictors.snapshot import INSTANT, Snapshot

__all__ = ["FACETS", "KeptHistories", "features_from_kept"]

Places = npt.NDArray[np.int32]
# Counts that one fact adds to together; a fact adds to one of these.
FACETS: tuple[tuple[str, ...], ...] = (
    ("placed",),
    ("due", "late"),
    ("shipped", "shipped_days"),
    ("delivered", "delivered_days", "overdue_days"),
    ("travelled", "transit_days", "transit_days_squared"),
    ("rated", "bad", "stars", "rated_late", "bad_late", "trouble"),
)
# The history of the shop as a whole: too long to be added up each time, its running sums are kept.
WHOLE_SHOP = "everything"


@dataclass(frozen=True, kw_only=True)
class _Facet:
    """The facts that add to some counts, in the order of the facts.

    Attributes
    ----------
    at : array of int, (n,)
        Microseconds since 1970.
    counts : mapping of count to array, (n,)
    growth : array, (n,)
        What a count is worth where it fades.
    places : mapping of key to array, (n,)
        The facts sorted by key, those of one key in their order.
    begins : mapping of key to mapping
        Where in `places` the facts of each value begin and end.
    """

    at: npt.NDArray[np.int64]
    counts: Mapping[str, Array]
    growth: Array
    places: Mapping[str, Places]
    begins: Mapping[str, Mapping[Any, tuple[int, int]]]

    @classmethod
    def of(cls, facts: Sequence[pl.DataFrame], counts: Sequence[str]) -> _Facet:
        added = pl.any_horizontal(pl.col(counts) != 0)
        parts = [part.filter(added).select("available_at", "order_id", *KEYS, *counts) for part in facts]
        mine = pl.concat(parts) if parts else _no_facts(counts)
        # The order in which `predictors.histories.history_events` has them.
        mine = mine.sort("available_at", "order_id", maintain_order=True).with_row_index("_place")
        places: dict[str, Places] = {}
        begins: dict[str, dict[Any, tuple[int, int]]] = {}
        for key in KEYS:
            known = mine.select(key, "_place").drop_nulls().sort(key, maintain_order=True)
            lengths = known.group_by(key, maintain_order=True).len()
            ends = lengths["len"].cum_sum().to_list()
            places[key] = known["_place"].to_numpy().astype(np.int32)
            begins[key] = dict(zip(lengths[key].to_list(), zip([0, *ends[:-1]], ends, strict=True), strict=True))
        return cls(
            at=mine["available_at"].to_physical().to_numpy(),
            counts={count: mine[count].to_numpy() for count in counts},
            growth=mine.select(power("available_at", HALF_LIFE_DAYS).alias("growth"))["growth"].to_numpy(),
            places=places,
            begins=begins,
        )

    def before(self, key: str, value: Any, moment: int) -> Places:
        """Return which facts of a key's value were available strictly before a moment, in their order."""
        begin, end = self.begins[key].get(value, (0, 0))
        places = self.places[key][begin:end]
        return places[: int(np.searchsorted(self.at[places], moment, side="left"))]


# Counts, the facet that has them, and (count, column) of those wanted whole and of those wanted fading.
_Step = tuple[tuple[str, ...], _Facet, list[tuple[str, str]], list[tuple[str, str]]]


class KeptHistories:
    """Adds the sums of histories to a few subjects, as `predictors.running.join_sums` does to many.

    Parameters
    ----------
    facts : sequence of polars.DataFrame
        From `predictors.features.order_facts`, of all orders of the shop, each in one of them.
    """

    def __init__(self, facts: Sequence[pl.DataFrame]) -> None:
        self._facets = {counts: _Facet.of(facts, counts) for counts in FACETS}
        self._plans: dict[str, list[_Step]] = {}
        self._shop = {counts: _running(facet) for counts, facet in self._facets.items()}

    def __call__(self, rows: pl.DataFrame, wanted: Sums) -> pl.DataFrame:
        """Add the sums of one history."""
        if wanted.half_life_days != HALF_LIFE_DAYS:
            raise ValueError(f"what is kept fades by half in {HALF_LIFE_DAYS} days, not in {wanted.half_life_days}")
        values, moments = rows[wanted.column].to_list(), rows["moment"].to_physical().to_list()
        now = [self._sums(wanted, value, moment) for value, moment in zip(values, moments, strict=True)]
        for sums, moment in zip(now, moments, strict=True):
            faded = 2.0 ** (moment // 1_000_000 / (86400.0 * HALF_LIFE_DAYS))
            sums.update({name: sums[name] / faded for name in wanted.fading_columns})
        columns = wanted.columns
        if wanted.recent_days is not None:
            lag = wanted.recent_days * 86_400_000_000
            for sums, value, moment in zip(now, values, moments, strict=True):
                earlier = self._sums(wanted, value, moment - lag)
                sums.update({f"_recent{name}": sums[name] - earlier[name] for name in wanted.whole_columns})
            columns = [*columns, *(f"_recent{name}" for name in wanted.whole_columns)]
        return rows.hstack([pl.Series(name, [sums[name] for sums in now], dtype=pl.Float64) for name in columns])

    def _sums(self, wanted: Sums, value: Any, moment: int) -> dict[str, float]:
        """Return each wanted column's sum over the facts of a key's value strictly before a moment."""
        found: dict[str, float] = {}
        for counts, facet, whole, fading in self._plan(wanted):
            if wanted.column == WHOLE_SHOP:
                place = int(np.searchsorted(facet.at, moment, side="left")) - 1
                running, faded = self._shop[counts]
                found |= {name: float(running[count][place]) if place >= 0 else 0.0 for count, name in whole}
                found |= {name: float(faded[count][place]) if place >= 0 else 0.0 for count, name in fading}
                continue
            places = facet.before(wanted.column, value, moment)
            if not len(places):
                found |= {name: 0.0 for _, name in (*whole, *fading)}
                continue
            found |= {name: _last(facet.counts[count][places]) for count, name in whole}
            found |= {name: _last(facet.counts[count][places] * facet.growth[places]) for count, name in fading}
        return found

    def _plan(self, wanted: Sums) -> list[_Step]:
        """Return what of each facet is wanted: its counts and what they are called; found once for each history."""
        if wanted.column not in self._plans:
            whole = dict(zip(wanted.whole, wanted.whole_columns, strict=True))
            fading = dict(zip(wanted.fading, wanted.fading_columns, strict=True))
            steps = [
                (
                    counts,
                    facet,
                    [(count, whole[count]) for count in counts if count in whole],
                    [(count, fading[count]) for count in counts if count in fading],
                )
                for counts, facet in self._facets.items()
            ]
            self._plans[wanted.column] = [step for step in steps if step[2] or step[3]]
        return self._plans[wanted.column]


def _no_facts(counts: Sequence[str]) -> pl.DataFrame:
    numbers = dict.fromkeys(counts, pl.Float64)
    return pl.DataFrame(
        schema={"available_at": INSTANT, "order_id": pl.Int64, **dict.fromkeys(KEYS, pl.String), **numbers}
    )


def features_from_kept(
    snapshot: Snapshot, subjects: pl.DataFrame, histories: KeptHistories, moment: Moment
) -> pl.DataFrame:
    """Build the feature frame of a few subjects, as `predictors.features.issue_features` does.

    Parameters
    ----------
    snapshot : Snapshot
        Of their orders; those of others may be missing.
    """
    described = describe(snapshot, subjects.select("order_id", "moment"))
    return finished(all_histories_at_once(described, histories), described.columns, moment)


def _running(facet: _Facet) -> tuple[dict[str, Array], dict[str, Array]]:
    whole = {count: np.cumsum(numbers) for count, numbers in facet.counts.items()}
    return whole, {count: np.cumsum(numbers * facet.growth) for count, numbers in facet.counts.items()}


def _last(numbers: Array) -> float:
    # Added up one after the other, as running sums are: NumPy's sum adds in pairs.
    return float(np.cumsum(numbers)[-1])
