"""What goes out unasked: approved by the machine at its time, as one decision among others.

It is run by the process that is connected to Slack, after the cards were brought up to date: who cannot see a card cannot
stop it, and then nothing is approved. Which level is in force is `bot.services.review.autonomy`'s reading.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from bot.clock import Clock
from bot.decide.autonomy import AFTERCARE
from bot.errors import AlreadyDecided, Refused
from bot.services.review.autonomy import Levels
from bot.services.review.desk import ReviewDesk
from bot.services.review.earning import Earning
from bot.store import autonomy as store
from bot.store.controls import RESTORED, STOPPED, controls_held
from bot.store.database import Connection, Database
from bot.store.outreach import Outreach

__all__ = ["Autopilot"]

log = structlog.get_logger(__name__)
# What is approved in one run at most; the rest follows at the next tick.
AT_ONCE = 200


class Autopilot:
    """Approves what nobody stopped."""

    def __init__(self, database: Database, clock: Clock, levels: Levels, review: ReviewDesk, earning: Earning) -> None:
        self._database = database
        self._clock = clock
        self._levels = levels
        self._review = review
        self._earning = earning

    def run(self) -> int:
        """Write down that agents are looking, and approve what is due; return how many were approved.

        Only to be called while Slack is connected and after its cards were brought up to date.
        """
        if not self._levels.may_be_automatic:
            return 0
        now = self._clock.now()
        with self._database.read() as connection:
            watching = not store.watch_is_due(connection, now)
        if not watching:
            with self._database.write() as connection:
                store.watch(connection, now, self._levels.gap)
        self._earning.look()  # what was lost is lost before anything more goes out by it
        return sum(self._approve(one) for one in self._due(now))

    def _due(self, now: datetime) -> list[Outreach]:
        due: list[Outreach] = []
        with self._database.read() as connection:
            for page in store.waiting_unasked(connection, self._levels.of_playbooks(connection), now):
                going = self._levels.going(connection, page, now, surely=True)
                due += [one for one in page if one.id in going and going[one.id] <= now]
        return due[:AT_ONCE]

    def _approve(self, one: Outreach) -> bool:
        try:
            self._review.approve_unasked(one.id, one.version, AFTERCARE, self.permit)
        except (AlreadyDecided, Refused) as error:  # an agent was faster, or it was stopped meanwhile
            log.info("not_sent_unasked", outreach=one.id, why=type(error).__name__)
            return False
        log.info("approved_unasked", outreach=one.id, playbook=one.playbook)
        return True

    def permit(self, connection: Connection, present: Outreach, now: datetime) -> None:
        """Look once more, in the transaction that decides; no stop can be stored before it ends.

        Raises
        ------
        Refused
            It does not go out unasked, or not now.
        """
        switches = controls_held(connection, STOPPED, RESTORED)
        if switches[STOPPED] is not None or switches[RESTORED] is not None:
            raise Refused("sending is stopped or held; nothing goes out unasked")
        at = self._levels.going(connection, [present], now, surely=True).get(present.id)
        if at is None or at > now:
            raise Refused(f"outreach {present.id} does not go out unasked now")
