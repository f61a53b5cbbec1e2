"""Evaluating: our model beside named baselines on a later span, each fitted only on what was recorded before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.clock import Clock
from bot.config import Settings
from bot.errors import UsageError
from bot.services.predicting import predictor_errors, read_snapshot
from bot.store.database import Database
from predictors.backtest import backtest_churn, backtest_issue
from predictors.labels import LabelledBy
from predictors.moments import Moment


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One moment's metrics by model."""

    kind: str
    moment: str
    n: int
    positives: int
    models: Mapping[str, Mapping[str, Mapping[str, float | None]]]

    def line(self) -> dict[str, Any]:
        """Return the JSON of `aftercare evaluate`."""
        return {
            "kind": self.kind,
            "moment": self.moment,
            "n": self.n,
            "positives": self.positives,
            "models": self.models,
        }


class Evaluator:
    """Measures our model beside baselines."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def evaluate(
        self, kind: str, *, start: datetime, end: datetime, moment: str | None = None, horizon_days: int | None = None
    ) -> list[Evaluation]:
        """Train as of `start` and judge on the half-open span by what was recorded until now.

        For churn the span is the horizon: who is silent between `start` and `end`.
        """
        if kind not in ("issue", "churn"):
            raise UsageError(f"there is no evaluation of {kind!r}; write issue or churn")
        if start >= end:
            raise UsageError("--from must be before --to")
        snapshot = read_snapshot(self._database, self._settings, self._clock.now())
        settings = self._settings.predictors
        if kind == "churn":
            with predictor_errors():
                found = backtest_churn(snapshot, start, end, seed=settings.seed)
            return [
                Evaluation(
                    kind=kind, moment=Moment.NOW.value, n=found.n, positives=found.positives, models=found.models
                )
            ]
        if moment is not None and moment not in (Moment.PLACED, Moment.DUE):
            raise UsageError(f"there is no moment {moment!r}; write placed or due")
        evaluations = []
        for at in [Moment(moment)] if moment else [Moment.PLACED, Moment.DUE]:
            with predictor_errors():
                found = backtest_issue(
                    snapshot,
                    at,
                    start,
                    end,
                    horizon_days=horizon_days or settings.issue.horizon_days,
                    due_days=settings.issue.due_days,
                    labelled_by=LabelledBy(settings.issue.labelled_by),
                    seed=settings.seed,
                )
            evaluations.append(
                Evaluation(kind=kind, moment=at.value, n=found.n, positives=found.positives, models=found.models)
            )
        return evaluations
