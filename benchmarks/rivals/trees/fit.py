"""Fit LightGBM and CatBoost to one Parquet file and predict another; run by the rivals' own Python.

    python fit.py EARLIER.parquet LATER.parquet ANSWERS.parquet

EARLIER holds the features, `issue` (0 or 1) and `weight`; LATER the features; ANSWERS gets a column of probabilities for
each rival. The settings are for some ten thousand noisy rows: slow learning, small trees, a share of the features, close
to ours. They were set once and compared with no others on any span.
"""

from __future__ import annotations

import sys

import lightgbm
import pandas
import polars as pl
from catboost import CatBoostClassifier

# By LightGBM's own interface: the one in scikit-learn's manner needs scikit-learn, which is not in this environment.
LIGHTGBM = {
    "objective": "binary", "n_estimators": 200, "learning_rate": 0.03, "num_leaves": 5, "min_child_samples": 100,
    "colsample_bytree": 0.3, "subsample": 0.8, "subsample_freq": 1, "reg_lambda": 20.0, "seed": 0, "num_threads": 1, "verbose": -1,
}  # fmt: skip
CATBOOST = {
    "iterations": 250, "learning_rate": 0.04, "depth": 4, "l2_leaf_reg": 20.0, "rsm": 0.3, "random_seed": 0,
    "thread_count": 1, "verbose": False, "allow_writing_files": False,
}  # fmt: skip


def main(earlier_path: str, later_path: str, answers_path: str) -> None:
    """Read, fit both, write what they say."""
    earlier, later = pl.read_parquet(earlier_path), pl.read_parquet(later_path)
    features = [name for name in earlier.columns if name not in ("issue", "weight")]
    texts = [name for name in features if earlier.schema[name] == pl.String]
    y, weight = earlier["issue"].to_numpy(), earlier["weight"].to_numpy()
    filled = [frame.select(features).with_columns(pl.col(texts).fill_null("unknown")) for frame in (earlier, later)]
    levels = {name: filled[0][name].unique().sort().to_list() for name in texts}
    numbers = [_numbers(frame, levels) for frame in filled]
    booster = lightgbm.train(LIGHTGBM, lightgbm.Dataset(numbers[0], y, weight=weight))
    tables = [pandas.DataFrame(frame.to_dict(as_series=False)) for frame in filled]
    catboost = CatBoostClassifier(**CATBOOST, cat_features=texts).fit(tables[0], y, sample_weight=weight)
    answers = {
        "lightgbm": booster.predict(numbers[1]),
        "catboost": catboost.predict_proba(tables[1])[:, 1],
    }
    pl.DataFrame(answers).write_parquet(answers_path)


def _numbers(frame, levels):
    """One column for each level, as ours has them: LightGBM's own categories overfit so few rows no less."""
    marks = [(pl.col(name) == level).cast(pl.Float64).alias(f"{name} {i}") for name in levels for i, level in enumerate(levels[name])]  # fmt: skip
    return frame.select(pl.exclude(list(levels)).cast(pl.Float64), *marks).to_numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
