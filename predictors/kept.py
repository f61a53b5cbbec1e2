"""The facts of a whole shop, kept so that the histories of one order are read at once.

For one order the running sums of all others need not be added up: its seller's facts are, its route's, and so on. What is
kept is each fact once, and for each key where its facts are. The sums are added up in the same order as
`predictors.running` adds them, and the formulas of the features are the same (`predictors.formulas`). A feature may differ in
its last bits from that of the whole shop: Polars multiplies by the inverse of what it divides many rows by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.features import describe, finished_few, with_order_features
from predictors.frames import Array
from predictors.histories import HALF_LIFE_DAYS, KEYS, wanted_sums
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
    """Finds the sums of histories of a few subjects, as `predictors.running.join_sums` does of many.

    Parameters
    ----------
    facts : sequence of polars.DataFrame
        From `predictors.features.order_facts`, of all orders of the shop, each in one of them.
    """

    def __init__(self, facts: Sequence[pl.DataFrame]) -> None:
        self._facets = {counts: _Facet.of(facts, counts) for counts in FACETS}
        self._plans: dict[str, list[_Step]] = {}
        self._shop = {counts: _running(facet) for counts, facet in self._facets.items()}

    def sums(self, keys: Mapping[str, Any], moment: int) -> dict[str, float]:
        """Return the sums of all histories of one subject, strictly before its moment.

        Parameters
        ----------
        keys : mapping
            The subject's value of each of `predictors.histories.KEYS`.
        moment : int
            Microseconds since 1970.

        Returns
        -------
        dict
            As `predictors.running.join_sums` names them.
        """
        found: dict[str, float] = {}
        for column, name in KEYS.items():
            wanted = wanted_sums(column, name)
            since = None if wanted.recent_days is None else moment - wanted.recent_days * 86_400_000_000
            for step in self._plan(wanted):
                if column == WHOLE_SHOP:
                    self._of_shop(found, step, moment)
                else:
                    _of_key(found, step, column, keys[column], moment, since)
        return found

    def _of_shop(self, found: dict[str, float], step: _Step, moment: int) -> None:
        counts, facet, whole, fading = step
        length = int(np.searchsorted(facet.at, moment, side="left"))
        running, faded = self._shop[counts]
        found.update((name, _at(running[count], length)) for count, name in whole)
        found.update((name, _at(faded[count], length) / _growth(moment)) for count, name in fading)

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
    rows = with_order_features(describe(snapshot, subjects.select("order_id", "moment")))
    keys = rows[list(KEYS)].rows(named=True)
    instants = rows["moment"].to_physical().to_list()
    sums = [histories.sums(of_row, instant) for of_row, instant in zip(keys, instants, strict=True)]
    return finished_few(rows, sums, moment)


def _of_key(found: dict[str, float], step: _Step, column: str, value: Any, moment: int, since: int | None) -> None:
    """Add up the facts of a key's value, in their order; with `since` also those from then on."""
    _, facet, whole, fading = step
    places = facet.before(column, value, moment)
    earlier = 0 if since is None else int(np.searchsorted(facet.at[places], since, side="left"))
    for count, name in whole:
        running = np.cumsum(facet.counts[count][places])
        found[name] = _at(running, len(places))
        if since is not None:
            found[f"_recent{name}"] = found[name] - _at(running, earlier)
    if fading:
        growth, now = facet.growth[places], _growth(moment)
        for count, name in fading:
            found[name] = _at(np.cumsum(facet.counts[count][places] * growth), len(places)) / now


def _running(facet: _Facet) -> tuple[dict[str, Array], dict[str, Array]]:
    whole = {count: np.cumsum(numbers) for count, numbers in facet.counts.items()}
    return whole, {count: np.cumsum(numbers * facet.growth) for count, numbers in facet.counts.items()}


def _at(running: Array, length: int) -> float:
    """Return a running sum after so many facts."""
    return float(running[length - 1]) if length else 0.0


def _growth(moment: int) -> float:
    # What one counts at an instant, as `predictors.running.power` says.
    return float(2.0 ** (moment // 1_000_000 / (86400.0 * HALF_LIFE_DAYS)))
