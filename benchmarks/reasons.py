"""Do reasons agree with Shapley values, and what do both cost? On Olist's orders of 2018-02 to 2018-04.

    python -m benchmarks.reasons [DIR]              (DIR: else AFTERCARE_DATA/olist, else ../shared/data/olist)

Models as of 2018-02-01. A reason sets one fact to its typical values and predicts again (`predictors.explain`). Beside it:
interventional Shapley values of the same facts by sampled orders of the facts, against the typical row and against rows drawn
from the shop. Agreement on the first reason, on the first three, and in rank; the second sample says how well Shapley
sampling agrees with itself. Rows are drawn by their risk: reasons are read for those.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from benchmarks.shops.real_orders import olist_folder, olist_snapshot
from predictors.explain import FACTS, MAX_REASONS, MIN_EFFECT, Fact, without_fact
from predictors.frames import Array
from predictors.labels import LabelledBy
from predictors.learning_rows import labelled_rows
from predictors.model import TrainedModel
from predictors.moments import Moment
from predictors.training import train_issue

TRAINED, UNTIL = datetime(2018, 2, 1, 2, tzinfo=UTC), datetime(2018, 5, 1, 3, tzinfo=UTC)
ROWS, ORDERS_OF_FACTS, SEED = 150, 25, 0


def main() -> int:
    """Measure both moments and print."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else olist_folder()
    if not folder.is_dir():
        print(f"{folder} is absent")
        return 0
    snapshot = olist_snapshot(folder, datetime(2018, 9, 1, tzinfo=UTC))
    for moment in (Moment.PLACED, Moment.DUE):
        model = train_issue(
            snapshot.at(TRAINED), moment, labelled_by=LabelledBy.RATED, seed=SEED, horizon_days=45, due_days=14
        ).model
        known = labelled_rows(snapshot, moment, mode=LabelledBy.RATED, horizon_days=45, due_days=14).frame
        _compare(model, known.filter((pl.col("moment") >= TRAINED) & (pl.col("moment") < UNTIL)))
    return 0


def _compare(model: TrainedModel, frame: pl.DataFrame) -> None:
    rng = np.random.default_rng(SEED)
    risk = model.probabilities(frame)
    chosen = rng.choice(frame.height, ROWS, replace=False, p=risk / risk.sum())
    rows, p = frame[chosen.tolist()], risk[chosen]
    facts = [fact for fact in FACTS if set(fact.features) & set(model.features)]
    began = time.perf_counter()
    effects = np.stack([p - without_fact(model, rows, p, fact) for fact in facts])
    seconds = time.perf_counter() - began
    print(
        f"{model.moment} ({model.stage.value}): {len(facts)} facts; typical values took {seconds:.2f} s for {ROWS} rows"
    )
    typical = rows.with_columns(
        pl.lit(model.reference.get(name)).cast(rows.schema[name]).alias(name) for name in model.features
    )
    for name, background in (("typical row", [typical]), ("rows of the shop", None)):
        began = time.perf_counter()
        values = _shapley(model, rows, facts, background or _drawn(frame, rng), rng)
        seconds = time.perf_counter() - began
        again = _shapley(model, rows, facts, background or _drawn(frame, rng), rng)
        print(
            f"  against the {name}, {seconds:.1f} s: typical values agree {_agreement(effects, values)}; "
            f"Shapley sampling with itself {_agreement(again, values)}"
        )


def _drawn(frame: pl.DataFrame, rng: np.random.Generator) -> list[pl.DataFrame]:
    return [frame[rng.integers(0, frame.height, ROWS).tolist()] for _ in range(ORDERS_OF_FACTS)]


def _shapley(
    model: TrainedModel,
    rows: pl.DataFrame,
    facts: list[Fact],
    backgrounds: list[pl.DataFrame],
    rng: np.random.Generator,
) -> Array:
    """Sample Shapley values (Štrumbelj & Kononenko 2014): what each fact adds when facts join in a random order."""
    values = np.zeros((len(facts), rows.height))
    for number in range(ORDERS_OF_FACTS):
        mixed = backgrounds[number % len(backgrounds)]
        before = model.probabilities(mixed)
        for k in rng.permutation(len(facts)).tolist():
            mixed = mixed.with_columns(rows[name] for name in facts[k].features if name in model.features)
            after = model.probabilities(mixed)
            values[k] += after - before
            before = after
    return values / ORDERS_OF_FACTS


def _agreement(one: Array, other: Array) -> str:
    told = np.flatnonzero(one.max(axis=0) >= MIN_EFFECT)
    first = float(np.mean([one[:, i].argmax() == other[:, i].argmax() for i in told]))
    shared = float(np.mean([_overlap(one[:, i], other[:, i]) for i in told]))
    ranks = float(np.nanmean([spearmanr(one[:, i], other[:, i])[0] for i in told]))
    return f"first {first:.2f}, first three {shared:.2f}, rank correlation {ranks:.2f}"


def _overlap(one: Array, other: Array) -> float:
    told, also = ({int(k) for k in np.argsort(-v)[:MAX_REASONS] if v[k] >= MIN_EFFECT} for v in (one, other))
    return len(told & also) / max(1, len(told))


if __name__ == "__main__":
    sys.exit(main())
