"""How often the promotion gate passes equal, worse and better models, and what it does over simulated seasons.

    python -m benchmarks.gate [--draws 400] [--seasons 40]

No data are needed: outcomes are drawn from known probabilities, so that a model's true quality is known. The first table
compares two models of a known true difference in log loss; the second lets a shop refit each month for a year, under the
gate (with the replay of `predictors.replay`), always and never, and gives the true log loss of what scored.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from predictors.frames import Array, expit
from predictors.gates import MARGIN, gate, log_losses

ROWS = (300, 1000, 3000)
BASE = -1.9  # about 18 % have the outcome
MONTHS = 12
ORDERS_A_MONTH = 1000
FEATURES = 8
HISTORY_MONTHS = 6


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A challenger and a champion, as functions of what is true and of noise of their own."""

    name: str
    challenger: Callable[[Array, np.random.Generator], Array]
    champion: Callable[[Array, np.random.Generator], Array]


def noisy(spread: float, shift: float = 0.0) -> Callable[[Array, np.random.Generator], Array]:
    """Return a model that errs by a normal amount on the log-odds, best calibrated but for a shift of its level."""

    def model(z: Array, rng: np.random.Generator) -> Array:
        error = rng.normal(0, spread, len(z)) if spread else 0.0
        # Shrinking towards the mean is what a calibrated model of this noise would do.
        shrink = 1.0 / (1.0 + spread**2)
        result: Array = expit(BASE + shift + shrink * (z - BASE + error))
        return result

    return model


PAIRS = (
    Pair(name="the same model", challenger=noisy(0.0), champion=noisy(0.0)),
    Pair(name="equal, other errors", challenger=noisy(0.3), champion=noisy(0.3)),
    Pair(name="slightly worse", challenger=noisy(0.4), champion=noisy(0.3)),
    Pair(name="worse", challenger=noisy(0.7), champion=noisy(0.3)),
    Pair(name="worse level (+.3 log-odds)", challenger=noisy(0.3, 0.3), champion=noisy(0.3)),
    Pair(name="slightly better", challenger=noisy(0.3), champion=noisy(0.4)),
    Pair(name="better", challenger=noisy(0.3), champion=noisy(0.7)),
    Pair(name="better level (-.15 log-odds)", challenger=noisy(0.3), champion=noisy(0.3, 0.15)),
    Pair(name="better level (-.3 log-odds)", challenger=noisy(0.3), champion=noisy(0.3, 0.3)),
)


def true_loss(z: Array, p: Array) -> float:
    """Return the expected log loss of probabilities where the truth is known."""
    ones, zeros = np.ones(len(z), dtype=np.int64), np.zeros(len(z), dtype=np.int64)
    q = expit(z)
    return float(np.mean(q * log_losses(ones, p) + (1 - q) * log_losses(zeros, p)))


def pass_rates(draws: int) -> list[list[str]]:
    """Draw each pair again and again; how often does the challenger pass?"""
    rows = []
    for pair in PAIRS:
        rng = np.random.default_rng(1)
        z = BASE + rng.normal(0, 1, 200_000)
        losses = [true_loss(z, model(z, rng)) for model in (pair.challenger, pair.champion)]
        cells = [pair.name, f"{100 * (losses[0] - losses[1]) / losses[1]:+.2f} %"]
        for number in ROWS:
            passed = 0
            for draw in range(draws):
                own = np.random.default_rng((number, draw))
                truth = BASE + own.normal(0, 1, number)
                y = (own.random(number) < expit(truth)).astype(np.int64)
                passed += gate(y, pair.challenger(truth, own), pair.champion(truth, own), seed=draw).passed
            cells.append(f"{100 * passed / draws:.1f} %")
        rows.append(cells)
    return rows


@dataclass(frozen=True, kw_only=True)
class World:
    """How a shop's outcomes come about over the months."""

    name: str
    level: Callable[[int], float]
    turn: Callable[[int], float]
    broken: Callable[[int], bool]


def _never(month: int) -> bool:
    return False


WORLDS = (
    World(name="stable", level=lambda _: 0.0, turn=lambda _: 0.0, broken=_never),
    World(name="level falls by .05 a month", level=lambda m: -0.05 * m, turn=lambda _: 0.0, broken=_never),
    World(
        name="what matters turns by 8° a month", level=lambda _: 0.0, turn=lambda m: np.radians(8) * m, broken=_never
    ),
    World(name="labels are noise in month 3", level=lambda _: 0.0, turn=lambda _: 0.0, broken=lambda m: m == 3),
)


def month_of(world: World, month: int, rng: np.random.Generator, rows: int) -> tuple[Array, Array, Array]:
    """Draw a month: features, outcomes as recorded, true log-odds."""
    X = rng.normal(0, 1, (rows, FEATURES))
    angle = world.turn(month)
    z = BASE + world.level(month) + np.cos(angle) * X[:, 0] + np.sin(angle) * X[:, 1] + 0.4 * X[:, 2]
    p = np.full(rows, 0.5) if world.broken(month) else expit(z)
    return X, (rng.random(rows) < p).astype(np.int64), z


def season(world: World, policy: str, seed: int) -> tuple[float, int]:
    """Refit each month for a year; return the mean true log loss of what scored, and how many refits went live."""
    rng = np.random.default_rng(seed)
    months = [month_of(world, month, rng, ORDERS_A_MONTH) for month in range(-HISTORY_MONTHS, MONTHS)]
    champion, trained = _fit(months[:HISTORY_MONTHS]), HISTORY_MONTHS
    losses, promoted = [], 0
    for now in range(HISTORY_MONTHS, len(months)):
        X, _, z = months[now]
        losses.append(true_loss(z, champion.predict_proba(X)[:, 1]))
        since = months[trained : now + 1]
        if policy == "never" or (policy == "gate" and not _passes(months, since, trained, champion, seed)):
            continue
        champion, trained = _fit(months[: now + 1]), now + 1
        promoted += 1
    return float(np.mean(losses)), promoted


def _passes(
    months: Sequence[tuple[Array, Array, Array]],
    since: Sequence[tuple[Array, Array, Array]],
    trained: int,
    champion: LogisticRegression,
    seed: int,
) -> bool:
    """Replay: half of the rows since the champion teach the stand-in, the other half judge both."""
    X, y = np.concatenate([one[0] for one in since]), np.concatenate([one[1] for one in since])
    half = len(y) // 2
    past = _fit([*months[:trained], (X[:half], y[:half], y[:half])])
    later = X[half:]
    return gate(
        y[half:].astype(np.int64), past.predict_proba(later)[:, 1], champion.predict_proba(later)[:, 1], seed=seed
    ).passed


def _fit(months: Sequence[tuple[Array, Array, Array]]) -> LogisticRegression:
    X, y = np.concatenate([one[0] for one in months]), np.concatenate([one[1] for one in months])
    # As our recipes do, rows weigh half after a year.
    ages = np.concatenate([np.full(len(one[1]), len(months) - place) for place, one in enumerate(months)])
    return LogisticRegression(C=1.0).fit(X, y, sample_weight=0.5 ** (ages / 12))


def seasons(number: int) -> list[list[str]]:
    """Run each world under each policy."""
    rows = []
    for world in WORLDS:
        cells = [world.name]
        for policy in ("gate", "always", "never"):
            found = [season(world, policy, seed) for seed in range(number)]
            cells.append(f"{np.mean([loss for loss, _ in found]):.4f}")
            if policy == "gate":
                cells.append(f"{np.mean([promoted for _, promoted in found]):.1f} of {MONTHS}")
        rows.append([cells[0], cells[1], cells[3], cells[4], cells[2]])
    return rows


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> None:
    """Print both tables, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--seasons", type=int, default=40)
    arguments = parser.parse_args()
    print(f"How often a challenger passes (margin {MARGIN:.0%}, {arguments.draws} draws a cell)\n", flush=True)
    columns = ("challenger", "true log loss", *(f"{number} rows" for number in ROWS))
    print(_table(columns, pass_rates(arguments.draws)), flush=True)
    print(f"\nA year of monthly refits ({arguments.seasons} seasons, {ORDERS_A_MONTH} orders a month): true log loss\n")
    print(_table(("world", "gate", "always", "never", "refits that went live"), seasons(arguments.seasons)))


if __name__ == "__main__":
    main()
