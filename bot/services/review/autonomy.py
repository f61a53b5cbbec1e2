"""Which level of autonomy is in force for each check-in, and when it goes out unasked, by what is stored at this moment.

The rules are `bot.decide.autonomy`'s, what earns a level `bot.services.review.earning`'s, approving `bot.services.review.autopilot`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.config import Settings
from bot.decide.autonomy import AUTOMATIC, Standing, by_itself, in_force, is_sample, least
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Autonomy, Playbook
from bot.store import autonomy as store
from bot.store.database import Connection
from bot.store.outreach import Outreach

__all__ = ["Level", "Levels"]

# A connection that was lost for less is taken never to have been: nobody would have stopped anything in that very time.
GAP = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True)
class Level:
    """How far a playbook may go now.

    Attributes
    ----------
    ceiling : Autonomy
        What its file allows.
    delay : timedelta
        How long a card stands before it goes out unasked, where that is the level.
    """

    playbook: str
    version: str
    ceiling: Autonomy
    level: Autonomy
    delay: timedelta


class Levels:
    """Reads levels; writes nothing."""

    def __init__(self, settings: Settings, playbooks: Iterable[Playbook]) -> None:
        self._playbooks = {one.id: one for one in playbooks}
        self._sample = settings.review.autonomy.sample
        self.gap = max(GAP, 3 * timedelta(seconds=settings.scheduler.tick_seconds))

    @property
    def may_be_automatic(self) -> bool:
        """Whether any playbook's file allows anything to go out unasked."""
        return any(one.autonomy in AUTOMATIC for one in self._playbooks.values())

    def of_playbooks(self, connection: Connection) -> dict[str, Level]:
        """Return the level of each playbook, by id."""
        standing = store.standing_steps(connection)
        found: dict[str, Level] = {}
        for one in self._playbooks.values():
            latest = standing.get(one.id)
            stored = None if latest is None else Standing(level=latest.level, playbook_version=latest.playbook_version)
            level = in_force(one.autonomy, one.version, stored)
            found[one.id] = Level(
                playbook=one.id, version=one.version, ceiling=one.autonomy, level=level, delay=one.auto_after
            )
        return found

    def of(self, present: Outreach, levels: Mapping[str, Level]) -> Autonomy:
        """Return the level of one check-in: never above what held when it was proposed, nor above what holds now.

        One whose playbook is gone, or reads otherwise by now, is asked about.
        """
        level = levels.get(present.playbook)
        if level is None:
            return least(present.autonomy, Autonomy.APPROVE)
        found = least(present.autonomy, level.level)
        if found in AUTOMATIC and present.playbook_version != level.version:
            return Autonomy.APPROVE
        if found is Autonomy.AUTO and is_sample(present.dedupe_key, self._sample):
            return Autonomy.APPROVE
        return found

    def going(
        self, connection: Connection, outreaches: Sequence[Outreach], now: datetime, *, surely: bool
    ) -> dict[int, datetime]:
        """Return when suggested check-ins go out unasked, by id; those that never do are left out.

        Parameters
        ----------
        surely : bool
            False: as it is shown, with a card that is about to appear, and agents about to see it, taken to be there; True: only by what is certainly
            on agents' screens.
        """
        levels = self.of_playbooks(connection)
        asked = [
            one
            for one in outreaches
            if one.state is OutreachState.SUGGESTED and self.of(one, levels) in AUTOMATIC and one.expires_at > now
        ]
        if not asked:
            return {}
        ids = [one.id for one in asked]
        visible = store.visible_from(connection, now, self.gap, surely=surely)
        if visible is None:
            return {}
        handled = store.touched(connection, ids)
        cards = store.on_screen(connection, ids)
        found: dict[int, datetime] = {}
        for one in asked:
            card = cards.get(one.id)
            posted = now if card is None and not surely else card[0] if card is not None else None
            at = by_itself(
                self.of(one, levels),
                levels[one.playbook].delay,
                visible_since=None if posted is None else max(posted, visible),
                touched=one.id in handled,
                not_before=one.not_before,
                expires_at=one.expires_at,
            )
            if at is not None:
                found[one.id] = at
        return found
