"""Running sums of facts by key, read strictly before each subject's own moment: whole, recent, and fading.

What the facts are and which features come of them is decided in `predictors.histories`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import polars as pl

from predictors.snapshot import INSTANT

_DAY = 86400.0
# With more rows of a key than these on average, or of any one key, keys are added up one by one: that is quicker then.
FEW_ROWS_EACH, MOST_STEPS = 24, 4096
# Before any fact.
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Which sums of one history are wanted.

    Parameters
    ----------
    column : str
        The key, a column of the facts and of the subjects.
    prefix : str
        What the columns of the result begin with; `_recent` and `_fading` stand before it.
    whole : sequence of str
        Counts summed over all the past.
    recent_days : int, optional
        Sum the same counts also over so many days before the moment.
    fading : sequence of str
        Counts of which half is left after `half_life_days`.
    """

    column: str
    prefix: str
    whole: Sequence[str]
    recent_days: int | None = None
    fading: Sequence[str] = ()
    half_life_days: float = 60.0

    @cached_property
    def whole_columns(self) -> list[str]:
        return [f"{self.prefix}{count}" for count in self.whole]

    @cached_property
    def fading_columns(self) -> list[str]:
        return [f"_fading{self.prefix}{count}" for count in self.fading]

    @cached_property
    def columns(self) -> list[str]:
        return [*self.whole_columns, *self.fading_columns]


def join_sums(subjects: pl.DataFrame, facts: pl.DataFrame, wanted: Sums) -> pl.DataFrame:
    """Add to each subject the sums of what was available strictly before its moment; zero where nothing was.

    Parameters
    ----------
    subjects : polars.DataFrame
        `_row` (unique), `moment`, and the key; sorted by moment.
    facts : polars.DataFrame
        `available_at`, the key and the counts; sorted by `available_at`.
    """
    running = running_sums(facts, wanted)
    return read_sums(subjects, running, running, wanted)


def running_sums(facts: pl.DataFrame, wanted: Sums, carried: pl.DataFrame | None = None) -> pl.DataFrame:
    """Add facts up by key, in their order: the key, `available_at`, and the sums with each fact.

    A fading sum is the running sum of count * 2^(t / half-life), divided by 2^(moment / half-life) once it is read: no
    fact needs to be visited again. With t in days since 1970 and a half-life of 60 days this stays finite until the year
    2138.

    Parameters
    ----------
    carried : polars.DataFrame, optional
        What `last_sums` returned of all facts before these; then it is as if they stood before these.
    """
    counted = sorted({*wanted.whole, *wanted.fading})
    growth = power("available_at", wanted.half_life_days)
    sums = wanted.columns
    rows = facts.filter(pl.col(wanted.column).is_not_null() & pl.any_horizontal(pl.col(counted) != 0)).select(
        wanted.column,
        "available_at",
        *[pl.col(count).alias(name) for count, name in zip(wanted.whole, wanted.whole_columns, strict=True)],
        *[
            (pl.col(count) * growth).alias(name)
            for count, name in zip(wanted.fading, wanted.fading_columns, strict=True)
        ],
    )
    if carried is not None:
        earliest = pl.lit(_LONG_AGO).cast(INSTANT).alias("available_at")
        rows = pl.concat([carried.select(wanted.column, earliest, *sums), rows])
    # Of several at one instant the last holds them all, and it is the last before a moment that is joined.
    return _added_up(rows, wanted.column, sums)


def _added_up(rows: pl.DataFrame, column: str, sums: Sequence[str]) -> pl.DataFrame:
    """Add columns up within each key, each row to the one before it.

    Polars does that key by key, which is slow where there are many keys with few rows each: customers and products. These are
    added up a step at a time, the second rows of all keys to their first ones, and so on: the same sums in the same order.
    """
    if not rows.schema[column].is_integer() or not rows.height:
        return rows.with_columns(pl.col(sums).cum_sum().over(column))
    keys = rows[column].to_numpy()
    order = np.argsort(keys, kind="stable")
    begins = np.flatnonzero(np.diff(keys[order], prepend=keys[order[0]] - 1))
    lengths = np.diff(begins, append=rows.height)
    if rows.height > FEW_ROWS_EACH * len(begins) or lengths.max() > MOST_STEPS:
        return rows.with_columns(pl.col(sums).cum_sum().over(column))
    longest_first = np.argsort(-lengths, kind="stable")
    begins, lengths = begins[longest_first], lengths[longest_first]
    values = rows.select(sums).to_numpy()[order]
    for step in range(1, int(lengths[0])):
        further = begins[: np.searchsorted(-lengths, -step, side="left")] + step
        values[further] += values[further - 1]
    result = np.empty_like(values)
    result[order] = values
    return rows.with_columns(pl.Series(name, result[:, place]) for place, name in enumerate(sums))


def last_sums(running: pl.DataFrame, wanted: Sums) -> pl.DataFrame:
    """Return what `running_sums` came to, one row a key."""
    return running.group_by(wanted.column).last().drop("available_at")


def read_sums(subjects: pl.DataFrame, running: pl.DataFrame, earlier: pl.DataFrame, wanted: Sums) -> pl.DataFrame:
    """Do what `join_sums` does with sums that were added up before.

    Parameters
    ----------
    running : polars.DataFrame
        From `running_sums`, reaching to the moments of the subjects.
    earlier : polars.DataFrame
        The same, reaching to `recent_days` before the moments; not looked at where nothing recent is wanted.
    """
    whole, fading = wanted.whole_columns, wanted.fading_columns
    result = _before(subjects, running, "moment", wanted.column).with_columns(
        *[pl.col(name).fill_null(0.0) for name in whole],
        *[(pl.col(name) / power("moment", wanted.half_life_days)).fill_null(0.0) for name in fading],
    )
    if wanted.recent_days is None:
        return result
    since = subjects.select("_row", wanted.column, _since=pl.col("moment") - pl.duration(days=wanted.recent_days))
    before = _before(since, earlier.drop(fading), "_since", wanted.column).select(
        "_row", *[pl.col(name).fill_null(0.0).alias(f"_recent{name}") for name in whole]
    )
    result = result.join(before, on="_row", how="left", maintain_order="left")
    return result.with_columns((pl.col(name) - pl.col(f"_recent{name}")).alias(f"_recent{name}") for name in whole)


def _before(subjects: pl.DataFrame, running: pl.DataFrame, at: str, column: str) -> pl.DataFrame:
    return subjects.join_asof(
        running, left_on=at, right_on="available_at", by=column, allow_exact_matches=False, check_sortedness=False
    ).drop("available_at", strict=False)


def power(at: str, half_life_days: float) -> pl.Expr:
    """What one counts at an instant, where what came before has faded."""
    return pl.lit(2.0).pow(pl.col(at).dt.epoch("s").cast(pl.Float64) / (_DAY * half_life_days))
