"""Learners of the gain from a contact, compared by one protocol on a real experiment and on an invented one.

    python -m benchmarks.uplift [--repeats 10] [--data ../shared/data] [--rows-to-learn-from N]

Real: Hillstrom's e-mail experiment (women's mail against none, men's mail against none; the outcome is a visit). Each repeat
cuts the customers into two halves by chance; every learner is fitted on one and ranks the other, both ways, so that nobody is
ranked by a model that has seen them. A metric is the mean over all halves of all repeats. Its 95 % interval, and that of its
difference from the S-learner's, resample the customers (the same draws for all learners); what they do not hold is how the
learners would vary on another training sample, beyond the repeats.

Invented: effects that are known, so that the error of the gain itself can be told (root mean square, and the rank correlation
with the truth), with treatment drawn evenly, and with shares that changed while the risk drifted.

The exit status is 1 where the product's model has less Qini or less uplift in the top tenth than the S-learner or than ranking
by response on the women's mail.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import spearmanr
from sklearn.base import clone

from benchmarks.shops.experiments import Experiment, changing_shares, hillstrom, known_effects
from predictors.frames import Array
from predictors.issue import BoostingModel
from predictors.learners import DRLearner, SLearner, TLearner, XLearner
from predictors.uplift import UpliftModel
from predictors.uplift_metrics import METRICS, Interval, Ranking, bootstrap_counts

STUMPS = 50
RESAMPLES = 200
Rows = npt.NDArray[np.int64]


class Learner(Protocol):
    """What ranks rows of an experiment."""

    def fit(self, X: pl.DataFrame, treatment: Any, y: Any, propensity: Any = None) -> Any: ...

    def predict(self, X: pl.DataFrame) -> Array: ...


class ByResponse:
    """Ranks by how probable the outcome is, the treatment left aside: what a shop without an experiment does."""

    def fit(self, X: pl.DataFrame, treatment: Any, y: Any, propensity: Any = None) -> ByResponse:
        self._model = BoostingModel().fit(X, y)
        return self

    def predict(self, X: pl.DataFrame) -> Array:
        result: Array = self._model.predict_proba(X)[:, 1]
        return result


class ByChance:
    """Ranks by a number drawn for each row."""

    def fit(self, X: pl.DataFrame, treatment: Any, y: Any, propensity: Any = None) -> ByChance:
        return self

    def predict(self, X: pl.DataFrame) -> Array:
        return np.random.default_rng(X.height).random(X.height)


LEARNERS: Mapping[str, Learner] = {
    "S, linear": SLearner(),
    "T, linear": TLearner(),
    "X, linear": XLearner(),
    "X, stumps": XLearner(rounds=STUMPS),
    "DR, linear": DRLearner(),
    "DR, stumps": DRLearner(rounds=STUMPS),
    "UpliftModel": UpliftModel(),
    "by response": ByResponse(),
    "by chance": ByChance(),
}
FIRST, OURS, RESPONSE = "S, linear", "UpliftModel", "by response"


def main() -> int:
    """Measure, print, and say by the exit status whether the product's model holds its own."""
    parser = argparse.ArgumentParser(description="Compare learners of the gain from a contact.")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rows-to-learn-from", type=int, default=None, help="fewer than the half that is there")
    given = parser.parse_args()
    verdict = 0
    path = given.data / "hillstrom" / "hillstrom.csv.gz"
    if path.exists():
        for mail in ("Womens E-Mail", "Mens E-Mail"):
            experiment = hillstrom(path, mail)
            print(f"\n{mail} against none, visit: {len(experiment.y)} customers, {given.repeats} repeats")
            found = compare(experiment, repeats=given.repeats, rows=given.rows_to_learn_from)
            if mail.startswith("Womens") and not holds_its_own(found):
                verdict = 1
    else:
        print(f"(no real experiment: {path} is absent)")
    for name, draw in (("drawn evenly", known_effects), ("shares changed midway", changing_shares)):
        print(
            f"\nInvented, {name}: error of the gain and rank correlation with the truth, mean of {given.repeats} draws"
        )
        against_truth([(draw(seed), draw(seed + 1000)) for seed in range(given.repeats)])
    return verdict


def compare(experiment: Experiment, *, repeats: int, rows: int | None) -> dict[str, dict[str, Interval]]:
    """Print each learner's metrics with intervals and differences; return them."""
    n = len(experiment.y)
    halves = list(_halves(n, repeats, rows))
    draws = bootstrap_counts(n, seed=0, resamples=RESAMPLES)
    sampled: dict[str, dict[str, Array]] = {}
    for name, learner in LEARNERS.items():
        rankings = [(judged, _ranked(learner, experiment, learned, judged)) for learned, judged in halves]
        values: dict[str, list[float]] = {metric: [] for metric in METRICS}
        for counts in (None, *draws):
            walks = [ranking.walk(None if counts is None else counts[judged]) for judged, ranking in rankings]
            for metric, measure in METRICS.items():
                values[metric].append(float(np.mean([measure(walk) for walk in walks])))
        sampled[name] = {metric: np.array(found) for metric, found in values.items()}
        _print_learner(name, sampled[name], sampled[FIRST])
    return {name: {metric: _interval(found) for metric, found in of.items()} for name, of in sampled.items()}


def holds_its_own(found: Mapping[str, Mapping[str, Interval]]) -> bool:
    """Say whether the product's model has no less than the S-learner, and more than ranking by response."""
    return all(
        found[OURS][metric].value >= found[FIRST][metric].value
        and found[OURS][metric].value > found[RESPONSE][metric].value
        for metric in ("qini", "uplift_at_10")
    )


def against_truth(pairs: Sequence[tuple[Experiment, Experiment]]) -> None:
    """Print how far the predicted gain is from the true one, fitted with and without the propensities."""
    for name, learner in LEARNERS.items():
        if name in ("by response", "by chance"):
            continue
        line = f"{name:12s}"
        for told in (True, False):
            errors, ranks, levels = [], [], []
            for learned, judged in pairs:
                assert learned.propensity is not None
                assert judged.gain is not None
                model = clone(learner).fit(
                    learned.X, learned.treatment, learned.y, learned.propensity if told else None
                )
                gain = model.predict(judged.X)
                errors.append(float(np.sqrt(np.mean((gain - judged.gain) ** 2))))
                ranks.append(float(spearmanr(gain, judged.gain).statistic))
                levels.append(float(np.mean(gain) - np.mean(judged.gain)))
            line += (
                f"  {'with' if told else 'without'} propensities: error {np.mean(errors):.4f}, rank {np.mean(ranks):.3f}, "
                f"level {np.mean(levels):+.4f}"
            )
        print(line)


def _halves(n: int, repeats: int, rows: int | None) -> Iterator[tuple[Rows, Rows]]:
    rng = np.random.default_rng(0)
    for _ in range(repeats):
        shuffled = rng.permutation(n)
        for learned, judged in ((shuffled[: n // 2], shuffled[n // 2 :]), (shuffled[n // 2 :], shuffled[: n // 2])):
            yield learned[:rows], judged


def _ranked(learner: Learner, experiment: Experiment, learned: Rows, judged: Rows) -> Ranking:
    fresh: Learner = clone(learner) if hasattr(learner, "get_params") else type(learner)()
    fresh.fit(experiment.X[learned], experiment.treatment[learned], experiment.y[learned])
    return Ranking(fresh.predict(experiment.X[judged]), experiment.treatment[judged], experiment.y[judged])


def _interval(values: Array) -> Interval:
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return Interval(value=float(values[0]), low=float(low), high=float(high))


def _print_learner(name: str, values: Mapping[str, Array], first: Mapping[str, Array]) -> None:
    parts = [f"{name:12s}"]
    for metric, digits in (("qini", 1), ("auuc", 1), ("uplift_at_10", 4)):
        own, apart = _interval(values[metric]), _interval(values[metric] - first[metric])
        parts.append(
            f"{metric} {own.value:.{digits}f} [{own.low:.{digits}f}, {own.high:.{digits}f}] "
            f"({apart.value:+.{digits}f} [{apart.low:+.{digits}f}, {apart.high:+.{digits}f}])"
        )
    print("  ".join(parts), flush=True)


if __name__ == "__main__":
    sys.exit(main())
