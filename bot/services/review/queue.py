"""The queue as agents look through it: page by page, one by one, and sorted into what may be approved together.

Deciding is `bot.services.review.desk`'s business, what may be approved together `low_risk`'s rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.clock import Clock
from bot.decide.playbook import Autonomy
from bot.errors import AftercareError, Refused
from bot.services.planning.playbooks import Playbooks
from bot.services.review.desk import CardView, ReviewDesk
from bot.services.review.low_risk import LowRiskFacts, Why, why_not
from bot.store.database import Database
from bot.store.journeys import locked
from bot.store.outreach import Outreach
from bot.store.queue import Owner, QueueFilter, next_waiting, playbooks_waiting, waiting, wrote_since
from messages.tone import check_tone

__all__ = ["BulkResult", "NoLongerLowRisk", "Owner", "Page", "QueueFilter", "ReviewQueue", "Sorted"]

# Whoever wrote to us in these days is in a conversation, whoever answered last.
LATELY = timedelta(days=7)
# So much of a long queue is looked at for what may be approved together, and so many are approved at once.
LOOKED_AT, AT_ONCE = 500, 40


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of the queue; `number` counts from 1."""

    cards: Sequence[CardView]
    total: int
    number: int
    pages: int


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Waiting check-ins that may be approved together, and the others with the reason.

    Attributes
    ----------
    low_risk : sequence of Outreach
        At most `AT_ONCE`, most pressing first.
    more : int
        How many of low risk are left for another time.
    """

    low_risk: Sequence[Outreach]
    more: int
    others: Sequence[tuple[Outreach, Why]]


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """What became of check-ins that were decided together: ids, and by id why not."""

    done: Sequence[int]
    refused: Sequence[tuple[int, str]]


class NoLongerLowRisk(Refused):
    """Since the recap was shown, something speaks against approving it unread."""

    def __init__(self, outreach_id: int, why: Why) -> None:
        super().__init__(f"outreach {outreach_id} wants to be read by itself ({why}); open it")


class ReviewQueue:
    """The waiting check-ins of a shop.

    Parameters
    ----------
    playbooks : callable
        Returns the playbooks that are in force.
    """

    def __init__(
        self, database: Database, clock: Clock, review: ReviewDesk, playbooks: Callable[[], Playbooks]
    ) -> None:
        self._database = database
        self._clock = clock
        self._review = review
        self._playbooks = playbooks

    def page(self, wanted: QueueFilter, actor: str, number: int, size: int) -> Page:
        """Return one page; a number beyond the end gives the last one."""
        now = self._clock.now()
        with self._database.read() as connection:
            found, total = waiting(connection, wanted, actor, now, limit=size, offset=(max(1, number) - 1) * size)
            pages = max(1, -(-total // size))
            if number > pages:
                number = pages
                found, total = waiting(connection, wanted, actor, now, limit=size, offset=(pages - 1) * size)
        return Page(cards=self._review.cards(found), total=total, number=max(1, number), pages=pages)

    def next(self, actor: str) -> CardView | None:
        """Return the card that an agent should look at next; None where nothing waits."""
        with self._database.read() as connection:
            found = next_waiting(connection, actor, self._clock.now())
        return None if found is None else self._review.card(found.id)

    def playbooks(self) -> dict[str, tuple[str, int]]:
        """Return (title, how many wait) of each playbook of which something waits."""
        with self._database.read() as connection:
            found = playbooks_waiting(connection, self._clock.now())
        titles = {one.id: one.title for one in self._playbooks().all}
        return {playbook: (titles.get(playbook, playbook), number) for playbook, number in found.items()}

    def sort(self, wanted: QueueFilter, actor: str) -> Sorted:
        """Part what waits into what may be approved together and the rest."""
        with self._database.read() as connection:
            found, _ = waiting(connection, wanted, actor, self._clock.now(), limit=LOOKED_AT)
        risks = self._risks(self._review.cards(found), actor)
        low = [one for one in found if risks[one.id] is None]
        others = [(one, why) for one in found if (why := risks[one.id]) is not None]
        return Sorted(low_risk=low[:AT_ONCE], more=max(0, len(low) - AT_ONCE), others=others)

    def approve_together(self, chosen: Sequence[tuple[int, int]], actor: str, event_key: str) -> BulkResult:
        """Approve check-ins one by one, each on the version that was seen, where it still is of low risk.

        The same event again changes nothing and gives the same answer.

        Parameters
        ----------
        chosen : sequence of (int, int)
            Ids and versions.
        """
        return _each(chosen, lambda one, version: self._approve(one, version, actor, f"{event_key}:{one}"))

    def undo_together(self, chosen: Sequence[tuple[int, int]], actor: str, event_key: str) -> BulkResult:
        """Take back what was approved together, each where it still can be; the same event again changes nothing."""
        return _each(chosen, lambda one, version: self._review.undo(one, version, actor, f"{event_key}:{one}"))

    def _approve(self, outreach_id: int, version: int, actor: str, event_key: str) -> None:
        view = self._review.card(outreach_id)
        if view.outreach.version == version:
            risk = self._risks([view], actor)[outreach_id]
            if risk is not None:
                raise NoLongerLowRisk(outreach_id, risk)
        self._review.approve(outreach_id, version, actor, event_key=event_key)

    def _risks(self, cards: Sequence[CardView], actor: str) -> dict[int, Why | None]:
        now = self._clock.now()
        people = sorted({card.outreach.customer_id for card in cards})
        with self._database.read() as connection:
            locks = locked(connection, people, now)
            wrote = wrote_since(connection, people, now - LATELY)
        goals = {one.id: one.goal for one in self._playbooks().all}
        return {
            one.id: why_not(
                LowRiskFacts(
                    draft_only=card.level is Autonomy.DRAFT,
                    urgent=one.urgent,
                    claimed_by_other=_held_by_other(one, actor, now),
                    open_issue=locks[one.customer_id][0],
                    with_a_human=locks[one.customer_id][1],
                    wrote_lately=one.customer_id in wrote,
                    goal=goals.get(one.playbook),
                    band=one.band,
                    edited=one.draft != one.original_draft,
                    tone_remarks=len(check_tone(one.draft)),
                )
            )
            for card in cards
            for one in (card.outreach,)
        }


def _each(chosen: Sequence[tuple[int, int]], decide: Callable[[int, int], object]) -> BulkResult:
    done: list[int] = []
    refused: list[tuple[int, str]] = []
    for outreach_id, version in chosen:
        try:
            decide(outreach_id, version)
        except AftercareError as error:
            refused.append((outreach_id, str(error)))
        else:
            done.append(outreach_id)
    return BulkResult(done=done, refused=refused)


def _held_by_other(one: Outreach, actor: str, now: datetime) -> bool:
    return one.claimed_by not in (None, actor) and one.claimed_until is not None and one.claimed_until > now
