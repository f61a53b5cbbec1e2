"""What the loop achieved: lift per playbook against its holdout, and the figures of a span of days.

Intervals come from `bot.decide.effect`; where there is too little, that is what is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bot.clock import Clock
from bot.config import Settings
from bot.decide.assignment import HOLDOUT
from bot.decide.effect import FEWEST, Effect, Observation, Rate, Reading, measure
from bot.services.prediction.labelling import CHURN, ISSUE
from bot.store import insight as counts
from bot.store.database import Database
from bot.store.enums import DecisionKind
from bot.store.outcomes import ObservedArm, observed_arms

__all__ = ["Insight", "Kpi", "Lift"]

_BAD = {ISSUE: "had a problem", CHURN: "did not order again"}
ALL_ARMS = "treated"


@dataclass(frozen=True, kw_only=True)
class Lift:
    """What one playbook changed, over all its arms together (`arm` = treated) or by one variant."""

    playbook: str
    outcome: str
    arm: str
    effect: Effect
    sent_share: float

    def line(self) -> dict[str, Any]:
        """Return the JSON object of `report lift`; rates are shares of bad outcomes."""
        return {
            "playbook": self.playbook,
            "outcome": self.outcome,
            "arm": self.arm,
            "treated": _rate(self.effect.treated),
            "holdout": _rate(self.effect.holdout),
            "difference": round(self.effect.difference, 4),
            "low": round(self.effect.low, 4),
            "high": round(self.effect.high, 4),
            "sent_share": round(self.sent_share, 4),
            "reading": self.effect.reading.value,
            "text": self.text,
        }

    @property
    def text(self) -> str:
        """The result in one honest sentence."""
        treated, holdout = self.effect.treated, self.effect.holdout
        if self.effect.reading is Reading.TOO_FEW:
            return (
                f"too few to say: {treated.n} customers drawn to be contacted, {holdout.n} held out, "
                f"at least {FEWEST} of each and some bad outcomes are needed"
            )
        points = (
            f"{self.effect.difference * 100:+.1f} points [{self.effect.low * 100:+.1f}, {self.effect.high * 100:+.1f}]"
        )
        said = {
            Reading.HELPS: "it helps",
            Reading.HARMS: "it harms",
            Reading.UNDECIDED: "not decided: the interval holds zero",
        }[self.effect.reading]
        return (
            f"{treated.value:.1%} of {treated.n} drawn to be contacted {_BAD.get(self.outcome, self.outcome)}, "
            f"{holdout.value:.1%} of {holdout.n} held out: {points}; {said}"
        )


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

    def lift(self, playbook: str | None = None) -> list[Lift]:
        """Return what each playbook changed; by variant too where there are several."""
        with self._database.read() as connection:
            observed = observed_arms(connection, (ISSUE, CHURN), self._clock.now())
        groups: dict[tuple[str, str], list[ObservedArm]] = {}
        for one in observed:
            if playbook is None or one.playbook == playbook:
                groups.setdefault((one.playbook, one.kind), []).append(one)
        return [found for key in sorted(groups) for found in _lifts(*key, groups[key])]

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


def _lifts(playbook: str, kind: str, observed: Sequence[ObservedArm]) -> list[Lift]:
    holdout = [_observation(one) for one in observed if one.arm == HOLDOUT]
    treated = [one for one in observed if one.arm != HOLDOUT]
    arms = sorted({one.arm for one in treated})
    groups = {ALL_ARMS: treated}
    if len(arms) > 1:
        groups |= {arm: [one for one in treated if one.arm == arm] for arm in arms}
    return [
        Lift(
            playbook=playbook,
            outcome=kind,
            arm=arm,
            effect=measure([_observation(one) for one in group], holdout),
            sent_share=_share(sum(one.treated for one in group), len(group)) or 0.0,
        )
        for arm, group in groups.items()
    ]


def _observation(one: ObservedArm) -> Observation:
    return Observation(value=one.value, propensity=one.propensity)


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "n": rate.n,
        "rate": round(rate.value, 4),
        "low": round(rate.low, 4),
        "high": round(rate.high, 4),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
