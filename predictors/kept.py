"""The facts of a whole shop, kept so that the histories of one order are read at once.

For one order the running sums of all others need not be added up: its seller's facts are, its route's, and so on. What is
kept is each fact once, and for each key where its facts are; an order of which something new is known is given other facts. The sums are added up in the same order as
`predictors.running` adds them, and the formulas of the features are the same (`predictors.formulas`). A feature may differ in
its last bits from that of the whole shop: Polars multiplies by the inverse of what it divides many rows by.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from predictors.facets import FACETS, Facet, RenewedFacet
from predictors.features import describe, finished_few, with_order_features
from predictors.histories import HALF_LIFE_DAYS, KEYS, wanted_sums
from predictors.moments import Moment
from predictors.running import Sums
from predictors.snapshot import Snapshot

__all__ = ["KeptHistories", "features_from_kept"]

_NONE = pl.DataFrame(schema={"order_id": pl.Int64, **dict.fromkeys(KEYS, pl.String)})
# A facet, and (count, column) of those wanted whole and of those wanted fading.
_Step = tuple[Facet | RenewedFacet, list[tuple[str, str]], list[tuple[str, str]]]


class KeptHistories:
    """Finds the sums of histories of a few subjects, as `predictors.running.join_sums` does of many.

    Parameters
    ----------
    facts : sequence of polars.DataFrame
        From `predictors.features.order_facts`, of all orders of the shop, each in one of them.
    """

    def __init__(self, facts: Sequence[pl.DataFrame]) -> None:
        self._kept = {counts: Facet.of(facts, counts) for counts in FACETS}
        self._facets: dict[tuple[str, ...], Facet | RenewedFacet] = {**self._kept}
        self._plans: dict[str, list[_Step]] = {}
        # Every order was placed once.
        self._orders = pl.concat(
            [part.filter(pl.col("placed") > 0).select("order_id", *KEYS) for part in facts] or [_NONE]
        )
        self._fresh: pl.DataFrame | None = None
        self._renewed: set[int] = set()

    @property
    def renewed(self) -> int:
        """How many orders have been given other facts."""
        return len(self._renewed)

    def renew(self, order_ids: Collection[int], facts: pl.DataFrame) -> None:
        """Put facts in place of all that is kept of some orders, known before or not.

        Parameters
        ----------
        facts : polars.DataFrame
            From `predictors.features.order_facts`, of these orders.
        """
        self._renewed |= set(order_ids)
        if self._fresh is not None:
            facts = pl.concat([self._fresh.filter(~pl.col("order_id").is_in(list(order_ids))), facts])
        self._fresh = facts
        replaced = self._orders.filter(pl.col("order_id").is_in(list(self._renewed)))
        self._facets = {
            counts: RenewedFacet(kept, kept.of_orders(replaced), Facet.of([facts], counts))
            for counts, kept in self._kept.items()
        }
        self._plans.clear()

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
        # What one counts now, as `predictors.running.power` says.
        growth = 2.0 ** (moment // 1_000_000 / (86400.0 * HALF_LIFE_DAYS))
        for column, name in KEYS.items():
            wanted = wanted_sums(column, name)
            since = None if wanted.recent_days is None else moment - wanted.recent_days * 86_400_000_000
            for facet, whole, fading in self._plan(wanted):
                value = keys[column]
                for count, of_count in whole:
                    found[of_count] = facet.total(column, value, moment, count)
                    if since is not None:
                        found[f"_recent{of_count}"] = found[of_count] - facet.total(column, value, since, count)
                for count, of_count in fading:
                    found[of_count] = facet.total(column, value, moment, count, growing=True) / growth
        return found

    def _plan(self, wanted: Sums) -> list[_Step]:
        """Return what of each facet is wanted: its counts and what they are called; found once for each history."""
        if wanted.column not in self._plans:
            whole = dict(zip(wanted.whole, wanted.whole_columns, strict=True))
            fading = dict(zip(wanted.fading, wanted.fading_columns, strict=True))
            steps = [
                (
                    facet,
                    [(count, whole[count]) for count in counts if count in whole],
                    [(count, fading[count]) for count in counts if count in fading],
                )
                for counts, facet in self._facets.items()
            ]
            self._plans[wanted.column] = [step for step in steps if step[1] or step[2]]
        return self._plans[wanted.column]


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
