"""Do fragile orders diverge more than robust ones of the same probability? On Olist's orders of 2018-02 and 2018-03.

    python -m benchmarks.fragility [DIR]            (DIR: else AFTERCARE_DATA/olist, else ../shared/data/olist)

Models as of 2018-02-01 score each order at purchase and when it is due. Within each twentieth of the probability the more
fragile half (by the largest move under the shocks) is compared with the other half: how far the prediction moves until the
order is due, and how far the outcome lies from it. Differences with 95 % bootstrap intervals over orders. The figures are
looked at, not passed or failed: the page on predictions says what they show.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.shops.real_orders import olist_folder, olist_snapshot
from predictors.fragility import fragilities
from predictors.frames import Array, logit
from predictors.labels import LabelledBy
from predictors.learning_rows import labelled_rows
from predictors.model import TrainedModel
from predictors.moments import Moment
from predictors.training import train_issue

TRAINED, UNTIL = datetime(2018, 2, 1, 2, tzinfo=UTC), datetime(2018, 4, 1, 3, tzinfo=UTC)
BINS, RESAMPLES, SEED = 20, 1000, 0


def main() -> int:
    """Measure and print."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else olist_folder()
    if not folder.is_dir():
        print(f"{folder} is absent")
        return 0
    snapshot = olist_snapshot(folder, datetime(2018, 9, 1, tzinfo=UTC))
    scored = {}
    for moment in (Moment.PLACED, Moment.DUE):
        model = train_issue(
            snapshot.at(TRAINED), moment, labelled_by=LabelledBy.RATED, seed=SEED, horizon_days=45, due_days=14
        ).model
        rows = labelled_rows(snapshot, moment, mode=LabelledBy.RATED, horizon_days=45, due_days=14).frame
        rows = rows.filter((pl.col("moment") >= TRAINED) & (pl.col("moment") < UNTIL))
        scored[moment] = _scored(model, rows)
    placed, due = scored[Moment.PLACED], scored[Moment.DUE]
    both = placed.join(due.select("order_id", later="p"), on="order_id")
    p, later, y, move = (both[name].to_numpy() for name in ("p", "later", "issue", "move"))
    print(f"at purchase: {both.height} orders; largest move of the more fragile halves {_halves(p, move, move)}")
    _report("move of the probability until due", p, move, np.abs(later - p))
    _report("move in log-odds until due", p, move, np.abs(logit(later) - logit(p)))
    _report("squared error of the outcome", p, move, (y - p) ** 2)
    p, y, move = (due[name].to_numpy() for name in ("p", "issue", "move"))
    print(f"when due: {due.height} orders; largest move of the more fragile halves {_halves(p, move, move)}")
    _report("squared error of the outcome", p, move, (y - p) ** 2)
    return 0


def _scored(model: TrainedModel, rows: pl.DataFrame) -> pl.DataFrame:
    p = model.probabilities(rows)
    found = fragilities(model, rows, p)
    moves = [max((abs(q - before) for _, q in one.shocks), default=0.0) for one, before in zip(found, p, strict=True)]
    return rows.select("order_id", "issue").with_columns(p=pl.Series(p), move=pl.Series(moves))


def _report(what: str, p: Array, move: Array, value: Array) -> None:
    rng = np.random.default_rng(SEED)
    drawn = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(p), len(p))
        drawn.append(_gap(p[rows], move[rows], value[rows]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    print(f"  {what}: {_halves(p, move, value)}, difference {_gap(p, move, value):+.4f} [{low:+.4f}, {high:+.4f}]")


def _gap(p: Array, move: Array, value: Array) -> float:
    fragile, robust = _means(p, move, value)
    return fragile - robust


def _halves(p: Array, move: Array, value: Array) -> str:
    fragile, robust = _means(p, move, value)
    return f"{fragile:.4f} fragile, {robust:.4f} robust"


def _means(p: Array, move: Array, value: Array) -> tuple[float, float]:
    """Return the mean over the bins of the mean of the more fragile half and of the other half."""
    order = np.argsort(p, kind="stable")
    fragile, robust = [], []
    for rows in np.array_split(order, BINS):
        # The more fragile half of rows of nearly the same probability.
        ranked = rows[np.argsort(move[rows], kind="stable")]
        half = len(ranked) // 2
        robust.append(value[ranked[:half]].mean())
        fragile.append(value[ranked[half:]].mean())
    return float(np.mean(fragile)), float(np.mean(robust))


if __name__ == "__main__":
    sys.exit(main())
