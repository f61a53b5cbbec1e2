"""Backtests: our model and named baselines, fitted as of a start, judged on the span after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from predictors.churn_scoring import purchases_model
from predictors.churn_training import train_churn, window_rows
from predictors.errors import NotEnoughDataError
from predictors.evaluation import Target, base_rate, late_by_due, measure
from predictors.features import issue_features
from predictors.frames import Array
from predictors.issue import LogisticModel
from predictors.labels import LabelledBy, label_issues, resolve_mode
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.rules import untrained_rules
from predictors.scoring import spanned
from predictors.snapshot import Snapshot
from predictors.training import labelled_rows, train_issue


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """Metrics by model: {NAME: {METRIC: {"value", "low", "high"}}}."""

    n: int
    positives: int
    models: Mapping[str, Mapping[str, Mapping[str, float | None]]]


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
) -> Backtest:
    """Train as of `start`; judge on the orders whose moment lies in the span and whose outcome is known by now.

    Raises
    ------
    NotEnoughDataError
        No outcome of the span is known.
    """
    past = snapshot.at(start)
    mode = resolve_mode(past, labelled_by)
    result = train_issue(past, moment, horizon_days=horizon_days, due_days=due_days, labelled_by=mode, seed=seed)
    moments = order_moments(snapshot, due_days=due_days)
    subjects = spanned(issue_subjects(moments, moment), start, end)
    labels = label_issues(snapshot, subjects, horizon_days=horizon_days, mode=mode)
    observed = subjects.join(labels.select("order_id"), on="order_id", how="semi")
    frame = issue_features(snapshot, moments, observed, moment).join(labels, on="order_id", maintain_order="left")
    if not frame.height:
        raise NotEnoughDataError("no order of this span has a known outcome yet; choose an earlier span")
    y = frame["issue"].to_numpy().astype(np.int64)
    predictions: dict[str, Array] = {"aftercare": result.model.probabilities(frame)}
    rows = labelled_rows(past, moment, horizon_days=horizon_days, due_days=due_days, mode=mode)
    predictions["rules"] = untrained_rules().predict_proba(frame)[:, 1]
    if rows.frame.height:
        predictions["base_rate"] = base_rate(rows.target, frame.height)
    if rows.frame.height and "not_delivered" in frame.columns:
        late = (rows.frame["not_delivered"].to_numpy(), frame["not_delivered"].to_numpy())
        predictions["late_by_due"] = late_by_due(rows.target, *late)
    if rows.each_class:
        plain = LogisticModel(C=1.0).fit(rows.X, rows.target)
        predictions["logistic"] = plain.predict_proba(frame)[:, 1]
    return _measured(y, predictions, seed)


def backtest_churn(snapshot: Snapshot, start: datetime, end: datetime, *, seed: int) -> Backtest:
    """Train as of `start` for the horizon up to `end`; judge on who was silent in between."""
    horizon_days = (end - start).days
    if horizon_days < 1 or end > snapshot.until:
        raise NotEnoughDataError("the span must be at least a day and must have passed; choose an earlier one")
    past = snapshot.at(start)
    rows = window_rows(snapshot, horizon_days, end)
    if not rows.height:
        raise NotEnoughDataError("nobody had ordered before this span; choose a later one")
    y = rows["silent"].to_numpy().astype(np.int64)
    result = train_churn(past, horizon_days=horizon_days, seed=seed)
    quiet = rows.select(pl.col("quiet_weeks").fill_null(0.0)).to_series().to_numpy()
    predictions: dict[str, Array] = {
        "aftercare": result.model.probabilities(rows),
        "bgnbd": purchases_model(past, horizon_days=horizon_days).probabilities(rows),
        # A ranking by silence alone, squeezed into probabilities.
        "recency": quiet / (quiet + horizon_days / 7),
    }
    return _measured(y, predictions, seed)


def _measured(y: Target, predictions: Mapping[str, Array], seed: int) -> Backtest:
    models = {name: measure(y, p, seed=seed) for name, p in predictions.items()}
    return Backtest(n=len(y), positives=int(y.sum()), models=models)
