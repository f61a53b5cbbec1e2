"""Features of a shop of any size: its orders chunk by chunk, then their histories window of time by window of time.

What each order adds to histories, and what is asked about it, needs that order alone: both are laid by, in files where
there are many. Histories need all orders, but only up to a moment: they are added up once through time, and of the past
nothing is held but the sums so far. The features are those of `predictors.features.issue_features`, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.features import describe, finished, order_facts
from predictors.histories import KEYS, RECENT_DAYS, join_histories, wanted_sums
from predictors.moments import Moment
from predictors.running import Sums, last_sums, read_sums, running_sums
from predictors.snapshot import Snapshot

__all__ = ["OrdersByTime"]

# Facts that are added up at a time; an order has about six.
FACTS_A_WINDOW = 200_000
# Every so manieth fact says where windows end.
_SAMPLED = 16
# Rows of a file that are read at once.
ROWS_A_READ = 8192
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OrdersByTime:
    """Facts and subjects of orders, laid by in any order and read by time.

    Parameters
    ----------
    folder : Path, optional
        Where to lay them by; without one they stay in memory.
    """

    def __init__(self, folder: Path | None = None, *, facts_a_window: int = FACTS_A_WINDOW) -> None:
        self._facts = _Pile(folder, "facts", "available_at")
        self._subjects = _Pile(folder, "subjects", "moment")
        self._facts_a_window = facts_a_window

    def add(self, snapshot: Snapshot, moments: pl.DataFrame, subjects: Mapping[Moment, pl.DataFrame]) -> None:
        """Lay by some orders; each order is added once.

        Parameters
        ----------
        snapshot : Snapshot
            All that is known of these orders; other orders may be missing.
        moments : polars.DataFrame
            From `predictors.moments.order_moments`, of these orders.
        subjects : mapping of Moment to polars.DataFrame
            From `predictors.moments.issue_subjects`, those of them that are asked about.
        """
        self._facts.add(order_facts(snapshot, moments))
        for moment, chosen in subjects.items():
            if chosen.height:
                described = describe(snapshot, chosen.select("order_id", "moment"))
                self._subjects.add(described.with_columns(asked=pl.lit(moment.value)))

    def frames(self) -> Iterator[tuple[Moment, pl.DataFrame]]:
        """Yield feature frames, by time; a moment that nobody is asked about in a window has none."""
        sums = _CarriedSums()
        for low, high in self._windows():
            subjects = self._subjects.between(low, high)
            if high is None and subjects is None:
                return  # nobody is left to be asked about
            sums.open(self._facts.between(low, high), *self._earlier(low, high), subjects)
            if subjects is not None:
                rows = join_histories(subjects.sort("moment", "order_id"), sums)
                for moment in Moment:
                    asked = rows.filter(pl.col("asked") == moment.value)
                    if asked.height:
                        yield moment, finished(asked, subjects.columns, moment)
            sums.close()

    def _earlier(self, low: datetime | None, high: datetime | None) -> tuple[bool, pl.DataFrame | None]:
        """Return whether the window as it was so many days before must be added up too, and its facts."""
        if low is None and high is None:
            return False, None
        days = timedelta(days=RECENT_DAYS)
        return True, self._facts.between(None if low is None else low - days, None if high is None else high - days)

    def _windows(self) -> Sequence[tuple[datetime | None, datetime | None]]:
        """Cut time so that no window has many more facts than wanted; the first and last are open."""
        sampled = np.sort(self._facts.sampled())
        step = max(self._facts_a_window // _SAMPLED, 1)
        ends = pl.Series(np.unique(sampled[step::step]), dtype=pl.Int64).cast(pl.Datetime("us", "UTC")).to_list()
        if self._facts.height <= self._facts_a_window:
            ends = []
        return list(zip([None, *ends], [*ends, None], strict=True))


class _Carried:
    """The sums of every key met so far, one row a key.

    What the latest windows changed is kept apart, so that a window does not write down again the sums of all
    customers that a large shop has; the two are put together when there is half as much of it.
    """

    def __init__(self, sums: pl.DataFrame) -> None:
        self._column = sums.columns[0]
        self._old = sums
        self._new = sums.clear()

    def of(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of some keys."""
        on = self._column
        new = self._new.join(keys, on=on, how="semi")
        return pl.concat([self._old.join(keys, on=on, how="semi").join(new, on=on, how="anti"), new])

    def renew(self, keys: pl.DataFrame, sums: pl.DataFrame) -> None:
        """Write down the rows of some keys, all of which are in `keys`."""
        self._new = pl.concat([self._new.join(keys, on=self._column, how="anti"), sums])
        if 2 * self._new.height >= self._old.height:
            self._old = pl.concat([self._old.join(self._new, on=self._column, how="anti"), self._new])
            self._new = self._old.clear()


class _CarriedSums:
    """The sums of all histories up to a window's beginning, and in the window itself."""

    def __init__(self) -> None:
        self._wanted = {column: wanted_sums(column, name) for column, name in KEYS.items()}
        self._now: dict[str, _Carried] = {}
        # The same, so many days earlier.
        self._before: dict[str, _Carried] = {}

    def open(
        self, facts: pl.DataFrame | None, lags: bool, earlier: pl.DataFrame | None, subjects: pl.DataFrame | None
    ) -> None:
        """Begin a window; where `lags`, with the facts of the window as it was `RECENT_DAYS` before."""
        self._facts, self._earlier, self._subjects = _sorted(facts), _sorted(earlier), subjects
        self._lags = lags
        self._open = set(self._wanted)

    def __call__(self, rows: pl.DataFrame, wanted: Sums) -> pl.DataFrame:
        """Add the sums of one history, as `predictors.running.join_sums` does."""
        self._open.discard(wanted.column)
        running, earlier = self._both(wanted)
        return read_sums(rows, running, earlier, wanted)

    def close(self) -> None:
        """Go on to the window's end with the histories that nobody asked for."""
        for column in self._open:
            self._both(self._wanted[column])

    def _both(self, wanted: Sums) -> tuple[pl.DataFrame, pl.DataFrame]:
        running = self._advance(self._now, self._facts, wanted)
        if wanted.recent_days is None or not self._lags:
            return running, running
        return running, self._advance(self._before, self._earlier, wanted)

    def _advance(self, states: dict[str, _Carried], facts: pl.DataFrame | None, wanted: Sums) -> pl.DataFrame:
        column, state = wanted.column, states.get(wanted.column)
        if facts is None:
            facts = pl.DataFrame(schema={column: self._key_type(column), "available_at": pl.Datetime("us", "UTC")})
            facts = facts.with_columns(pl.lit(0.0).alias(count) for count in {*wanted.whole, *wanted.fading})
        if state is None:
            running = running_sums(facts, wanted)
            states[column] = _Carried(last_sums(running, wanted))
            return running
        met = [frame.select(column) for frame in (facts, self._subjects) if frame is not None]
        keys = pl.concat(met).unique()
        running = running_sums(facts, wanted, state.of(keys))
        state.renew(keys, last_sums(running, wanted))
        return running

    def _key_type(self, column: str) -> pl.DataType:
        known = next((frame for frame in (self._facts, self._subjects, self._earlier) if frame is not None), None)
        assert known is not None  # a window has facts or subjects
        return known.schema[column]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Rows in the order of their time, in memory or in a file that is read some rows at a time.

    Attributes
    ----------
    firsts : array of int
        The time of every `ROWS_A_READ`th row, microseconds since 1970.
    last : int
    """

    rows: pl.LazyFrame
    firsts: npt.NDArray[np.int64]
    last: int

    def between(self, at: str, low: datetime | None, high: datetime | None) -> pl.DataFrame | None:
        # A shop of ten times the orders has parts a tenth as long that reach as far into days to come: whole parts
        # must not be read for each window.
        begin = 0 if low is None else max(int(np.searchsorted(self.firsts, _instant(low), side="left")) - 1, 0)
        end = len(self.firsts) if high is None else int(np.searchsorted(self.firsts, _instant(high), side="left"))
        if begin >= end or (low is not None and self.last < _instant(low)):
            return None
        rows = self.rows.slice(begin * ROWS_A_READ, (end - begin) * ROWS_A_READ)
        within = [] if low is None else [pl.col(at) >= low]
        return rows.filter(*within, *([] if high is None else [pl.col(at) < high])).collect()


class _Pile:
    """Frames that are laid by whole and read by time."""

    def __init__(self, folder: Path | None, name: str, column: str) -> None:
        self._folder = folder
        self._name = name
        self._column = column
        self._parts: list[_Part] = []
        self._samples: list[pl.Series] = []
        self.height = 0

    def add(self, frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        frame = frame.sort(self._column, maintain_order=True)
        at = frame[self._column].to_physical()
        self._samples.append(at.gather_every(_SAMPLED))
        self.height += frame.height
        rows = frame.lazy()
        if self._folder is not None:
            file = self._folder / f"{self._name}-{len(self._parts)}.arrow"
            frame.write_ipc(file, compression="lz4", record_batch_size=ROWS_A_READ)
            rows = pl.scan_ipc(file)
        self._parts.append(_Part(rows=rows, firsts=at.gather_every(ROWS_A_READ).to_numpy(), last=at[-1]))

    def between(self, low: datetime | None, high: datetime | None) -> pl.DataFrame | None:
        """Return the rows from `low` up to `high` (not included); None where there are none."""
        found = [part.between(self._column, low, high) for part in self._parts]
        there = [frame for frame in found if frame is not None and frame.height]
        return pl.concat(there) if there else None

    def sampled(self) -> npt.NDArray[np.int64]:
        return pl.concat(self._samples).to_numpy() if self._samples else np.empty(0, dtype=np.int64)


def _instant(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _sorted(facts: pl.DataFrame | None) -> pl.DataFrame | None:
    # The order in which `predictors.histories.history_events` has them.
    return None if facts is None else facts.sort("available_at", "order_id", maintain_order=True)
