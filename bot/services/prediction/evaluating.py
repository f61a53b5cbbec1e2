"""Evaluating: our model beside named baselines on a later span, each fitted only on what was recorded before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.clock import Clock
from bot.config import Settings
from bot.errors import InputError, UsageError
from bot.services.prediction.champions import predictor_errors, read_snapshot
from bot.services.prediction.evaluation_page import evaluation_page
from bot.services.prediction.evaluation_words import verdict
from bot.services.prediction.experience import drawn_contacts
from bot.store.database import Database
from predictors.backtest import Backtest, Refit, backtest_churn, backtest_issue
from predictors.labels import LabelledBy
from predictors.moments import Moment

# Called with what is being fitted, how many refits are done, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One moment's backtest, with what it was about."""

    kind: str
    moment: str
    start: datetime
    end: datetime
    horizon_days: int
    backtest: Backtest

    @property
    def n(self) -> int:
        return self.backtest.n

    @property
    def positives(self) -> int:
        return self.backtest.positives

    @property
    def models(self) -> Mapping[str, Mapping[str, Mapping[str, float | None]]]:
        """{NAME: {METRIC: {"value", "low", "high"}}}, ours first."""
        return self.backtest.comparison.models

    def line(self) -> dict[str, Any]:
        """Return the JSON of `aftercare evaluate`."""
        return {
            "kind": self.kind,
            "moment": self.moment,
            "n": self.n,
            "positives": self.positives,
            "models": self.models,
            "differences": self.backtest.comparison.differences,
            "refits": [
                {
                    "as_of": one.as_of.astimezone(UTC).isoformat(),
                    "rows": one.rows,
                    "positives": one.positives,
                    "stage": one.stage,
                }
                for one in self.backtest.refits
            ],
            "verdict": list(verdict(self.kind, self.backtest)),
        }


class Evaluator:
    """Measures our model beside baselines."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def evaluate(
        self,
        kind: str,
        *,
        start: datetime,
        end: datetime,
        moment: str | None = None,
        horizon_days: int | None = None,
        refit: Refit = Refit.MONTHLY,
        progress: Progress | None = None,
    ) -> list[Evaluation]:
        """Fit as of the start, and of each month's first after it, and judge the span by what was recorded until now.

        For churn the horizon is the whole span, unless one is given: then every window of it that fits is judged.
        """
        if kind not in ("issue", "churn"):
            raise UsageError(f"there is no evaluation of {kind!r}; write issue or churn")
        if start >= end:
            raise UsageError("--from must be before --to: nothing lies in an empty span")
        if moment is not None and (kind == "churn" or moment not in (Moment.PLACED, Moment.DUE)):
            raise UsageError(
                "churn is asked of customers and has no moments; leave --moment out"
                if kind == "churn"
                else f"there is no moment {moment!r}; write placed or due"
            )
        snapshot = read_snapshot(self._database, self._settings, self._clock.now())
        settings = self._settings.predictors
        found: list[Evaluation] = []
        for at in [Moment.NOW] if kind == "churn" else [Moment(moment)] if moment else [Moment.PLACED, Moment.DUE]:
            with predictor_errors():
                if kind == "churn":
                    days = horizon_days or (end - start).days
                    backtest = backtest_churn(
                        snapshot,
                        start,
                        end,
                        seed=settings.seed,
                        horizon_days=horizon_days,
                        refit=refit,
                        progress=_named(progress, "churn"),
                    )
                else:
                    days = horizon_days or settings.issue.horizon_days
                    backtest = backtest_issue(
                        snapshot,
                        at,
                        start,
                        end,
                        horizon_days=days,
                        due_days=settings.issue.due_days,
                        labelled_by=LabelledBy(settings.issue.labelled_by),
                        seed=settings.seed,
                        refit=refit,
                        draws=drawn_contacts(self._database, snapshot.until),
                        progress=_named(progress, f"issue at {at.value}"),
                    )
            found.append(
                Evaluation(kind=kind, moment=at.value, start=start, end=end, horizon_days=days, backtest=backtest)
            )
        return found

    def report(self, evaluations: list[Evaluation], path: Path) -> None:
        """Write the report page: one file that needs nothing else.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        zone = self._settings.shop.zone
        page = evaluation_page(
            [
                (
                    one.kind,
                    one.moment,
                    f"{one.start.astimezone(zone):%Y-%m-%d %H:%M} to {one.end.astimezone(zone):%Y-%m-%d %H:%M}",
                    one.horizon_days,
                    one.backtest,
                )
                for one in evaluations
            ],
            shop=self._settings.shop.name,
            made_at=self._clock.now().astimezone(zone),
        )
        try:
            path.write_text(page, encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write the report {path}: {error.strerror}; choose another --report") from error


def _named(progress: Progress | None, what: str) -> Callable[[datetime, int, int], None] | None:
    if progress is None:
        return None
    return lambda origin, done, total: progress(f"{what}, as of {origin:%Y-%m-%d}", done, total)
