"""Whether the champions still fit, and when it is time to train again.

What is read is in `predictors.monitoring`; a look that alarmed is remembered in the table of runs, and the daily round
trains a challenger. Whether it goes live is the gate's decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.errors import AftercareError, Refused
from bot.services.prediction.champions import open_model, predictor_errors, read_snapshot
from bot.services.prediction.experience import drawn_contacts
from bot.services.prediction.retraining import Trainer
from bot.store import models, runs
from bot.store.database import Database
from bot.store.enums import ModelStatus, RunState
from predictors.labels import LabelledBy
from predictors.moments import Moment
from predictors.monitoring import Reading, Thresholds, read_churn, read_issue
from predictors.registry import code_fingerprint
from predictors.snapshot import Snapshot

__all__ = ["DriftReport", "DriftWatch"]

log = structlog.get_logger(__name__)

# The job under which the table of runs remembers looks, and the kinds that are looked at: a gain has no single outcome.
LOOK = "drift"
WATCHED = ("issue", "churn")


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """One look at one champion; `reading` is None where its file could not be opened."""

    model: models.ModelVersion
    as_of: datetime
    reading: Reading | None
    trouble: str | None = None
    retrain: str | None = None

    @property
    def alarms(self) -> list[str]:
        """What is wrong, as sentences."""
        return ([self.trouble] if self.trouble else []) + (self.reading.alarms if self.reading else [])

    def line(self) -> dict[str, Any]:
        """Return the JSON of `aftercare models drift`."""
        reading = self.reading
        level = reading.level if reading else None
        return {
            "model": self.model.name,
            "kind": self.model.kind,
            "moment": self.model.moment,
            "horizon_days": self.model.horizon_days,
            "trained_as_of": self.model.trained_as_of.isoformat(),
            "as_of": self.as_of.isoformat(),
            "recent_rows": reading.recent_rows if reading else 0,
            "features": [{**asdict(one), "alarm": one.alarm} for one in (reading and reading.features) or []],
            "weeks": [{**asdict(one), "week": one.week.isoformat()} for one in (reading.weeks if reading else [])],
            "level": None if level is None else {**asdict(level), "ratio": level.ratio, "alarm": level.alarm},
            "alarms": self.alarms,
            "not_enough": reading.not_enough if reading else [],
            "retrain": self.retrain,
        }


class DriftWatch:
    """Looks at the champions, and trains again when it is time."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, trainer: Trainer) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._trainer = trainer

    def look(self, *, as_of: datetime | None = None) -> list[DriftReport]:
        """Look at every champion as of an instant (default: now); nothing is changed."""
        until = min(as_of or self._clock.now(), self._clock.now())
        watched = self._champions()
        if not watched:
            return []
        snapshot = read_snapshot(self._database, self._settings, until)
        reports = []
        for version in watched:
            try:
                reading, trouble = self._read(snapshot, version), None
            except Refused as error:  # its file is not as it should be, or there is too little history
                reading, trouble = None, str(error)
            found = DriftReport(model=version, as_of=until, reading=reading, trouble=trouble)
            why = self._why(version, bool(found.alarms))
            reports.append(DriftReport(model=version, as_of=until, reading=reading, trouble=trouble, retrain=why))
        return reports

    def look_if_due(self) -> int:
        """Look once in `predictors.drift.every_days`, log what alarmed, and remember it; return how many alarmed."""
        every, now = self._settings.predictors.drift.every_days, self._clock.now()
        with self._database.read() as connection:
            last = runs.latest_runs(connection, LOOK, 1)
        if not every or (last and now < last[0].started_at + timedelta(days=every)):
            return 0
        reports = self.look()
        alarmed = {report.model.name: report.alarms for report in reports if report.alarms}
        for report in reports:
            if report.alarms:
                log.warning("model_drifts", model=report.model.name, alarms=report.alarms)
            else:
                log.info("model_fits", model=report.model.name, not_enough=report.line()["not_enough"])
        if reports:
            key = now.isoformat()
            with self._database.write() as connection:
                runs.start_run(connection, LOOK, key, now)
                runs.finish_run(connection, LOOK, key, RunState.DONE, {"alarms": alarmed}, now)
        return len(alarmed)

    def retrain_if_due(self) -> int:
        """Train a challenger wherever it is time; return how many were promoted."""
        alarmed = self._alarmed()
        promoted = 0
        for version in self._champions():
            why = self._why(version, version.name in alarmed)
            if why is None:
                continue
            log.info("retraining", model=version.name, why=why)
            moment = version.moment if version.kind == "issue" else None
            try:
                (report,) = self._trainer.train(version.kind, moment=moment, horizon_days=version.horizon_days)
            except AftercareError as error:  # the champion scores on, and the next round asks again
                log.warning("not_retrained", model=version.name, problem=str(error))
                continue
            log.info("retrained", model=report.name, promoted=report.promoted, reason=report.reason)
            promoted += report.promoted
        return promoted

    def _champions(self) -> list[models.ModelVersion]:
        with self._database.read() as connection:
            known = models.list_models(connection)
        return [one for one in known if one.status is ModelStatus.CHAMPION and one.kind in WATCHED]

    def _read(self, snapshot: Snapshot, version: models.ModelVersion) -> Reading:
        champion = open_model(self._settings, version)
        learned = version.manifest.get("reference") or {}
        settings = self._settings.predictors
        drift = settings.drift
        thresholds = Thresholds(psi=drift.psi, level=drift.level, recent_days=drift.recent_days, weeks=drift.weeks)
        with predictor_errors():
            if version.kind == "churn":
                return read_churn(snapshot, champion, learned, thresholds, horizon_days=version.horizon_days)
            return read_issue(
                snapshot,
                Moment(version.moment),
                champion,
                learned,
                thresholds,
                horizon_days=version.horizon_days,
                due_days=settings.issue.due_days,
                labelled_by=LabelledBy(settings.issue.labelled_by),
                draws=drawn_contacts(self._database, snapshot.until),
            )

    def _alarmed(self) -> Sequence[str]:
        with self._database.read() as connection:
            last = runs.latest_runs(connection, LOOK, 1)
        return list((last[0].detail or {}).get("alarms", {})) if last else []

    def _why(self, champion: models.ModelVersion, alarmed: bool) -> str | None:
        """Say why it is time to train again; None where it is not."""
        settings, now = self._settings.predictors.retrain, self._clock.now()
        with self._database.read() as connection:
            tried = max(one.created_at for one in models.list_models(connection) if one.series == champion.series)
        age = now - tried
        if settings.after_days and age >= timedelta(days=settings.after_days):
            return f"the last training was {age.days} days ago"
        if not settings.on_drift or age < timedelta(days=settings.pause_days):
            return None
        if alarmed:
            return "drift alarmed"
        if champion.manifest.get("code") != code_fingerprint():
            return "the program has changed since the champion was trained"
        return None
