"""`report journey`: where customers stand, for how long, what they have been through, and how far that is from `journey`.

The figures of a stage are `stage.NAME.share`, `.days` (median) and `.experience` (mean); beside them stand those of
`report kpis`. A target of `journey` may name any of them. The rules of the stages are in `bot.decide.stage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean, median
from typing import Any

import polars as pl

from bot.clock import Clock
from bot.config import Settings
from bot.decide.stage import STAGE_KINDS, Happening, Position, Purchase, Stage, position
from bot.errors import NotFound
from bot.services.insight import Insight, Kpi
from bot.services.prediction.champions import predictor_errors
from bot.services.prediction.touchpoint_ledger import TouchpointLedger
from bot.store import history, shop
from bot.store.alarms import alarms
from bot.store.database import Database
from predictors.experience import experience_points, experience_scores
from predictors.experience_training import KINDS_READ
from predictors.moments import end_of_day
from predictors.snapshot import INSTANT, Snapshot

__all__ = ["Board", "JourneyBoard", "Standing"]

_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where one customer stands, since when, and what they have been through in points (below 0: more bad than good)."""

    customer_id: str
    source: str
    position: Position
    days: float | None
    experience: float

    def line(self) -> dict[str, Any]:
        """Return the JSON object of `report journey --customer`."""
        since = self.position.since
        return {
            "row": "customer",
            "customer_id": self.customer_id,
            "source": self.source,
            "stage": self.position.stage.value,
            "since": None if since is None else since.isoformat(),
            "days": None if self.days is None else round(self.days, 1),
            "experience": round(self.experience, 3),
        }


@dataclass(frozen=True, kw_only=True)
class Board:
    """All stages with their figures, the KPIs, and what misses its target."""

    customers: int
    stages: Sequence[tuple[Stage, int, float | None, float | None]]
    figures: Sequence[Kpi]
    unknown: Sequence[str]

    @property
    def gaps(self) -> list[Kpi]:
        """The figures that miss their target, the largest miss, as a share of the target, first."""
        return sorted((one for one in self.figures if one.met is False), key=lambda one: -_miss(one))

    @property
    def gap_texts(self) -> list[str]:
        """The same in sentences."""
        return [_gap_text(one) for one in self.gaps]

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON objects of `report journey`."""
        stages = [
            {
                "row": "stage",
                "stage": stage.value,
                "customers": number,
                "share": round(number / self.customers, 4) if self.customers else None,
                "median_days": None if days is None else round(days, 1),
                "experience": None if points is None else round(points, 3),
            }
            for stage, number, days, points in self.stages
        ]
        figures = [{"row": "figure", **one.line()} for one in self.figures]
        gaps = [{"row": "gap", "kpi": one.name, "text": _gap_text(one)} for one in self.gaps]
        unknown = [{"row": "unknown", "kpi": name} for name in self.unknown]
        return [*stages, *figures, *gaps, *unknown]


class JourneyBoard:
    """Reads where customers stand; changes nothing."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._insight = Insight(database, clock, settings)
        self._ledger = TouchpointLedger(database, clock, settings)

    def board(self, days: int = 30) -> Board:
        """Return the board; `days` is how far back the KPIs look."""
        now = self._clock.now()
        standing = self._standing(now)
        by_stage: dict[Stage, list[tuple[Position, float]]] = {stage: [] for stage in Stage}
        for found, points in standing.values():
            by_stage[found.stage].append((found, points))
        stages, figures = [], self._insight.kpis(days)
        for stage, own in by_stage.items():
            waits = [(now - found.since) / _DAY for found, _ in own if found.since is not None]
            middle = median(waits) if waits else None
            mean = fmean(points for _, points in own) if own else None
            share = len(own) / len(standing) if standing else None
            stages.append((stage, len(own), middle, mean))
            for name, value in (("share", share), ("days", middle), ("experience", mean)):
                figures.append(self._figure(f"stage.{stage.value}.{name}", value, len(own)))
        known = {one.name for one in figures}
        unknown = sorted(name for name in self._settings.journey if name not in known)
        return Board(customers=len(standing), stages=stages, figures=figures, unknown=unknown)

    def of_customer(self, name: str) -> Standing:
        """Return where one customer stands, named by the shop's own id.

        Raises
        ------
        NotFound
            There is no such customer.
        """
        now = self._clock.now()
        with self._database.read() as connection:
            person = shop.customer_by_key(connection, name)
        if person is None:
            raise NotFound(f"there is no customer {name}; `aftercare import` them first")
        found, points = self._standing(now, person.id).get(person.id, (position((), now, orders=()), 0.0))
        days = None if found.since is None else (now - found.since) / _DAY
        return Standing(
            customer_id=person.external_id, source=person.source, position=found, days=days, experience=points
        )

    def _figure(self, name: str, value: float | None, n: int) -> Kpi:
        target = self._settings.journey.get(name)
        return Kpi(
            name=name,
            value=value,
            n=n,
            at_least=target.at_least if target else None,
            at_most=target.at_most if target else None,
        )

    def _standing(self, now: datetime, only: int | None = None) -> dict[int, tuple[Position, float]]:
        """Return position and experience of every customer with an order or a touchpoint, or of one."""
        zone = self._settings.shop.timezone
        due_days = self._settings.predictors.issue.due_days
        with predictor_errors(), self._database.read() as connection:
            snapshot = history.read_snapshot(
                connection, until=now, timezone=zone, more_kinds=sorted(STAGE_KINDS | set(KINDS_READ))
            )
            alarmed = alarms(connection, now, only)
        recorded = bool((snapshot.touchpoints["kind"] == "delivered").any())
        orders, points = snapshot.orders.filter(pl.col("superseded_at").is_null()), snapshot.touchpoints
        if only is not None:
            orders, points = (frame.filter(pl.col("customer_id") == only) for frame in (orders, points))
        bought = _purchases(orders, zone, due_days)
        happened = _happenings(points)
        people = sorted({*bought, *happened})
        experience = self._experience(snapshot, people, now, due_days)
        return {
            one: (
                position(
                    happened.get(one, ()),
                    now,
                    orders=bought.get(one, ()),
                    alarmed_at=alarmed.get(one),
                    deliveries_recorded=recorded,
                ),
                points_now,
            )
            for one, points_now in zip(people, experience, strict=True)
        }

    def _experience(self, snapshot: Snapshot, people: Sequence[int], now: datetime, due_days: int) -> list[float]:
        with predictor_errors():
            subjects = pl.DataFrame(
                {"customer_id": list(people), "moment": [now] * len(people)},
                schema={"customer_id": pl.Int64, "moment": INSTANT},
            )
            points = experience_points(snapshot, due_days=due_days)
            found: list[float] = experience_scores(self._ledger.weights(), points, subjects).tolist()
        return found


def _gap_text(kpi: Kpi) -> str:
    below = kpi.at_least is not None and kpi.value is not None and kpi.value < kpi.at_least
    bound = f"at least {kpi.at_least:g}" if below else f"at most {kpi.at_most:g}"
    return f"{kpi.name} is {kpi.value:.3g}, and {bound} is wanted"


def _miss(kpi: Kpi) -> float:
    bound = kpi.at_least if kpi.at_least is not None and (kpi.value or 0) < kpi.at_least else kpi.at_most
    return abs((kpi.value or 0.0) - (bound or 0.0)) / max(abs(bound or 0.0), 1e-9)


def _purchases(orders: pl.DataFrame, zone: str, due_days: int) -> Mapping[int, Iterable[Purchase]]:
    due = pl.coalesce(end_of_day("promised_at", zone), pl.col("placed_at") + pl.duration(days=due_days))
    found: dict[int, list[Purchase]] = {}
    rows = orders.select("customer_id", "order_id", "placed_at", due_at=due)
    for customer, order, placed, due_at in rows.iter_rows():
        found.setdefault(customer, []).append(Purchase(id=order, placed_at=placed, due_at=due_at))
    return found


def _happenings(points: pl.DataFrame) -> Mapping[int, Iterable[Happening]]:
    columns = ("customer_id", "kind", "occurred_at", "order_id", "value", "recorded_at")
    found: dict[int, list[Happening]] = {}
    for customer, kind, at, order, value, known in points.select(columns).iter_rows():
        one = Happening(kind=kind, occurred_at=at, order_id=order, value=value, recorded_at=known)
        found.setdefault(customer, []).append(one)
    return found
