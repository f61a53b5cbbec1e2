"""`report scoreboard`: what became of check-ins that agents rejected, beside those that they approved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bot.clock import Clock
from bot.decide.effect import FEWEST
from bot.decide.scoreboard import Ended, Score, Side, Verdict, score
from bot.services.prediction.labelling import CHURN, ISSUE
from bot.store.database import Database
from bot.store.enums import DecisionKind
from bot.store.scoreboard import DecidedOutcome, decided_outcomes

__all__ = ["Line", "Scoreboard"]

ALL = "all"
_BAD = {ISSUE: "had a problem", CHURN: "did not order again"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One side of a group: all, one band of the prediction, or one reason of rejecting."""

    outcome: str
    group: str
    name: str
    score: Score

    def line(self) -> dict[str, Any]:
        """Return the JSON object of `report scoreboard`."""
        one = self.score
        return {
            "outcome": self.outcome,
            "group": self.group,
            "name": self.name,
            "decision": one.side.value,
            "n": one.n,
            "bad": one.bad,
            "rate": round(one.rate, 4) if one.n else None,
            "low": round(one.low, 4),
            "high": round(one.high, 4),
            "expected": round(one.expected, 4) if one.n else None,
            "verdict": None if one.verdict is None else one.verdict.value,
            "text": self.text,
        }

    @property
    def text(self) -> str:
        """The result in one honest sentence."""
        one = self.score
        if one.side is Side.APPROVED:
            if not one.n:
                return "none approved and observed yet"
            return (
                f"{_rate(one)} {_BAD[self.outcome]} although they were contacted; the model expected {one.expected:.0%}"
            )
        if one.verdict is Verdict.TOO_FEW:
            return f"too few to say: {one.n} rejected and observed, at least {FEWEST} are needed"
        said = {
            Verdict.AGENTS: "the agents saw something that the model did not",
            Verdict.MODEL: "more than expected: they should have been contacted",
            Verdict.EVEN: "as the model expected, as far as so few can tell",
        }[one.verdict or Verdict.EVEN]
        return f"{_rate(one)} {_BAD[self.outcome]} without a contact; the model expected {one.expected:.0%}: {said}"


class Scoreboard:
    """Reads how decided check-ins ended; changes nothing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def read(self) -> list[Line]:
        """Return the lines of each outcome that has any: all, then by band, then by reason of rejecting."""
        with self._database.read() as connection:
            found = decided_outcomes(connection, (ISSUE, CHURN), self._clock.now())
        decided = [(one, side) for one in found if (side := _side(one)) is not None]
        lines: list[Line] = []
        for outcome in (ISSUE, CHURN):
            own = [(one, side) for one, side in decided if one.kind == outcome]
            if own:
                lines += _pair(outcome, ALL, ALL, own)
                for band in sorted({one.band for one, _ in own}, key=("high", "medium", "low").index):
                    lines += _pair(outcome, "band", band, [(one, side) for one, side in own if one.band == band])
                rejected = [(one, side) for one, side in own if side is Side.REJECTED]
                for reason in sorted({one.reason or "" for one, _ in rejected}):
                    group = [_ended(one, side) for one, side in rejected if (one.reason or "") == reason]
                    name = reason or "no reason"
                    lines.append(Line(outcome=outcome, group="reason", name=name, score=score(Side.REJECTED, group)))
        return lines


def _side(one: DecidedOutcome) -> Side | None:
    if one.decision == DecisionKind.REJECT:
        # Sent before it was rejected cannot be; another contact for the same draw can.
        return None if one.sent else Side.REJECTED
    return Side.APPROVED if one.sent and one.decision in (DecisionKind.APPROVE, DecisionKind.EDIT) else None


def _pair(outcome: str, group: str, name: str, own: Sequence[tuple[DecidedOutcome, Side]]) -> Iterable[Line]:
    ended = [_ended(one, side) for one, side in own]
    return [Line(outcome=outcome, group=group, name=name, score=score(side, ended)) for side in Side]


def _ended(one: DecidedOutcome, side: Side) -> Ended:
    return Ended(side=side, bad=one.value, expected=one.probability)


def _rate(one: Score) -> str:
    return f"{one.rate:.0%} [{one.low:.0%}, {one.high:.0%}] of {one.n}"
