"""The features of a shop's orders, read chunk by chunk, so that a shop larger than the memory can be scored."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from bot.config import Settings
from bot.services.prediction.champions import predictor_errors
from bot.store.database import Connection, Database
from bot.store.orders_history import (
    count_orders,
    next_recorded,
    order_ranges,
    orderless_trouble,
    read_orders,
    written_mark,
)
from predictors.features import order_facts
from predictors.kept import KeptHistories, features_from_kept
from predictors.moments import Moment, order_moments
from predictors.snapshot import Snapshot
from predictors.windows import OrdersByTime

__all__ = ["Choose", "WarmOrders", "feature_frames"]

# Orders that are read at once.
ORDERS_A_CHUNK = 50_000
# With more orders than these, what was read is laid by in files of a temporary folder.
ORDERS_IN_MEMORY = 200_000

# Choose who of some orders is asked about, and when.
Choose = Callable[[Snapshot, pl.DataFrame], Mapping[Moment, pl.DataFrame]]


class WarmOrders:
    """Features of single orders, again and again: the facts of the whole shop are kept for as long as they hold.

    They hold until something is written that they were made of, or an instant passes for which something was recorded
    ahead; then the shop is read again. What concerns the order itself is read each time.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._histories: KeptHistories | None = None
        self._mark: tuple[int, ...] = ()
        self._since = self._until = datetime.max.replace(tzinfo=UTC)

    def frames(
        self, order_ids: Sequence[int], until: datetime, choose: Choose
    ) -> Iterator[tuple[Moment, pl.DataFrame]]:
        """Yield what `feature_frames` would of these orders alone."""
        timezone, due_days = self._settings.shop.timezone, self._settings.predictors.issue.due_days
        for order_id in order_ids:
            with predictor_errors(), self._database.read() as connection:
                histories = self._kept(connection, until)
                loose = orderless_trouble(connection, until, timezone, order_id=order_id)
                snapshot = read_orders(connection, order_id, order_id, until=until, timezone=timezone, loose=loose)
                chosen = choose(snapshot, order_moments(snapshot, due_days=due_days))
                found = [
                    (moment, features_from_kept(snapshot, subjects, histories, moment))
                    for moment, subjects in chosen.items()
                    if subjects.height
                ]
            yield from ((moment, frame) for moment, frame in found if frame.height)

    def _kept(self, connection: Connection, until: datetime) -> KeptHistories:
        mark = written_mark(connection)
        if self._histories is None or mark != self._mark or not self._since <= until < self._until:
            self._histories = None  # not two at a time
            timezone, due_days = self._settings.shop.timezone, self._settings.predictors.issue.due_days
            facts = [
                order_facts(snapshot, order_moments(snapshot, due_days=due_days))
                for snapshot in _chunks(connection, until, timezone)
            ]
            self._histories = KeptHistories(facts)
            self._mark, self._since = mark, until
            self._until = next_recorded(connection, until) or datetime.max.replace(tzinfo=UTC)
        return self._histories


def feature_frames(
    database: Database, settings: Settings, until: datetime, choose: Choose
) -> Iterator[tuple[Moment, pl.DataFrame]]:
    """Yield the features of those who are asked about, by time.

    Parameters
    ----------
    until : datetime
        Nothing recorded later is read.
    choose : callable
        Called with each chunk of orders and their moments.
    """
    timezone, due_days = settings.shop.timezone, settings.predictors.issue.due_days
    with ExitStack() as stack:
        with predictor_errors(), database.read() as connection:
            folder = None
            if count_orders(connection) > ORDERS_IN_MEMORY:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aftercare-scoring-")))
            laid_by = OrdersByTime(folder)
            for snapshot in _chunks(connection, until, timezone):
                moments = order_moments(snapshot, due_days=due_days)
                laid_by.add(snapshot, moments, choose(snapshot, moments))
        frames = laid_by.frames()
        while True:
            with predictor_errors():
                found = next(frames, None)
            if found is None:
                return
            yield found


def _chunks(connection: Connection, until: datetime, timezone: str) -> Iterator[Snapshot]:
    loose = orderless_trouble(connection, until, timezone)
    for first, last in order_ranges(connection, ORDERS_A_CHUNK):
        yield read_orders(connection, first, last, until=until, timezone=timezone, loose=loose)
