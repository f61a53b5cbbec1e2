"""Training churn models on past snapshots only, up to the longest window that has passed.

For a horizon of up to a third of the history the model learns that very horizon. For a longer one it learns the
ranking on windows of a third and of half the history, and takes the level from BG/NBD at the horizon asked about,
corrected by BG/NBD's error on the longest window. No label lies after the snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from predictors.calibration import levelled, mean_log_loss, shifted_to
from predictors.churn import SILENCE, ChurnBlend, ChurnModel, with_silence
from predictors.customers import bought_within, customer_features
from predictors.errors import NotEnoughDataError
from predictors.evaluation import Target, Verdict, gate, measure
from predictors.frames import Array, expit, feature_columns
from predictors.model import Stage, TrainedModel, reference_values
from predictors.purchases import BetaGeoModel
from predictors.snapshot import Snapshot
from predictors.training import MIN_LATER_EACH_CLASS, HeldOut, TrainingResult

IDENTITY = ("customer_id", "moment", "silent")
# Customers of each class that a window needs before its correction is learned.
MIN_EACH_CLASS = 40
# BG/NBD on the paper's own data; stands in while nobody has bought twice.
PRIOR = {"r_": 0.243, "alpha_": 4.414, "a_": 0.793, "b_": 2.426}


def purchases_at(snapshot: Snapshot, at: datetime) -> BetaGeoModel:
    """Fit BG/NBD to what was known at an instant; where nobody has bought twice, the paper's values stand in."""
    try:
        return BetaGeoModel().fit(customer_features(snapshot, at))
    except NotEnoughDataError:
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
    snapshot: Snapshot, *, horizon_days: int = 90, seed: int = 0, champion: TrainedModel | None = None
) -> TrainingResult:
    """Train the churn model as of the snapshot's `until`."""
    windows = learning_windows(snapshot, horizon_days)
    now = customer_features(snapshot, snapshot.until)
    blend, stage = _fit(snapshot, snapshot.until, windows, horizon_days, now), Stage.BLEND
    if not blend.members:
        stage = Stage.BGNBD
    later, judged, losses = _forward(snapshot, windows, horizon_days)
    if stage is Stage.BLEND and losses and losses.get(Stage.BLEND.value, np.inf) > losses[Stage.BGNBD.value]:
        stage, blend = Stage.BGNBD, ChurnBlend(blend.purchases, horizon_days, (), blend.level_shift)
    p = judged.get(stage, np.empty(0))
    verdict = _judge(later, judged, p, champion, seed)
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
        "log_loss_by_stage": losses,
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


def _fit(
    snapshot: Snapshot, end: datetime, windows: Sequence[int], horizon_days: int, present: pl.DataFrame
) -> ChurnBlend:
    """Fit BG/NBD and a member for each window that ends at `end`; `present` are the customers at `end`."""
    purchases = purchases_at(snapshot, end)
    plain = ChurnBlend(purchases, horizon_days)
    if not present.height:
        return plain
    asked = with_silence(present, purchases, horizon_days)
    members: list[tuple[ChurnModel, Array]] = []
    level_shift = 0.0
    for days in windows:
        start = end - timedelta(days=days)
        rows = with_silence(window_rows(snapshot, days, end), purchases_at(snapshot, start), days)
        target = _target(rows)
        if min(target.sum(), len(target) - target.sum()) < MIN_EACH_CLASS:
            continue
        # How far BG/NBD was off on this window; the longest one, the last, decides.
        level_shift = shifted_to(expit(rows[SILENCE].to_numpy()), float(target.mean()))
        columns = feature_columns(rows, IDENTITY)
        model = ChurnModel().fit(rows.select(columns), target)
        members.append((model, model.predict_proba(asked)[:, 1]))
    if windows == [horizon_days]:
        return ChurnBlend(purchases, horizon_days, [(model, 0.0) for model, _ in members], level_shift)
    level = float(expit(asked[SILENCE].to_numpy() + level_shift).mean())
    return ChurnBlend(purchases, horizon_days, [(model, shifted_to(p, level)) for model, p in members], level_shift)


def _forward(
    snapshot: Snapshot, windows: Sequence[int], horizon_days: int
) -> tuple[pl.DataFrame | None, dict[Stage, Array], dict[str, float]]:
    """Fit each recipe before the last window, and predict that window; in a short history, on other customers."""
    if not windows:
        return None, {}, {}
    days = windows[0]
    start = snapshot.until - timedelta(days=days)
    later = window_rows(snapshot, days, snapshot.until)
    target = _target(later)
    if not later.height or min(target.sum(), len(target) - target.sum()) < MIN_LATER_EACH_CLASS:
        return None, {}, {}
    if windows == [horizon_days]:
        blend = _fit(snapshot.at(start), start, [days], days, later)
        plain = ChurnBlend(blend.purchases, days)
        judged = {Stage.BGNBD: plain.predict_proba(later)[:, 1], Stage.BLEND: blend.predict_proba(later)[:, 1]}
    else:
        later, judged = _other_customers(snapshot, later, start, days)
        target = _target(later)
    losses = {stage.value: mean_log_loss(levelled(p, target), target) for stage, p in judged.items()}
    return later, judged, losses


def _other_customers(
    snapshot: Snapshot, rows: pl.DataFrame, start: datetime, days: int
) -> tuple[pl.DataFrame, dict[Stage, Array]]:
    """Learn from every second customer of the window and judge on the others.

    In a history too short for two windows, customers who had hardly begun to buy would teach nothing.
    """
    rows = with_silence(rows, purchases_at(snapshot, start), days)
    odd = pl.int_range(pl.len()) % 2 == 1
    teach, later = rows.filter(~odd), rows.filter(odd)
    target = _target(teach)
    judged = {Stage.BGNBD: expit(later[SILENCE].to_numpy())}
    if min(target.sum(), len(target) - target.sum()) >= MIN_EACH_CLASS:
        columns = feature_columns(teach, IDENTITY)
        judged[Stage.BLEND] = ChurnModel().fit(teach.select(columns), target).predict_proba(later)[:, 1]
    return later, judged


def _judge(
    later: pl.DataFrame | None,
    judged: dict[Stage, Array],
    challenger: Array,
    champion: TrainedModel | None,
    seed: int,
) -> Verdict:
    """Compare the recipes of challenger and champion, both fitted before the last window."""
    if champion is None:
        return Verdict(passed=True, reason="the first model of its kind")
    if later is None or champion.stage not in judged:
        return Verdict(passed=False, reason="too few later outcomes to judge by; the old model stays")
    return gate(_target(later), challenger, judged[champion.stage], seed=seed)


def _target(rows: pl.DataFrame) -> Target:
    return rows["silent"].to_numpy().astype(np.int64)
