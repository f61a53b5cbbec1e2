"""The global stop: from one moment on nothing is sent to any customer, until somebody lifts it.

Proposals, decisions and what customers write go on; what was approved waits, and expires as it would anyway. The
claiming transaction of the delivery looks at the switch, so that nothing is begun after the stop is stored.
"""

from __future__ import annotations

import structlog

from bot.clock import Clock
from bot.store import audit
from bot.store.controls import STOPPED, get_control, set_control
from bot.store.database import Database

__all__ = ["Stopping"]

log = structlog.get_logger(__name__)


class Stopping:
    """Stops everything that leaves, and lets it go on."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def stop(self, actor: str, why: str = "") -> bool:
        """Send nothing from now on; False says that it was stopped already, and the first reason stands."""
        return self._switch(actor, {"why": why})

    def resume(self, actor: str) -> bool:
        """Let what was approved leave again; False says that nothing was stopped."""
        return self._switch(actor, None)

    def _switch(self, actor: str, wanted: dict[str, str] | None) -> bool:
        now = self._clock.now()
        action = "stop" if wanted is not None else "resume"
        with self._database.write() as connection:
            if (get_control(connection, STOPPED) is not None) == (wanted is not None):
                return False
            # In this order: whoever delivers asks for the switches first, and writes to the audit log last.
            set_control(connection, STOPPED, wanted, actor, now)
            audit.record(
                connection, at=now, actor=actor, action=action, entity="delivery", entity_id="all", detail=wanted
            )
        log.warning("sending_stopped" if wanted is not None else "sending_resumed", actor=actor)
        return True
