"""Past mornings as they were: who could have been contacted, how likely trouble was yet to show, whom a plain rule means.

On each morning every order that is under way, with nothing heard of it, has a score: the prediction that stands, of models
refitted at each month's start, brought up to the day by `predictors.evidence`. Everything about a morning is read from the
snapshot of that morning. Who is chosen, and how it ended, is `predictors.retrospect`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from predictors.backtest import Fitted, Refit, origins
from predictors.errors import NotEnoughDataError
from predictors.evidence import DAY, Evidence, OrderTimes, Whole, instant, order_times
from predictors.features import issue_features
from predictors.frames import Array
from predictors.labels import LabelledBy, resolve_mode
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.scoring import spanned
from predictors.snapshot import INSTANT, Snapshot
from predictors.training import train_issue

__all__ = ["EARLIEST_DAYS", "OLDEST_DAYS", "AsOf", "Day", "IssueSettings", "Morning", "learn", "look"]

# Nobody is contacted earlier than so many days before the end of the promised day: most parcels that are still under way
# before that come in time. It is also when the shipped playbook for deliveries at risk begins.
EARLIEST_DAYS = 2
# Whoever ordered longer ago is left alone.
OLDEST_DAYS = 60
# Called before each month's refit, and before each day.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class IssueSettings:
    """What the product's settings say about issues."""

    horizon_days: int
    due_days: int
    labelled_by: LabelledBy
    seed: int


@dataclass(frozen=True, kw_only=True)
class Day:
    """One local day: when its contacts are chosen, and the local day before, whose orders make its capacity.

    Attributes
    ----------
    previous_at : datetime
        When those of the day before were chosen.
    """

    local_date: date
    at: datetime
    previous_at: datetime
    before_from: datetime
    before_to: datetime


@dataclass(frozen=True, kw_only=True)
class Morning:
    """All that may be known on one morning: who can be contacted, best first, and whom the rule means, in its order."""

    day: Day
    orders_before: int
    order_id: Whole
    customer_id: Whole
    score: Array
    promise_days: Array
    rule: Whole


@dataclass(frozen=True, kw_only=True)
class AsOf:
    """What was learned at one origin: predictions of both moments, and how orders stood.

    Attributes
    ----------
    predictions : polars.DataFrame
        order_id, moment, p.
    """

    origin: datetime
    predictions: pl.DataFrame
    evidence: Evidence
    fitted: Sequence[Fitted]


def learn(
    snapshot: Snapshot,
    start: datetime,
    end: datetime,
    settings: IssueSettings,
    *,
    draws: pl.DataFrame | None = None,
    progress: Progress | None = None,
) -> list[AsOf]:
    """Learn anew at `start` and at each first of a month after it, from what was recorded by then."""
    if start >= snapshot.until:
        raise NotEnoughDataError(
            f"the span lies in the future: what is known ends at {snapshot.until.isoformat()}; choose an earlier --from"
        )
    mode = resolve_mode(snapshot.at(start), settings.labelled_by)
    moments = order_moments(snapshot, due_days=settings.due_days)
    oldest = start - timedelta(days=OLDEST_DAYS)
    # Features see nothing later than their own moment, so all can be described at once.
    frames = {
        at: issue_features(snapshot, moments, spanned(issue_subjects(moments, at), oldest, end), at)
        for at in (Moment.PLACED, Moment.DUE)
    }
    found: list[AsOf] = []
    starts = origins(start, end, snapshot.timezone, Refit.MONTHLY)
    for number, (origin, until) in enumerate(zip(starts, [*starts[1:], end], strict=True)):
        _tell(progress, f"as of {origin:%Y-%m-%d}", number, len(starts))
        past = snapshot.at(origin)
        parts, fitted = [], []
        for at, frame in frames.items():
            model = train_issue(
                past, at, horizon_days=settings.horizon_days, due_days=settings.due_days, labelled_by=mode,
                seed=settings.seed, draws=draws,
            ).model  # fmt: skip
            asked = frame.filter(pl.col("moment") < until)
            parts.append(asked.select("order_id", "moment", p=pl.Series(model.probabilities(asked), dtype=pl.Float64)))
            fitted.append(Fitted(as_of=origin, rows=model.rows, positives=model.positives, stage=model.stage.value))
        evidence = Evidence.learn(
            order_times(past, due_days=settings.due_days), origin, horizon_days=settings.horizon_days
        )
        # Both moments may be one instant: then the later prediction stands.
        predictions = pl.concat(parts).unique(["order_id", "moment"], keep="last", maintain_order=True)
        found.append(AsOf(origin=origin, predictions=predictions, evidence=evidence, fitted=fitted))
    return found


def look(
    snapshot: Snapshot,
    days: Sequence[Day],
    learned: Sequence[AsOf],
    settings: IssueSettings,
    progress: Progress | None = None,
) -> list[Morning]:
    """Look at each morning with what was recorded by then, and nothing else."""
    found = []
    for number, day in enumerate(days):
        _tell(progress, f"{day.local_date}", number, len(days))
        times = order_times(snapshot.at(day.at), due_days=settings.due_days)
        model = [one for one in learned if one.origin <= day.at][-1]
        found.append(_morning(times, day, model))
    return found


def _morning(times: OrderTimes, day: Day, model: AsOf) -> Morning:
    at = instant(day.at)
    before = (times.placed >= instant(day.before_from)) & (times.placed < instant(day.before_to))
    quiet = times.quiet(at) & (times.placed > at - OLDEST_DAYS * DAY)
    # The first morning after the promise broke; who waits longest comes first (`times` is sorted by purchase).
    broke = (times.promised <= at) & (times.promised > instant(day.previous_at))
    rule = np.flatnonzero(quiet & broke & ~(times.delivered <= at))
    stands = np.where(times.due <= at, times.due, times.placed)
    asked = pl.DataFrame({"order_id": times.order_id, "stands": stands}).with_columns(
        moment=pl.col("stands").cast(pl.Int64).cast(INSTANT)
    )
    p = asked.join(model.predictions, on=["order_id", "moment"], how="left", maintain_order="left")["p"].to_numpy()
    can = np.flatnonzero(quiet & (times.due - EARLIEST_DAYS * DAY <= at) & ~np.isnan(p))
    score = np.full(len(p), np.nan)
    score[can] = model.evidence.still_to_come(np.nan_to_num(p), times, at)[can]
    ranked = can[np.lexsort((times.order_id[can], -score[can]))]
    return Morning(
        day=day,
        orders_before=int(before.sum()),
        order_id=times.order_id[ranked],
        customer_id=times.customer_id[ranked],
        score=score[ranked],
        promise_days=(at - times.promised[ranked]) / DAY,
        rule=times.order_id[rule],
    )


def _tell(progress: Progress | None, what: str, done: int, total: int) -> None:
    if progress is not None:
        progress(what, done, total)
