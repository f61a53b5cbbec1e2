"""Retraining: a challenger from what was recorded by an instant, promoted only past the gate.

What somebody decides by hand is in `bot.services.promoting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.errors import ModelError, NotFound, UsageError
from bot.services.experience import observed_outcomes
from bot.services.predicting import check_kind, open_champion, predictor_errors, read_snapshot
from bot.store import models, promotions
from bot.store.database import Database
from bot.store.enums import ModelStatus, PromotionWay
from predictors.churn_training import train_churn
from predictors.evaluation import Verdict
from predictors.gain import train_uplift
from predictors.labels import LabelledBy
from predictors.model import TrainedModel
from predictors.moments import Moment
from predictors.registry import save_model
from predictors.snapshot import Snapshot
from predictors.training import TrainingResult, train_issue

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """What became of one training."""

    name: str
    kind: str
    moment: str
    horizon_days: int
    stage: str
    promoted: bool
    reason: str
    rows: int
    positives: int
    trained_as_of: datetime
    previous: str | None
    metrics: dict[str, Any]

    def line(self) -> dict[str, Any]:
        """Return the JSON of `aftercare train`."""
        return {
            "model": self.name,
            "kind": self.kind,
            "moment": self.moment,
            "horizon_days": self.horizon_days,
            "stage": self.stage,
            "promoted": self.promoted,
            "reason": self.reason,
            "previous": self.previous,
            "rows": self.rows,
            "positives": self.positives,
            "trained_as_of": self.trained_as_of.isoformat(),
            "metrics": self.metrics,
        }


class Trainer:
    """Trains challengers and decides who scores."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def train(
        self,
        kind: str,
        *,
        moment: str | None = None,
        as_of: datetime | None = None,
        horizon_days: int | None = None,
    ) -> list[TrainingReport]:
        """Train; the first model promotes itself, a later one only past the gate.

        Parameters
        ----------
        kind : str
            `issue` (both moments unless one is named), `churn` or `uplift`.
        as_of : datetime, optional
            Nothing recorded later is seen (default: now).

        Returns
        -------
        list of TrainingReport
            One a model; `promoted` is False where the gate kept the old one.

        Raises
        ------
        Refused
            Uplift, while too few outcomes of experiments are known; the message has the counts.
        """
        check_kind(kind)
        until = min(as_of or self._clock.now(), self._clock.now())
        snapshot = read_snapshot(self._database, self._settings, until)
        if kind == "churn":
            horizon = horizon_days or self._settings.predictors.churn.horizon_days
            return [self._train_one(snapshot, kind, Moment.NOW, horizon)]
        if kind == "uplift":
            if moment is not None:
                raise UsageError("uplift has no moments; leave --moment out")
            horizon = horizon_days or self._settings.predictors.issue.horizon_days
            return [self._train_one(snapshot, kind, Moment.NOW, horizon)]
        if moment is not None and moment not in (Moment.PLACED, Moment.DUE):
            raise UsageError(f"there is no moment {moment!r}; write placed or due")
        horizon = horizon_days or self._settings.predictors.issue.horizon_days
        moments = [Moment(moment)] if moment else [Moment.PLACED, Moment.DUE]
        return [self._train_one(snapshot, kind, one, horizon) for one in moments]

    def list_models(self) -> list[models.ModelVersion]:
        """Return all models, the newest of each kind first."""
        with self._database.read() as connection:
            return models.list_models(connection)

    def show(self, name: str) -> models.ModelVersion:
        """Return one model."""
        with self._database.read() as connection:
            found = models.model_named(connection, name)
        if found is None:
            raise NotFound(f"there is no model {name}; `aftercare models list` shows them")
        return found

    def _train_one(self, snapshot: Snapshot, kind: str, moment: Moment, horizon_days: int) -> TrainingReport:
        champion, version = self._champion(kind, moment, horizon_days)
        settings = self._settings.predictors
        with predictor_errors():
            if kind == "churn":
                result = train_churn(snapshot, horizon_days=horizon_days, seed=settings.seed, champion=champion)
            elif kind == "uplift":
                result = train_uplift(
                    snapshot,
                    observed_outcomes(self._database, horizon_days, snapshot.until),
                    horizon_days=horizon_days,
                    due_days=settings.issue.due_days,
                    champion=champion,
                )
            else:
                result = train_issue(
                    snapshot,
                    moment,
                    horizon_days=horizon_days,
                    due_days=settings.issue.due_days,
                    labelled_by=LabelledBy(settings.issue.labelled_by),
                    seed=settings.seed,
                    champion=champion,
                )
        verdict = result.verdict
        if version is not None and champion is None:
            verdict = Verdict(passed=True, reason=f"the champion {version.name} cannot be opened any more")
        stored = self._store(result, verdict)
        log.info("model_trained", model=stored.name, stage=stored.stage, promoted=verdict.passed)
        return TrainingReport(
            name=stored.name,
            kind=kind,
            moment=moment.value,
            horizon_days=horizon_days,
            stage=stored.stage,
            promoted=verdict.passed,
            reason=verdict.reason,
            rows=result.model.rows,
            positives=result.model.positives,
            trained_as_of=result.model.trained_as_of.astimezone(UTC),
            previous=version.name if version else None,
            metrics=result.metrics,
        )

    def _champion(
        self, kind: str, moment: Moment, horizon_days: int
    ) -> tuple[TrainedModel | None, models.ModelVersion | None]:
        with self._database.read() as connection:
            version = models.champion(connection, kind, moment.value, horizon_days)
        if version is None:
            return None, None
        try:
            found = open_champion(self._database, self._settings, kind, moment, horizon_days)
        except ModelError as error:
            log.warning("champion_unusable", model=version.name, reason=str(error))
            return None, version
        return (found[0] if found else None), version

    def _store(self, result: TrainingResult, verdict: Verdict) -> models.ModelVersion:
        model = result.model
        with self._database.read() as connection:
            number = models.next_version(connection, model.kind, model.moment, model.horizon_days)
        name = f"{model.kind}-{model.moment}-{model.horizon_days}-v{number}"
        facts = {
            "version": number,
            "metrics": result.metrics,
            "verdict": verdict.reason,
            "data_from": _iso(result.data_from),
            "data_until": _iso(result.data_until),
        }
        folder = self._settings.path(self._settings.models.dir)
        path, sha256, manifest = save_model(model, folder, name, facts)
        row = models.ModelVersion(
            id=0,
            name=name,
            kind=model.kind,
            moment=model.moment,
            horizon_days=model.horizon_days,
            version=number,
            stage=model.stage.value,
            path=path.name,
            sha256=sha256,
            trained_as_of=model.trained_as_of,
            created_at=self._clock.now(),
            metrics=result.metrics,
            manifest=manifest,
            status=ModelStatus.CHALLENGER,
        )
        with self._database.write() as connection:
            stored = models.add_model(connection, row)
            seen = promotions.top_promotion(connection, stored.series)
            if verdict.passed:
                promotions.promote(
                    connection,
                    stored,
                    seen=seen,
                    below=seen.number if seen else None,
                    way=PromotionWay.GATE if seen else PromotionWay.FIRST,
                    actor="system",
                    reason=verdict.reason,
                    now=row.created_at,
                )
        return stored


def refused(reports: Sequence[TrainingReport]) -> list[TrainingReport]:
    """Return the trainings whose model the gate kept out."""
    return [report for report in reports if not report.promoted]


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
