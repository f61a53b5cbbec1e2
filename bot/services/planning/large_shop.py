"""The long steps of a large shop's daily round, done in parts by all workers that are free.

A customer's prediction depends on no other range of customers, once the histories of the whole shop are known: each
process reads the shop once for a scoring. A plan is cut in two: who is refused for good is decided range by range, who of
the others is proposed over all of them (`bot.services.planning.sifting`). How parts are claimed and taken over is
`bot.services.planning.parts`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.services.planning.forecasting import SCORING
from bot.services.planning.parts import Parts, Task
from bot.services.planning.planner import Planner
from bot.services.prediction.scoring import Scorer
from bot.store.database import Database
from bot.store.enums import RunState
from bot.store.runs import finish_run, run_of, start_run

__all__ = ["PLAN", "LargeShop", "tasks_of"]

# The task that is a plan; the others bear the names of the kinds that they predict.
PLAN = "plan"
# The kinds that can be cut.
CUT = frozenset({"issue", "churn"})


@dataclass(frozen=True, kw_only=True)
class ScoringTask:
    """Predicts one kind for a range of customers."""

    scorer: Scorer
    kind: str

    def part(self, as_of: datetime, first: int, last: int) -> Mapping[str, Any]:
        return {"subjects": self.scorer.score_part(self.kind, as_of, first, last)}

    def forget(self) -> None:
        self.scorer.forget()


@dataclass(frozen=True, kw_only=True)
class PlanningTask:
    """Sifts a range of customers for today's plan."""

    planner: Planner

    def part(self, as_of: datetime, first: int, last: int) -> Mapping[str, Any]:
        return self.planner.plan_part(as_of, first, last)

    def forget(self) -> None:
        pass


def tasks_of(scorer: Scorer, planner: Planner) -> dict[str, Task]:
    """Return the tasks that every worker of an installation can help with, by name."""
    return {PLAN: PlanningTask(planner=planner)} | {kind: ScoringTask(scorer=scorer, kind=kind) for kind in CUT}


class LargeShop:
    """Scores and plans in parts where the shop is large, and leaves a small one to others.

    Parameters
    ----------
    kinds : collection of str
        What is predicted daily.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        parts: Parts,
        planner: Planner,
        kinds: Collection[str],
    ) -> None:
        self._database = database
        self._clock = clock
        self._zone = settings.shop.zone
        self._parts = parts
        self._planner = planner
        self._kinds = sorted(CUT.intersection(kinds))

    def score_today(self) -> int:
        """Predict, in parts, what was not predicted today; return how many subjects. A small shop is left as it is."""
        now = self._clock.now()
        count = 0
        for kind in self._kinds:
            key = f"{kind}:{local_date(now, self._zone)}"
            with self._database.read() as connection:
                run = run_of(connection, SCORING, key)
            if run is not None and run.state == RunState.DONE:
                continue
            if (found := self._parts.do(kind, now)) is None:
                continue
            subjects = sum(int(part["subjects"]) for part in found)
            # The one finalising step: only now does a plan see these predictions as today's.
            with self._database.write() as connection:
                start_run(connection, SCORING, key, now)
                finish_run(connection, SCORING, key, RunState.DONE, {"subjects": subjects, "parts": len(found)}, now)
            count += subjects
        return count

    def plan_today(self) -> int:
        """Plan, in parts where the shop is large; return how many lines the plan had."""
        now = self._clock.now()
        self._planner.refresh()  # what cannot be cut
        found = self._parts.do(PLAN, now)
        return len(self._planner.plan()) if found is None else self._planner.conclude(now, found)
