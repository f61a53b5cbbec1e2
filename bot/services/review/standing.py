"""Numbers for the people who decide: what an agent did lately, how the queue stands, whether anything leaves.

They are for looking, never for ranking people against each other: everybody sees only their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from bot.clock import Clock, local_date, local_midnight
from bot.store.database import Database
from bot.store.enums import DecisionKind
from bot.store.queue import Waiting, count_waiting
from bot.store.standing import Judgement, Sending, judgements, sending

__all__ = ["AgentNumbers", "Standing", "agent_numbers"]

DAYS = 7
# What expires so soon is worth a word.
SOON = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class AgentNumbers:
    """What one agent decided and nobody took back.

    Attributes
    ----------
    today, week : int
        Decisions since midnight in the agent's own zone, and in the last seven days.
    approved, edited, rejected : float or None
        Shares of the week's decisions, in [0, 1]; None where there were none.
    median_minutes : float or None
        From the proposal to the decision, over the week.
    """

    today: int
    week: int
    approved: float | None
    edited: float | None
    rejected: float | None
    median_minutes: float | None


def agent_numbers(found: Sequence[Judgement], midnight: datetime) -> AgentNumbers:
    """Count judgements of the last seven days; `midnight` is when the agent's day began."""

    def share(kind: DecisionKind) -> float | None:
        return sum(one.kind is kind for one in found) / len(found) if found else None

    return AgentNumbers(
        today=sum(one.decided_at >= midnight for one in found),
        week=len(found),
        approved=share(DecisionKind.APPROVE),
        edited=share(DecisionKind.EDIT),
        rejected=share(DecisionKind.REJECT),
        median_minutes=(
            median((one.decided_at - one.proposed_at).total_seconds() / 60 for one in found) if found else None
        ),
    )


class Standing:
    """Reads the numbers."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def of_agent(self, actor: str, zone: ZoneInfo) -> AgentNumbers:
        """Return an agent's own numbers; their day begins at midnight in their zone."""
        now = self._clock.now()
        with self._database.read() as connection:
            found = judgements(connection, actor, now - timedelta(days=DAYS))
        return agent_numbers(found, local_midnight(local_date(now, zone), zone))

    def of_queue(self) -> Waiting:
        """Return the queue in numbers."""
        now = self._clock.now()
        with self._database.read() as connection:
            return count_waiting(connection, now, now + SOON)

    def of_sending(self) -> Sending:
        """Return whether anything leaves, and what waits to."""
        with self._database.read() as connection:
            return sending(connection, self._clock.now())
