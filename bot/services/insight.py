"""What the loop achieved: lift per playbook against its holdout, and the figures of a span of days.

Lift is read by `bot.services.experiments.lift`; here are the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bot.clock import Clock
from bot.config import Settings
from bot.services.experiments.lift import Lift, LiftReader
from bot.store import insight as counts
from bot.store.database import Database
from bot.store.enums import DecisionKind
from bot.store.experiments import Segmentation

__all__ = ["Insight", "Kpi", "Lift"]


@dataclass(frozen=True, kw_only=True)
class Kpi:
    """One figure with its base, and how it stands to the target in `journey`, if there is one."""

    name: str
    value: float | None
    n: int
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or a value."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def line(self) -> dict[str, Any]:
        """Return the JSON object of `report kpis`."""
        return {
            "kpi": self.name,
            "value": None if self.value is None else round(self.value, 4),
            "n": self.n,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "met": self.met,
        }


class Insight:
    """Reads results; changes nothing."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def lift(self, playbook: str | None = None, by: Segmentation | None = None) -> list[Lift]:
        """Return what each playbook changed; by variant too where there are several, by segment where one is named."""
        return LiftReader(self._database, self._clock, self._settings).lift(playbook, by)

    def kpis(self, days: int = 30) -> list[Kpi]:
        """Return the figures of the last days."""
        now = self._clock.now()
        since = now - timedelta(days=days)
        with self._database.read() as connection:
            states = counts.count_by_state(connection, since)
            decided = counts.count_decisions(connection, since)
            refused = counts.count_refusals(connection, since)
            inbound = counts.count_inbound(connection, since)
            sent, replied = counts.count_replies(connection, since, now)
            outcomes = counts.count_outcomes(connection, since)
        approvals = decided.get(DecisionKind.APPROVE, 0) + decided.get(DecisionKind.EDIT, 0)
        reviewed = approvals + decided.get(DecisionKind.REJECT, 0)
        messages = sum(inbound.values())
        proposed = sum(states.values())
        kpis = [
            self._kpi("proposed", float(proposed), proposed),
            *(self._kpi(f"state.{state}", float(number), number) for state, number in states.items()),
            *(self._kpi(f"kept_back.{reason}", float(number), number) for reason, number in refused.items()),
            self._kpi("approval_rate", _share(approvals, reviewed), reviewed),
            self._kpi("edit_rate", _share(decided.get(DecisionKind.EDIT, 0), approvals), approvals),
            self._kpi("sent", float(sent), sent),
            self._kpi("reply_rate", _share(replied, sent), sent),
            self._kpi("messages_received", float(messages), messages),
            self._kpi("answer_rate", _share(inbound.get("answer", 0), messages), messages),
            self._kpi("handoff_rate", _share(inbound.get("handoff", 0), messages), messages),
        ]
        kpis += [self._kpi(f"outcome.{kind}", mean, number) for kind, (number, mean) in sorted(outcomes.items())]
        return kpis

    def _kpi(self, name: str, value: float | None, n: int) -> Kpi:
        target = self._settings.journey.get(name)
        return Kpi(
            name=name,
            value=value,
            n=n,
            at_least=target.at_least if target else None,
            at_most=target.at_most if target else None,
        )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
