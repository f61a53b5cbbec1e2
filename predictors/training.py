"""Training issue models: time split, choice of the stage, guarded calibration, refit on all.

Everything is decided on data later than what was learned from; nothing recorded after the snapshot is seen. How a
model is stored and promoted in the database belongs to the product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import clone

from predictors.calibration import guarded_calibrator, levelled, mean_log_loss
from predictors.evaluation import Target, Verdict, gate, measure
from predictors.frames import Array
from predictors.issue import BlendModel, LogisticModel
from predictors.kinds import KindModel, kinds_of_issues
from predictors.labels import LabelledBy, resolve_mode
from predictors.learning_rows import LabelledRows, age_weights, labelled_rows
from predictors.level import forward_months, level_shift
from predictors.model import Stage, TrainedModel, reference_values
from predictors.moments import Moment, order_moments
from predictors.rules import untrained_rules
from predictors.snapshot import Snapshot

# Outcomes of each class that a stage needs in the part it learns from.
MIN_EACH_CLASS: Mapping[Stage, int] = {Stage.LOGISTIC: 40, Stage.BOOSTING: 200}
# Outcomes of each class without which later data judge nothing.
MIN_LATER_EACH_CLASS = 10
# The last quarter of the labelled span judges.
LATER_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Later rows that the judged fit had not seen: outcomes, its probabilities, and the instants they stand at."""

    y: Target
    p: Array
    moments: pl.Series


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained model, how it and the other stages did on later data, and the gate's verdict.

    `learned_from` holds the moment and the features of the rows that the final fit learned from.
    """

    model: TrainedModel
    metrics: dict[str, Any]
    verdict: Verdict
    data_from: datetime | None
    data_until: datetime | None
    held_out: HeldOut | None = None
    learned_from: pl.DataFrame | None = None


def train_issue(
    snapshot: Snapshot,
    moment: Moment,
    *,
    horizon_days: int = 45,
    due_days: int = 14,
    labelled_by: LabelledBy = LabelledBy.AUTO,
    seed: int = 0,
    champion: TrainedModel | None = None,
    draws: pl.DataFrame | None = None,
) -> TrainingResult:
    """Train the issue model of one moment, as of the snapshot's `until`.

    Parameters
    ----------
    champion : TrainedModel, optional
        The model to be replaced; the gate compares on later rows.
    draws : polars.DataFrame, optional
        `predictors.treatment.DRAWS`: who was drawn to be contacted or held out, and how probable that was.
    """
    mode = resolve_mode(snapshot, labelled_by)
    rows = labelled_rows(snapshot, moment, horizon_days=horizon_days, due_days=due_days, mode=mode, draws=draws)
    fit, later = _split(rows)
    tried = _candidates(fit, later, seed)
    stage = min(tried, key=lambda name: tried[name][1])
    estimator, _, p = tried[stage]
    calibrator = guarded_calibrator(p, later.target, later.weights)
    # What the later rows teach about the level must not judge on them.
    judged = calibrator.tempered(p)
    verdict = _judge(fit, later, judged, champion, seed)
    final = estimator
    if stage is not Stage.RULES:
        final = clone(estimator).fit(rows.X, rows.target, sample_weight=age_weights(rows.frame, snapshot.until))
        calibrator = calibrator.shifted(level_shift(forward_months(rows)))
    model = TrainedModel(
        kind="issue",
        moment=moment.value,
        horizon_days=horizon_days,
        stage=stage,
        estimator=final,
        calibrator=calibrator,
        features=tuple(rows.features),
        reference=reference_values(rows.X),
        trained_as_of=snapshot.until,
        rows=rows.frame.height,
        positives=int(rows.frame["issue"].sum() or 0),
        labelled_by=mode.value,
        seed=seed,
        kinds=_kinds(snapshot, rows, due_days),
    )
    metrics = {
        "later_rows": later.frame.height,
        "later_positives": int(later.frame["issue"].sum() or 0),
        "aftercare": measure(later.target, judged, seed=seed) if later.frame.height else {},
        "log_loss_by_stage": {name.value: _finite(loss) for name, (_, loss, _) in tried.items()},
        "calibrated": bool(calibrator.slope != 1.0),
        "level_shift": calibrator.shift,
        "contacted_left_out": rows.left_out,
    }
    first, last = (rows.frame["moment"][0], rows.frame["moment"][-1]) if rows.frame.height else (None, None)
    return TrainingResult(
        model=model,
        metrics=metrics,
        verdict=verdict,
        data_from=first,
        data_until=last,
        held_out=HeldOut(y=later.target, p=judged, moments=later.frame["moment"]) if later.frame.height else None,
        learned_from=rows.frame.select("moment", *rows.features),
    )


def _kinds(snapshot: Snapshot, rows: LabelledRows, due_days: int) -> KindModel | None:
    """Learn from the rows with an issue which kind it was."""
    issues = kinds_of_issues(snapshot, order_moments(snapshot, due_days=due_days))
    told = rows.frame.filter(pl.col("issue") == 1).join(issues, on="order_id", maintain_order="left")
    told = told.filter(pl.col("recorded_at") > pl.col("moment"))
    return KindModel().fit(told.select(rows.features), told["issue_kind"].to_numpy()) if told.height else None


def _split(rows: LabelledRows) -> tuple[LabelledRows, LabelledRows]:
    """Split where the last quarter of the labelled moments begins; earlier labels must have been known by then."""
    if not rows.frame.height:
        return rows, rows
    cut = rows.frame["moment"][int((1 - LATER_SHARE) * (rows.frame.height - 1))]
    return rows.where(pl.col("known_at") <= cut), rows.where(pl.col("moment") > cut)


def _candidates(fit: LabelledRows, later: LabelledRows, seed: int) -> dict[Stage, tuple[Any, float, Array]]:
    """Fit every stage that there is enough for; each with its loss and probabilities on the later rows."""
    rules = untrained_rules()
    scored: dict[Stage, tuple[Any, float, Array]] = {Stage.RULES: _scored(rules, later)}
    if later.each_class < MIN_LATER_EACH_CLASS:
        return scored
    learners: dict[Stage, Any] = {Stage.LOGISTIC: LogisticModel(), Stage.BOOSTING: BlendModel(seed=seed)}
    for stage, learner in learners.items():
        if fit.each_class >= MIN_EACH_CLASS[stage]:
            weights = age_weights(fit.frame, later.frame["moment"][0])
            scored[stage] = _scored(learner.fit(fit.X, fit.target, sample_weight=weights), later)
    return scored


def _scored(estimator: Any, later: LabelledRows) -> tuple[Any, float, Array]:
    p: Array = estimator.predict_proba(later.X)[:, 1] if later.frame.height else np.empty(0)
    # The level drifts with the season and is learned anew by every refit: stages are compared at the same level.
    weights = later.weights
    loss = mean_log_loss(levelled(p, later.target, weights), later.target, weights) if len(p) else float("inf")
    return estimator, loss, p


def _judge(
    fit: LabelledRows, later: LabelledRows, challenger: Array, champion: TrainedModel | None, seed: int
) -> Verdict:
    """Let the gate compare on the later rows.

    A champion trained before the later rows began is compared as it is. One that has seen them would look better
    than it is, so its recipe is fitted again on the earlier rows.
    """
    if champion is None:
        return Verdict(passed=True, reason="the first model of its kind")
    if unknown := [name for name in champion.features if name not in later.features]:
        return _judge_by_rules(later, challenger, unknown[0], seed)
    if later.each_class < MIN_LATER_EACH_CLASS:
        if champion.stage is Stage.RULES:
            return Verdict(passed=True, reason="too few later outcomes to judge by; the old model had learned nothing")
        return Verdict(passed=False, reason="too few later outcomes to judge by; the old model stays")
    seen = champion.trained_as_of > later.frame["moment"][0]
    if seen and champion.stage is not Stage.RULES:
        X = fit.frame.select(champion.features)
        weights = age_weights(fit.frame, later.frame["moment"][0])
        again = clone(champion.estimator).fit(X, fit.target, sample_weight=weights)
        raw = again.predict_proba(later.frame.select(champion.features))[:, 1]
        p = champion.calibrator.tempered(raw)
    else:
        p = champion.probabilities(later.frame)
    return gate(later.target, challenger, p, seed=seed, weights=later.weights)


def _judge_by_rules(later: LabelledRows, challenger: Array, unknown: str, seed: int) -> Verdict:
    """Judge against the rules of the first day where the champion cannot predict with this version any more.

    Somebody must score, so no proof of use is asked for; but what is shown to be worse than the rules stays out.
    """
    why = f"the champion needs the feature {unknown}, which this version does not know"
    if later.each_class < MIN_LATER_EACH_CLASS:
        return Verdict(passed=True, reason=f"{why}; too few later outcomes to judge by, so the rules take over")
    rules = untrained_rules().predict_proba(later.X)[:, 1]
    found = gate(later.target, challenger, rules, seed=seed, weights=later.weights)
    worse = (found.low or 0.0) > 0
    said = "worse beyond noise than" if worse else "not worse than"
    return replace(found, passed=not worse, reason=f"{why}; judged by the rules of the first day: {said} these")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
