"""Looking back: whom we would have contacted, how much trouble that would have caught and how early, beside a plain rule.

Contacts are chosen morning by morning, by what that morning knows: the day's capacity, a share of the orders of the day
before, goes to the highest scores; an order is contacted once; of what a day leaves at most one contact is carried over. The
rule, 'not delivered by the promised day', contacts on the morning after the promise broke, who waited longest first.

Trouble counts as caught where its first sign was recorded after the contact and within the horizon: whose trouble shows
before the contact is no longer there to be contacted. What a morning knows is `predictors.mornings`' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from predictors.frames import Array
from predictors.labels import outcome_events
from predictors.mornings import Morning
from predictors.snapshot import INSTANT, Schema, Snapshot

__all__ = ["CONTACTS", "Comparison", "Retrospect", "Run", "choose", "look_back", "ratio_interval", "rule_choice"]

# One row a contact; without a first sign nothing went wrong within the horizon.
CONTACTS: Schema = {
    "order_id": pl.Int64, "local_date": pl.Date, "at": INSTANT, "score": pl.Float64, "promise_days": pl.Float64,
    "first_sign": pl.String, "first_sign_at": INSTANT, "lead_days": pl.Float64,
}  # fmt: skip
CARRIED_OVER = 1.0
RESAMPLES = 2000
# For the line of how much is caught at which capacity.
CAPACITIES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The contacts of one way to choose, with how they ended (`CONTACTS`)."""

    contacts: pl.DataFrame

    @property
    def n(self) -> int:
        return self.contacts.height

    @property
    def caught(self) -> int:
        """Contacts that trouble followed."""
        return self.n - self.contacts["first_sign_at"].null_count()

    @property
    def leads(self) -> Array:
        """Days from contact to the first sign of trouble, of those caught."""
        result: Array = self.contacts["lead_days"].drop_nulls().to_numpy()
        return result

    def lead(self, q: float) -> float | None:
        """Return a quantile of the leads."""
        return float(np.quantile(self.leads, q)) if len(self.leads) else None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How many times as much trouble ours caught as the rule; None where the rule caught none."""

    ours: Run
    rule: Run
    ratio: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Retrospect:
    """What a replay comes to.

    Attributes
    ----------
    share : float
        The capacity: a share of the orders of a day.
    orders : int
        Orders that made the capacity.
    flagged : int
        Orders that the rule meant, whether or not there was capacity for them.
    by_capacity : mapping of str to sequence of (share, contacts, caught)
        Ours and the rule at other capacities.
    observed_until : datetime
        When the last touchpoint was recorded: nothing is known of later trouble.
    """

    share: float
    horizon_days: int
    days: int
    orders: int
    flagged: int
    ours: Run
    rule: Run
    same_contacts: Comparison
    same_capacity: Comparison
    by_capacity: dict[str, list[tuple[float, int, int]]]
    observed_until: datetime


def choose(
    mornings: Sequence[Morning], share: float, *, counts: Sequence[int] | None = None
) -> list[list[tuple[int, float, float]]]:
    """Choose the contacts of each morning: order, score, days since the promised end (negative: before it).

    Parameters
    ----------
    share : float
        Of the orders of the day before.
    counts : sequence of int, optional
        How many each morning contacts, instead of the capacity.
    """
    done: set[int] = set()
    chosen = []
    left = 0.0
    for number, morning in enumerate(mornings):
        left = _capacity(left, share, morning)
        most = int(left + 1e-9) if counts is None else counts[number]
        today: list[tuple[int, float, float]] = []
        for order, score, days in zip(morning.order_id, morning.score, morning.promise_days, strict=True):
            if len(today) == most:
                break
            if int(order) not in done:
                today.append((int(order), float(score), float(days)))
        done.update(order for order, _, _ in today)
        left -= len(today)
        chosen.append(today)
    return chosen


def rule_choice(mornings: Sequence[Morning], share: float) -> list[list[tuple[int, float, float]]]:
    """Choose by the rule, in the shape of `choose`, with the same capacity."""
    chosen, left, done = [], 0.0, set[int]()
    for morning in mornings:
        left = _capacity(left, share, morning)
        new = [int(order) for order in morning.rule if int(order) not in done]
        today = new[: int(left + 1e-9)]
        done.update(today)
        left -= len(today)
        chosen.append([(order, float("nan"), float("nan")) for order in today])
    return chosen


def look_back(
    mornings: Sequence[Morning], snapshot: Snapshot, share: float, *, horizon_days: int, seed: int
) -> Retrospect:
    """Choose on every morning, both ways, and judge by all that was recorded up to the snapshot's end."""
    signs = outcome_events(snapshot).filter("is_issue").select("order_id", "recorded_at", "kind")

    def run(chosen: Sequence[Sequence[tuple[int, float, float]]]) -> Run:
        return Run(contacts=_judged(_frame(mornings, chosen), signs, horizon_days))

    theirs = rule_choice(mornings, share)
    ours, rule = run(choose(mornings, share)), run(theirs)
    as_many = run(choose(mornings, share, counts=[len(day) for day in theirs]))
    latest = snapshot.touchpoints["recorded_at"].max()
    by_capacity: dict[str, list[tuple[float, int, int]]] = {"aftercare": [], "rule": []}
    for one in sorted({*CAPACITIES, share}):
        for name, found in (("aftercare", run(choose(mornings, one))), ("rule", run(rule_choice(mornings, one)))):
            by_capacity[name].append((one, found.n, found.caught))
    return Retrospect(
        share=share,
        horizon_days=horizon_days,
        days=len(mornings),
        orders=sum(morning.orders_before for morning in mornings),
        flagged=len({int(order) for morning in mornings for order in morning.rule}),
        ours=ours,
        rule=rule,
        same_contacts=_compared(as_many, rule, seed),
        same_capacity=_compared(ours, rule, seed),
        by_capacity=by_capacity,
        observed_until=latest if isinstance(latest, datetime) else snapshot.until,
    )


def ratio_interval(
    ours: pl.DataFrame, rule: pl.DataFrame, *, seed: int, resamples: int = RESAMPLES
) -> tuple[float | None, float | None]:
    """Return the 95 % percentile interval of how many times as much ours caught, over orders drawn with replacement.

    Both ways are counted on the same draws: an order that both contacted counts in both. Each order is drawn a Poisson(1)
    number of times, which is drawing with replacement where there are many.
    """
    both = (
        ours.select("order_id", ours=pl.col("first_sign_at").is_not_null().cast(pl.Float64))
        .join(
            rule.select("order_id", rule=pl.col("first_sign_at").is_not_null().cast(pl.Float64)),
            on="order_id", how="full", coalesce=True,
        )
        .fill_null(0.0)
        .sort("order_id")
    )  # fmt: skip
    if not both.height or not both["rule"].sum():
        return None, None
    times = np.random.default_rng(seed).poisson(1.0, size=(resamples, both.height)).astype(np.float64)
    top, bottom = times @ both["ours"].to_numpy(), times @ both["rule"].to_numpy()
    ratios = top[bottom > 0] / bottom[bottom > 0]
    if not len(ratios):
        return None, None
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)


def _capacity(left: float, share: float, morning: Morning) -> float:
    # An agent's unused hours are gone with the day; what is less than a contact is not lost.
    return min(left, CARRIED_OVER) + share * morning.orders_before


def _compared(ours: Run, rule: Run, seed: int) -> Comparison:
    low, high = ratio_interval(ours.contacts, rule.contacts, seed=seed)
    return Comparison(
        ours=ours, rule=rule, ratio=ours.caught / rule.caught if rule.caught else None, low=low, high=high
    )


def _frame(mornings: Sequence[Morning], chosen: Sequence[Sequence[tuple[int, float, float]]]) -> pl.DataFrame:
    rows = [
        (order, morning.day.local_date, morning.day.at, score, days)
        for morning, today in zip(mornings, chosen, strict=True)
        for order, score, days in today
    ]
    schema = {name: CONTACTS[name] for name in ("order_id", "local_date", "at", "score", "promise_days")}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("score", "promise_days").fill_nan(None))


def _judged(contacts: pl.DataFrame, signs: pl.DataFrame, horizon_days: int) -> pl.DataFrame:
    """Add the first sign of trouble after each contact."""
    after = (
        contacts.join(signs, on="order_id")
        .filter(
            (pl.col("recorded_at") > pl.col("at"))
            & (pl.col("recorded_at") <= pl.col("at") + timedelta(days=horizon_days))
        )
        .sort("recorded_at", "kind")
        .unique("order_id", keep="first", maintain_order=True)
        .select("order_id", first_sign="kind", first_sign_at="recorded_at")
    )
    lead = (pl.col("first_sign_at") - pl.col("at")).dt.total_seconds() / 86400.0
    judged = contacts.join(after, on="order_id", how="left", maintain_order="left").with_columns(lead_days=lead)
    return judged.select(CONTACTS.keys())
