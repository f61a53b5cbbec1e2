"""Who is worth most attention: what is expected of each customer, times the risk that they leave.

For the head of support: whole segments, and the customers at the top by id. What a customer is worth is
`predictors.value`'s business, the risk that of the churn model that scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from bot.clock import Clock
from bot.config import Settings
from bot.services.prediction.champions import open_champion, predictor_errors, read_snapshot
from bot.store.currencies import order_currencies
from bot.store.database import Database
from bot.store.shop import customers_by_id
from predictors.churn_scoring import purchases_model
from predictors.customers import customer_features
from predictors.model import TrainedModel
from predictors.moments import Moment
from predictors.snapshot import Snapshot
from predictors.value import customer_values

__all__ = ["ValueReport", "ValueRow", "ValueSegment", "Valuer"]


@dataclass(frozen=True, kw_only=True)
class ValueSegment:
    """Customers of one currency who bought once or more often, and run the same risk to leave.

    Amounts are in the currency; without one (orders in several) there are none.
    """

    segment: str
    band: str
    currency: str | None
    customers: int
    expected_purchases: float
    expected_value: float | None
    churn_probability: float
    value_at_risk: float | None


@dataclass(frozen=True, kw_only=True)
class ValueRow:
    """One customer: what is expected of them within the horizon, and how much of it is at risk."""

    customer_id: str
    source: str
    segment: str
    band: str
    currency: str | None
    purchases: int
    last_bought_at: datetime
    alive: float
    expected_purchases: float
    expected_order_value: float | None
    expected_value: float | None
    churn_probability: float
    value_at_risk: float | None
    next_order_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ValueReport:
    """Segments, and the customers with most at risk in each currency, both by value at risk."""

    as_of: datetime
    horizon_days: int
    risk_days: int
    yearly_discount: float
    model: str
    segments: Sequence[ValueSegment]
    customers: Sequence[ValueRow]

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON objects of `report value`."""
        asked = {
            "as_of": self.as_of.isoformat(),
            "horizon_days": self.horizon_days,
            "risk_days": self.risk_days,
            "yearly_discount": self.yearly_discount,
            "model": self.model,
        }
        rows: list[tuple[str, ValueSegment | ValueRow]] = [("segment", one) for one in self.segments]
        rows += [("customer", one) for one in self.customers]
        return [
            {"row": kind, **{name: _plain(value) for name, value in vars(one).items()}, **asked} for kind, one in rows
        ]


class Valuer:
    """Reads what customers are worth; changes nothing."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def report(
        self, *, as_of: datetime | None = None, horizon_days: int = 365, yearly_discount: float = 0.1, top: int = 20
    ) -> ValueReport:
        """Value every customer with an order.

        Parameters
        ----------
        as_of : datetime, optional
            What was known at an instant, instead of now.
        horizon_days : int
            Orders up to so many days ahead count.
        yearly_discount : float
            What an order a year ahead loses of its worth.
        top : int
            So many customers of each currency are listed.
        """
        until = min(as_of or self._clock.now(), self._clock.now())
        snapshot = read_snapshot(self._database, self._settings, until)
        with self._database.read() as connection:
            named = order_currencies(connection, default=self._settings.shop.currency, until=until)
        currencies = pl.DataFrame(named, schema={"customer_id": pl.Int64, "currency": pl.String}, orient="row")
        risk_days = self._settings.predictors.churn.horizon_days
        model, name = self._model(snapshot, risk_days)
        with predictor_errors():
            values = customer_values(
                snapshot, horizon_days=horizon_days, yearly_discount=yearly_discount, currencies=currencies
            )
            people = customer_features(snapshot, until)
            risk = model.probabilities(people) if people.height else np.empty(0)
        values = self._at_risk(values, people.select("customer_id").with_columns(churn_probability=pl.Series(risk)))
        return ValueReport(
            as_of=until.astimezone(UTC),
            horizon_days=horizon_days,
            risk_days=risk_days,
            yearly_discount=yearly_discount,
            model=name,
            segments=_segments(values),
            customers=self._top(values, top),
        )

    def _model(self, snapshot: Snapshot, risk_days: int) -> tuple[TrainedModel, str]:
        found = open_champion(self._database, self._settings, "churn", Moment.NOW, risk_days)
        if found is not None:
            return found[0], found[1].name
        with predictor_errors():
            return purchases_model(snapshot, horizon_days=risk_days), "untrained"

    def _at_risk(self, values: pl.DataFrame, risks: pl.DataFrame) -> pl.DataFrame:
        bands = self._settings.predictors.bands
        risk = pl.col("churn_probability")
        band = (
            pl.when(risk >= bands.high)
            .then(pl.lit("high"))
            .when(risk >= bands.medium)
            .then(pl.lit("medium"))
            .otherwise(pl.lit("low"))
        )
        return (
            values.join(risks, on="customer_id")
            .rename({"lifetime_value": "expected_value"})
            .with_columns(
                band=band,
                segment=pl.when(pl.col("purchases") > 1).then(pl.lit("repeat")).otherwise(pl.lit("once")),
                value_at_risk=pl.col("expected_value") * risk,
            )
        )

    def _top(self, values: pl.DataFrame, top: int) -> list[ValueRow]:
        """Choose the customers with most at risk in each currency; amounts of two currencies have no common order."""
        chosen = (
            values.filter(pl.col("value_at_risk").is_not_null())
            .sort("currency", "value_at_risk", "customer_id", descending=[False, True, False])
            .filter(pl.int_range(pl.len()).over("currency") < top)
        )
        with self._database.read() as connection:
            known = customers_by_id(connection, chosen["customer_id"].to_list())
        names = list(ValueRow.__dataclass_fields__)
        rows = []
        for row in chosen.iter_rows(named=True):
            who = known[row["customer_id"]]
            row |= {"customer_id": who.external_id, "source": who.source}
            rows.append(ValueRow(**{name: row[name] for name in names}))
        return rows


def _segments(values: pl.DataFrame) -> list[ValueSegment]:
    """Sum by currency, segment and band. Where no value is known there is no sum, and not one of 0."""
    amount = {
        name: pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum())
        for name in ("expected_value", "value_at_risk")
    }
    found = (
        values.sort("customer_id")
        .group_by("currency", "segment", "band", maintain_order=True)
        .agg(
            pl.len().alias("customers"),
            pl.col("expected_purchases").sum(),
            pl.col("churn_probability").mean(),
            **amount,
        )
        .sort("currency", "value_at_risk", "segment", "band", descending=[False, True, False, False], nulls_last=True)
    )
    return [ValueSegment(**row) for row in found.iter_rows(named=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    return value.isoformat() if isinstance(value, datetime) else value
