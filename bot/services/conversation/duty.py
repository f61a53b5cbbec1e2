"""Hand-overs do not lie about: somebody is asked in turn, reminded before the time is over, and then the next one is asked.

It is run by the process that is connected to Slack, with the agents that may decide now; two of them do it once. The rules are
`bot.decide.duty`'s, showing them `bot.channels.slack`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.decide.duty import Duty, Step, behind, next_step
from bot.services.conversation.support_hours import hours_of
from bot.store import audit
from bot.store import duty as store
from bot.store.database import Connection, Database
from bot.store.duty import OpenDuty
from bot.store.enums import Author, HandoffState

__all__ = ["DutyRoster"]

log = structlog.get_logger(__name__)


class DutyRoster:
    """Looks after hand-overs that wait."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._support = settings.support
        self._hours = hours_of(settings)

    def run(self, agents: Callable[[], Sequence[str]]) -> int:
        """Ask, remind and pass on what is due; return how much was done.

        Parameters
        ----------
        agents : callable
            Returns who may be asked, as actors; asked only where something is due.
        """
        now = self._clock.now()
        with self._database.read() as connection:
            due = [one for one in store.duties(connection) if self._step(one, now) is not None]
        people, done = agents() if due else (), 0
        for one in due:
            with self._database.write() as connection:
                done += self._do(connection, one, people, now)
        return done

    def _step(self, one: OpenDuty, now: datetime) -> Step | None:
        before = timedelta(minutes=self._support.remind_minutes_before)
        duty = Duty(
            taken=one.state is HandoffState.TAKEN,
            urgent=one.urgent,
            owner=one.owner,
            due_at=one.due_at,
            reminded=one.reminded_at is not None,
            answered=one.last_author == Author.AGENT.value,
        )
        return next_step(duty, now, is_open=self._hours.is_open(now), before=before)

    def _do(self, connection: Connection, one: OpenDuty, agents: Sequence[str], now: datetime) -> bool:
        step = self._step(one, now)
        owner = one.owner
        changed: dict[str, object] = {}
        match step:
            case Step.ASK:
                if one.state is not HandoffState.TAKEN and owner is None:
                    owner = behind(agents, store.last_asked(connection))
                changed = {"owner": owner, "due_at": self._due(one, now), "reminded_at": None}
            case Step.NEXT:
                owner = behind(agents, owner) or owner
                changed = {"owner": owner, "due_at": self._due(one, now), "reminded_at": None}
                changed["reminders"] = one.reminders + 1
            case Step.REMIND:
                changed = {"reminded_at": now, "reminders": one.reminders + 1}
            case None:
                return False
        if not store.set_turn(connection, one, **changed):
            return False  # another process did it, or an agent took it meanwhile
        audit.record(
            connection,
            at=now,
            actor="system",
            action=f"handoff.{step}",
            entity="handoff",
            entity_id=one.id,
            detail={"owner": owner, "before": one.owner, "urgent": one.urgent},
        )
        log.info("handoff_turn", handoff=one.id, step=step.value, urgent=one.urgent)
        return True

    def _due(self, one: OpenDuty, now: datetime) -> datetime:
        minutes = self._support.due_minutes
        if one.urgent:
            return now + timedelta(minutes=minutes.urgent)  # whatever the hour
        return self._hours.after(now, timedelta(minutes=minutes.normal))
