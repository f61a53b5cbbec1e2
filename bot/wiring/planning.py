"""The composition of what proposes check-ins: a part of `bot.wiring`.

Nothing else builds these parts, and nothing here decides anything.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bot.clock import Clock
from bot.decide.playbook import Playbook
from bot.lazy import OnFirstUse
from bot.services.planning.playbooks import PlaybookFile, Playbooks
from bot.services.review.autonomy import Levels
from bot.services.review.earning import Earning
from bot.services.review.overdue import Overdue
from bot.services.review.upkeep import Upkeep
from bot.store.jobs import call_helpers
from bot.wiring.knowledge import KnowledgeParts
from bot.wiring.prediction import PredictionParts

# These import polars: seconds that most commands can do without.
if TYPE_CHECKING:
    from bot.services.knowledge.previewing import previewing
    from bot.services.knowledge.telling import Telling
    from bot.services.planning.forecasting import rescoring_by
    from bot.services.planning.large_shop import LargeShop, tasks_of
    from bot.services.planning.parts import Parts
    from bot.services.planning.planner import Planner
    from bot.services.planning.simulating import Simulation
else:
    LargeShop = OnFirstUse("bot.services.planning.large_shop", "LargeShop")
    Parts = OnFirstUse("bot.services.planning.parts", "Parts")
    Planner = OnFirstUse("bot.services.planning.planner", "Planner")
    Telling = OnFirstUse("bot.services.knowledge.telling", "Telling")
    Simulation = OnFirstUse("bot.services.planning.simulating", "Simulation")
    previewing = OnFirstUse("bot.services.knowledge.previewing", "previewing")
    rescoring_by = OnFirstUse("bot.services.planning.forecasting", "rescoring_by")
    tasks_of = OnFirstUse("bot.services.planning.large_shop", "tasks_of")

__all__ = ["PlanningParts"]


class PlanningParts(PredictionParts, KnowledgeParts):
    """Playbooks become proposals, and time does what it does to them."""

    @cached_property
    def planner(self) -> Planner:
        """Proposes check-ins."""
        return self._planner(self.playbooks)

    def planner_of(self, playbook: Playbook, clock: Clock | None = None) -> Planner:
        """Build a planner that knows one playbook only, in force or not, to try it out, also on another day."""
        return self._planner(Playbooks([PlaybookFile(playbook=playbook, path=Path(), shipped=False)]), clock)

    def simulation_of(self, playbook: Playbook) -> Simulation:
        """Build what walks a playbook, in force or not, through past days without writing."""
        return Simulation(
            self.database,
            self.clock,
            playbook,
            lambda clock: self.planner_of(playbook, clock).plan(dry_run=True),
        )

    def _planner(self, playbooks: Playbooks, clock: Clock | None = None) -> Planner:
        return Planner(
            self.database,
            clock or self.clock,
            self.settings,
            self.catalogue,
            playbooks,
            rescore=rescoring_by(self.scorer),
            index=self.knowledge.index,
            preview=previewing(self.database, self.clock, self.settings, self.knowledge),
        )

    @cached_property
    def telling(self) -> Telling:
        """Tells those who asked what an article answers since."""
        versions = {one.id: one.version for one in self.playbooks.all}
        return Telling(self.database, self.clock, self.settings, self.catalogue, versions)

    @cached_property
    def levels(self) -> Levels:
        """Says how far playbooks may go by themselves."""
        return Levels(self.settings, self.playbooks.all)

    @cached_property
    def earning(self) -> Earning:
        """Offers playbooks to send at once, and takes it back."""
        return Earning(self.database, self.clock, self.settings, self.playbooks.all, self.levels)

    @cached_property
    def upkeep(self) -> Upkeep:
        """Does what time does to check-ins."""
        return Upkeep(self.database, self.clock, self.settings, self.playbooks)

    @cached_property
    def overdue(self) -> Overdue:
        """Names who should decide on cards that wait too long."""
        return Overdue(self.database, self.clock, self.playbooks.known)

    @cached_property
    def parts(self) -> Parts:
        """Does long work in parts, by several workers."""
        tasks = tasks_of(self.scorer, self.planner)
        return Parts(self.database, self.clock, tasks, call=call_helpers)

    @cached_property
    def large_shop(self) -> LargeShop:
        """Scores and plans in parts."""
        kinds = {one.kind for one in self.playbooks.all if one.audience.prediction is not None}
        return LargeShop(self.database, self.clock, self.settings, self.parts, self.planner, kinds)
