"""What weighing bad against good touchpoints, fading, is worth over a plain average of good and bad.

    python -m benchmarks.experience [asymmetric|symmetric|indifferent|olist]...        (default: all)

Each shop is split in time: weights are fitted on moments whose outcome was known by the split, and judged on later
ones; the difference to the plain average is bootstrapped in pairs, by customer. `asymmetric` and `symmetric` are
invented: in one a bad experience weighs three good ones and fades in 45 days, in the other both weigh the same and never
fade, so that the plain average has what it wants. `indifferent`: nothing that happened matters. `olist`: the real
orders of AFTERCARE_DATA or ../shared/data when they fall due, judged by the reviews that follow; nearly all of its
customers have one order only, so a journey is one parcel's way.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.importing.importer import Importer
from bot.services.prediction.champions import read_snapshot
from bot.store import migrations
from bot.store.database import open_database
from predictors.experience import (
    EXPERIENCES,
    bootstrap_weights,
    experience_points,
    experience_scores,
    fit_experience,
)
from predictors.experience_training import plain_chances
from predictors.frames import Array, expit, logit
from predictors.labels import LabelledBy, label_issues
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.snapshot import Snapshot

START = datetime(2026, 1, 1, tzinfo=UTC)
ROUNDS = 300
FITS = 20
OLIST_SPLIT, OLIST_END = datetime(2018, 2, 1, tzinfo=UTC), datetime(2018, 5, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Journeys:
    """Moments with what had been experienced by then and what followed, in two parts of time."""

    points: pl.DataFrame
    earlier: pl.DataFrame
    later: pl.DataFrame


def invented(*, bad: float, good: float, half_life_days: float, seed: int, customers: int = 4000) -> Journeys:
    """Draw journeys in which each experience moves the log-odds of an issue by a known amount."""
    rng = np.random.default_rng(seed)
    names = np.array(
        [one.name for one in EXPERIENCES if one.name in {"late", "ticket", "in_time", "used", "good_rating"}]
    )
    signs = np.array([1.0 if name in {"late", "ticket"} else -1.0 for name in names])
    n = customers * 8
    who, what = rng.integers(0, customers, n), rng.choice(len(names), n, p=_shares(names))
    day = rng.uniform(0, 720, n)
    moments = np.concatenate([rng.uniform(180, 540, customers), rng.uniform(600, 720, customers)])
    owner = np.tile(np.arange(customers), 2)
    strength = np.where(signs > 0, bad, good)[what] * signs[what]
    z = np.full(len(moments), -1.2)
    for index in range(len(moments)):
        mine = (who == owner[index]) & (day <= moments[index])
        z[index] += float((strength[mine] * np.exp2(-(moments[index] - day[mine]) / half_life_days)).sum())
    issue = (rng.uniform(size=len(z)) < expit(z)).astype(np.int64)
    at = _instants(day)
    points = pl.DataFrame({"customer_id": who, "experience": names[what], "occurred_at": at, "recorded_at": at})
    rows = pl.DataFrame({"customer_id": owner, "moment": _instants(moments), "issue": issue})
    split = START + timedelta(days=570)
    return Journeys(
        points=points, earlier=rows.filter(pl.col("moment") < split), later=rows.filter(pl.col("moment") >= split)
    )


def olist(folder: Path) -> Journeys:
    """Read the real orders: everything by the split teaches, those that fell due after it judge."""
    settings = Settings.model_validate({"shop": {"timezone": "America/Sao_Paulo"}})
    with tempfile.TemporaryDirectory() as scratch:
        database = open_database(f"sqlite:///{scratch}/olist.db")
        migrations.upgrade(database)
        Importer(database, ManualClock(OLIST_END), settings).import_paths([folder])
        snapshot = read_snapshot(database, settings, OLIST_END)
        database.close()
    earlier, later = (_labelled(snapshot.at(until)) for until in (OLIST_SPLIT, OLIST_END))
    return Journeys(
        points=experience_points(snapshot, due_days=14),
        earlier=earlier,
        later=later.filter(pl.col("moment") >= OLIST_SPLIT),
    )


def _labelled(snapshot: Snapshot) -> pl.DataFrame:
    moments = order_moments(snapshot, due_days=14)
    subjects = issue_subjects(moments, Moment.DUE)
    labels = label_issues(snapshot, subjects, horizon_days=45, mode=LabelledBy.RATED)
    return subjects.join(labels, on="order_id").select("customer_id", "moment", pl.col("issue").cast(pl.Int64))


def measure(name: str, journeys: Journeys) -> None:
    """Fit on the earlier part, judge on the later one, print."""
    earlier, later, points = journeys.earlier, journeys.later, journeys.points
    target = earlier["issue"].to_numpy()
    weights = fit_experience(points, earlier, target)
    draws = bootstrap_weights(points, earlier, target, rounds=FITS, seed=0)
    chances = {
        "experience": expit(weights.level - experience_scores(weights, points, later)),
        "plain average": plain_chances(points, earlier, target, later),
    }
    y = later["issue"].to_numpy()
    print(f"{name}: fitted on {earlier.height:,} moments, judged on {later.height:,} ({y.mean():.1%} issues)")
    for model, p in chances.items():
        print(f"  {model:14} AUC {roc_auc_score(y, p):.4f}  log loss {_log_loss(p, y):.4f}")
    gains = _gains(chances["experience"], chances["plain average"], y, later["customer_id"].to_numpy())
    for metric, (value, low, high) in gains.items():
        print(f"  gain in {metric}: {value:+.4f} [{low:+.4f}, {high:+.4f}]")
    for one in EXPERIENCES:
        if weights.weights[one.name] > 0 and points["experience"].eq(one.name).any():
            spread = np.quantile([draw.weights[one.name] for draw in draws], [0.025, 0.975])
            print(
                f"    {'-' if one.sign < 0 else '+'} {one.name:14} {weights.weights[one.name]:.2f} [{spread[0]:.2f}, {spread[1]:.2f}]"
            )
    for side in ("bad", "good"):
        spread = np.quantile([getattr(draw, f"{side}_half_life_days") for draw in draws], [0.025, 0.975])
        print(
            f"    {side} half-life {getattr(weights, f'{side}_half_life_days'):.0f} days [{spread[0]:.0f}, {spread[1]:.0f}]"
        )


def _gains(ours: Array, plain: Array, y: Array, customer: Array) -> dict[str, tuple[float, float, float]]:
    _, who = np.unique(customer, return_inverse=True)
    rows = [np.flatnonzero(who == one) for one in range(int(who.max()) + 1)] if len(y) < 20_000 else None
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(ROUNDS):
        people = rng.integers(0, int(who.max()) + 1, int(who.max()) + 1)
        chosen = np.concatenate([rows[one] for one in people]) if rows else people
        drawn.append(_difference(ours[chosen], plain[chosen], y[chosen]))
    spread = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    value = _difference(ours, plain, y)
    return {
        name: (value[place], float(spread[0, place]), float(spread[1, place]))
        for place, name in enumerate(("AUC", "log loss (lower loss)"))
    }


def _difference(ours: Array, plain: Array, y: Array) -> tuple[float, float]:
    auc = float(roc_auc_score(y, ours) - roc_auc_score(y, plain))
    return auc, _log_loss(plain, y) - _log_loss(ours, y)


def _log_loss(p: Array, y: Array) -> float:
    z = logit(p)
    return float(np.mean(np.logaddexp(0, z) - y * z))


def _shares(names: Array) -> list[float]:
    share = {"late": 0.12, "ticket": 0.12, "in_time": 0.4, "used": 0.26, "good_rating": 0.1}
    return [share[name] for name in names]


def _instants(days: Array) -> pl.Series:
    return pl.Series([START + timedelta(days=float(day)) for day in days]).dt.convert_time_zone("UTC")


def main() -> int:
    """Measure what was asked for."""
    worlds = {
        "asymmetric": {"bad": 1.2, "good": 0.4, "half_life_days": 45.0, "seed": 1},
        "symmetric": {"bad": 0.4, "good": 0.4, "half_life_days": 1e6, "seed": 2},
        "indifferent": {"bad": 0.0, "good": 0.0, "half_life_days": 45.0, "seed": 3},
    }
    asked = set(sys.argv[1:]) or {*worlds, "olist"}
    for name, world in worlds.items():
        if name in asked:
            drawn = invented(
                bad=world["bad"], good=world["good"], half_life_days=world["half_life_days"], seed=int(world["seed"])
            )
            measure(name, drawn)
    folder = Path(os.environ.get("AFTERCARE_DATA") or "../shared/data") / "olist"
    if "olist" in asked and folder.is_dir():
        measure("olist", olist(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
