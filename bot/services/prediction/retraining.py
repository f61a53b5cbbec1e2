"""Retraining: a challenger from what was recorded by an instant, promoted only past the gate.

What somebody decides by hand is in `bot.services.prediction.promoting`, when it is time to retrain in `bot.services.prediction.drifting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.errors import ModelError, UsageError
from bot.services.prediction.champions import check_kind, open_model, predictor_errors, read_snapshot
from bot.services.prediction.experience import drawn_contacts, observed_outcomes
from bot.services.prediction.model_files import ModelFiles, card_files
from bot.store import models, promotions
from bot.store.database import Connection, Database
from bot.store.enums import ModelStatus, PromotionWay
from bot.store.notices import add_notice
from predictors.churn_scoring import FACTS as CHURN_FACTS
from predictors.churn_training import train_churn
from predictors.drift import reference
from predictors.explain import FACTS as ISSUE_FACTS
from predictors.gain import GAIN_FACTS, train_uplift
from predictors.gain_replay import gate_gain
from predictors.gates import Verdict
from predictors.labels import LabelledBy
from predictors.model import TrainedModel
from predictors.model_card import importances
from predictors.moments import Moment
from predictors.registry import save_model
from predictors.replay import Replay, replay_churn, replay_issue
from predictors.snapshot import Snapshot
from predictors.training import TrainingResult, train_issue

FACTS = {"issue": ISSUE_FACTS, "churn": CHURN_FACTS, "uplift": GAIN_FACTS}
OVERTAKEN = "another model was promoted while this one was trained, and it was not judged against that one; train again"
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
        self._files = ModelFiles(database, clock, settings)

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
        self._files.sweep()
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

    def _train_one(self, snapshot: Snapshot, kind: str, moment: Moment, horizon_days: int) -> TrainingReport:
        series = models.Series(kind, moment.value, horizon_days)
        with self._database.read() as connection:
            seen = promotions.top_promotion(connection, series)
        champion, version = self._champion(kind, moment, horizon_days)
        with predictor_errors():
            result = self._fit(snapshot, series, champion)
            replay = self._replay(snapshot, series, champion, result)
            verdict = result.verdict if replay is None else replay.verdict(self._settings.predictors.seed)
            if kind == "uplift" and champion is not None:
                verdict = gate_gain(
                    verdict,
                    snapshot,
                    observed_outcomes(self._database, horizon_days, snapshot.until),
                    champion,
                    horizon_days=horizon_days,
                    due_days=self._settings.predictors.issue.due_days,
                    seed=self._settings.predictors.seed,
                )
        if version is not None and champion is None:
            verdict = Verdict(passed=True, reason=f"the champion {version.name} cannot be opened any more")
        stored, verdict = self._store(result, verdict, seen, replay.fitted_as_of if replay else None)
        if version is not None:
            self._tell(stored, version, verdict)
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

    def _tell(self, new: models.ModelVersion, old: models.ModelVersion, verdict: Verdict) -> None:
        """Tell the agents' channel how the new model stood against the old one."""
        done = (
            f"{new.name} scores from now on instead of {old.name}"
            if verdict.passed
            else f"{old.name} scores on; {new.name} was refused"
        )
        text = f"{done}: {verdict.reason}. `aftercare models show {new.name}` has the rest."
        with self._database.write() as connection:
            add_notice(connection, "model", f"model:{new.name}", text, self._clock.now())

    def _fit(self, snapshot: Snapshot, series: models.Series, champion: TrainedModel | None) -> TrainingResult:
        settings, (kind, moment, horizon_days) = self._settings.predictors, series
        if kind == "churn":
            return train_churn(
                snapshot,
                horizon_days=horizon_days,
                seed=settings.seed,
                champion=champion,
                draws=drawn_contacts(self._database, snapshot.until),
            )
        if kind == "uplift":
            return train_uplift(
                snapshot,
                observed_outcomes(self._database, horizon_days, snapshot.until),
                horizon_days=horizon_days,
                due_days=settings.issue.due_days,
                champion=champion,
            )
        return train_issue(
            snapshot,
            Moment(moment),
            horizon_days=horizon_days,
            due_days=settings.issue.due_days,
            labelled_by=LabelledBy(settings.issue.labelled_by),
            seed=settings.seed,
            champion=champion,
            draws=drawn_contacts(self._database, snapshot.until),
        )

    def _replay(
        self, snapshot: Snapshot, series: models.Series, champion: TrainedModel | None, result: TrainingResult
    ) -> Replay | None:
        """Replay the recipe where the champion has seen the rows that the training itself held out."""
        settings, (kind, moment, horizon_days) = self._settings.predictors, series
        if champion is None or kind == "uplift":
            return None
        if kind == "churn":
            return replay_churn(
                snapshot,
                champion,
                horizon_days=horizon_days,
                seed=settings.seed,
                draws=drawn_contacts(self._database, snapshot.until),
            )
        if result.held_out is None or (result.held_out.moments >= champion.trained_as_of).all():
            return None
        return replay_issue(
            snapshot,
            Moment(moment),
            champion,
            horizon_days=horizon_days,
            due_days=settings.issue.due_days,
            labelled_by=LabelledBy(settings.issue.labelled_by),
            seed=settings.seed,
            draws=drawn_contacts(self._database, snapshot.until),
        )

    def _champion(
        self, kind: str, moment: Moment, horizon_days: int
    ) -> tuple[TrainedModel | None, models.ModelVersion | None]:
        with self._database.read() as connection:
            version = models.champion(connection, kind, moment.value, horizon_days)
        if version is None:
            return None, None
        try:
            return open_model(self._settings, version), version
        except ModelError as error:
            log.warning("champion_unusable", model=version.name, reason=str(error))
            return None, version

    def _store(
        self,
        result: TrainingResult,
        verdict: Verdict,
        seen: promotions.Promotion | None,
        replayed_as_of: datetime | None,
    ) -> tuple[models.ModelVersion, Verdict]:
        model = result.model
        reserved = self._files.reserve(models.Series(model.kind, model.moment, model.horizon_days))
        try:
            facts = self._facts(result, verdict, seen, replayed_as_of)
            path, sha256, manifest = save_model(
                model, self._files.folder, reserved.name, {"version": reserved.number, **facts}
            )
            self._files.write(card_files(manifest, result.held_out))
            row = models.ModelVersion(
                id=0,
                name=reserved.name,
                kind=model.kind,
                moment=model.moment,
                horizon_days=model.horizon_days,
                version=reserved.number,
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
                if verdict.passed and not self._promoted(connection, stored, seen, verdict.reason):
                    verdict = replace(verdict, passed=False, reason=OVERTAKEN)
        except BaseException:
            self._files.give_up(reserved)
            raise
        self._files.finish(reserved)
        return stored, verdict

    def _facts(
        self,
        result: TrainingResult,
        verdict: Verdict,
        seen: promotions.Promotion | None,
        replayed_as_of: datetime | None,
    ) -> dict[str, Any]:
        """Return what the manifest says besides what the model itself knows."""
        model, learned, settings = result.model, result.learned_from, self._settings.predictors
        facts = {
            "metrics": result.metrics,
            "verdict": verdict.reason,
            "gate": {**asdict(verdict), "replayed_as_of": _iso(replayed_as_of)},
            "parent": seen.model if seen else None,
            "data_from": _iso(result.data_from),
            "data_until": _iso(result.data_until),
            "settings": {"seed": settings.seed}
            | ({} if model.kind == "churn" else settings.issue.model_dump(include={"due_days", "labelled_by"})),
        }
        if learned is not None and learned.height:
            facts["importances"] = importances(
                model, learned.drop("moment"), {fact.name: fact.features for fact in FACTS[model.kind]}, seed=model.seed
            )
            facts["reference"] = reference(learned, model.trained_as_of)
        return facts

    def _promoted(
        self, connection: Connection, model: models.ModelVersion, seen: promotions.Promotion | None, reason: str
    ) -> bool:
        return promotions.promote(
            connection,
            model,
            seen=seen,
            below=seen.number if seen else None,
            way=PromotionWay.GATE if seen else PromotionWay.FIRST,
            actor="system",
            reason=reason,
            now=model.created_at,
        )


def refused(reports: Sequence[TrainingReport]) -> list[TrainingReport]:
    """Return the trainings whose model the gate kept out."""
    return [report for report in reports if not report.promoted]


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
