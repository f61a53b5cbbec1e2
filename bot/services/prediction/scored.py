"""What scoring hands over: predictions as columns, each of them a `ScoredSubject` once somebody looks at it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from json.encoder import encode_basestring_ascii
from typing import Any

import numpy as np
import polars as pl

from bot.settings import Bands
from bot.store import history
from bot.store.database import Database
from predictors.explain import Reason, clearing
from predictors.fragility import Fragility
from predictors.lazy_rows import LazyRows
from predictors.model import TrainedModel
from predictors.scoring import ScoredRows

__all__ = ["ScoredBatch", "ScoredSubject"]

# What `aftercare import` calls a source that nobody named.
DEFAULT_SOURCE = "files"


@dataclass(frozen=True, kw_only=True)
class ScoredSubject:
    """One prediction for one order or customer; of uplift, `probability` is a gain in probability."""

    customer_id: int
    order_id: int | None
    source: str
    customer_key: str
    order_key: str | None
    kind: str
    moment: str
    as_of: datetime
    horizon_days: int
    probability: float
    band: str
    stage: str
    model: str
    reasons: Sequence[Reason]
    fragility: Fragility
    clears: Reason | None
    issue_kinds: Mapping[str, float]

    @property
    def subject(self) -> str:
        """The shop's own id of what was scored; with the name of its source where that is not the default one."""
        return _subject(self.source, self.customer_key if self.order_key is None else self.order_key)

    @property
    def reason_rows(self) -> list[dict[str, Any]]:
        return [{"feature": why.feature, "text": why.text, "effect": why.effect} for why in self.reasons]

    @property
    def fragility_row(self) -> dict[str, Any]:
        shocks = [{"shock": name, "probability": p} for name, p in self.fragility.shocks]
        return {"level": self.fragility.level, "shocks": shocks, "text": self.fragility.text}

    @property
    def clears_row(self) -> dict[str, Any] | None:
        """The one fact that, were it typical, would bring the probability below the band's threshold."""
        if self.clears is None:
            return None
        return {
            "feature": self.clears.feature,
            "text": self.clears.text,
            "probability": round(self.clears.without, 6),
        }

    def line(self) -> dict[str, Any]:
        """Return the JSON of `aftercare score`."""
        return {
            "subject": self.subject,
            "order_id": self.order_key,
            "customer_id": self.customer_key,
            "kind": self.kind,
            "moment": self.moment,
            "as_of": self.as_of.isoformat(),
            "horizon_days": self.horizon_days,
            "probability": round(self.probability, 6),
            "band": self.band,
            "stage": self.stage,
            "model": self.model,
            "reasons": self.reason_rows,
            "fragility": self.fragility_row,
            "clears": self.clears_row,
            "issue_kinds": dict(self.issue_kinds),
        }


class ScoredBatch(LazyRows[ScoredSubject]):
    """Predictions of one model.

    Attributes
    ----------
    model : TrainedModel
    name : str
        What the model is known by.
    version_id : int, optional
        None where nobody trained it.
    """

    def __init__(
        self,
        database: Database,
        kind: str,
        model: TrainedModel,
        name: str,
        version_id: int | None,
        scored: ScoredRows,
        bands: Bands,
    ) -> None:
        self.kind = kind
        self.model = model
        self.name = name
        self.version_id = version_id
        self._database = database
        self._scored = scored
        self._bands = bands

    def __len__(self) -> int:
        return len(self._scored)

    def row(self, index: int) -> ScoredSubject:
        one = self._scored.row(index)
        source, customer_key = self._customers[index]
        return ScoredSubject(
            customer_id=one.customer_id,
            order_id=one.order_id,
            source=source,
            customer_key=customer_key,
            order_key=None if one.order_id is None else self._orders[index][1],
            kind=self.kind,
            moment=one.moment,
            as_of=one.as_of.astimezone(UTC),
            horizon_days=self.model.horizon_days,
            probability=one.probability,
            band=self._bands_of[index],
            stage=self.model.stage.value,
            model=self.name,
            reasons=one.reasons,
            fragility=one.fragility,
            clears=self._clears(one.probability, one.reasons),
            issue_kinds=one.issue_kinds,
        )

    def highest(self, count: int) -> list[ScoredSubject]:
        """Return those with the highest probabilities, highest first."""
        ranked = np.argsort(-self._scored.probability, kind="stable")[:count]
        return [self.row(int(index)) for index in ranked]

    def stored(self, recorded_at: datetime | None) -> pl.DataFrame:
        """Return the rows of the table of predictions.

        Parameters
        ----------
        recorded_at : datetime, optional
            None: of a backtest, each as recorded at its own moment.
        """
        scored, identity = self._scored, self._scored.identity
        names = self._customers if identity["order_id"].null_count() else self._orders
        when = pl.col("as_of") if recorded_at is None else pl.lit(recorded_at).cast(pl.Datetime("us", "UTC"))
        return identity.select(
            "customer_id",
            "order_id",
            "as_of",
            kind=pl.lit(self.kind),
            moment=pl.lit(scored.moment),
            subject=pl.Series([_subject(*name) for name in names], dtype=pl.String),
            horizon_days=pl.lit(self.model.horizon_days),
            probability=pl.Series(scored.probability),
            band=pl.Series(self._bands_of, dtype=pl.String),
            stage=pl.lit(self.model.stage.value),
            model=pl.lit(self.name),
            model_version_id=pl.lit(self.version_id, dtype=pl.Int64),
            reasons=pl.Series(list(self._written_reasons()), dtype=pl.String),
            fragility=pl.Series(list(self._written_fragility()), dtype=pl.String),
            recorded_at=when,
        )

    @cached_property
    def _bands_of(self) -> list[str]:
        place = np.searchsorted((self._bands.medium, self._bands.high), self._scored.probability, side="right")
        found: list[str] = np.array(["low", "medium", "high"], dtype=object)[place].tolist()
        return found

    @cached_property
    def _customers(self) -> list[tuple[str, str]]:
        return self._names("customers", "customer_id")

    @cached_property
    def _orders(self) -> list[tuple[str, str]]:
        return self._names("orders", "order_id")

    def _names(self, table: str, column: str) -> list[tuple[str, str]]:
        with self._database.read() as connection:
            return history.names_of(connection, table, self._scored.identity[column].to_list())

    def _clears(self, probability: float, reasons: Sequence[Reason]) -> Reason | None:
        # A gain is no flag, and what is low already has none to clear.
        if self.kind == "uplift" or probability < self._bands.medium:
            return None
        return clearing(reasons, self._bands.high if probability >= self._bands.high else self._bands.medium)

    def _written_reasons(self) -> Iterator[str]:
        """Write `ScoredSubject.reason_rows` as JSON, as `json.dumps` does, without building them."""
        reasons = self._scored.reasons
        if not reasons.names:
            return (one for one in ["[]"] * len(self))
        places = [
            [
                ""
                if name is None
                else f'{{"feature": "{name}", "text": {encode_basestring_ascii(text)}, "effect": {effect!r}}}'
                for name, text, effect in zip(*of_place, strict=True)
            ]
            for of_place in zip(reasons.names, reasons.texts, reasons.rounded_effects, strict=True)
        ]
        # A place without a reason has none after it either.
        return (f"[{', '.join(filter(None, of_row))}]" for of_row in zip(*places, strict=True))

    def _written_fragility(self) -> Iterator[str]:
        """Write `ScoredSubject.fragility_row` as JSON, as `json.dumps` does, without building them."""
        fragility = self._scored.fragility
        shocks = (f'{{"shock": {json.dumps(name)}, "probability": %r}}'.replace("%", "%%") for name in fragility.names)
        listed = ", ".join(one.replace("%%r", "%r") for one in shocks)
        form = f'{{"level": "%s", "shocks": [{listed}], "text": %s}}'
        texts = map(encode_basestring_ascii, fragility.texts)
        return (form % row for row in zip(fragility.levels, *fragility.rounded, texts, strict=True))


def _subject(source: str, key: str) -> str:
    return key if source == DEFAULT_SOURCE else f"{source}:{key}"
