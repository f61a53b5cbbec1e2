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
from bot.store.history_mark import Mark, next_recorded, orders_touched, written_mark
from bot.store.orders_history import (
    contacts,
    count_orders,
    order_ranges,
    orderless_trouble,
    read_orders,
    read_these_orders,
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

# Orders whose kept facts are replaced before the whole shop is read again.
RENEWED_AT_MOST = 2000

# Choose who of some orders is asked about, and when.
Choose = Callable[[Snapshot, pl.DataFrame], Mapping[Moment, pl.DataFrame]]


class WarmOrders:
    """Features of single orders, again and again: the facts of the whole shop are kept for as long as they hold.

    When something is written that they were made of, the orders that it concerns are read again. The whole shop is where these
    are too many, where something was erased, and where an instant passes for which something was recorded ahead. What
    concerns the order itself is read each time.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._histories: KeptHistories | None = None
        self._mark: Mark | None = None
        self._since = self._until = datetime.max.replace(tzinfo=UTC)

    def frames(
        self, order_ids: Sequence[int], until: datetime, choose: Choose
    ) -> Iterator[tuple[Moment, pl.DataFrame]]:
        """Yield what `feature_frames` would of these orders alone."""
        timezone, due_days = self._settings.shop.timezone, self._settings.predictors.issue.due_days
        for order_id in order_ids:
            with predictor_errors(), self._database.read() as connection:
                histories = self._kept(connection, until)
                snapshot = read_these_orders(connection, [order_id], until=until, timezone=timezone)
                chosen = choose(snapshot, order_moments(snapshot, due_days=due_days))
                found = [
                    (moment, features_from_kept(snapshot, subjects, histories, moment))
                    for moment, subjects in chosen.items()
                    if subjects.height
                ]
            yield from ((moment, frame) for moment, frame in found if frame.height)

    def _kept(self, connection: Connection, until: datetime) -> KeptHistories:
        mark = written_mark(connection)
        if not (self._since <= until < self._until and self._renewed(connection, mark, until)):
            self._histories = None  # not two at a time
            self._histories = KeptHistories(
                [self._facts(snapshot) for snapshot in _chunks(connection, until, self._settings.shop.timezone)]
            )
            self._until = next_recorded(connection, until) or datetime.max.replace(tzinfo=UTC)
            self._mark, self._since = mark, until
        assert self._histories is not None
        return self._histories

    def _renewed(self, connection: Connection, mark: Mark, until: datetime) -> bool:
        """Bring what is kept up to a mark; False where it is better to read the shop again."""
        if self._histories is None or self._mark is None:
            return False
        if mark == self._mark:
            return True
        room = RENEWED_AT_MOST - self._histories.renewed
        touched = orders_touched(connection, self._mark, mark, room)
        if touched is None:
            return False
        if touched:
            timezone = self._settings.shop.timezone
            reached = contacts(connection, until, timezone, touched)
            snapshot = read_these_orders(connection, touched, until=until, timezone=timezone, reached=reached)
            self._histories.renew(touched, self._facts(snapshot))
        if (ahead := next_recorded(connection, until, self._mark)) is not None:
            self._until = min(self._until, ahead)
        self._mark, self._since = mark, until
        return True

    def _facts(self, snapshot: Snapshot) -> pl.DataFrame:
        return order_facts(snapshot, order_moments(snapshot, due_days=self._settings.predictors.issue.due_days))


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
    loose, reached = orderless_trouble(connection, until, timezone), contacts(connection, until, timezone)
    for first, last in order_ranges(connection, ORDERS_A_CHUNK):
        yield read_orders(connection, first, last, until=until, timezone=timezone, loose=loose, reached=reached)
