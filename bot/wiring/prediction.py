"""The composition of what predicts, learns and measures: a part of `bot.wiring`.

Nothing else builds these parts, and nothing here decides anything.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bot.lazy import OnFirstUse
from bot.wiring.ground import Ground

# These import scikit-learn and polars: seconds that most commands can do without.
if TYPE_CHECKING:
    from bot.services.experiments.allocating import Allocator
    from bot.services.experiments.paying import Earned, EarnedBy, Earner
    from bot.services.insight import Insight
    from bot.services.journey import JourneyBoard
    from bot.services.prediction.drifting import DriftWatch
    from bot.services.prediction.evaluating import Evaluator
    from bot.services.prediction.labelling import Labeller
    from bot.services.prediction.patterns import Patterns
    from bot.services.prediction.promoting import Promoter
    from bot.services.prediction.retraining import Trainer
    from bot.services.prediction.retrospecting import Retrospector
    from bot.services.prediction.scoring import Scorer
    from bot.services.prediction.touchpoint_ledger import TouchpointLedger
    from bot.services.prediction.valuing import Valuer
    from bot.services.scoreboard import Scoreboard
else:
    Allocator = OnFirstUse("bot.services.experiments.allocating", "Allocator")
    EarnedBy = OnFirstUse("bot.services.experiments.paying", "EarnedBy")
    Earner = OnFirstUse("bot.services.experiments.paying", "Earner")
    DriftWatch = OnFirstUse("bot.services.prediction.drifting", "DriftWatch")
    Evaluator = OnFirstUse("bot.services.prediction.evaluating", "Evaluator")
    Insight = OnFirstUse("bot.services.insight", "Insight")
    JourneyBoard = OnFirstUse("bot.services.journey", "JourneyBoard")
    Labeller = OnFirstUse("bot.services.prediction.labelling", "Labeller")
    Patterns = OnFirstUse("bot.services.prediction.patterns", "Patterns")
    Promoter = OnFirstUse("bot.services.prediction.promoting", "Promoter")
    Retrospector = OnFirstUse("bot.services.prediction.retrospecting", "Retrospector")
    Scorer = OnFirstUse("bot.services.prediction.scoring", "Scorer")
    Scoreboard = OnFirstUse("bot.services.scoreboard", "Scoreboard")
    TouchpointLedger = OnFirstUse("bot.services.prediction.touchpoint_ledger", "TouchpointLedger")
    Trainer = OnFirstUse("bot.services.prediction.retraining", "Trainer")
    Valuer = OnFirstUse("bot.services.prediction.valuing", "Valuer")

__all__ = ["PredictionParts"]


class PredictionParts(Ground):
    """Scores, models, and what became of them."""

    @cached_property
    def scorer(self) -> Scorer:
        """Predicts trouble and leaving."""
        return Scorer(self.database, self.clock, self.settings)

    @cached_property
    def trainer(self) -> Trainer:
        """Trains challengers and decides which model scores."""
        return Trainer(self.database, self.clock, self.settings)

    @cached_property
    def promoter(self) -> Promoter:
        """Lets people decide which model scores."""
        return Promoter(self.database, self.clock, self.settings)

    @cached_property
    def drift(self) -> DriftWatch:
        """Sees whether the champions still fit, and when it is time to train again."""
        return DriftWatch(self.database, self.clock, self.settings, self.trainer)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Measures our model beside baselines."""
        return Evaluator(self.database, self.clock, self.settings)

    @cached_property
    def journey_board(self) -> JourneyBoard:
        """Says where customers stand."""
        return JourneyBoard(self.database, self.clock, self.settings)

    @cached_property
    def scoreboard(self) -> Scoreboard:
        """Says what became of what agents rejected, beside what they approved."""
        return Scoreboard(self.database, self.clock)

    @cached_property
    def retrospector(self) -> Retrospector:
        """Says whom we would have contacted in the past."""
        return Retrospector(self.database, self.clock, self.settings)

    @cached_property
    def insight(self) -> Insight:
        """Reads what the loop achieved."""
        return Insight(self.database, self.clock, self.settings)

    @cached_property
    def valuer(self) -> Valuer:
        """Says what customers are worth, and how much of it is at risk."""
        return Valuer(self.database, self.clock, self.settings)

    @cached_property
    def patterns(self) -> Patterns:
        """Finds groups of orders with more trouble than expected."""
        return Patterns(self.database, self.clock, self.settings)

    @cached_property
    def touchpoint_ledger(self) -> TouchpointLedger:
        """Weighs what a customer has been through."""
        return TouchpointLedger(self.database, self.clock, self.settings)

    @cached_property
    def labeller(self) -> Labeller:
        """Writes down outcomes at the horizon."""
        return Labeller(self.database, self.clock, self.settings, self.playbooks)

    @cached_property
    def allocator(self) -> Allocator:
        """Moves the shares of variants with the outcomes."""
        return Allocator(self.database, self.clock, self.settings, self.playbooks)

    def earned(self, by: str) -> list[Earned]:
        """Return what contacting earned, by playbook, message or article."""
        return self.earner.report(EarnedBy(by))

    @cached_property
    def earner(self) -> Earner:
        """Says what playbooks, messages and articles earned, and which should end."""
        return Earner(self.database, self.clock, self.settings)
