"""The gain of a check-in for an order, learned from what became of those contacted and of the holdout.

The randomised draw is what is compared (intention to treat), with features as of the draw, so that nothing the
check-in caused reaches them. Where outcomes are kept, and whether they are enough, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import rankdata
from sklearn.model_selection import StratifiedKFold

from predictors.errors import NotEnoughDataError
from predictors.evaluation import Target, Verdict
from predictors.explain import FACTS, explain
from predictors.features import IDENTITY, issue_features
from predictors.fragility import Shock, fragilities
from predictors.frames import Array, feature_columns
from predictors.model import Stage, TrainedModel, reference_values
from predictors.moments import Moment, order_moments
from predictors.rescoring import predicted
from predictors.scoring import ScoredRows
from predictors.snapshot import INSTANT, Schema, Snapshot
from predictors.training import TrainingResult
from predictors.uplift import UpliftModel
from predictors.uplift_metrics import Ranking, measure_ranking, propensity_weights

# One row a customer's first draw whose outcome is known: was it drawn to be contacted, did it end badly, and how probable was
# it that it would be drawn to be contacted.
OUTCOMES: Schema = {
    "order_id": pl.Int64, "moment": INSTANT, "contacted": pl.Int8, "issue": pl.Int8, "propensity": pl.Float64,
}  # fmt: skip


def _standing(row: Any) -> str:
    if row.get("not_delivered"):
        return (
            f"The parcel had not arrived by the end of the promised day, {row['elapsed_days']:.0f} days after the order"
        )
    return f"The order was placed {row['elapsed_days']:.0f} days ago"


# At any instant, not only when it is due, an order without `not_delivered` may still be on its way.
GAIN_FACTS = tuple(replace(fact, text=_standing) if fact.name == "arrival" else fact for fact in FACTS)
GAIN_SHOCKS = (
    Shock(
        name="two days later",
        changes={
            "elapsed_days": pl.col("elapsed_days") + 2,
            "days_early": pl.col("days_early") - 2,
            "elapsed_against_usual_days": pl.col("elapsed_against_usual_days") + 2,
        },
    ),
    Shock(name="one more complaint", changes={"complaints": pl.col("complaints") + 1}),
)


@dataclass(frozen=True, kw_only=True)
class GainModel(TrainedModel):
    """A trained model whose answer is a gain in probability, not a probability."""

    def probabilities(self, frame: pl.DataFrame) -> Array:
        """Return by how much a check-in raises P(no issue within the horizon) for each row, (n,), in [-1, 1]."""
        result: Array = self.estimator.predict(self.taken(frame))
        return result


def train_uplift(
    snapshot: Snapshot, outcomes: pl.DataFrame, *, horizon_days: int, due_days: int, champion: TrainedModel | None
) -> TrainingResult:
    """Train on the outcomes of an experiment.

    Parameters
    ----------
    outcomes : polars.DataFrame
        `OUTCOMES`, one row an order; `moment` is the instant of the draw.
    champion : TrainedModel or None
        The recipe is always the same, so a retrain is kept out only where it has fewer outcomes to learn from.

    Raises
    ------
    NotEnoughDataError
        One arm only, or every order ended alike.
    """
    rows = _features(snapshot, outcomes.select("order_id", "moment"), due_days)
    rows = rows.join(outcomes.drop("moment"), on="order_id", how="left", maintain_order="left")
    features = tuple(feature_columns(rows, [*IDENTITY, "contacted", "issue", "propensity"]))
    contacted, issue = (rows[name].to_numpy().astype(np.int64) for name in ("contacted", "issue"))
    propensity = rows["propensity"].to_numpy()
    estimator = UpliftModel().fit(rows.select(features), contacted, 1 - issue, propensity)
    model = GainModel(
        kind="uplift",
        moment=Moment.NOW.value,
        horizon_days=horizon_days,
        stage=Stage.UPLIFT,
        estimator=estimator,
        features=features,
        reference=reference_values(rows.select(features)),
        trained_as_of=snapshot.until,
        rows=rows.height,
        positives=int(issue.sum()),
        labelled_by="experiments",
    )
    gains = model.probabilities(rows)
    weights = propensity_weights(contacted, propensity)
    metrics = {
        "contacted": int(contacted.sum()),
        "holdout": int(rows.height - contacted.sum()),
        "propensities": sorted({round(float(p), 4) for p in np.quantile(propensity, (0.0, 0.5, 1.0))}),
        "issue_rate_contacted": float(np.average(issue[contacted == 1], weights=weights[contacted == 1])),
        "issue_rate_holdout": float(np.average(issue[contacted == 0], weights=weights[contacted == 0])),
        "ranking": ranking_out_of_fold(rows.select(features), contacted, 1 - issue, propensity),
        "gain_mean": float(gains.mean()),
        "gain_deciles": [round(float(q), 4) for q in np.quantile(gains, np.arange(0.1, 1.0, 0.1))],
    }
    return TrainingResult(
        model=model,
        metrics=metrics,
        verdict=_verdict(model, champion),
        data_from=rows["moment"].min(),  # type: ignore[arg-type]
        data_until=rows["moment"].max(),  # type: ignore[arg-type]
    )


def ranking_out_of_fold(
    X: pl.DataFrame, contacted: Target, good: Target, propensity: Array, *, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Judge the recipe on rows that it has not seen: each half is ranked by a model of the other half.

    Returns
    -------
    dict
        {metric: {"value", "low", "high"}} of `predictors.uplift_metrics`; empty where a half has one class or arm only.
    """
    score = np.empty(X.height)
    try:
        for seen, unseen in StratifiedKFold(2, shuffle=True, random_state=seed).split(contacted, contacted):
            model = UpliftModel().fit(X[seen], contacted[seen], good[seen], propensity[seen])
            # Two models may differ in level: their rankings are put together, not their gains.
            score[unseen] = rankdata(model.predict(X[unseen])) / len(unseen)
    except NotEnoughDataError:
        return {}
    weights = propensity_weights(contacted, propensity)
    found = measure_ranking(Ranking(score, contacted, good, weights), seed=seed)
    return {name: {"value": of.value, "low": of.low, "high": of.high} for name, of in found.items()}


def score_uplift(model: TrainedModel, snapshot: Snapshot, orders: pl.DataFrame, *, due_days: int) -> ScoredRows:
    """Predict the gain of contacting now for each order of a frame with `order_id`; now is the snapshot's end."""
    subjects = orders.select("order_id", moment=pl.lit(snapshot.until).cast(INSTANT))
    frame = _features(snapshot, subjects, due_days)
    features = frame.select(feature_columns(frame, IDENTITY))
    again = predicted(model, features)
    return ScoredRows(
        model.moment,
        frame.select("customer_id", "order_id", as_of="moment"),
        again.probabilities,
        explain(model, features, again.probabilities, GAIN_FACTS, again),
        fragilities(model, features, again.probabilities, GAIN_SHOCKS, again),
    )


def _features(snapshot: Snapshot, subjects: pl.DataFrame, due_days: int) -> pl.DataFrame:
    # The columns of the due moment hold what is known of the handling, whatever the instant.
    return issue_features(snapshot, order_moments(snapshot, due_days=due_days), subjects, Moment.DUE)


def _verdict(model: TrainedModel, champion: TrainedModel | None) -> Verdict:
    if champion is None:
        return Verdict(passed=True, reason="the first model of its kind")
    passed = model.rows >= champion.rows
    return Verdict(
        passed=passed,
        reason=f"the same recipe on {model.rows} outcomes, against the champion's {champion.rows}",
        rows=model.rows,
    )


__all__ = ["GAIN_FACTS", "GAIN_SHOCKS", "OUTCOMES", "GainModel", "score_uplift", "train_uplift"]
