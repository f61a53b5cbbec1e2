"""Cards that wait too long: at its due time the owner is named on a card, later the one to whom it is escalated.

Each once. An escalated card is urgent from then on, so that it is shown among the first and, where only urgent cards are
posted one by one, posted. When that is, is said by the playbook.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog

from bot.clock import Clock
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Playbook
from bot.store import audit
from bot.store.database import Database
from bot.store.outreach import Outreach, list_outreach, revise

__all__ = ["Overdue"]

log = structlog.get_logger(__name__)
OWNER, ESCALATED = "due", "escalated"


class Overdue:
    """Looks for cards that wait too long."""

    def __init__(self, database: Database, clock: Clock, playbooks: Iterable[Playbook]) -> None:
        self._database = database
        self._clock = clock
        self._timed = [one for one in playbooks if one.due_after is not None or one.escalate_after is not None]

    def run(self) -> int:
        """Mark what is overdue now; return how many cards are marked newly."""
        now = self._clock.now()
        marked = 0
        for playbook in self._timed:
            with self._database.read() as connection:
                waiting = list_outreach(connection, [OutreachState.SUGGESTED], playbook=playbook.id)
            for one in waiting:
                for mark, who, after in _overdue(playbook, one, now):
                    marked += self._mark(one, mark, who, after, now)
                    break  # the card has another version now; what else there is to say follows at the next tick
        return marked

    def _mark(self, one: Outreach, mark: str, who: str, after: timedelta, now: datetime) -> bool:
        hours = after / timedelta(hours=1)
        said: dict[str, Any] = {
            "feature": mark,
            "text": f"It has waited for more than {hours:g} hours: {who}, please decide.",
            "effect": None,
        }
        kept = [dict(reason) for reason in one.reasons if reason.get("feature") not in (OWNER, ESCALATED)]
        urgent = one.urgent or mark == ESCALATED
        with self._database.write() as connection:
            done = revise(
                connection,
                one.id,
                one.version,
                [OutreachState.SUGGESTED],
                now,
                reasons=[said, *kept],
                urgent=urgent,
            )
            if done:
                audit.record(
                    connection,
                    at=now,
                    actor="system",
                    action=f"outreach.{mark}",
                    entity="outreach",
                    entity_id=one.id,
                    detail={"version": one.version, "playbook": one.playbook},
                )
        if done:
            log.info("outreach_overdue", outreach=one.id, mark=mark)
        return done


def _overdue(playbook: Playbook, one: Outreach, now: datetime) -> list[tuple[str, str, timedelta]]:
    """Return what is to be said on a card and is not said yet, the gravest first."""
    marks = {str(reason.get("feature")) for reason in one.reasons}
    waited = now - one.created_at
    if ESCALATED in marks:
        return []
    if playbook.escalate_after is not None and waited >= playbook.escalate_after:
        return [(ESCALATED, playbook.escalate_to, playbook.escalate_after)]
    if playbook.due_after is not None and waited >= playbook.due_after and OWNER not in marks:
        return [(OWNER, playbook.owner, playbook.due_after)]
    return []
