"""`aftercare replay`: whom we would have contacted in the past, how early, and how much trouble that would have caught.

Nothing is written to the database. What is chosen and judged is `predictors.retrospect`'s business; sentences and the page
are in `bot.services.prediction.retrospect_page`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.clock import Clock, as_utc, local_date, local_midnight
from bot.config import Settings
from bot.decide.daily import due_at
from bot.errors import InputError, UsageError
from bot.services.prediction.champions import predictor_errors, read_snapshot
from bot.services.prediction.experience import drawn_contacts
from bot.services.prediction.retrospect_page import retrospect_page, sentences
from bot.store import history
from bot.store.database import Database
from predictors.labels import LabelledBy
from predictors.mornings import Day, IssueSettings, Progress, learn, look
from predictors.retrospect import Comparison, Retrospect, Run, look_back

__all__ = ["Replayed", "Retrospector"]

OURS, RULE = "aftercare", "rule"
SAME_CONTACTS = "aftercare_at_the_rules_volume"


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A replay, with what it was about; `names` holds the shop's own ids of order and customer."""

    start: date
    end: date
    found: Retrospect
    names: dict[int, tuple[str, str]]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON of `aftercare replay`: the ways to choose, the comparisons, then every contact."""
        found = self.found
        for name, run in self._runs():
            yield {
                "row": "policy",
                "policy": name,
                "from": self.start.isoformat(),
                "to": self.end.isoformat(),
                "days": found.days,
                "orders": found.orders,
                "capacity": found.share,
                "horizon_days": found.horizon_days,
                "contacts": run.n,
                "caught": run.caught,
                "precision": round(run.caught / run.n, 4) if run.n else None,
                "lead_days": {
                    "median": _days(run.lead(0.5)),
                    "low_quartile": _days(run.lead(0.25)),
                    "high_quartile": _days(run.lead(0.75)),
                },
                "flagged": found.flagged if name == RULE else None,
            }
        for name, comparison in (("same_contacts", found.same_contacts), ("same_capacity", found.same_capacity)):
            yield _comparison(name, comparison)
        for way, rows in found.by_capacity.items():
            for share, contacts, caught in rows:
                yield {"row": "capacity", "policy": way, "capacity": share, "contacts": contacts, "caught": caught}
        yield {
            "row": "verdict",
            "observed_until": found.observed_until.astimezone(UTC).isoformat(),
            "sentences": sentences(found),
        }
        for name, run in self._runs():
            for one in run.contacts.iter_rows(named=True):
                order, customer = self.names[one["order_id"]]
                yield {
                    "row": "contact",
                    "policy": name,
                    "order_id": order,
                    "customer_id": customer,
                    "local_date": one["local_date"].isoformat(),
                    "at": one["at"].isoformat(),
                    "probability": None if one["score"] is None else round(one["score"], 4),
                    "promise_days": _days(one["promise_days"]),
                    "caught": one["first_sign_at"] is not None,
                    "first_sign": one["first_sign"],
                    "first_sign_at": None if one["first_sign_at"] is None else one["first_sign_at"].isoformat(),
                    "lead_days": _days(one["lead_days"]),
                }

    def _runs(self) -> tuple[tuple[str, Run], ...]:
        return (OURS, self.found.ours), (RULE, self.found.rule), (SAME_CONTACTS, self.found.same_contacts.ours)


class Retrospector:
    """Replays the past, day by day."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def replay(
        self,
        *,
        start: datetime,
        end: datetime,
        capacity: float,
        horizon_days: int | None = None,
        progress: Progress | None = None,
    ) -> Replayed:
        """Choose contacts on each local day from `start` up to, not including, `end`.

        Parameters
        ----------
        capacity : float
            Contacts a day, as a share of the orders of the day before.

        Raises
        ------
        UsageError
            No whole day lies in the span, or the capacity is no share.
        Refused
            The span lies in the future.
        """
        if not 0 < capacity <= 1:
            raise UsageError("--capacity is a share of the orders of a day: more than 0, at most 1, such as 0.05")
        start, end = as_utc(start), as_utc(end)
        if start >= end:
            raise UsageError("--from must be before --to: nothing lies in an empty span")
        days = self._days_between(start, min(end, self._clock.now()))
        if not days and start < self._clock.now():
            raise UsageError("no daily round (scheduler.daily_at) lies between --from and --to; choose a longer span")
        snapshot = read_snapshot(self._database, self._settings, self._clock.now())
        rules = self._settings.predictors
        settings = IssueSettings(
            horizon_days=horizon_days or rules.issue.horizon_days,
            due_days=rules.issue.due_days,
            labelled_by=LabelledBy(rules.issue.labelled_by),
            seed=rules.seed,
        )
        with predictor_errors():
            learned = learn(
                snapshot, start, end, settings, draws=drawn_contacts(self._database, snapshot.until), progress=progress
            )
            mornings = look(snapshot, days, learned, settings)
            found = look_back(mornings, snapshot, capacity, horizon_days=settings.horizon_days, seed=settings.seed)
        customers = dict(snapshot.orders.select("order_id", "customer_id").iter_rows())
        ids = sorted({order for run in _all_runs(found) for order in run.contacts["order_id"].to_list()})
        with self._database.read() as connection:
            orders = [key for _, key in history.names_of(connection, "orders", ids)]
            people = [key for _, key in history.names_of(connection, "customers", [customers[one] for one in ids])]
        zone = self._settings.shop.zone
        return Replayed(
            start=local_date(start, zone),
            end=local_date(end, zone),
            found=found,
            names=dict(zip(ids, zip(orders, people, strict=True), strict=True)),
        )

    def report(self, replayed: Replayed, path: Path) -> None:
        """Write the page: one file that needs nothing else.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        page = retrospect_page(
            replayed.found,
            span=f"{replayed.start} to {replayed.end}",
            names=replayed.names,
            shop=self._settings.shop.name,
            made_at=self._clock.now().astimezone(self._settings.shop.zone),
        )
        try:
            path.write_text(page, encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write the report {path}: {error.strerror}; choose another --report") from error

    def _days_between(self, start: datetime, end: datetime) -> list[Day]:
        zone, at = self._settings.shop.zone, self._settings.scheduler.daily_at
        found = []
        day = local_date(start, zone)
        while (chosen := due_at(day, at, zone)) < end:
            before = day - timedelta(days=1)
            if chosen >= start:
                found.append(
                    Day(
                        local_date=day,
                        at=chosen,
                        previous_at=due_at(before, at, zone),
                        before_from=local_midnight(before, zone),
                        before_to=local_midnight(day, zone),
                    )
                )
            day += timedelta(days=1)
        return found


def _all_runs(found: Retrospect) -> tuple[Run, ...]:
    return found.ours, found.rule, found.same_contacts.ours


def _comparison(name: str, comparison: Comparison) -> dict[str, Any]:
    return {
        "row": "comparison",
        "comparison": name,
        "contacts": comparison.ours.n,
        "caught": comparison.ours.caught,
        "rule_contacts": comparison.rule.n,
        "rule_caught": comparison.rule.caught,
        "ratio": _ratio(comparison.ratio),
        "low": _ratio(comparison.low),
        "high": _ratio(comparison.high),
    }


def _ratio(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _days(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
