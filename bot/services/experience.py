"""What experiments have shown by an instant, as the uplift model learns from it; locked while it is too little."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from bot.decide.assignment import HOLDOUT
from bot.services.labelling import ISSUE
from bot.services.predicting import predictor_errors
from bot.store.database import Database
from bot.store.experiments import first_outcomes
from predictors.gain import OUTCOMES
from predictors.uplift import require_outcomes


def observed_outcomes(database: Database, horizon_days: int, until: datetime) -> pl.DataFrame:
    """Return `predictors.gain.OUTCOMES` as recorded by an instant.

    Raises
    ------
    Refused
        An arm has too few; the message says how many are there and how many are needed.
    """
    with database.read() as connection:
        found = first_outcomes(connection, ISSUE, horizon_days, until)
    holdout = sum(one.arm == HOLDOUT for one in found)
    with predictor_errors():
        require_outcomes(len(found) - holdout, holdout)
    rows = [(one.order_id, one.anchor_at, int(one.arm != HOLDOUT), int(one.value)) for one in found]
    return pl.DataFrame(rows, schema=dict(OUTCOMES), orient="row")
