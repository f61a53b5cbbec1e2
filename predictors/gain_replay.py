"""Would the newer model of the gain rank and size gains better? The recipe as of earlier against the champion as it is.

Of the outcomes that the champion has not seen, the first half teach the recipe beside what was known before, and the
second half judge that fit and the champion. Nobody sees a gain; but each outcome, weighted by how probable its arm
was, is one on average.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from predictors.errors import PredictorError
from predictors.features import issue_features
from predictors.frames import Array
from predictors.gates import Verdict, resampled
from predictors.model import TrainedModel
from predictors.moments import Moment, order_moments
from predictors.replay import halfway
from predictors.snapshot import Snapshot
from predictors.uplift import UpliftModel

__all__ = ["gain_errors", "gate_gain"]

# Outcomes of each arm without which later outcomes judge no gain.
MIN_EACH_ARM = 100


def gate_gain(
    by_count: Verdict,
    snapshot: Snapshot,
    outcomes: pl.DataFrame,
    champion: TrainedModel,
    *,
    horizon_days: int,
    due_days: int,
    seed: int,
) -> Verdict:
    """Judge the recipe on outcomes that the champion has not seen, where they are enough.

    More outcomes of the same recipe are taken to be of use; shown to be worse on outcomes that neither had seen, the
    challenger stays out all the same. Judged is the error that also sees the level, not the ranking alone.

    Parameters
    ----------
    by_count : Verdict
        From `predictors.gain.train_uplift`; returned as it is where it refuses, or too little is unseen.
    outcomes : polars.DataFrame
        `predictors.gain.OUTCOMES`; each was known a horizon after its moment.
    """
    known = outcomes.with_columns(known_at=pl.col("moment") + pl.duration(days=horizon_days))
    unseen = known.filter(pl.col("known_at") > champion.trained_as_of)
    cut = halfway(unseen["known_at"])
    if not by_count.passed or cut is None:
        return by_count
    taught, judged = known.filter(pl.col("known_at") <= cut), unseen.filter(pl.col("known_at") > cut)
    contacted = int(judged["contacted"].sum())
    if min(contacted, judged.height - contacted) < MIN_EACH_ARM:
        return by_count
    try:
        gains = [replayed(snapshot, taught, judged, champion.features, due_days)]
        frame = _features(snapshot, judged, due_days)
        gains.append(champion.probabilities(frame))
    except PredictorError:
        return by_count
    challenger, old = (gain_errors(frame, gain) for gain in gains)
    found = resampled(challenger - old, seed)
    worse = found.low > 0
    said = "worse beyond noise; the old model stays" if worse else "not worse beyond noise"
    return replace(
        by_count,
        passed=not worse,
        reason=f"{by_count.reason}; error of the gain {found} against it on {judged.height} unseen outcomes: {said}",
        difference=found.value,
        low=found.low,
        high=found.high,
        rows=judged.height,
    )


def replayed(
    snapshot: Snapshot, taught: pl.DataFrame, judged: pl.DataFrame, features: tuple[str, ...], due_days: int
) -> Array:
    """Fit the recipe to some outcomes and return the gains it expects of others, (n,)."""
    rows = _features(snapshot, taught, due_days)
    if missing := [name for name in features if name not in rows.columns]:
        raise PredictorError(f"the champion needs the feature {missing[0]}, which this version does not know")
    contacted, good = rows["contacted"].to_numpy(), 1 - rows["issue"].to_numpy()
    model = UpliftModel().fit(rows.select(features), contacted, good, rows["propensity"].to_numpy())
    return model.predict(_features(snapshot, judged, due_days).select(features))


def gain_errors(rows: pl.DataFrame, gain: Array) -> Array:
    """Return (z - gain)² less what no model can change, whose mean is the squared error of the gain, (n,).

    z = (t - p) / (p (1 - p)) (y - m) with y no issue and m its mean: its expectation given the features is the gain.

    Parameters
    ----------
    rows : polars.DataFrame
        contacted, issue, propensity.
    """
    t, p = (rows[name].to_numpy().astype(np.float64) for name in ("contacted", "propensity"))
    good = 1.0 - rows["issue"].to_numpy().astype(np.float64)
    z = (t - p) / (p * (1 - p)) * (good - good.mean())
    result: Array = gain**2 - 2 * gain * z
    return result


def _features(snapshot: Snapshot, outcomes: pl.DataFrame, due_days: int) -> pl.DataFrame:
    moments = order_moments(snapshot, due_days=due_days)
    rows = issue_features(snapshot, moments, outcomes.select("order_id", "moment"), Moment.DUE)
    return rows.join(outcomes.drop("moment"), on="order_id", how="left", maintain_order="left")
