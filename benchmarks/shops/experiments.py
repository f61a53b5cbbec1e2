"""Experiments to learn gains from: Hillstrom's, and invented ones whose true gains are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from predictors.frames import Array, expit

ROWS = 4000


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Rows of an experiment; `gain` is the true one where it is known.

    Attributes
    ----------
    propensity : array, (n,), or None
        How probable treatment was; None where it was the same for all.
    """

    X: pl.DataFrame
    treatment: Array
    y: Array
    propensity: Array | None = None
    gain: Array | None = None


def hillstrom(path: Path, mail: str) -> Experiment:
    """Read one mail of the MineThatData e-mail challenge against no mail; the outcome is a visit within two weeks."""
    rows = pl.read_csv(path).filter(pl.col("segment").is_in([mail, "No E-Mail"]))
    numbers = [pl.col(name).cast(pl.Float64) for name in ("recency", "history", "mens", "womens", "newbie")]
    return Experiment(
        X=rows.select(*numbers, "history_segment", "zip_code", "channel"),
        treatment=(rows["segment"] == mail).to_numpy().astype(np.float64),
        y=rows["visit"].to_numpy().astype(np.float64),
    )


def known_effects(seed: int, rows: int = ROWS) -> Experiment:
    """Draw an experiment with even shares: the gain is a slope, a step and a category's, between 0 and .25."""
    rng = np.random.default_rng(seed)
    X, risk, gain = _customers(rng, rows)
    return _observed(rng, X, risk, gain, np.full(rows, 0.5))


def changing_shares(seed: int, rows: int = ROWS) -> Experiment:
    """Draw an experiment whose shares changed midway, from .2 treated in the first half to .8, while the risk doubled."""
    rng = np.random.default_rng(seed)
    X, risk, gain = _customers(rng, rows)
    later = np.arange(rows) >= rows // 2
    return _observed(rng, X, risk + 0.9 * later, gain, np.where(later, 0.8, 0.2))


def _customers(rng: np.random.Generator, rows: int) -> tuple[pl.DataFrame, Array, Array]:
    waited, orders = rng.uniform(0, 20, rows), rng.poisson(2, rows).astype(np.float64)
    channel = rng.choice(["web", "phone", "shop"], rows, p=[0.5, 0.3, 0.2])
    noise = rng.normal(0, 1, (rows, 3))
    X = pl.DataFrame(
        {"waited_days": waited, "orders": orders, "channel": channel}
        | {f"noise_{column}": noise[:, column] for column in range(3)}
    )
    risk = -1.5 + 0.05 * waited - 0.1 * orders + 0.4 * (channel == "phone")
    gain = 0.006 * waited + 0.08 * (orders == 0) + 0.05 * (channel == "web")
    return X, risk, gain


def _observed(rng: np.random.Generator, X: pl.DataFrame, risk: Array, gain: Array, propensity: Array) -> Experiment:
    treatment = (rng.random(X.height) < propensity).astype(np.float64)
    # The outcome is a good end: untreated 1 - risk, treated more by the gain, as far as there is room.
    good = 1 - expit(risk)
    treated = np.minimum(good + gain, 1.0)
    y = (rng.random(X.height) < np.where(treatment == 1, treated, good)).astype(np.float64)
    return Experiment(X=X, treatment=treatment, y=y, propensity=propensity, gain=treated - good)
