"""What a customer has been through with the shop, in points: bad and good touchpoints, each weighed and fading.

    score(t) = Σ good w_e 2^(-age / h_good) - Σ bad w_e 2^(-age / h_bad)
    P(issue later) = 1 / (1 + exp(score - level))

Weights (never negative) and half-lives are fitted on what came after past moments; until there is enough of that they
are set by hand. Which kinds are bad and which are good is stated here, not learned. Where weights are kept, and how a
ledger is shown, is `bot.services.prediction.touchpoint_ledger`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import minimize

from predictors.errors import NotEnoughDataError
from predictors.frames import Array, check_target, expit
from predictors.moments import order_moments
from predictors.snapshot import INSTANT, Schema, Snapshot

__all__ = [
    "EXPERIENCES",
    "POINTS",
    "STANDARD",
    "Experience",
    "ExperienceWeights",
    "bootstrap_weights",
    "experience_points",
    "experience_scores",
    "fit_experience",
    "points_now",
]

BAD, GOOD = -1, 1


@dataclass(frozen=True, kw_only=True)
class Experience:
    """One kind of experience.

    Attributes
    ----------
    kinds : tuple of str
        Kinds of touchpoint; where `low` or `high` is given, only with a value from or up to it.
    by_hand : float
        Its weight before anything was learned.
    """

    name: str
    sign: int
    kinds: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    by_hand: float

    def holds(self) -> pl.Expr:
        """Say of each touchpoint whether it is of this kind."""
        found = pl.col("kind").is_in(list(self.kinds))
        if self.low is not None:
            found &= pl.col("value") >= self.low
        if self.high is not None:
            found &= pl.col("value") <= self.high
        return found.fill_null(False)


# A touchpoint counts as the first of these that it is. `late` and `in_time` also depend on the promise, see below.
EXPERIENCES: tuple[Experience, ...] = (
    Experience(name="late", sign=BAD, kinds=(), by_hand=1.0),
    Experience(name="exception", sign=BAD, kinds=("exception",), by_hand=0.4),
    Experience(name="ticket", sign=BAD, kinds=("ticket_opened",), by_hand=0.8),
    Experience(name="complaint", sign=BAD, kinds=("complaint",), by_hand=1.2),
    Experience(name="return", sign=BAD, kinds=("return_requested", "returned", "refunded"), by_hand=0.6),
    Experience(name="bad_rating", sign=BAD, kinds=("review", "csat"), high=2.0, by_hand=1.2),
    Experience(name="detractor", sign=BAD, kinds=("nps",), high=6.0, by_hand=0.8),
    Experience(name="in_time", sign=GOOD, kinds=("delivered",), by_hand=0.3),
    Experience(name="activated", sign=GOOD, kinds=("activated",), by_hand=0.4),
    Experience(name="used", sign=GOOD, kinds=("used",), by_hand=0.1),
    Experience(name="ticket_closed", sign=GOOD, kinds=("ticket_closed",), by_hand=0.2),
    Experience(name="good_rating", sign=GOOD, kinds=("review", "csat"), low=4.0, by_hand=0.4),
    Experience(name="promoter", sign=GOOD, kinds=("nps",), low=9.0, by_hand=0.4),
)
_NAMES = tuple(one.name for one in EXPERIENCES)
_SIGNS = np.array([one.sign for one in EXPERIENCES], dtype=np.float64)

POINTS: Schema = {
    "touchpoint_id": pl.Int64, "customer_id": pl.Int64, "order_id": pl.Int64, "experience": pl.String,
    "occurred_at": INSTANT, "recorded_at": INSTANT,
}  # fmt: skip
HALF_LIFE_BOUNDS_DAYS = (3.0, 365.0)
LARGEST_WEIGHT = 6.0
# How strongly weights are held to zero, in the units of one observation; thin kinds stay small.
PENALTY = 2.0
# Fewer customers of either ending than this teach nothing.
FEWEST_OF_EACH = 50


@dataclass(frozen=True, kw_only=True)
class ExperienceWeights:
    """What each experience weighs on the day it happens, and in how many days half of it has faded.

    Attributes
    ----------
    weights : mapping
        Experience: log-odds of an issue later, never negative; its sign is that of the experience.
    level : float
        Log-odds of an issue without any experience.
    rows : int
        Moments learned from; 0 for weights set by hand.
    """

    weights: Mapping[str, float]
    bad_half_life_days: float
    good_half_life_days: float
    level: float
    rows: int = 0

    @property
    def asymmetry(self) -> float | None:
        """How many times the mean weight of a good experience a bad one weighs, over the kinds that weigh anything."""
        bad, good = (
            [self.weights[one.name] for one in EXPERIENCES if one.sign == sign and self.weights[one.name] > 0]
            for sign in (BAD, GOOD)
        )
        return float(np.mean(bad) / np.mean(good)) if bad and good else None


STANDARD = ExperienceWeights(
    weights={one.name: one.by_hand for one in EXPERIENCES},
    bad_half_life_days=60.0,
    good_half_life_days=30.0,
    level=-1.5,
)


def experience_points(snapshot: Snapshot, *, due_days: int) -> pl.DataFrame:
    """Return `POINTS`: every touchpoint that is an experience, and every broken promise, which has no touchpoint.

    A delivery counts as `in_time` where it was recorded by the end of the promised day. An order counts as `late` from
    then on where no delivery and no cancellation had been recorded.
    """
    moments = order_moments(snapshot, due_days=due_days).select(
        "order_id", "promised_end", "delivered_at", "cancelled_at"
    )
    named = pl.coalesce(pl.when(one.holds()).then(pl.lit(one.name)) for one in EXPERIENCES if one.kinds)
    points = (
        snapshot.touchpoints.join(moments, on="order_id", how="left")
        .with_columns(experience=named)
        .filter(pl.col("experience").is_not_null())
        .filter(
            (pl.col("experience") != "in_time")
            | ((pl.col("recorded_at") == pl.col("delivered_at")) & (pl.col("recorded_at") <= pl.col("promised_end")))
        )
    )
    by_then = pl.min_horizontal("delivered_at", "cancelled_at")
    late = (
        moments.filter(pl.col("promised_end") <= snapshot.until, by_then.is_null() | (by_then > pl.col("promised_end")))
        .join(snapshot.orders.unique("order_id").select("order_id", "customer_id"), on="order_id")
        .select(
            "customer_id",
            "order_id",
            touchpoint_id=pl.lit(None, dtype=pl.Int64),
            experience=pl.lit("late"),
            occurred_at="promised_end",
            recorded_at="promised_end",
        )
    )
    return pl.concat([points.select(POINTS.keys()), late.select(POINTS.keys())]).sort("occurred_at", "touchpoint_id")


def points_now(weights: ExperienceWeights, experiences: Sequence[str], age_days: Array) -> Array:
    """Return what experiences of an age count, signed, (n,)."""
    kind = np.array([_NAMES.index(name) for name in experiences], dtype=np.int64)
    sign = _SIGNS[kind]
    half_life = np.where(sign < 0, weights.bad_half_life_days, weights.good_half_life_days)
    weight = np.array([weights.weights[name] for name in _NAMES])[kind]
    result: Array = sign * weight * np.exp2(-np.maximum(age_days, 0.0) / half_life)
    return result


def experience_scores(weights: ExperienceWeights, points: pl.DataFrame, subjects: pl.DataFrame) -> Array:
    """Return the score of each subject at its moment, (n,); 0 for who has been through nothing.

    Parameters
    ----------
    subjects : polars.DataFrame
        customer_id, moment; only points recorded by the moment count.
    """
    seen = _Seen.of(points, subjects)
    now = points_now(weights, [_NAMES[kind] for kind in seen.kind], seen.age)
    result: Array = np.bincount(seen.row, weights=now, minlength=subjects.height).astype(np.float64)
    return result


def fit_experience(points: pl.DataFrame, subjects: pl.DataFrame, issue: npt.NDArray[np.int64]) -> ExperienceWeights:
    """Fit weights and half-lives to what came after past moments, by penalised likelihood.

    Parameters
    ----------
    points : polars.DataFrame
        `POINTS`; those recorded after a subject's moment are not used for it.
    subjects : polars.DataFrame
        customer_id, moment.
    issue : array (n,)
        Whether an issue followed.

    Raises
    ------
    NotEnoughDataError
        Fewer than `FEWEST_OF_EACH` of either ending.
    """
    target = check_target(issue, subjects.height)
    if min(target.sum(), len(target) - target.sum()) < FEWEST_OF_EACH:
        raise NotEnoughDataError(f"experience needs {FEWEST_OF_EACH} moments with and without a later issue")
    seen = _Seen.of(points, subjects)
    return _weights(_fitted(seen, target, np.ones(len(target)), None), len(target))


def bootstrap_weights(
    points: pl.DataFrame, subjects: pl.DataFrame, issue: npt.NDArray[np.int64], *, rounds: int, seed: int
) -> list[ExperienceWeights]:
    """Return what would have been fitted to customers drawn with replacement, `rounds` times."""
    target = check_target(issue, subjects.height)
    seen = _Seen.of(points, subjects)
    begin = _fitted(seen, target, np.ones(len(target)), None)
    _, customer = np.unique(subjects["customer_id"].to_numpy(), return_inverse=True)
    people = int(customer.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(rounds):
        times = np.bincount(rng.integers(0, people, people), minlength=people).astype(np.float64)
        drawn.append(_weights(_fitted(seen, target, times[customer], begin), len(target)))
    return drawn


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Each pair of a subject and an experience recorded by its moment, (pairs,)."""

    row: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]
    age: Array
    subjects: int

    @classmethod
    def of(cls, points: pl.DataFrame, subjects: pl.DataFrame) -> _Seen:
        pairs = (
            subjects.select("customer_id", "moment")
            .with_row_index("row")
            .join(points.select("customer_id", "experience", "occurred_at", "recorded_at"), on="customer_id")
            .filter(pl.col("recorded_at") <= pl.col("moment"))
            .select(
                pl.col("row").cast(pl.Int64),
                kind=pl.col("experience").replace_strict(_NAMES, range(len(_NAMES)), return_dtype=pl.Int64),
                age=(pl.col("moment") - pl.col("occurred_at")).dt.total_microseconds() / 86_400e6,
            )
        )
        return cls(
            row=pairs["row"].to_numpy(),
            kind=pairs["kind"].to_numpy(),
            age=pairs["age"].to_numpy().clip(0.0),
            subjects=subjects.height,
        )


def _fitted(seen: _Seen, target: npt.NDArray[np.int64], times: Array, begin: Array | None) -> Array:
    """Return level, weights and the logarithms of both half-lives that minimise the penalised log loss."""
    kinds = len(_NAMES)
    sign_of_pair = _SIGNS[seen.kind]
    place = seen.row * kinds + seen.kind
    total = float(times.sum())

    def loss(parameters: Array) -> tuple[float, Array]:
        level, weight = parameters[0], parameters[1 : kinds + 1]
        half_life = np.exp(parameters[kinds + 1 :])
        of_pair = half_life[(sign_of_pair > 0).astype(np.int64)]
        fading = np.exp2(-seen.age / of_pair)
        faded = np.bincount(place, weights=fading, minlength=seen.subjects * kinds).reshape(-1, kinds)
        p = expit(level - faded @ (_SIGNS * weight))
        q = np.clip(p, 1e-12, 1 - 1e-12)
        log_loss = -float((times * (target * np.log(q) + (1 - target) * np.log(1 - q))).sum())
        gap = times * (p - target)
        # d fading / d log h = fading · ln 2 · age / h
        pull = -gap[seen.row] * sign_of_pair * weight[seen.kind] * fading * np.log(2) * seen.age / of_pair
        gradient = np.concatenate(
            [
                [gap.sum()],
                -_SIGNS * (faded.T @ gap) + 2 * PENALTY * weight,
                [pull[sign_of_pair < 0].sum(), pull[sign_of_pair > 0].sum()],
            ]
        )
        return (log_loss + PENALTY * float(weight @ weight)) / total, gradient / total

    low, high = np.log(HALF_LIFE_BOUNDS_DAYS)
    bounds = [(-12.0, 12.0), *[(0.0, LARGEST_WEIGHT)] * kinds, (low, high), (low, high)]
    if begin is None:
        begin = np.concatenate([[STANDARD.level], [one.by_hand for one in EXPERIENCES], np.log([60.0, 30.0])])
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300})
    result: Array = np.asarray(found.x, dtype=np.float64)
    return result


def _weights(parameters: Array, rows: int) -> ExperienceWeights:
    kinds = len(_NAMES)
    bad, good = np.exp(parameters[kinds + 1 :])
    return ExperienceWeights(
        weights={name: float(weight) for name, weight in zip(_NAMES, parameters[1 : kinds + 1], strict=True)},
        bad_half_life_days=float(bad),
        good_half_life_days=float(good),
        level=float(parameters[0]),
        rows=rows,
    )
