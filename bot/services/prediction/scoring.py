"""Scoring: all that is recent, one order, or a backtest, each subject at its own moment, with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.errors import NotFound, Refused, UsageError
from bot.services.prediction.champions import check_kind, open_champion, predictor_errors, read_snapshot
from bot.services.prediction.experience import observed_outcomes
from bot.store import history
from bot.store.database import Database
from bot.store.predictions import PREDICTIONS_A_TIME, save_predictions
from predictors.churn_scoring import purchases_model, score_churn
from predictors.explain import Reason, clearing
from predictors.fragility import Fragility
from predictors.gain import score_uplift
from predictors.model import TrainedModel
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.scoring import Scored, recent_subjects, rules_model, score_issue, spanned
from predictors.snapshot import Snapshot

log = structlog.get_logger(__name__)
# What `aftercare import` calls a source that nobody named.
DEFAULT_SOURCE = "files"


@dataclass(frozen=True, kw_only=True)
class ScoredSubject:
    """One prediction for one order or customer; of uplift, `probability` is a gain in probability."""

    customer_id: int
    order_id: int | None
    source: str
    customer_key: str
    order_key: str | None
    kind: str
    moment: str
    as_of: datetime
    horizon_days: int
    probability: float
    band: str
    stage: str
    model: str
    reasons: Sequence[Reason]
    fragility: Fragility
    clears: Reason | None
    issue_kinds: Mapping[str, float]

    @property
    def subject(self) -> str:
        """The shop's own id of what was scored; with the name of its source where that is not the default one."""
        key = self.customer_key if self.order_key is None else self.order_key
        return key if self.source == DEFAULT_SOURCE else f"{self.source}:{key}"

    @property
    def reason_rows(self) -> list[dict[str, Any]]:
        return [{"feature": why.feature, "text": why.text, "effect": why.effect} for why in self.reasons]

    @property
    def fragility_row(self) -> dict[str, Any]:
        shocks = [{"shock": name, "probability": p} for name, p in self.fragility.shocks]
        return {"level": self.fragility.level, "shocks": shocks, "text": self.fragility.text}

    @property
    def clears_row(self) -> dict[str, Any] | None:
        """The one fact that, were it typical, would bring the probability below the band's threshold."""
        if self.clears is None:
            return None
        return {
            "feature": self.clears.feature,
            "text": self.clears.text,
            "probability": round(self.clears.without, 6),
        }

    def line(self) -> dict[str, Any]:
        """Return the JSON of `aftercare score`."""
        return {
            "subject": self.subject,
            "order_id": self.order_key,
            "customer_id": self.customer_key,
            "kind": self.kind,
            "moment": self.moment,
            "as_of": self.as_of.isoformat(),
            "horizon_days": self.horizon_days,
            "probability": round(self.probability, 6),
            "band": self.band,
            "stage": self.stage,
            "model": self.model,
            "reasons": self.reason_rows,
            "fragility": self.fragility_row,
            "clears": self.clears_row,
            "issue_kinds": dict(self.issue_kinds),
        }


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Predictions of one model, with the name it is known by."""

    model: TrainedModel
    name: str
    version_id: int | None
    scored: Sequence[Scored]


class Scorer:
    """Predicts trouble and leaving, and stores what it predicted."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._kept: Snapshot | None = None

    def score(
        self,
        kind: str,
        *,
        moment: str | None = None,
        as_of: datetime | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        horizon_days: int | None = None,
        order_id: str | None = None,
        save: bool = True,
    ) -> list[ScoredSubject]:
        """Score subjects.

        Parameters
        ----------
        kind : str
            `issue`, `churn` or `uplift`.
        moment : str, optional
            `placed` or `due`, for issues; without it the later one that has passed.
        as_of : datetime, optional
            All that is recent then (default: now).
        start, end : datetime, optional
            A backtest instead: each order at its own moment in this half-open span.
        horizon_days : int, optional
            Default: as configured.
        order_id : str, optional
            Only the order of this id (the shop's own), however old.
        save : bool
            Store the predictions. A backtest's are stored as recorded at their own moments.
        """
        check_kind(kind)
        until = self._until(as_of, start, end)
        if kind == "churn":
            if moment or start or end or order_id:
                raise UsageError(
                    "churn is scored for customers: use --as-of, without --moment, --from, --to or --order"
                )
            batches = self._churn(until, horizon_days or self._settings.predictors.churn.horizon_days)
        elif kind == "uplift":
            if moment or start or end:
                raise UsageError("uplift is the gain of contacting now: use --as-of, without --moment, --from or --to")
            batches = self._uplift(until, horizon_days or self._settings.predictors.issue.horizon_days, order_id)
        else:
            asked = self._moment(moment)
            batches = self._issue(until, asked, start, end, horizon_days, order_id)
        found = self._subjects(kind, batches)
        return self._save(found, batches, until, backtest=start is not None) if save else found

    def score_part(self, kind: str, as_of: datetime, first: int, last: int) -> int:
        """Score and store, as `score` does as of an instant, the subjects of the customers with ids in a range.

        The snapshot is kept for the next part: reading it is most of the work.

        Returns
        -------
        int
            How many subjects.
        """
        snapshot, customers = self._kept, (first, last)
        if snapshot is None or snapshot.until != as_of:
            self._kept = None  # not two at a time
            self._kept = snapshot = read_snapshot(self._database, self._settings, as_of)
        if kind == "churn":
            batches = self._churn(as_of, self._settings.predictors.churn.horizon_days, snapshot, customers)
        else:
            batches = self._issue(as_of, None, None, None, None, None, snapshot, customers)
        return len(self._save(self._subjects(kind, batches), batches, as_of, backtest=False))

    def forget(self) -> None:
        """Let go of the snapshot that was kept for parts."""
        self._kept = None

    def _until(self, as_of: datetime | None, start: datetime | None, end: datetime | None) -> datetime:
        now = self._clock.now()
        if (start is None) != (end is None):
            raise UsageError("a backtest needs both --from and --to")
        if start is not None and end is not None:
            if as_of is not None:
                raise UsageError("use either --as-of or --from and --to")
            if start >= end:
                raise UsageError("--from must be before --to")
            return min(end, now)
        return min(as_of or now, now)

    def _moment(self, moment: str | None) -> Moment | None:
        if moment is None:
            return None
        if moment not in (Moment.PLACED, Moment.DUE):
            raise UsageError(f"there is no moment {moment!r}; write placed or due")
        return Moment(moment)

    def _issue(
        self,
        until: datetime,
        moment: Moment | None,
        start: datetime | None,
        end: datetime | None,
        horizon_days: int | None,
        order_key: str | None,
        snapshot: Snapshot | None = None,
        customers: tuple[int, int] | None = None,
    ) -> list[_Batch]:
        settings = self._settings.predictors.issue
        snapshot = snapshot or read_snapshot(self._database, self._settings, until)
        moments = order_moments(snapshot, due_days=settings.due_days)
        if order_key is not None:
            chosen = recent_subjects(snapshot, self._of_order(moments, order_key, until), moment, recent_days=None)
            if start is not None and end is not None:
                chosen = {at: spanned(subjects, start, end) for at, subjects in chosen.items()}
            if not any(subjects.height for subjects in chosen.values()):
                raise Refused(
                    f"order {order_key} is not asked about: it was rated or cancelled first, or is not due yet"
                )
        elif start is not None and end is not None:
            asked = [moment] if moment else [Moment.PLACED, Moment.DUE]
            chosen = {at: spanned(issue_subjects(moments, at), start, min(end, until)) for at in asked}
        else:
            chosen = recent_subjects(snapshot, moments, moment, recent_days=settings.recent_days)
        horizon = horizon_days or settings.horizon_days
        batches = []
        for at, subjects in chosen.items():
            if customers is not None:
                subjects = subjects.filter(pl.col("customer_id").is_between(*customers))
            model, name, version_id = self._model("issue", at, horizon, snapshot)
            if start is not None and model.trained_as_of > start:
                log.warning("model_saw_the_span", model=name, trained_as_of=model.trained_as_of.isoformat())
            with predictor_errors():
                scored = score_issue(model, snapshot, moments, subjects)
            batches.append(_Batch(model=model, name=name, version_id=version_id, scored=scored))
        return batches

    def _churn(
        self,
        until: datetime,
        horizon_days: int,
        snapshot: Snapshot | None = None,
        customers: tuple[int, int] | None = None,
    ) -> list[_Batch]:
        snapshot = snapshot or read_snapshot(self._database, self._settings, until)
        model, name, version_id = self._model("churn", Moment.NOW, horizon_days, snapshot)
        with predictor_errors():
            scored = score_churn(model, snapshot, customers)
        return [_Batch(model=model, name=name, version_id=version_id, scored=scored)]

    def _uplift(self, until: datetime, horizon_days: int, order_key: str | None) -> list[_Batch]:
        found = open_champion(self._database, self._settings, "uplift", Moment.NOW, horizon_days)
        if found is None:
            observed_outcomes(self._database, horizon_days, until)  # says what is missing, if anything is
            raise Refused("uplift can be learned now: run `aftercare train --kind uplift` first")
        settings = self._settings.predictors.issue
        snapshot = read_snapshot(self._database, self._settings, until)
        moments = order_moments(snapshot, due_days=settings.due_days)
        if order_key is not None:
            moments = self._of_order(moments, order_key, until)
        recent_days = settings.recent_days if order_key is None else None
        orders = recent_subjects(snapshot, moments, Moment.PLACED, recent_days=recent_days)[Moment.PLACED]
        if order_key is not None and not orders.height:
            raise Refused(f"order {order_key} was cancelled; no check-in would help")
        model, version = found
        with predictor_errors():
            scored = score_uplift(model, snapshot, orders, due_days=settings.due_days)
        return [_Batch(model=model, name=version.name, version_id=version.id, scored=scored)]

    def _of_order(self, moments: pl.DataFrame, order_key: str, until: datetime) -> pl.DataFrame:
        found = moments.filter(pl.col("order_id").is_in(self._order_ids(order_key)))
        if not found.height:
            raise NotFound(f"there is no order {order_key} by {until.isoformat()}; `aftercare import` it first")
        return found

    def _model(
        self, kind: str, moment: Moment, horizon_days: int, snapshot: Snapshot
    ) -> tuple[TrainedModel, str, int | None]:
        found = open_champion(self._database, self._settings, kind, moment, horizon_days)
        if found is not None:
            return found[0], found[1].name, found[1].id
        if kind == "churn":
            with predictor_errors():
                return purchases_model(snapshot, horizon_days=horizon_days), "untrained", None
        return rules_model(moment, horizon_days=horizon_days, since=snapshot.until), "rules", None

    def _order_ids(self, key: str) -> list[int]:
        with self._database.read() as connection:
            return history.order_by_key(connection, key)

    def _subjects(self, kind: str, batches: Sequence[_Batch]) -> list[ScoredSubject]:
        with self._database.read() as connection:
            customers = history.external_ids(connection, "customers")
            orders = history.external_ids(connection, "orders") if kind != "churn" else {}
        bands = self._settings.predictors.bands
        return [
            ScoredSubject(
                customer_id=one.customer_id,
                order_id=one.order_id,
                source=customers[one.customer_id][0],
                customer_key=customers[one.customer_id][1],
                order_key=None if one.order_id is None else orders[one.order_id][1],
                kind=kind,
                moment=one.moment,
                as_of=one.as_of.astimezone(UTC),
                horizon_days=batch.model.horizon_days,
                probability=one.probability,
                band="high"
                if one.probability >= bands.high
                else "medium"
                if one.probability >= bands.medium
                else "low",
                stage=batch.model.stage.value,
                model=batch.name,
                reasons=one.reasons,
                fragility=one.fragility,
                clears=self._clears(kind, one),
                issue_kinds=one.issue_kinds,
            )
            for batch in batches
            for one in batch.scored
        ]

    def _clears(self, kind: str, one: Scored) -> Reason | None:
        bands = self._settings.predictors.bands
        # A gain is no flag, and what is low already has none to clear.
        if kind == "uplift" or one.probability < bands.medium:
            return None
        return clearing(one.reasons, bands.high if one.probability >= bands.high else bands.medium)

    def _save(
        self, found: list[ScoredSubject], batches: Sequence[_Batch], until: datetime, *, backtest: bool
    ) -> list[ScoredSubject]:
        versions = {batch.name: batch.version_id for batch in batches}
        for first in range(0, len(found), PREDICTIONS_A_TIME):
            part = found[first : first + PREDICTIONS_A_TIME]
            rows = [
                {
                    "kind": one.kind,
                    "moment": one.moment,
                    "subject": one.subject,
                    "customer_id": one.customer_id,
                    "order_id": one.order_id,
                    "as_of": one.as_of,
                    "horizon_days": one.horizon_days,
                    "probability": one.probability,
                    "band": one.band,
                    "stage": one.stage,
                    "model": one.model,
                    "model_version_id": versions[one.model],
                    "reasons": one.reason_rows,
                    "fragility": one.fragility_row,
                    "recorded_at": one.as_of if backtest else until,
                }
                for one in part
            ]
            with self._database.write() as connection:
                save_predictions(connection, rows)
        log.info("scored", subjects=len(found), models=sorted(versions))
        return found
