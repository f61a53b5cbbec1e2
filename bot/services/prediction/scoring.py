"""Scoring: all that is recent, one order, or a backtest, each subject at its own moment, with reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl
import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.errors import NotFound, Refused, UsageError
from bot.services.prediction.champions import OpenModels, check_kind, predictor_errors, read_snapshot
from bot.services.prediction.experience import observed_outcomes
from bot.services.prediction.order_features import Choose, WarmOrders, feature_frames
from bot.services.prediction.scored import ScoredBatch, ScoredSubject
from bot.store import history, models
from bot.store.bulk import few_collections
from bot.store.database import Database
from bot.store.predictions import PREDICTIONS_A_TIME, save_predictions
from predictors.churn_scoring import purchases_model, score_churn
from predictors.gain import score_uplift
from predictors.model import TrainedModel
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.scoring import ScoredRows, recent_subjects, rules_model, score_features, score_issue, spanned
from predictors.snapshot import Snapshot

__all__ = ["ScoredBatch", "ScoredSubject", "Scorer"]

log = structlog.get_logger(__name__)


class _Champion(NamedTuple):
    """A model, what it is known by, and its version; None where nobody trained it."""

    model: TrainedModel
    name: str
    version_id: int | None


class Scorer:
    """Predicts trouble and leaving, and stores what it predicted."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._kept: Snapshot | None = None
        self._warm = WarmOrders(database, settings)
        self._models = OpenModels(settings)

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
        """Score subjects; of a large shop rather take `batches`, or `store` where only the stored rows matter.

        The parameters are those of `batches`.
        """
        batches = self.batches(
            kind,
            moment=moment,
            as_of=as_of,
            start=start,
            end=end,
            horizon_days=horizon_days,
            order_id=order_id,
            save=save,
        )
        return [one for batch in batches for one in batch]

    def store(self, kind: str, *, as_of: datetime | None = None) -> int:
        """Score and store all that is recent; return how many subjects."""
        with few_collections():
            return sum(len(batch) for batch in self.batches(kind, as_of=as_of))

    def store_orders(self, order_ids: Sequence[int]) -> int:
        """Predict issues of some orders now, by our ids, and store them; return how many are recent and asked about."""
        until, count = self._clock.now(), 0
        choose = self._choice(until, None, None, None, one=False)
        for at, frame in self._warm.frames(order_ids, until, choose):
            champion = self._model("issue", at, self._settings.predictors.issue.horizon_days, until)
            with predictor_errors():
                batch = self._batch("issue", champion, score_features(champion.model, frame))
            self._save(batch, until)
            count += len(batch)
        return count

    def batches(
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
    ) -> Iterator[ScoredBatch]:
        """Score subjects, some at a time, by time; each batch is stored before it is handed over.

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
        count, names = 0, set()
        for batch in batches:
            if save:
                self._save(batch, None if start is not None else until)
            count += len(batch)
            names.add(batch.name)
            yield batch
        log.info("scored", subjects=count, models=sorted(names))

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
            batches = self._issue_of_customers(snapshot, customers)
        count = 0
        for batch in batches:
            self._save(batch, as_of)
            count += len(batch)
        return count

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
    ) -> Iterator[ScoredBatch]:
        settings = self._settings.predictors.issue
        champions: dict[Moment, _Champion] = {}
        asked = False
        only = None if order_key is None else self._order_ids(order_key, until)
        choose = self._choice(until, moment, start, end, one=only is not None)
        frames = (
            feature_frames(self._database, self._settings, until, choose)
            if only is None
            else self._warm.frames(only, until, choose)
        )
        for at, frame in frames:
            if at not in champions:
                champions[at] = self._model("issue", at, horizon_days or settings.horizon_days, until)
                if start is not None and champions[at].model.trained_as_of > start:
                    trained = champions[at].model.trained_as_of.isoformat()
                    log.warning("model_saw_the_span", model=champions[at].name, trained_as_of=trained)
            asked = True
            with predictor_errors():
                scored = score_features(champions[at].model, frame)
            yield self._batch("issue", champions[at], scored)
        if order_key is not None and not asked:
            raise Refused(f"order {order_key} is not asked about: it was rated or cancelled first, or is not due yet")

    def _choice(
        self,
        until: datetime,
        moment: Moment | None,
        start: datetime | None,
        end: datetime | None,
        *,
        one: bool,
    ) -> Choose:
        """Return what chooses the orders that are asked about; one that is asked for by itself however old."""
        recent_days = self._settings.predictors.issue.recent_days

        def choose(snapshot: Snapshot, moments: pl.DataFrame) -> Mapping[Moment, pl.DataFrame]:
            if one:
                chosen = recent_subjects(snapshot, moments, moment, recent_days=None)
                if start is not None and end is not None:
                    chosen = {at: spanned(subjects, start, end) for at, subjects in chosen.items()}
                return chosen
            if start is not None and end is not None:
                asked = [moment] if moment else [Moment.PLACED, Moment.DUE]
                return {at: spanned(issue_subjects(moments, at), start, min(end, until)) for at in asked}
            return recent_subjects(snapshot, moments, moment, recent_days=recent_days)

        return choose

    def _issue_of_customers(self, snapshot: Snapshot, customers: tuple[int, int]) -> Iterator[ScoredBatch]:
        settings = self._settings.predictors.issue
        moments = order_moments(snapshot, due_days=settings.due_days)
        for at, subjects in recent_subjects(snapshot, moments, None, recent_days=settings.recent_days).items():
            theirs = subjects.filter(pl.col("customer_id").is_between(*customers))
            if theirs.height:
                champion = self._model("issue", at, settings.horizon_days, snapshot.until)
                with predictor_errors():
                    scored = score_issue(champion.model, snapshot, moments, theirs)
                yield self._batch("issue", champion, scored)

    def _churn(
        self,
        until: datetime,
        horizon_days: int,
        snapshot: Snapshot | None = None,
        customers: tuple[int, int] | None = None,
    ) -> Iterator[ScoredBatch]:
        snapshot = snapshot or read_snapshot(self._database, self._settings, until)
        champion = self._champion("churn", Moment.NOW, horizon_days)
        with predictor_errors():
            if champion is None:
                champion = _Champion(purchases_model(snapshot, horizon_days=horizon_days), "untrained", None)
            scored = score_churn(champion.model, snapshot, customers)
        yield self._batch("churn", champion, scored)

    def _uplift(self, until: datetime, horizon_days: int, order_key: str | None) -> Iterator[ScoredBatch]:
        champion = self._champion("uplift", Moment.NOW, horizon_days)
        if champion is None:
            observed_outcomes(self._database, horizon_days, until)  # says what is missing, if anything is
            raise Refused("uplift can be learned now: run `aftercare train --kind uplift` first")
        settings = self._settings.predictors.issue
        snapshot = read_snapshot(self._database, self._settings, until)
        moments = order_moments(snapshot, due_days=settings.due_days)
        if order_key is not None:
            moments = moments.filter(pl.col("order_id").is_in(self._order_ids(order_key, until)))
        recent_days = settings.recent_days if order_key is None else None
        orders = recent_subjects(snapshot, moments, Moment.PLACED, recent_days=recent_days)[Moment.PLACED]
        if order_key is not None and not orders.height:
            raise Refused(f"order {order_key} was cancelled; no check-in would help")
        with predictor_errors():
            scored = score_uplift(champion.model, snapshot, orders, due_days=settings.due_days)
        yield self._batch("uplift", champion, scored)

    def _order_ids(self, key: str, until: datetime) -> list[int]:
        with self._database.read() as connection:
            found = history.order_by_key(connection, key, until)
        if not found:
            raise NotFound(f"there is no order {key} by {until.isoformat()}; `aftercare import` it first")
        return found

    def _model(self, kind: str, moment: Moment, horizon_days: int, until: datetime) -> _Champion:
        """Return the champion of issues at a moment; the rules where none was promoted yet."""
        rules = rules_model(moment, horizon_days=horizon_days, since=until)
        return self._champion(kind, moment, horizon_days) or _Champion(rules, "rules", None)

    def _champion(self, kind: str, moment: Moment, horizon_days: int) -> _Champion | None:
        with self._database.read() as connection:
            version = self._models.champion(connection, models.Series(kind, moment.value, horizon_days))
        return None if version is None else _Champion(self._models.open(version), version.name, version.id)

    def _batch(self, kind: str, champion: _Champion, scored: ScoredRows) -> ScoredBatch:
        bands = self._settings.predictors.bands
        return ScoredBatch(self._database, kind, champion.model, champion.name, champion.version_id, scored, bands)

    def _save(self, batch: ScoredBatch, recorded_at: datetime | None) -> None:
        stored = batch.stored(recorded_at)
        if stored.height > PREDICTIONS_A_TIME:
            # By customer: each transaction then writes to neighbouring pages of that index. In the order of time it would
            # touch one page a row, more of them the larger the shop.
            stored = stored.sort("customer_id")
        for rows in stored.iter_slices(PREDICTIONS_A_TIME):
            with self._database.write() as connection:
                save_predictions(connection, rows)
