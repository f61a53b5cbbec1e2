"""Backtests with a rolling origin: our model and named baselines, refitted as of each origin, judged on what follows.

At each origin everything is learned from what was recorded by then and predicts up to the next one; the predictions of
all parts are judged together. A model that serves a year is not refitted once: this is how it would have been used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from predictors.baselines import CHURN_BASELINES, ISSUE_BASELINES, Baseline, Lesson
from predictors.churn_scoring import purchases_model
from predictors.churn_training import IDENTITY as CUSTOMER_IDENTITY
from predictors.churn_training import train_churn, window_rows
from predictors.errors import NotEnoughDataError
from predictors.evaluation import Comparison, Target, compare
from predictors.features import issue_features
from predictors.frames import Array, feature_columns
from predictors.labels import LabelledBy, label_issues, resolve_mode
from predictors.learning_rows import labelled_rows
from predictors.model import TrainedModel
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.scoring import spanned
from predictors.snapshot import Snapshot
from predictors.training import train_issue

OURS = "aftercare"
# More than a gate needs: here the ends of the intervals themselves are read.
RESAMPLES = 500
# Called before each refit with its instant, how many are done, and how many there are.
Progress = Callable[[datetime, int, int], None]


class Refit(StrEnum):
    ONCE = "once"  # as of the start of the span
    MONTHLY = "monthly"  # at the start, and at the first of each month after it


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One refit: what it learned from, and the stage that it took."""

    as_of: datetime
    rows: int
    positives: int
    stage: str


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """Metrics of all models on the judged rows, and the rows themselves for plots.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    predictions : mapping of name to (n,) probabilities
        Ours first.
    months : (n,) sequence of str
        The local month of each row's moment, as `2018-02`.
    """

    y: Target
    predictions: Mapping[str, Array]
    months: Sequence[str]
    refits: Sequence[Fitted]
    comparison: Comparison

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def positives(self) -> int:
        return int(self.y.sum())


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The rows judged after one origin, with what each model said of them."""

    rows: pl.DataFrame
    y: Target
    predictions: Mapping[str, Array]
    fitted: Fitted


def backtest_issue(
    snapshot: Snapshot,
    moment: Moment,
    start: datetime,
    end: datetime,
    *,
    horizon_days: int,
    due_days: int,
    labelled_by: LabelledBy,
    seed: int,
    refit: Refit = Refit.MONTHLY,
    draws: pl.DataFrame | None = None,
    progress: Progress | None = None,
) -> Backtest:
    """Judge on the orders whose moment lies in the half-open span and whose outcome is known by the snapshot.

    Parameters
    ----------
    draws : polars.DataFrame, optional
        As `predictors.training.train_issue` takes them; each refit sees those made by its origin.

    Raises
    ------
    NotEnoughDataError
        The span lies in the future, no outcome of it is known, or all are alike.
    """
    _check_passed(snapshot, start)
    mode = resolve_mode(snapshot.at(start), labelled_by)
    moments = order_moments(snapshot, due_days=due_days)
    asked = spanned(issue_subjects(moments, moment), start, end)
    labels = label_issues(snapshot, asked, horizon_days=horizon_days, mode=mode)
    if not labels.height:
        raise NotEnoughDataError(
            f"no order of this span has a known outcome yet ({horizon_days} days must have passed, and a shop that is "
            "judged by ratings must have been rated); choose an earlier or longer span"
        )
    # Features see nothing later than their own moment, so all judged rows can be described at once.
    observed = asked.join(labels.select("order_id"), on="order_id", how="semi")
    judged = issue_features(snapshot, moments, observed, moment).join(labels, on="order_id", maintain_order="left")
    starts = origins(start, end, snapshot.timezone, refit)
    parts: list[_Part] = []
    for number, (origin, until) in enumerate(zip(starts, [*starts[1:], end], strict=True)):
        _tell(progress, origin, number, len(starts))
        later = judged.filter((pl.col("moment") >= origin) & (pl.col("moment") < until))
        if not later.height:
            continue
        past = snapshot.at(origin)
        model, lesson = refitted(
            past, moment, later, horizon_days=horizon_days, due_days=due_days, mode=mode, seed=seed, draws=draws
        )
        predictions = {OURS: model.probabilities(later), **_answers(ISSUE_BASELINES, lesson)}
        fitted = Fitted(as_of=origin, rows=model.rows, positives=model.positives, stage=model.stage.value)
        parts.append(_Part(rows=later, y=_whole(later["issue"]), predictions=predictions, fitted=fitted))
    _tell(progress, end, len(starts), len(starts))
    return _together(parts, snapshot.timezone, seed)


def refitted(
    past: Snapshot,
    moment: Moment,
    later: pl.DataFrame,
    *,
    horizon_days: int,
    due_days: int,
    mode: LabelledBy,
    seed: int,
    draws: pl.DataFrame | None = None,
) -> tuple[TrainedModel, Lesson]:
    """Train as of the end of `past`; return our model, and what baselines learn of the same and are asked about `later`."""
    model = train_issue(
        past, moment, horizon_days=horizon_days, due_days=due_days, labelled_by=mode, seed=seed, draws=draws
    ).model
    rows = labelled_rows(past, moment, horizon_days=horizon_days, due_days=due_days, mode=mode)
    lesson = Lesson(
        earlier=rows.frame,
        target=rows.target,
        later=later,
        features=tuple(rows.features),
        horizon_days=horizon_days,
        seed=seed,
    )
    return model, lesson


def backtest_churn(
    snapshot: Snapshot,
    start: datetime,
    end: datetime,
    *,
    seed: int,
    horizon_days: int | None = None,
    refit: Refit = Refit.MONTHLY,
    progress: Progress | None = None,
) -> Backtest:
    """Judge on who was silent within the horizon after each origin; every such window lies in the span.

    Parameters
    ----------
    horizon_days : int, optional
        Default: the whole span, so that there is one origin, its start.

    Raises
    ------
    NotEnoughDataError
        The span has not passed, is shorter than the horizon, or all its customers ended alike.
    """
    _check_passed(snapshot, start)
    days = horizon_days or (end - start).days
    if days < 1 or start + timedelta(days=days) > end:
        raise NotEnoughDataError(
            f"the span is shorter than {'a day' if days < 1 else f'the horizon of {days} days'}; "
            "choose a longer one, or fewer --horizon-days"
        )
    if end > snapshot.until:
        raise NotEnoughDataError(
            f"the span has not passed: what is known ends at {snapshot.until.isoformat()}; choose an earlier --to"
        )
    last = end - timedelta(days=days)
    starts = [at for at in origins(start, end, snapshot.timezone, Refit.MONTHLY) if at <= last]
    parts: list[_Part] = []
    model = None
    for number, origin in enumerate(starts):
        _tell(progress, origin, number, len(starts))
        later = window_rows(snapshot, days, origin + timedelta(days=days))
        if not later.height:
            continue
        past = snapshot.at(origin)
        if model is None or refit is Refit.MONTHLY:
            model, learned_at = train_churn(past, horizon_days=days, seed=seed).model, past
        first = learned_at.orders["placed_at"].min()
        history_days = (learned_at.until - first).days if isinstance(first, datetime) else 0
        # Where half the history is shorter than the horizon, baselines learn on half the history.
        window = max(1, min(days, history_days // 2))
        earlier = window_rows(learned_at, window, learned_at.until)
        features = tuple(name for name in feature_columns(later, CUSTOMER_IDENTITY) if name in earlier.columns)
        lesson = Lesson(
            earlier=earlier,
            target=_whole(earlier["silent"]),
            later=later,
            features=features,
            horizon_days=days,
            seed=seed,
        )
        predictions = {
            OURS: model.probabilities(later),
            "bgnbd": purchases_model(learned_at, horizon_days=days).probabilities(later),
            **_answers(CHURN_BASELINES, lesson),
        }
        fitted = Fitted(as_of=model.trained_as_of, rows=model.rows, positives=model.positives, stage=model.stage.value)
        parts.append(_Part(rows=later, y=_whole(later["silent"]), predictions=predictions, fitted=fitted))
    _tell(progress, end, len(starts), len(starts))
    if not parts:
        raise NotEnoughDataError("nobody had ordered before this span; choose a later one")
    return _together(parts, snapshot.timezone, seed, cluster="customer_id" if len(parts) > 1 else None)


def origins(start: datetime, end: datetime, timezone: str, refit: Refit) -> list[datetime]:
    """Return the instants to refit at: the start, and each first of a month, at local midnight, before the end."""
    found = [start.astimezone(UTC)]
    if refit is Refit.ONCE:
        return found
    zone = ZoneInfo(timezone)
    local = start.astimezone(zone)
    year, month = local.year, local.month
    while True:
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        first = datetime(year, month, 1, tzinfo=zone).astimezone(UTC)
        if first >= end:
            return found
        found.append(first)


def _answers(baselines: Mapping[str, Baseline], lesson: Lesson) -> dict[str, Array]:
    found = {name: baseline(lesson) for name, baseline in baselines.items()}
    return {name: p for name, p in found.items() if p is not None}


def _together(parts: Sequence[_Part], timezone: str, seed: int, cluster: str | None = None) -> Backtest:
    """Judge all parts as one; a baseline that had no answer in one of them is left out."""
    y = np.concatenate([part.y for part in parts])
    if y.min() == y.max():
        raise NotEnoughDataError(
            f"all {len(y)} known outcomes of this span are {'' if y[0] else 'not '}the one predicted, so nothing can be "
            "ranked; choose a longer span"
        )
    names = [name for name in parts[0].predictions if all(name in part.predictions for part in parts)]
    predictions = {name: np.concatenate([part.predictions[name] for part in parts]) for name in names}
    moments = pl.concat([part.rows["moment"] for part in parts])
    clusters = None if cluster is None else pl.concat([part.rows[cluster] for part in parts]).to_numpy()
    return Backtest(
        y=y,
        predictions=predictions,
        months=moments.dt.convert_time_zone(timezone).dt.strftime("%Y-%m").to_list(),
        refits=[part.fitted for part in parts],
        comparison=compare(y, predictions, seed=seed, resamples=RESAMPLES, clusters=clusters),
    )


def _check_passed(snapshot: Snapshot, start: datetime) -> None:
    if start >= snapshot.until:
        raise NotEnoughDataError(
            f"the span lies in the future: what is known ends at {snapshot.until.isoformat()}; choose an earlier --from"
        )


def _whole(column: pl.Series) -> Target:
    result: Target = column.to_numpy().astype(np.int64)
    return result


def _tell(progress: Progress | None, origin: datetime, done: int, total: int) -> None:
    if progress is not None:
        progress(origin, done, total)
