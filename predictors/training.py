"""Training issue models: time split, choice of the stage, guarded calibration, refit on all.

Everything is decided on data later than what was learned from; nothing recorded after the snapshot is seen. How a
model is stored and promoted in the database belongs to the product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import clone

from predictors.calibration import guarded_calibrator, levelled, mean_log_loss
from predictors.errors import PredictorError
from predictors.evaluation import Target, Verdict, gate, measure
from predictors.features import IDENTITY, issue_features
from predictors.frames import Array, feature_columns
from predictors.issue import BlendModel, LogisticModel
from predictors.kinds import KindModel, kinds_of_issues
from predictors.labels import LabelledBy, label_issues, resolve_mode, settled_after
from predictors.model import Stage, TrainedModel, reference_values
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.rules import untrained_rules
from predictors.snapshot import Snapshot
from predictors.treatment import WEIGHT, left_alone

# Outcomes of each class that a stage needs in the part it learns from.
MIN_EACH_CLASS: Mapping[Stage, int] = {Stage.LOGISTIC: 40, Stage.BOOSTING: 200}
# Outcomes of each class without which later data judge nothing.
MIN_LATER_EACH_CLASS = 10
# The last quarter of the labelled span judges.
LATER_SHARE = 0.25
# After a year an order weighs half; at purchase this gained about .005 of ROC-AUC on Olist 2018-02 to 2018-05.
HALF_LIFE_DAYS = 360.0


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


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Features of subjects with their labels, in the order of their moments."""

    frame: pl.DataFrame
    features: list[str]
    left_out: int = 0  # because they were contacted, or drawn to be

    @property
    def target(self) -> Target:
        return self.frame["issue"].to_numpy().astype(np.int64)

    def where(self, condition: pl.Expr) -> LabelledRows:
        return LabelledRows(frame=self.frame.filter(condition), features=self.features)

    @property
    def X(self) -> pl.DataFrame:  # noqa: N802 - the field's name for a feature matrix
        return self.frame.select(self.features)

    @property
    def each_class(self) -> int:
        """Rows of the rarer class."""
        positives = int(self.frame["issue"].sum() or 0)
        return min(positives, self.frame.height - positives)


def labelled_rows(
    snapshot: Snapshot,
    moment: Moment,
    *,
    horizon_days: int,
    due_days: int,
    mode: LabelledBy,
    draws: pl.DataFrame | None = None,
) -> LabelledRows:
    """Build the features and labels of every order whose outcome is known by the snapshot and not changed by a contact.

    At purchase the wait for ratings begins at the end of the promised day, which does not depend on how the order
    went: counting from the delivery would favour what came fast.
    """
    moments = order_moments(snapshot, due_days=due_days)
    subjects = issue_subjects(moments, moment).filter(pl.col("moment") <= snapshot.until)
    wait = settled_after(snapshot, moments, horizon_days=horizon_days, mode=mode)
    settling = subjects.with_columns(settles_from="promised_end" if moment is Moment.PLACED else "moment")
    labels = label_issues(snapshot, settling, horizon_days=horizon_days, mode=mode, settle_days=wait)
    observed = subjects.join(labels.select("order_id"), on="order_id", how="semi")
    frame = issue_features(snapshot, moments, observed, moment).join(labels, on="order_id", maintain_order="left")
    features = feature_columns(frame, [*IDENTITY, "issue", "known_at"])
    alone = left_alone(snapshot, frame, frame.select(features), horizon_days=horizon_days, draws=draws)
    if alone is not None:
        frame = frame.join(alone.weights, on="order_id", maintain_order="left")
    return LabelledRows(frame=frame, features=features, left_out=0 if alone is None else alone.left_out)


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
    calibrator = guarded_calibrator(p, later.target)
    judged = calibrator.transform(p)
    verdict = _judge(fit, later, judged, champion, seed)
    final = estimator
    if stage is not Stage.RULES:
        final = clone(estimator).fit(rows.X, rows.target, sample_weight=age_weights(rows.frame, snapshot.until))
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


def age_weights(frame: pl.DataFrame, until: datetime) -> Array:
    """Return weights that halve every `HALF_LIFE_DAYS`, times those of who was left alone, if any; with mean 1."""
    ages = frame.select((pl.lit(until) - pl.col("moment")).dt.total_seconds() / 86400.0).to_series().to_numpy()
    weights = 0.5 ** (ages / HALF_LIFE_DAYS)
    if WEIGHT in frame.columns:
        weights = weights * frame[WEIGHT].to_numpy()
    result: Array = weights / weights.mean() if len(weights) else weights
    return result


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
    loss = mean_log_loss(levelled(p, later.target), later.target) if len(p) else float("inf")
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
    if later.each_class < MIN_LATER_EACH_CLASS:
        if champion.stage is Stage.RULES:
            return Verdict(passed=True, reason="too few later outcomes to judge by; the old model had learned nothing")
        return Verdict(passed=False, reason="too few later outcomes to judge by; the old model stays")
    seen = champion.trained_as_of > later.frame["moment"][0]
    try:
        if seen and champion.stage is not Stage.RULES:
            X = fit.frame.select(champion.features)
            weights = age_weights(fit.frame, later.frame["moment"][0])
            again = clone(champion.estimator).fit(X, fit.target, sample_weight=weights)
            raw = again.predict_proba(later.frame.select(champion.features))[:, 1]
            p = champion.calibrator.transform(raw)
        else:
            p = champion.probabilities(later.frame)
    except (PredictorError, pl.exceptions.ColumnNotFoundError) as error:
        return Verdict(passed=True, reason=f"the champion does not fit the present features ({error})")
    return gate(later.target, challenger, p, seed=seed)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
