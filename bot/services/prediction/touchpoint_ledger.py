"""A customer's ledger: what each touchpoint counts today, bad against good, and the sum.

The weights are learned anew every four weeks and kept with the run that learned them (`bot.store.runs`); a shop whose past
teaches nothing better than a plain average keeps those set by hand. How they are fitted is `predictors.experience`'s
business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import structlog

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.services.prediction.champions import NotEnoughHistory, predictor_errors
from bot.store import history
from bot.store.database import Database
from bot.store.enums import RunState
from bot.store.runs import finish_run, latest_runs, start_run
from bot.store.shop import Order, Touchpoint
from predictors.experience import STANDARD, ExperienceWeights, experience_points, points_now
from predictors.experience_training import KINDS_READ, train_experience
from predictors.snapshot import FRAMES, Snapshot, empty

__all__ = ["JOB", "Entry", "Ledger", "TouchpointLedger"]

log = structlog.get_logger(__name__)

JOB = "experience"
LEARN_EVERY = timedelta(days=28)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One experience and what it counts now; a broken promise has no touchpoint."""

    touchpoint_id: int | None
    order_id: int | None
    experience: str
    occurred_at: datetime
    recorded_at: datetime
    points: float


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """All experiences of a customer, in the order of happening; the score is their sum."""

    entries: Sequence[Entry]
    weights: ExperienceWeights

    @property
    def score(self) -> float:
        """The sum of all points; below 0 more bad than good is left."""
        return sum(entry.points for entry in self.entries)

    @property
    def fitted(self) -> bool:
        """Whether the weights were learned from the shop's own past."""
        return self.weights.rows > 0

    def line(self, order_keys: Mapping[int, str]) -> dict[str, Any]:
        """Return it as JSON, orders by the shop's own ids."""
        return {
            "score": round(self.score, 4),
            "weights": "fitted" if self.fitted else "by hand",
            "bad_half_life_days": round(self.weights.bad_half_life_days, 1),
            "good_half_life_days": round(self.weights.good_half_life_days, 1),
            "entries": [
                {
                    "occurred_at": entry.occurred_at,
                    "experience": entry.experience,
                    "order_id": order_keys.get(entry.order_id) if entry.order_id is not None else None,
                    "points": round(entry.points, 4),
                }
                for entry in self.entries
            ],
        }


class TouchpointLedger:
    """Keeps weights and reckons ledgers by them."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def of(self, orders: Sequence[Order], touchpoints: Sequence[Touchpoint]) -> Ledger:
        """Reckon the ledger of one customer from their orders and touchpoints, as of now."""
        now = self._clock.now()
        weights = self.weights()
        snapshot = _snapshot(orders, touchpoints, now, self._settings.shop.timezone)
        with predictor_errors():
            points = experience_points(snapshot, due_days=self._settings.predictors.issue.due_days)
        age = (pl.lit(now) - pl.col("occurred_at")).dt.total_microseconds() / 86_400e6
        ages = points.select(age.alias("age"))["age"].to_numpy().astype(np.float64)
        counted = points_now(weights, points["experience"].to_list(), ages)
        rows = points.drop("customer_id").iter_rows(named=True)
        return Ledger(
            entries=[Entry(**row, points=float(count)) for row, count in zip(rows, counted, strict=True)],
            weights=weights,
        )

    def weights(self) -> ExperienceWeights:
        """Return the weights in force."""
        with self._database.read() as connection:
            runs = latest_runs(connection, JOB)
        for run in runs:
            if run.state is RunState.DONE and run.detail and "weights" in run.detail:
                return ExperienceWeights(**run.detail["weights"])
        return STANDARD

    def learn_if_due(self) -> int:
        """Learn the weights anew where the last time is four weeks ago; return 1 where new ones are in force."""
        now = self._clock.now()
        with self._database.read() as connection:
            runs = latest_runs(connection, JOB)
        # One that failed, or whose process died, is tried again on the next date.
        if any(run.state is RunState.DONE and run.started_at + LEARN_EVERY > now for run in runs):
            return 0
        key = local_date(now, self._settings.shop.zone).isoformat()
        with self._database.write() as connection:
            if not start_run(connection, JOB, key, now):
                return 0
        try:
            detail = self._learned(now)
        except Exception as error:
            with self._database.write() as connection:
                finish_run(connection, JOB, key, RunState.FAILED, {"error": type(error).__name__}, self._clock.now())
            raise
        with self._database.write() as connection:
            finish_run(connection, JOB, key, RunState.DONE, detail, self._clock.now())
        return int("weights" in detail)

    def _learned(self, now: datetime) -> dict[str, Any]:
        settings = self._settings
        try:
            with predictor_errors():
                with self._database.read() as connection:
                    snapshot = history.read_snapshot(
                        connection, until=now, timezone=settings.shop.timezone, more_kinds=KINDS_READ
                    )
                trained = train_experience(
                    snapshot,
                    horizon_days=settings.predictors.issue.horizon_days,
                    due_days=settings.predictors.issue.due_days,
                    seed=settings.predictors.seed,
                )
        except NotEnoughHistory as error:
            return {"kept": str(error)}
        log.info("experience_learned", rows=trained.weights.rows, gain=round(trained.gain, 5))
        return {"weights": asdict(trained.weights), "intervals": trained.intervals, "gain": trained.gain}


def _snapshot(orders: Sequence[Order], touchpoints: Sequence[Touchpoint], now: datetime, timezone: str) -> Snapshot:
    bought = [
        {
            "order_id": order.id,
            "customer_id": order.customer_id,
            "placed_at": order.placed_at,
            "promised_at": order.promised_at,
            "recorded_at": min(order.recorded_at, now),
        }
        for order in orders
    ]
    happened = [
        {
            "touchpoint_id": point.id,
            "customer_id": point.customer_id,
            "order_id": point.order_id,
            "kind": point.kind,
            "occurred_at": point.occurred_at,
            "recorded_at": point.recorded_at,
            "value": point.value,
        }
        for point in touchpoints
        if point.id is not None
    ]
    frames = {name: empty(name) for name in FRAMES}
    frames["orders"] = pl.DataFrame(bought, schema=dict(FRAMES["orders"][0]))
    frames["touchpoints"] = pl.DataFrame(happened, schema=dict(FRAMES["touchpoints"][0]))
    return Snapshot(**frames, until=now, timezone=timezone)
