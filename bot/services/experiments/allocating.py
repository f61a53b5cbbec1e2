"""Moving the shares of variants with the outcomes: each move is stored with its instant, before anybody is drawn by it.

How shares follow from outcomes is `bot.decide.bandit`'s business, drawing by them `drawing`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.decide.assignment import HOLDOUT
from bot.decide.bandit import Allocation, AllocationWay, Exploration, allocate
from bot.decide.chance import Tally
from bot.decide.effect import Observation, rate
from bot.decide.playbook import Playbook
from bot.services.experiments.drawing import experiment_of, holdout_share
from bot.services.planning.playbooks import Playbooks
from bot.services.prediction.labelling import outcome_of
from bot.store import audit
from bot.store.allocations import NewAllocation, StoredAllocation, add_allocation, allocations_of, seen_in_arms
from bot.store.database import Connection, Database
from bot.store.notices import add_notice

__all__ = ["Allocator", "describe"]

log = structlog.get_logger()
# Shares that would move by less than this stay as they are: nothing is won by it, and every move is kept for ever.
LEAST_MOVE = 0.01


class Allocator:
    """Puts new shares into force where outcomes ask for them."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, playbooks: Playbooks) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._playbooks = [one for one in playbooks.all if len(one.variants) > 1]

    def allocate(self) -> int:
        """Look at every playbook with several variants; return how many got new shares. Again at once: none."""
        if self._settings.experiments.allocation != "thompson":
            return 0
        return sum(self._allocate(playbook) for playbook in self._playbooks)

    def _allocate(self, playbook: Playbook) -> bool:
        now = self._clock.now()
        experiment = experiment_of(playbook.id, self._settings)
        with self._database.read() as connection:
            before = allocations_of(connection, experiment)
            found = self._next(connection, playbook, experiment, before, now)
        if found is None:
            return False
        new = NewAllocation(
            playbook=playbook.id,
            experiment=experiment,
            number=len(before) + 1,
            way=found.way,
            shares=self._with_holdout(playbook, found),
            chances=found.chances,
            stopped=found.stopped,
            reason=_reason(found, before[-1] if before else None, self._rules),
            decided_at=now,
        )
        with self._database.write() as connection:
            if add_allocation(connection, new) is None:
                return False  # another process was faster, with the same outcomes
            audit.record(
                connection,
                at=now,
                actor="system",
                action=f"experiment.{new.way}",
                entity="playbook",
                entity_id=playbook.id,
                detail={"shares": dict(new.shares), "stopped": list(new.stopped)},
            )
            if new.way is AllocationWay.STOPPED or new.way.ended:
                ended = "is over" if new.way.ended else "goes on with one variant less"
                text = (
                    f"The comparison of variants in {playbook.id} {ended}: {new.reason}. See `aftercare report lift`."
                )
                add_notice(connection, "experiment", f"experiment:{experiment}:{new.number}", text, now)
        log.info("shares_moved", playbook=playbook.id, way=new.way.value, shares=dict(new.shares))
        return True

    def _next(
        self,
        connection: Connection,
        playbook: Playbook,
        experiment: str,
        before: Sequence[StoredAllocation],
        now: datetime,
    ) -> Allocation | None:
        """Return the shares from now on; None: those in force stay."""
        names = [variant.name for variant in playbook.variants]
        last = before[-1] if before else None
        # Other variants in the file are another comparison: it begins anew, with the outcomes of those that stayed.
        same = [one for one in before if set(one.shares) - {HOLDOUT} == set(names)]
        held = holdout_share(playbook, self._settings)
        if last is not None and last.way.ended and last in same and last.shares[HOLDOUT] == held:
            return None
        seen = seen_in_arms(connection, experiment, outcome_of(playbook.goal), now)
        tallies: dict[str, Tally] = {}
        for name in names:
            # Weighted by 1/propensity, so that a season in which one variant had a larger share does not count for it.
            bad = rate(Observation(value=value, propensity=share) for arm, share, value in seen if arm == name)
            tallies[name] = Tally(bad=bad.value * bad.effective_n, n=bad.effective_n)
        stopped = same[-1].stopped if same else ()
        began = same[0].decided_at if same else now
        found = allocate(tallies, stopped, self._rules, began=began, now=now)
        if last is None or last not in same or found.way not in (AllocationWay.MOVED, AllocationWay.BEGUN):
            return found
        shares = self._with_holdout(playbook, found)
        moved = max(abs(share - last.shares[name]) for name, share in shares.items())
        return found if moved >= LEAST_MOVE else None

    def _with_holdout(self, playbook: Playbook, found: Allocation) -> dict[str, float]:
        held = holdout_share(playbook, self._settings)
        return {HOLDOUT: held} | {name: (1 - held) * share for name, share in found.shares.items()}

    @property
    def _rules(self) -> Exploration:
        rules = self._settings.experiments.exploration
        return Exploration(floor=rules.floor, budget=rules.budget, stop_below=rules.stop_below, days=rules.days)


def describe(in_force: StoredAllocation, days: int, began: datetime) -> str:
    """Say how variants share those who are contacted, since when, and how it goes on."""
    contacted = 1 - in_force.shares[HOLDOUT]
    shares = ", ".join(
        f"{name} {share / contacted:.0%}" for name, share in in_force.shares.items() if name != HOLDOUT and share > 0
    )
    if in_force.way.ended:
        return f"variants: over since {in_force.decided_at:%Y-%m-%d}: {in_force.reason}"
    ends = began + timedelta(days=days)
    return f"variants: {shares} since {in_force.decided_at:%Y-%m-%d}; {in_force.reason}; ends {ends:%Y-%m-%d} at the latest"


def _reason(found: Allocation, last: StoredAllocation | None, rules: Exploration) -> str:
    lost = [name for name in found.stopped if last is None or name not in last.stopped]
    gone = f"{', '.join(lost)} stopped with less than a {rules.stop_below:.0%} chance of being the best"
    match found.way:
        case AllocationWay.BEGUN:
            return "nothing is known yet"
        case AllocationWay.DECIDED:
            return f"{found.leading} is left; {gone}" if lost else f"{found.leading} is left"
        case AllocationWay.EXPIRED:
            chance = found.chances[found.leading]
            return (
                f"after {rules.days} days {found.leading} leads with a chance of {chance:.0%} to be the best, and stays"
            )
        case AllocationWay.STOPPED:
            return gone
        case AllocationWay.MOVED:
            return f"{found.leading} leads with a chance of {found.chances[found.leading]:.0%} to be the best"
