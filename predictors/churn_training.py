"""Training churn models on past snapshots only, up to the longest window that has passed.

For a horizon of up to a third of the history the model learns that very horizon. For a longer one it learns the
ranking on windows of a third and of half the history, and BG/NBD carries the level to the horizon asked about. Which
parts have a say, and whose level counts, is decided on the latest window, by a recipe fitted before it; in a history
too short for two windows by cross-validation over customers. No label lies after the snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np
import polars as pl

from predictors.calibration import levelled, mean_log_loss, shifted_to
from predictors.churn import SILENCE, ChurnBlend, ChurnModel, with_silence
from predictors.churn_treatment import customers_left_alone
from predictors.customers import bought_within, customer_features, purchases_left_alone
from predictors.errors import NotEnoughDataError
from predictors.evaluation import Target, Verdict, gate, measure
from predictors.frames import Array, expit, feature_columns
from predictors.model import Stage, TrainedModel, reference_values
from predictors.purchases import BetaGeoModel
from predictors.snapshot import Snapshot
from predictors.training import MIN_LATER_EACH_CLASS, HeldOut, TrainingResult


class Level(StrEnum):
    WINDOW = "window"  # the share of silence in the window that taught
    PURCHASES = "purchases"  # BG/NBD's, of the very customers who are scored


IDENTITY = ("customer_id", "moment", "silent")
# Customers of each class that a window needs before its correction is learned.
MIN_EACH_CLASS = 40
# So long a history gives BG/NBD's parameters a meaning; on a shorter one its error says nothing about later errors.
MIN_HISTORY_DAYS = 91
# BG/NBD on the paper's own data; stands in while nobody has bought twice.
PRIOR = {"r_": 0.243, "alpha_": 4.414, "a_": 0.793, "b_": 2.426}


def purchases_at(snapshot: Snapshot, at: datetime) -> BetaGeoModel:
    """Fit BG/NBD to what was known at an instant of customers who were left alone.

    Where nobody of them has bought twice, all purchases count; where nobody at all has, the paper's values stand in. What a
    customer bought after a contact still says that they are there: it is left out of what is learned from, not of what is asked.
    """
    for observed in (purchases_left_alone, customer_features):
        try:
            return BetaGeoModel().fit(observed(snapshot, at))
        except NotEnoughDataError:
            continue
    model = BetaGeoModel()
    for name, value in PRIOR.items():
        setattr(model, name, value)
    return model


def window_rows(snapshot: Snapshot, days: int, end: datetime) -> pl.DataFrame:
    """Return the customers known at the beginning of a window that ends at `end`, with who was silent in it."""
    start = end - timedelta(days=days)
    frame = customer_features(snapshot, start)
    bought = bought_within(snapshot.at(end), start, end)
    return frame.with_columns(silent=(~pl.col("customer_id").is_in(bought.implode())).cast(pl.Int8))


def learning_windows(snapshot: Snapshot, horizon_days: int) -> list[int]:
    """Return the days of the windows to learn from: the horizon, or a third and half of a short history."""
    first = snapshot.orders["placed_at"].min()
    span = (snapshot.until - first).days if isinstance(first, datetime) else 0
    if 3 * horizon_days <= span:
        return [horizon_days]
    return sorted({days for days in (span // 3, min(span // 2, horizon_days)) if days >= 7})


def train_churn(
    snapshot: Snapshot,
    *,
    horizon_days: int = 90,
    seed: int = 0,
    champion: TrainedModel | None = None,
    draws: pl.DataFrame | None = None,
) -> TrainingResult:
    """Train the churn model as of the snapshot's `until`.

    Parameters
    ----------
    champion : TrainedModel, optional
        The model to be replaced.
    draws : polars.DataFrame, optional
        `predictors.treatment.DRAWS`: who was drawn to be contacted or held out, and how probable that was.
    """
    windows = learning_windows(snapshot, horizon_days)
    now = customer_features(snapshot, snapshot.until)
    found = _forward(snapshot, windows, horizon_days, seed, draws)
    later, losses = found.later, found.losses
    stage = Stage(min(losses, key=lambda name: losses[name])) if losses else Stage.BLEND
    lesson = _lesson(snapshot, snapshot.until, windows, horizon_days, draws)
    blend = _fit(lesson, horizon_days, now, stage, found.level, seed)
    if not blend.members:
        stage = Stage.BGNBD
    p = found.judged.get(stage, np.empty(0))
    verdict = _judge(found, p, champion, seed)
    features = tuple(feature_columns(now, IDENTITY))
    model = TrainedModel(
        kind="churn",
        moment="now",
        horizon_days=horizon_days,
        stage=stage,
        estimator=blend,
        features=features,
        reference=reference_values(now.select(features)),
        trained_as_of=snapshot.until,
        rows=now.height,
        positives=0 if later is None else int(later["silent"].sum() or 0),
        labelled_by="orders",
        seed=seed,
    )
    metrics = {
        "learning_windows_days": windows,
        "later_rows": 0 if later is None else later.height,
        "aftercare": {} if later is None else measure(_target(later), p, seed=seed),
        "log_loss_by_stage": dict(losses),
        "level": found.level.value,
        "contacted_left_out": sum(taught.left_out for taught in lesson.windows),
    }
    first = snapshot.orders["placed_at"].min()
    return TrainingResult(
        model=model,
        metrics=metrics,
        verdict=verdict,
        data_from=first if isinstance(first, datetime) else None,
        data_until=snapshot.until,
        held_out=None if later is None or not len(p) else HeldOut(y=_target(later), p=p, moments=later["moment"]),
        learned_from=now.select("moment", *features),
    )


@dataclass(frozen=True, kw_only=True)
class _Forward:
    """What the latest window said: its customers, each recipe's probabilities there, their losses, whose level fits."""

    later: pl.DataFrame | None = None
    judged: Mapping[Stage, Array] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    level: Level = Level.PURCHASES
    weights: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Window:
    """The customers of a window who were left alone in it, whether they were silent, and how many each stands for."""

    rows: pl.DataFrame
    target: Target
    weights: Array | None = None
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class _Lesson:
    """What is learned from: BG/NBD at the end, the customers of each window, and BG/NBD's error there."""

    purchases: BetaGeoModel
    windows: Sequence[Window]
    beyond: bool  # the horizon is longer than every window
    level_shift: float = 0.0


def left_alone_in(
    snapshot: Snapshot, rows: pl.DataFrame, days: int, end: datetime, draws: pl.DataFrame | None
) -> Window:
    """Leave out who was contacted in the window; those like them stand for them."""
    X = rows.select(feature_columns(rows, IDENTITY))
    weights = customers_left_alone(snapshot, rows, X, days=days, end=end, draws=draws)
    if weights is None:
        return Window(rows=rows, target=_target(rows))
    kept = rows.filter(pl.Series(weights > 0))
    return Window(rows=kept, target=_target(kept), weights=weights[weights > 0], left_out=int((weights == 0).sum()))


def _lesson(
    snapshot: Snapshot, end: datetime, windows: Sequence[int], horizon_days: int, draws: pl.DataFrame | None
) -> _Lesson:
    """Collect what the windows that end at `end` teach; those with too few outcomes teach nothing."""
    beyond = not windows or horizon_days > max(windows)
    first = snapshot.orders["placed_at"].min()
    taught: list[Window] = []
    level_shift = 0.0
    for days in windows:
        start = end - timedelta(days=days)
        rows = with_silence(window_rows(snapshot, days, end), purchases_at(snapshot, start), days)
        window = left_alone_in(snapshot, rows, days, end, draws)
        target = window.target
        if min(target.sum(), len(target) - target.sum()) < MIN_EACH_CLASS:
            continue
        taught.append(window)
        if beyond and isinstance(first, datetime) and (start - first).days >= MIN_HISTORY_DAYS:
            # How far BG/NBD was off on this window; the longest one, the last, decides.
            share = float(np.average(target, weights=window.weights))
            level_shift = shifted_to(expit(window.rows[SILENCE].to_numpy()), share, window.weights)
    return _Lesson(purchases=purchases_at(snapshot, end), windows=taught, beyond=beyond, level_shift=level_shift)


def _fit(
    lesson: _Lesson, horizon_days: int, present: pl.DataFrame, stage: Stage, level: Level, seed: int
) -> ChurnBlend:
    """Fit a member for each window; `present` are the customers whose level it shall have."""
    shift = lesson.level_shift
    if stage is Stage.BGNBD or not lesson.windows or not present.height:
        return ChurnBlend(lesson.purchases, horizon_days, (), shift)
    members: list[ChurnModel] = []
    for window in lesson.windows:
        X = window.rows.select(feature_columns(window.rows, IDENTITY))
        model = _model(stage, seed, stretched=lesson.beyond)
        members.append(model.fit(X, window.target, sample_weight=window.weights))
    if level is Level.WINDOW and not lesson.beyond:
        return ChurnBlend(lesson.purchases, horizon_days, [(model, 0.0) for model in members], shift)
    asked = with_silence(present, lesson.purchases, horizon_days)
    share = float(expit(asked[SILENCE].to_numpy() + shift).mean())
    levels = [shifted_to(model.predict_proba(asked)[:, 1], share) for model in members]
    return ChurnBlend(lesson.purchases, horizon_days, list(zip(members, levels, strict=True)), shift)


def _model(stage: Stage, seed: int, *, stretched: bool) -> ChurnModel:
    if stage is Stage.LOGISTIC:
        return ChurnModel(seed=seed, boosting_from=None)
    return ChurnModel(seed=seed, stretched=stretched)


def _forward(
    snapshot: Snapshot, windows: Sequence[int], horizon_days: int, seed: int, draws: pl.DataFrame | None
) -> _Forward:
    """Fit each recipe before the last window, and predict that window; in a short history, on other customers."""
    if not windows:
        return _Forward()
    # Of two windows the longer one: it is nearer to the horizon asked about.
    days = windows[-1]
    start = snapshot.until - timedelta(days=days)
    alone = left_alone_in(snapshot, window_rows(snapshot, days, snapshot.until), days, snapshot.until, draws)
    later, target, weights = alone.rows, alone.target, alone.weights
    if not later.height or min(target.sum(), len(target) - target.sum()) < MIN_LATER_EACH_CLASS:
        return _Forward()
    level = Level.PURCHASES
    if windows == [horizon_days]:
        lesson = _lesson(snapshot.at(start), start, [days], days, draws)
        judged = {
            stage: _fit(lesson, days, later, stage, level, seed).predict_proba(later)[:, 1]
            for stage in (Stage.BGNBD, Stage.LOGISTIC, Stage.BLEND)
        }
        other = _fit(lesson, days, later, Stage.LOGISTIC, Level.WINDOW, seed).predict_proba(later)[:, 1]
        if mean_log_loss(other, target, weights) < mean_log_loss(judged[Stage.LOGISTIC], target, weights):
            level = Level.WINDOW
    else:
        judged = _other_customers(alone, purchases_at(snapshot, start), days, seed)
    losses = {stage.value: mean_log_loss(levelled(p, target, weights), target, weights) for stage, p in judged.items()}
    return _Forward(later=later, judged=judged, losses=losses, level=level, weights=weights)


def _other_customers(window: Window, purchases: BetaGeoModel, days: int, seed: int) -> dict[Stage, Array]:
    """Predict each half of the window's customers by what the other half taught.

    In a history too short for two windows, customers who had hardly begun to buy would teach nothing.
    """
    rows = with_silence(window.rows, purchases, days)
    target, columns = window.target, feature_columns(rows, IDENTITY)
    judged = {Stage.BGNBD: expit(rows[SILENCE].to_numpy())}
    halves = [np.arange(rows.height) % 2 == half for half in (0, 1)]
    if min(min(target[half].sum(), (1 - target[half]).sum()) for half in halves) < MIN_EACH_CLASS:
        return judged
    for stage in (Stage.LOGISTIC, Stage.BLEND):
        judged[stage] = np.empty(rows.height)
        for half in halves:
            learner = _model(stage, seed, stretched=True)
            weights = None if window.weights is None else window.weights[~half]
            taught = learner.fit(rows.filter(~half).select(columns), target[~half], sample_weight=weights)
            judged[stage][half] = taught.predict_proba(rows.filter(half))[:, 1]
    return judged


def _judge(found: _Forward, challenger: Array, champion: TrainedModel | None, seed: int) -> Verdict:
    """Compare the recipes of challenger and champion, both fitted before the last window."""
    if champion is None:
        return Verdict(passed=True, reason="the first model of its kind")
    if found.later is None or champion.stage not in found.judged:
        return Verdict(passed=False, reason="too few later outcomes to judge by; the old model stays")
    return gate(_target(found.later), challenger, found.judged[champion.stage], seed=seed, weights=found.weights)


def _target(rows: pl.DataFrame) -> Target:
    return rows["silent"].to_numpy().astype(np.int64)
