"""The desk for emergent patterns: what stands about each, what agents say to it, and check-ins for those not yet in trouble.

Finding and remembering patterns is `bot.services.prediction.patterns`' business. Whom a check-in may reach is decided as on any
day: by the playbooks whose audience is a pattern, the policy, the draw and the room of the day; each is reviewed like any other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.decide.emergence import PatternState
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import PATTERN, Band
from bot.errors import AftercareError, AlreadyDecided, NotFound, Refused
from bot.services.planning.playbooks import Playbooks
from bot.services.review.desk import ReviewDesk
from bot.store import audit
from bot.store import patterns as store
from bot.store.database import Connection, Database
from bot.store.enums import PatternAnswer, PlanDecision
from bot.store.patterns import StoredPattern
from bot.store.planning import Forecast

# Both import polars: seconds that a process that only shows patterns can do without.
if TYPE_CHECKING:
    from bot.services.planning.planner import Planner
    from bot.services.prediction.patterns import PatternReport, Patterns

__all__ = ["PatternDesk", "PatternView", "Proposed"]

log = structlog.get_logger(__name__)
_S = OutreachState
# So long the end of a pattern is shown where it stood.
OVER_SHOWN = timedelta(days=14)


@dataclass(frozen=True, kw_only=True)
class PatternView:
    """What is shown about one pattern.

    Attributes
    ----------
    states : mapping
        How many of its check-ins are in which state.
    waiting : sequence of (int, int)
        Ids and versions of those that wait for an agent.
    answerable : bool
        Whether some playbook takes its audience from such a pattern.
    """

    pattern: StoredPattern
    states: Mapping[OutreachState, int]
    waiting: Sequence[tuple[int, int]]
    answerable: bool

    @property
    def open(self) -> bool:
        """Whether it is still there."""
        return self.pattern.state is PatternState.OPEN

    @property
    def batch(self) -> str:
        """Name exactly the check-ins that wait, in the versions in which they do."""
        return hashlib.sha256(repr(list(self.waiting)).encode()).hexdigest()[:12]

    @property
    def untold(self) -> bool:
        """Whether it is news that nobody was told of yet."""
        told = self.pattern.told_at
        return told is None or told < self.pattern.news_at


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """What asking for check-ins came to: how many were proposed, and how many were left alone by reason."""

    proposed: int
    left: Mapping[str, int]


class PatternDesk:
    """Where agents deal with patterns.

    Parameters
    ----------
    patterns, planner : callable
        Return the parts when they are needed; looking for patterns takes seconds.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        review: ReviewDesk,
        playbooks: Playbooks,
        *,
        patterns: Callable[[], Patterns],
        planner: Callable[[], Planner],
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._review = review
        self._needs = [one.audience.pattern for one in playbooks.all if one.audience.pattern is not None]
        self._patterns = patterns
        self._planner = planner

    # --- Looking -----------------------------------------------------------------------------------

    def views(self) -> list[PatternView]:
        """Return the patterns that are there, and those that ended lately."""
        with self._database.read() as connection:
            return self._views(connection, store.patterns_to_show(connection, self._clock.now() - OVER_SHOWN))

    def view(self, pattern_id: int) -> PatternView:
        """Return one pattern.

        Raises
        ------
        NotFound
            There is none with this id.
        """
        with self._database.read() as connection:
            found = store.pattern(connection, pattern_id)
            if found is None:
                raise NotFound("there is no such pattern")
            return self._views(connection, [found])[0]

    def mark_told(self, pattern_id: int) -> None:
        """Write down that people were told of a pattern as it is now."""
        with self._database.write() as connection:
            store.mark_told(connection, pattern_id, self._clock.now())

    # --- Dealing with one --------------------------------------------------------------------------

    def answer(self, pattern_id: int, answer: PatternAnswer, actor: str) -> None:
        """Acknowledge a pattern, or say that it is no problem: a label for learning.

        Raises
        ------
        AlreadyDecided
            It was said already, or the pattern is over.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            if not store.answer_pattern(connection, pattern_id, answer, actor, now):
                raise AlreadyDecided("that was said already, or the pattern is over; nothing was changed")
            audit.record(
                connection, at=now, actor=actor, action=f"pattern.{answer}", entity="pattern", entity_id=pattern_id
            )
        log.info("pattern_answered", pattern=pattern_id, answer=answer.value)

    def propose(self, pattern_id: int, actor: str) -> Proposed:
        """Propose check-ins to those in the pattern who have not complained; again on the same day, nobody twice.

        Raises
        ------
        Refused
            The pattern is over or called no problem, or no playbook takes its audience from it.
        """
        view = self.view(pattern_id)
        if not view.open or view.pattern.answer is PatternAnswer.DISMISSED:
            raise Refused("this pattern is over, or was called no problem; nothing was proposed")
        if not view.answerable:
            raise Refused("no playbook takes its audience from such a pattern; write one with `audience: pattern`")
        report = next((one for one in self._patterns().report() if one.stored and one.stored.id == pattern_id), None)
        if report is None:
            raise Refused("this pattern is not to be seen at present; nothing was proposed")
        forecasts = self._forecasts(report, pattern_id)
        lines = self._planner().plan_pattern(report.pattern.cell.dimension.value, report.pattern.kind, forecasts)
        done = [one for one in lines if one.decision is PlanDecision.SUGGEST and one.outreach_id is not None]
        left = Counter(one.reason or one.decision.value for one in lines if one.decision is not PlanDecision.SUGGEST)
        now = self._clock.now()
        with self._database.write() as connection:
            audit.record(
                connection,
                at=now,
                actor=actor,
                action="pattern.propose",
                entity="pattern",
                entity_id=pattern_id,
                detail={"silent_orders": len(forecasts), "proposed": len(done), "left": dict(left)},
            )
        log.info("pattern_check_ins_proposed", pattern=pattern_id, proposed=len(done), left=sum(left.values()))
        return Proposed(proposed=len(done), left=left)

    def approve_all(self, pattern_id: int, batch: str, actor: str, event_key: str) -> list[str]:
        """Approve the waiting check-ins of a pattern, exactly those that were seen; return why some were not.

        Raises
        ------
        AlreadyDecided
            Others wait by now than those that `batch` names; none was approved.
        """
        view = self.view(pattern_id)
        if view.batch != batch or not view.waiting:
            raise AlreadyDecided("other check-ins wait by now than when this was drawn; none was approved, look again")
        refused: list[str] = []
        for outreach_id, version in view.waiting:
            try:
                self._review.approve(outreach_id, version, actor, event_key=f"{event_key}:{outreach_id}")
            except AftercareError as error:  # one that cannot be approved holds up no other
                refused.append(str(error))
        log.info("pattern_batch_approved", pattern=pattern_id, asked=len(view.waiting), refused=len(refused))
        return refused

    # --- How ---------------------------------------------------------------------------------------

    def _views(self, connection: Connection, found: Sequence[StoredPattern]) -> list[PatternView]:
        check_ins = store.check_ins_for(connection, [one.id for one in found])
        return [
            PatternView(
                pattern=one,
                states=Counter(state for _, _, state in check_ins.get(one.id, ())),
                waiting=tuple(
                    (key, version) for key, version, state in check_ins.get(one.id, ()) if state == _S.SUGGESTED
                ),
                answerable=any(need.meets(_dimension(one.cell), one.kind) for need in self._needs),
            )
            for one in found
        ]

    def _forecasts(self, report: PatternReport, pattern_id: int) -> list[Forecast]:
        """Return what stands in for predictions: how many of the pattern's buyers had trouble, for each who had none."""
        pattern, now = report.pattern, self._clock.now()
        share = pattern.troubled / pattern.exposed
        bands = self._settings.predictors.bands
        band = Band.HIGH if share >= bands.high else Band.MEDIUM if share >= bands.medium else Band.LOW
        complained = {one.customer_id for one in report.troubled}
        return [
            Forecast(
                prediction_id=None,
                kind=PATTERN,
                moment="",
                customer_id=one.customer_id,
                order_id=one.order_id,
                as_of=now,
                probability=share,
                band=band.value,
                reasons=({"feature": PATTERN, "text": f"{report.sentence}.", "effect": None},),
                pattern_id=pattern_id,
            )
            for one in report.silent
            if one.customer_id not in complained
        ]


def _dimension(cell: str) -> str:
    return cell.partition(":")[0]
