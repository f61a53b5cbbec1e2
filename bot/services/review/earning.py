"""Sending at once is earned: offered when people's decisions reach the bar, taken by an agent, lost when they fall under it.

Every offer and every step is written down with who, when and the numbers, and audited; nothing is ever changed. Which level
is in force follows from that in `bot.services.review.autonomy`; the bar is `bot.decide.autonomy`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.decide.autonomy import AFTERCARE, Bar, Evidence, evidence_of, shortfalls
from bot.decide.playbook import Autonomy, Playbook
from bot.errors import AlreadyDecided, NotFound, Refused
from bot.services.review.autonomy import Levels
from bot.store import audit
from bot.store import autonomy as store
from bot.store.autonomy import Step
from bot.store.database import Connection, Database
from bot.store.enums import AutonomyWay

__all__ = ["Course", "Earning", "Record"]

log = structlog.get_logger(__name__)
# How far back judgements are looked for where the level is held and few people are asked any more.
LONGEST = timedelta(days=365)
# So often the numbers are looked at; a step by a person is checked at once.
LOOK_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Course:
    """What was offered and decided about a playbook.

    Attributes
    ----------
    level : Autonomy
        In force now.
    ceiling : Autonomy
        What its file allows at most.
    steps : tuple of Step
        Latest first.
    """

    playbook: str
    title: str
    version: str
    level: Autonomy
    ceiling: Autonomy
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Record(Course):
    """How a playbook stands, with the numbers; `missing` is what it lacks for sending at once, nothing: it is earned."""

    evidence: Evidence
    missing: tuple[str, ...]


class Earning:
    """Offers, grants and takes back."""

    def __init__(
        self, database: Database, clock: Clock, settings: Settings, playbooks: Iterable[Playbook], levels: Levels
    ) -> None:
        self._database = database
        self._clock = clock
        self._playbooks = {one.id: one for one in playbooks}
        self._levels = levels
        rules = settings.review.autonomy
        self.bar = Bar(
            days=rules.days, decisions=rules.decisions, as_written=rules.as_written, objections=rules.objections
        )
        self.sample = rules.sample
        self._looked_at: datetime | None = None

    def look(self) -> int:
        """Offer what was earned and take back what was lost; return how many steps that made.

        Called at every tick; it looks once a minute.
        """
        now = self._clock.now()
        if self._looked_at is not None and timedelta(0) <= now - self._looked_at < LOOK_EVERY:
            return 0
        self._looked_at = now
        return sum(self._look(one) for one in self._playbooks.values() if one.autonomy is Autonomy.AUTO)

    def record(self, playbook_id: str) -> Record:
        """Return how a playbook stands.

        Raises
        ------
        NotFound
            There is none with this id.
        """
        playbook = self._playbook(playbook_id)
        with self._database.read() as connection:
            return self._record(connection, playbook)

    def offered(self) -> list[Course]:
        """Return how the playbooks stand that were ever offered to send at once."""
        with self._database.read() as connection:
            offers = store.latest_offers(connection)
            return [self._course(connection, one) for one in self._playbooks.values() if one.id in offers]

    def playbook_of(self, offer_id: int) -> str:
        """Return the playbook that an offer is about; raises NotFound."""
        with self._database.read() as connection:
            offer = store.step(connection, offer_id)
        if offer is None:
            raise NotFound("there is no such offer")
        return offer.playbook

    def accept(self, offer_id: int, actor: str) -> Step:
        """Take an offer: from now on the playbook sends at once.

        Raises
        ------
        AlreadyDecided
            It is no longer the latest word about the playbook.
        Refused
            The numbers do not hold any more, or the playbook's file changed.
        """
        with self._database.read() as connection:
            offer = store.step(connection, offer_id)
        if offer is None or offer.way is not AutonomyWay.OFFERED:
            raise NotFound("there is no such offer")
        return self._set(offer.playbook, Autonomy.AUTO, actor, offer=offer)

    def set(self, playbook_id: str, level: Autonomy, actor: str) -> Step:
        """Let a playbook go up to a level from now on, within what its file allows; raises as `accept` does."""
        return self._set(playbook_id, level, actor)

    # --- How ---------------------------------------------------------------------------------------

    def _look(self, playbook: Playbook) -> int:
        with self._database.read() as connection:
            found = self._record(connection, playbook)
        latest = found.steps[0] if found.steps else None
        if found.level is Autonomy.AUTO:
            if not found.missing:
                return 0
            return self._step(found, AutonomyWay.FELL_BACK, Autonomy.APPROVE, AFTERCARE) is not None
        offered = latest is not None and latest.way is AutonomyWay.OFFERED and latest.playbook_version == found.version
        if found.missing or offered:
            return 0
        return self._step(found, AutonomyWay.OFFERED, Autonomy.AUTO, AFTERCARE) is not None

    def _set(self, playbook_id: str, level: Autonomy, actor: str, offer: Step | None = None) -> Step:
        found = self.record(playbook_id)
        if offer is not None and (not found.steps or found.steps[0].id != offer.id):
            raise AlreadyDecided(f"somebody decided about the playbook {playbook_id} meanwhile; nothing was changed")
        if offer is not None and offer.playbook_version != found.version:
            raise Refused(f"the playbook {playbook_id} was changed since; it has to earn it anew")
        if level.rank > found.ceiling.rank or (level is Autonomy.AUTO_AFTER and found.ceiling is not level):
            raise Refused(
                f"the file of the playbook {playbook_id} says autonomy: {found.ceiling}; nothing stored goes beyond it"
            )
        if level is found.level:
            raise AlreadyDecided(f"the playbook {playbook_id} is at {level} already; nothing was changed")
        if level is Autonomy.AUTO and found.missing:
            raise Refused(f"the playbook {playbook_id} has not earned it: {'; '.join(found.missing)}")
        way = AutonomyWay.GRANTED if level.rank > found.level.rank else AutonomyWay.LOWERED
        made = self._step(found, way, level, actor)
        if made is None:
            raise AlreadyDecided(f"somebody decided about the playbook {playbook_id} meanwhile; nothing was changed")
        return made

    def _step(self, found: Record, way: AutonomyWay, level: Autonomy, actor: str) -> Step | None:
        now = self._clock.now()
        numbers = {**_numbers(found.evidence), "missing": list(found.missing)}
        with self._database.write() as connection:
            made = store.append_step(
                connection,
                playbook=found.playbook,
                number=found.steps[0].number + 1 if found.steps else 1,
                playbook_version=found.version,
                way=way,
                level=level,
                actor=actor,
                numbers=numbers,
                now=now,
            )
            if made is None:
                return None
            audit.record(
                connection,
                at=now,
                actor=actor,
                action=f"autonomy.{way}",
                entity="playbook",
                entity_id=found.playbook,
                detail={"level": level.value, "version": found.version, **_numbers(found.evidence)},
            )
            step = store.step(connection, made)
        log.info("autonomy_step", playbook=found.playbook, way=way.value, level=level.value)
        return step

    def _course(self, connection: Connection, playbook: Playbook) -> Course:
        return Course(
            playbook=playbook.id,
            title=playbook.title,
            version=playbook.version,
            level=self._levels.of_playbooks(connection)[playbook.id].level,
            ceiling=playbook.autonomy,
            steps=tuple(store.steps_of(connection, playbook.id)),
        )

    def _record(self, connection: Connection, playbook: Playbook) -> Record:
        course = self._course(connection, playbook)
        evidence = self._evidence(connection, playbook, course.steps, keeping=course.level is Autonomy.AUTO)
        return Record(**vars(course), evidence=evidence, missing=tuple(shortfalls(evidence, self.bar)))

    def _evidence(
        self, connection: Connection, playbook: Playbook, steps: Iterable[Step], *, keeping: bool
    ) -> Evidence:
        now = self._clock.now()
        recent = now - timedelta(days=self.bar.days)
        since = now - LONGEST if keeping else recent
        # What was taken back is earned anew, by what people decide from then on.
        back = next((one for one in steps if one.way in (AutonomyWay.LOWERED, AutonomyWay.FELL_BACK)), None)
        if back is not None and not keeping:
            since = max(since, back.recorded_at)
        judged = store.judgements(connection, playbook.id, playbook.version, since)
        return evidence_of(
            judged,
            sent=store.recipients_since(connection, playbook.id, playbook.version, recent),
            objections=store.objections_since(connection, playbook.id, playbook.version, recent),
            now=now,
            bar=self.bar,
            keeping=keeping,
        )

    def _playbook(self, playbook_id: str) -> Playbook:
        if playbook_id not in self._playbooks:
            known = ", ".join(sorted(self._playbooks))
            raise NotFound(f"there is no playbook {playbook_id!r}; known: {known}")
        return self._playbooks[playbook_id]


def _numbers(evidence: Evidence) -> dict[str, Any]:
    return {
        "decided": evidence.decided,
        "as_written": evidence.as_written,
        "low": round(evidence.low, 4),
        "sent": evidence.sent,
        "objections": evidence.objections,
    }
