"""Which subjects may teach a risk model, and with what weight, where some were contacted: their outcome was changed by it.

The risk is that of being left alone. A subject is followed until it is contacted, and who is contacted is left out; those like
it who were not contacted stand for it, weighted by the inverse probability of having been left alone so far (inverse probability
of censoring weights: Robins & Finkelstein 2000). Where the product drew by chance whom to contact, that probability is known and
nothing need be assumed; other contacts have a small model of contact given what was known at the subject's moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.frames import Array
from predictors.issue import BoostingModel, LogisticModel
from predictors.labels import CONTACT, outcome_events
from predictors.snapshot import DRAWS, Snapshot
from predictors.standing import MAX_WEIGHT, open_draws

__all__ = ["CONTACT", "DRAWS", "MAX_WEIGHT", "WEIGHT", "LeftAlone", "left_alone", "left_alone_so_far", "open_draws"]

Flags = npt.NDArray[np.bool_]

# The column of the weights.
WEIGHT = "left_alone_weight"
# Contacts in a span that a model of them needs, and from how many it may bend; with fewer, everybody is as likely as the other.
MIN_CONTACTS, MIN_TO_BEND = 30, 200
# Spans of the horizon, with equally many contacts in each, in which the probability of a contact may differ.
SPANS = 3
# Weaker shrinkage than of the risk itself: a hazard that is too flat leaves the bias in.
HAZARD_C = 1.0


@dataclass(frozen=True, kw_only=True)
class LeftAlone:
    """The subjects to learn from.

    Attributes
    ----------
    weights : polars.DataFrame
        order_id and `WEIGHT` (mean 1); subjects that are left out are not in it.
    left_out : int
        Subjects that were contacted, or drawn to be.
    effective : float
        Kish's effective number of the rest, (Σw)²/Σw².
    """

    weights: pl.DataFrame
    left_out: int
    effective: float


def left_alone(
    snapshot: Snapshot, subjects: pl.DataFrame, X: pl.DataFrame, *, horizon_days: int, draws: pl.DataFrame | None
) -> LeftAlone | None:
    """Weigh subjects so that those who were left alone stand for all.

    Parameters
    ----------
    subjects : polars.DataFrame
        order_id, customer_id, moment: what is to be learned from, each with a known outcome.
    X : polars.DataFrame
        The features of the same rows in the same order, as of their moments.
    horizon_days : int
        How long after its moment a subject is followed; a first issue ends it sooner, because a later contact cannot have
        changed it.
    draws : polars.DataFrame or None
        `DRAWS`, by the product's own experiments, as recorded by the snapshot.

    Returns
    -------
    LeftAlone or None
        None where nobody was contacted or drawn to be, nor held out: then all is as if there were no bot.
    """
    drawn = open_draws(draws, snapshot)
    contacts = snapshot.touchpoints.filter(pl.col("kind") == CONTACT)
    if not drawn.height and not contacts.height:
        return None
    followed = _followed(snapshot, subjects, horizon_days)
    by_draw = _weights_of_draws(followed, drawn)
    reached = _first_contact(followed, contacts)
    days = pl.DataFrame(
        {
            "until": (followed["ends"] - followed["moment"]).dt.total_seconds() / 86400.0,
            "contact": (reached - followed["moment"]).dt.total_seconds() / 86400.0,
        }
    )
    held = by_draw.is_not_null().to_numpy()
    if by_draw.drop_nulls().eq(1.0).all() and held.all() and days["contact"].null_count() == days.height:
        return None
    probability = left_alone_so_far(X, days, held, horizon_days)
    kept = held & days["contact"].is_null().to_numpy()
    weights = np.minimum(by_draw.fill_null(0.0).to_numpy() / probability, MAX_WEIGHT)[kept]
    weights = weights / weights.mean() if len(weights) else weights
    return LeftAlone(
        weights=subjects.select("order_id").filter(pl.Series(kept)).with_columns(pl.Series(WEIGHT, weights)),
        left_out=int((~kept).sum()),
        effective=float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0,
    )


def _followed(snapshot: Snapshot, subjects: pl.DataFrame, horizon_days: int) -> pl.DataFrame:
    """Return order_id, customer_id, moment and `ends`, the first issue or the end of the horizon, in the subjects' order."""
    issues = outcome_events(snapshot).filter(pl.col("is_issue")).select("order_id", "recorded_at")
    first = (
        issues.join(subjects.select("order_id", "moment"), on="order_id")
        .filter(pl.col("recorded_at") > pl.col("moment"))
        .group_by("order_id")
        .agg(issue_at=pl.col("recorded_at").min())
    )
    horizon = pl.col("moment") + pl.duration(days=horizon_days)
    return (
        subjects.select("order_id", "customer_id", "moment")
        .join(first, on="order_id", how="left", maintain_order="left")
        .with_columns(ends=pl.min_horizontal("issue_at", horizon))
        .drop("issue_at")
    )


def _weights_of_draws(followed: pl.DataFrame, draws: pl.DataFrame) -> pl.Series:
    """Return Π 1 / (1 - p) over the draws of each subject until it ends; null where one drew it to be contacted.

    Draws before the moment count too: what was sent then is at work within the horizon.
    """
    within = draws.join(followed.select("order_id", "ends"), on="order_id").filter(pl.col("at") < pl.col("ends"))
    weights = within.group_by("order_id").agg(
        by_draw=(1.0 / (1.0 - pl.col("propensity"))).product(), contacted=pl.col("contacted").max()
    )
    joined = followed.select("order_id").join(weights, on="order_id", how="left", maintain_order="left")
    weight = pl.when(pl.col("contacted") == 1).then(None).otherwise(pl.col("by_draw").fill_null(1.0))
    return joined.select(weight.alias("by_draw")).to_series()


def _first_contact(followed: pl.DataFrame, contacts: pl.DataFrame) -> pl.Series:
    """Return when each subject was first contacted before it ended; null where it was not.

    A contact that names no order is about whatever the customer had bought by then.
    """
    keyed = contacts.select("order_id", "customer_id", at="recorded_at")
    named = keyed.filter(pl.col("order_id").is_not_null()).join(followed.drop("customer_id"), on="order_id")
    loose = keyed.filter(pl.col("order_id").is_null()).drop("order_id").join(followed, on="customer_id")
    loose = loose.filter(pl.col("at") > pl.col("moment"))
    columns = ["order_id", "at", "ends"]
    first = (
        pl.concat([named.select(columns), loose.select(columns)])
        .filter(pl.col("at") < pl.col("ends"))
        .group_by("order_id")
        .agg(pl.col("at").min())
    )
    return followed.select("order_id").join(first, on="order_id", how="left", maintain_order="left")["at"]


def left_alone_so_far(X: pl.DataFrame, days: pl.DataFrame, eligible: Flags, horizon_days: int) -> Array:
    """Return how probable it was to have had no contact (outside the draws) until a subject's end, (n,).

    A discrete hazard: in each span of the horizon, a classifier of a contact by the features, over the subjects that were
    still followed and not yet contacted; the product over the spans, the last in proportion to how much of it was lived.
    """
    contact = days["contact"].to_numpy()
    reached = ~np.isnan(contact) & eligible
    if not reached.any():
        return np.ones(days.height)
    until = np.where(reached, contact, days["until"].to_numpy())
    edges = np.unique(np.clip(np.quantile(contact[reached], np.linspace(0, 1, SPANS + 1)), 0.0, float(horizon_days)))
    edges = np.concatenate([[-np.inf], edges[1:-1], [float(horizon_days)]])
    alone = np.ones(days.height)
    for start, end in pairwise(edges):
        at_risk = eligible & (until > start)
        event = reached & (contact > start) & (contact <= end)
        hazard = _hazard(X, at_risk, event)
        length = end - max(start, 0.0)  # none where contacts before the moment fill the span
        lived = np.clip((until - max(start, 0.0)) / length, 0.0, 1.0) if length > 0 else 1.0
        alone *= np.where(at_risk, (1.0 - hazard) ** lived, 1.0)
    return alone


def _hazard(X: pl.DataFrame, at_risk: Flags, event: Flags) -> Array:
    """Return P(contact in the span | features) of every row."""
    share = float(event.sum() / max(at_risk.sum(), 1))
    rarer = min(int(event.sum()), int(at_risk.sum() - event.sum()))
    if rarer < MIN_CONTACTS:
        return np.full(X.height, share)
    model = BoostingModel() if rarer >= MIN_TO_BEND else LogisticModel(C=HAZARD_C)
    return model.fit(X.filter(pl.Series(at_risk)), event[at_risk].astype(np.int64)).predict_proba(X)[:, 1]
