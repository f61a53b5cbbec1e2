"""What time does to check-ins: put-aside ones come back, old ones expire, overtaken ones are called off.

Called at every tick; each change is the same compare-and-set that agents and the delivery use, so that whoever
is faster wins. Approved ones that were not sent in time expire in `bot.store.delivery`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.decide.lifecycle import DECIDABLE, OutreachState
from bot.services.planning.playbooks import Playbooks
from bot.store import audit, upkeep
from bot.store.database import Connection, Database
from bot.store.outreach import Outreach, OutreachColumns, change_state, list_outreach

__all__ = ["Upkeep", "UpkeepReport"]

log = structlog.get_logger(__name__)
# What one tick looks at of each kind: a writing transaction stays short, the rest follows at the next tick.
AT_ONCE = 200
_S = OutreachState
Change = tuple[Outreach, OutreachState, OutreachColumns]


@dataclass(frozen=True, kw_only=True)
class UpkeepReport:
    """How many check-ins came back, ended, were called off, and were closed."""

    woken: int = 0
    expired: int = 0
    cancelled: int = 0
    closed: int = 0


class Upkeep:
    """Keeps the queue true."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, playbooks: Playbooks) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        # Also of those not in force: what they proposed may still wait.
        self._exits = {playbook.id: playbook.exits for playbook in playbooks.known}

    def run(self) -> UpkeepReport:
        """Do what is due now."""
        report = UpkeepReport(
            expired=self._change(self._ended),
            cancelled=self._change(self._overtaken),
            woken=self._change(self._awake),
            closed=self._change(self._settled),
        )
        if report != UpkeepReport():
            log.info("upkeep", woken=report.woken, expired=report.expired, cancelled=report.cancelled)
        return report

    def _change(self, find: Callable[[Connection], Sequence[Change]]) -> int:
        with self._database.read() as connection:
            wanted = find(connection)
        if not wanted:
            return 0  # most ticks write nothing
        now = self._clock.now()
        with self._database.write() as connection:
            done = [
                (present, target)
                for present, target, columns in wanted
                if change_state(connection, present.id, present.version, [present.state], target, now, **columns)
            ]
            # Only now: an audit entry holds up everybody else's until this transaction ends.
            for present, target in done:
                audit.record(
                    connection,
                    at=now,
                    actor="system",
                    action=f"outreach.{target}",
                    entity="outreach",
                    entity_id=present.id,
                    detail={"version": present.version, "from": present.state.value},
                )
        return len(done)

    def _ended(self, connection: Connection) -> list[Change]:
        found = _load(connection, upkeep.ended(connection, self._clock.now(), AT_ONCE))
        return [(one, _S.EXPIRED, {"refusal": one.refusal or "not_decided"}) for one in found if one.state in DECIDABLE]

    def _awake(self, connection: Connection) -> list[Change]:
        changes: list[Change] = []
        for one in _load(connection, upkeep.awake(connection, self._clock.now(), AT_ONCE)):
            if one.state is _S.DEFERRED and one.decided_by is not None:
                changes.append((one, _S.APPROVED, {"refusal": None}))  # an agent's yes stays a yes
            elif one.state in (_S.SNOOZED, _S.DEFERRED):
                asked_again: OutreachColumns = {"decided_at": None, "decided_by": None, "snoozed_until": None}
                changes.append((one, _S.SUGGESTED, asked_again))
        return changes

    def _overtaken(self, connection: Connection) -> list[Change]:
        now = self._clock.now()
        happened = {playbook: exits - {"placed"} for playbook, exits in self._exits.items()}
        ordered = [playbook for playbook, exits in self._exits.items() if "placed" in exits]
        found = upkeep.overtaken(connection, happened, now, AT_ONCE)
        if ordered:
            found += upkeep.overtaken_by_order(connection, ordered, now, AT_ONCE)
        reasons = {one.outreach_id: one.kind for one in found}
        return [
            (one, _S.CANCELLED, {"refusal": reasons[one.id]})
            for one in _load(connection, sorted(reasons))
            if _S(one.state) in (*DECIDABLE, _S.APPROVED)
        ]

    def _settled(self, connection: Connection) -> list[Change]:
        found = _load(connection, upkeep.settled(connection, ("issue", "churn"), AT_ONCE))
        return [(one, _S.CLOSED, {}) for one in found if one.state in (_S.SENT, _S.REPLIED)]


def _load(connection: Connection, ids: Sequence[int]) -> list[Outreach]:
    return sorted(list_outreach(connection, ids=ids), key=lambda one: one.id) if ids else []
