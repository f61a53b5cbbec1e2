"""Between scoring and planning: what was predicted today, stored or not, as the planner wants it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

import structlog

from bot.clock import local_date, local_midnight
from bot.config import Settings
from bot.errors import ModelError
from bot.services.prediction.scoring import Scorer
from bot.store import models
from bot.store.database import Connection, Database
from bot.store.enums import RunState
from bot.store.planning import Forecast, forecasts_since
from bot.store.runs import finish_run, run_of, start_run
from predictors.lazy_rows import LazyRows
from predictors.moments import Moment

__all__ = ["SCORING", "Forecasting", "Forecasts", "Rescore", "rescoring_by"]

log = structlog.get_logger()

# The job under which the table of runs remembers that a kind was predicted on a local date.
SCORING = "score"

# Predict now: (kind, as of, whether to store) -> the forecasts; of those stored only the number is asked.
Rescore = Callable[[str, datetime, bool], Sequence[Forecast]]
# Read today's forecasts of a kind for the customers with ids in a range, both ends included.
Forecasts = Callable[[Connection, str, tuple[int, int]], Sequence[Forecast]]


class Forecasting:
    """Sees to it that what a plan needs was predicted today.

    Parameters
    ----------
    kinds : collection of str
        What the playbooks ask for.
    rescore : callable, optional
        Called for each kind that was not predicted today; without it, what was predicted today by others is all
        there is.
    """

    def __init__(self, database: Database, settings: Settings, kinds: Collection[str], rescore: Rescore | None) -> None:
        self._database = database
        self._settings = settings
        self._zone = settings.shop.zone
        self._kinds = sorted(kinds)
        self._rescore = rescore

    def refresh(self, now: datetime) -> int:
        """Predict and store every kind that was not predicted today; return how many subjects."""
        count = 0
        for kind in self._wanted():
            if self._scored_today(kind, now) or (fresh := self._score(kind, now, save=True)) is None:
                continue
            count += len(fresh)
            with self._database.write() as connection:
                key = self._key(kind, now)
                start_run(connection, SCORING, key, now)
                finish_run(connection, SCORING, key, RunState.DONE, {"subjects": len(fresh)}, now)
        return count

    def stored(self, now: datetime) -> Forecasts:
        """Return what reads the predictions that were stored today, by whomever."""
        today = local_date(now, self._zone)
        # The whole day, because another process's clock may run a little ahead of this one's.
        since = local_midnight(today, self._zone)
        before = local_midnight(today + timedelta(days=1), self._zone)
        return lambda connection, kind, customers: forecasts_since(connection, kind, since, before, customers=customers)

    def unstored(self, now: datetime) -> Forecasts:
        """Return the same, but predict what was not predicted today without writing anything."""
        fresh: dict[str, Sequence[Forecast]] = {}
        for kind in self._wanted():
            if not self._scored_today(kind, now) and (found := self._score(kind, now, save=False)) is not None:
                fresh[kind] = found
        stored = self.stored(now)

        def read(connection: Connection, kind: str, customers: tuple[int, int]) -> Sequence[Forecast]:
            if kind not in fresh:
                return stored(connection, kind, customers)
            first, last = customers
            return [one for one in fresh[kind] if first <= one.customer_id <= last]

        return read

    def _wanted(self) -> list[str]:
        """Return what the playbooks ask for, and the gain of a check-in once a model of it was promoted."""
        horizon_days = self._settings.predictors.issue.horizon_days
        with self._database.read() as connection:
            champion = models.champion(connection, "uplift", Moment.NOW.value, horizon_days)
        return self._kinds if champion is None or "issue" not in self._kinds else [*self._kinds, "uplift"]

    def _scored_today(self, kind: str, now: datetime) -> bool:
        with self._database.read() as connection:
            run = run_of(connection, SCORING, self._key(kind, now))
        return run is not None and run.state == RunState.DONE

    def _key(self, kind: str, now: datetime) -> str:
        return f"{kind}:{local_date(now, self._zone)}"

    def _score(self, kind: str, now: datetime, *, save: bool) -> Sequence[Forecast] | None:
        """Predict now; None where that cannot be: then what was predicted today by others counts."""
        if self._rescore is None:
            return None
        try:
            return self._rescore(kind, now, save)
        except ModelError as error:
            log.warning("not_scored", kind=kind, problem=str(error))
            return None


class Stored(LazyRows[Forecast]):
    """Forecasts that are stored and not held: of a large shop they would fill the memory. Their number is known."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def row(self, index: int) -> Forecast:
        raise LookupError(f"forecast {index} is in the database: read it by `Forecasting.stored`")


def rescoring_by(scorer: Scorer) -> Rescore:
    """Return what predicts everything recent of a kind now."""

    def rescore(kind: str, as_of: datetime, save: bool) -> Sequence[Forecast]:
        if save:
            return Stored(scorer.store(kind, as_of=as_of))
        return [
            Forecast(
                prediction_id=None,
                kind=one.kind,
                moment=one.moment,
                customer_id=one.customer_id,
                order_id=one.order_id,
                as_of=one.as_of,
                probability=one.probability,
                band=one.band,
                reasons=tuple(one.reason_rows),
            )
            for batch in scorer.batches(kind, as_of=as_of, save=False)
            for one in batch
        ]

    return rescore
