"""What a playbook would have done on past days, step by step; nothing is written.

Each past day is planned as it was known then; of those who would have been proposed, each later step is judged by what was
recorded of them since, as if each message had been approved and sent when it was proposed. Whom that would have changed,
nobody can know: they are those who were not written to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.clock import Clock, ManualClock
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Playbook
from bot.decide.playbook_journey import Ended, Instance, Proposes, advance
from bot.errors import NotFound
from bot.services.planning.plan_lines import PlanLine
from bot.store.audience_facts import placed_since
from bot.store.database import Database
from bot.store.enums import PlanDecision
from bot.store.journeys import events_of_customers
from bot.store.shop import customer_by_key, order_by_key

__all__ = ["Simulated", "Simulation"]

DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """One thing that would have happened to one customer; `step` of an end is the step at which the way ended."""

    at: datetime
    customer_id: str
    order_id: str | None
    step: str
    decision: str
    reason: str | None


class Simulation:
    """Walks one playbook through past days.

    Parameters
    ----------
    plan : callable
        Plans this playbook alone by a clock, without writing.
    """

    def __init__(
        self, database: Database, clock: Clock, playbook: Playbook, plan: Callable[[Clock], list[PlanLine]]
    ) -> None:
        self._database = database
        self._clock = clock
        self._playbook = playbook
        self._plan = plan

    def run(self, days: int, customer: str | None = None) -> Iterator[Simulated]:
        """Yield what would have happened in the last so many days and today.

        Raises
        ------
        NotFound
            There is no such customer.
        """
        now = self._clock.now()
        if customer is not None:
            with self._database.read() as connection:
                if customer_by_key(connection, customer) is None:
                    raise NotFound(f"there is no customer {customer!r}; use the shop's own customer id")
        begun: set[tuple[str, datetime | None]] = set()
        for ago in range(days, -1, -1):
            day = now - ago * DAY
            for line in self._plan(ManualClock(day)):
                if customer not in (None, line.customer_id) or (line.customer_id, line.trigger_at) in begun:
                    continue
                decided = Simulated(
                    at=day,
                    customer_id=line.customer_id,
                    order_id=line.order_id,
                    step=line.step,
                    decision=line.decision.value,
                    reason=line.reason,
                )
                if line.decision is PlanDecision.SUGGEST:
                    begun.add((line.customer_id, line.trigger_at))
                    yield decided
                    yield from self._walk(decided, line.trigger_at or day, now)
                elif ago == 0 or customer is not None:
                    yield decided  # of others, only how they stand today: each day would say the same again

    def _walk(self, first: Simulated, trigger_at: datetime, now: datetime) -> Iterator[Simulated]:
        playbook = self._playbook
        kinds = set(playbook.exits).union(*(one.when.kinds for one in playbook.steps if one.when is not None))
        with self._database.read() as connection:
            person = customer_by_key(connection, first.customer_id)
            order = order_by_key(connection, first.order_id) if first.order_id is not None else None
            assert person is not None
            events = events_of_customers(connection, [person.id], kinds, now).get(person.id, [])
            events += placed_since(connection, [person.id], first.at, now).get(person.id, [])
        mine = [one for one in events if order is None or one.order_id in (None, order.id)]
        step, sent_at, at = first.step, first.at, first.at
        while at <= now:
            known = [one for one in mine if one.occurred_at <= at]
            instance = Instance(
                trigger_at=trigger_at,
                started_at=first.at,
                step=step,
                held_out=False,
                state=OutreachState.SENT,
                sent_at=sent_at,
            )
            match advance(playbook, instance, known, at):
                case Ended(why=why):
                    yield Simulated(
                        at=at,
                        customer_id=first.customer_id,
                        order_id=first.order_id,
                        step=step,
                        decision="end",
                        reason=why,
                    )
                    return
                case Proposes(step=following):
                    step, sent_at = following.id, at
                    yield Simulated(
                        at=at,
                        customer_id=first.customer_id,
                        order_id=first.order_id,
                        step=step,
                        decision=PlanDecision.SUGGEST.value,
                        reason=None,
                    )
            at += DAY
