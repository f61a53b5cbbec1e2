"""What experiments drew and showed by an instant, as the models learn from it: the gain from outcomes, the risk in spite of contacts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import polars as pl

from bot.decide import policy
from bot.decide.assignment import HOLDOUT
from bot.services.prediction.champions import predictor_errors
from bot.services.prediction.labelling import ISSUE
from bot.store.database import Database
from bot.store.experiments import first_outcomes, order_draws
from predictors.gain import OUTCOMES
from predictors.treatment import DRAWS
from predictors.uplift import require_outcomes

__all__ = ["contact_propensities", "drawn_contacts", "observed_outcomes"]


class Drawn(Protocol):
    """What was drawn, how probably and when."""

    @property
    def playbook(self) -> str: ...

    @property
    def arm(self) -> str: ...

    @property
    def propensity(self) -> float: ...

    @property
    def anchor_at(self) -> datetime: ...


def observed_outcomes(database: Database, horizon_days: int, until: datetime) -> pl.DataFrame:
    """Return `predictors.gain.OUTCOMES` as recorded by an instant, of those who could have come into either arm.

    Raises
    ------
    Refused
        An arm has too few; the message says how many are there and how many are needed.
    """
    with database.read() as connection:
        found = first_outcomes(connection, ISSUE, horizon_days, until)
    drawn = [(one, p) for one, p in zip(found, contact_propensities(found), strict=True) if 0 < p < 1]
    holdout = sum(one.arm == HOLDOUT for one, _ in drawn)
    with predictor_errors():
        require_outcomes(len(drawn) - holdout, holdout)
    rows = [(one.order_id, one.anchor_at, int(one.arm != HOLDOUT), int(one.value), p) for one, p in drawn]
    return pl.DataFrame(rows, schema=dict(OUTCOMES), orient="row")


def drawn_contacts(database: Database, until: datetime) -> pl.DataFrame:
    """Return `predictors.treatment.DRAWS` as recorded by an instant."""
    with database.read() as connection:
        found = order_draws(connection, policy.Reason.HOLDOUT.value, until)
    propensities = contact_propensities(found)
    rows = [
        (one.order_id, one.anchor_at, p, int(one.arm != HOLDOUT)) for one, p in zip(found, propensities, strict=True)
    ]
    return pl.DataFrame(rows, schema=dict(DRAWS), orient="row")


def contact_propensities(found: Sequence[Drawn]) -> list[float]:
    """Return how probable it was that each would be drawn to be contacted, whatever was drawn.

    A draw stores the probability of its own arm. Where a playbook has several variants, theirs is only a part of the
    probability of being contacted: then the holdout's share at the draw nearest in time says the rest. A playbook without any
    holdout contacted everybody: 1.
    """
    holdouts: dict[str, list[tuple[datetime, float]]] = {}
    variants: dict[str, set[str]] = {}
    for one in found:
        if one.arm == HOLDOUT:
            holdouts.setdefault(one.playbook, []).append((one.anchor_at, one.propensity))
        else:
            variants.setdefault(one.playbook, set()).add(one.arm)
    for of_playbook in holdouts.values():
        of_playbook.sort()
    propensities = []
    for one in found:
        if one.arm == HOLDOUT:
            propensities.append(1.0 - one.propensity)
        elif len(variants[one.playbook]) == 1:
            propensities.append(one.propensity)
        elif one.playbook not in holdouts:
            propensities.append(1.0)
        else:
            propensities.append(1.0 - _nearest(holdouts[one.playbook], one.anchor_at))
    return propensities


def _nearest(draws: Sequence[tuple[datetime, float]], at: datetime) -> float:
    place = bisect_left(draws, (at, 0.0))
    near = draws[max(place - 1, 0) : place + 1]
    return min(near, key=lambda one: abs(one[0] - at))[1]
