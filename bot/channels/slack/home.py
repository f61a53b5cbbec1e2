"""App Home: what it shows to whom, and what its buttons do.

Each person's filters and page are kept in the database, with the hash of the view that stands there: two processes, or
two clicks, never put an older queue over a newer one unseen. Decisions are `bot.services.review`'s.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, urlencode

import structlog

from bot.channels.slack import bulk_view
from bot.channels.slack.agents import NOT_AN_AGENT
from bot.channels.slack.api import SlackApi, ViewConflict
from bot.channels.slack.cards import undo_until
from bot.channels.slack.channel import linkable_hosts
from bot.channels.slack.home_view import HomeFacts, agent_home, visitor_home
from bot.channels.slack.identity import Roster
from bot.channels.slack.lines import customer_and_order
from bot.channels.slack.payloads import ActionId, Click, HomeOpened, Person, Submission, number, target, targets
from bot.channels.slack.telling import Telling
from bot.clock import Clock
from bot.config import Settings
from bot.errors import Refused
from bot.services.review.cards import CardView
from bot.services.review.desk import ReviewDesk
from bot.services.review.queue import Owner, QueueFilter, ReviewQueue
from bot.services.review.standing import Standing
from bot.store import slack as posts
from bot.store.database import Database
from bot.store.duty import OpenDuty, duties

__all__ = ["PAGE_SIZE", "AgentHome", "Choice"]

log = structlog.get_logger(__name__)

PAGE_SIZE = 10


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which part of the queue somebody looks at."""

    wanted: QueueFilter = field(default_factory=QueueFilter)
    page: int = 1

    def stored(self) -> str:
        """Return it as text, for the database."""
        wanted = self.wanted
        urgent = "" if wanted.urgent is None else str(int(wanted.urgent))
        values = {"playbook": wanted.playbook, "band": wanted.band, "urgent": urgent, "owner": wanted.owner.value}
        return urlencode({name: value for name, value in {**values, "page": self.page}.items() if value})

    @classmethod
    def restored(cls, text: str) -> Choice:
        """Read what `stored` gave; what cannot be read is left at its default."""
        values = dict(parse_qsl(text))
        owner = values.get("owner", "")
        return cls(
            wanted=QueueFilter(
                playbook=values.get("playbook", ""),
                band=values.get("band", ""),
                urgent={"1": True, "0": False}.get(values.get("urgent", "")),
                owner=Owner(owner) if owner in set(Owner) else Owner.ANYBODY,
            ),
            page=_number(values.get("page", "")),
        )

    def after(self, click: Click) -> Choice:
        """Return what somebody looks at after a click on a filter or a page."""
        value = "" if click.value == "all" else click.value
        match click.action:
            case ActionId.HOME_PLAYBOOK:
                return Choice(wanted=replace(self.wanted, playbook=value))
            case ActionId.HOME_BAND:
                return Choice(wanted=replace(self.wanted, band=value))
            case ActionId.HOME_URGENCY:
                return Choice(wanted=replace(self.wanted, urgent={"urgent": True, "other": False}.get(value)))
            case ActionId.HOME_OWNER:
                owner = Owner(value) if value in set(Owner) else Owner.ANYBODY
                return Choice(wanted=replace(self.wanted, owner=owner))
            case ActionId.HOME_PAGE_BACK | ActionId.HOME_PAGE_ON:
                return replace(self, page=_number(value))
        return self


class AgentHome:
    """Everybody's Home."""

    def __init__(
        self,
        *,
        api: SlackApi,
        database: Database,
        clock: Clock,
        settings: Settings,
        roster: Roster,
        review: ReviewDesk,
        queue: ReviewQueue,
        standing: Standing,
        telling: Telling,
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._settings = settings
        self._roster = roster
        self._review = review
        self._queue = queue
        self._standing = standing
        self._telling = telling
        self._hosts = linkable_hosts(settings)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def opened(self, event: HomeOpened) -> None:
        """Show somebody their Home."""
        self.show(event.person, seen=event.view_hash)

    def show(
        self, person: Person, *, notice: str = "", undo: str = "", seen: str = "", choice: Choice | None = None
    ) -> None:
        """Publish somebody's Home as things stand; `seen` is the hash of the view that they looked at."""
        owner = f"{person.team_id}:{person.user_id}"
        with self._locks[owner]:
            with self._database.read() as connection:
                kept = posts.home_of(connection, owner)
            before, known = kept or ("", "")
            choice = choice or Choice.restored(before)
            try:
                shown = self._api.publish_home(person.user_id, self._drawn(person, choice, notice, undo), seen or known)
            except ViewConflict:  # something newer stands there; this is read after that, so it may take its place
                log.info("slack_home_conflict", owner=owner)
                shown = self._api.publish_home(person.user_id, self._drawn(person, choice, notice, undo))
            with self._database.write() as connection:
                posts.record_home(connection, owner, choice.stored(), shown, self._clock.now())

    def refresh(self, person: Person) -> None:
        """Bring somebody's Home up to date, if they ever opened it."""
        with self._database.read() as connection:
            kept = posts.home_of(connection, f"{person.team_id}:{person.user_id}")
        if kept is not None:
            self.show(person)

    def click(self, click: Click) -> int | None:
        """Do what was clicked in Home; return the outreach whose card must be drawn anew, if any."""
        action = click.action.partition(":")[0]
        match action:
            case ActionId.HOME_OPEN:
                self._telling.open_card(click, target(click.value)[0])
                return None
            case ActionId.HOME_BULK:
                self._recap(click)
                return None
            case ActionId.HOME_APPROVE:
                after = self._review.approve(*target(click.value), click.person.actor, event_key=click.key)
                self.told(click, after.id)
                return after.id
            case ActionId.HOME_UNDO if " " in click.value:
                self._undo_together(click)
                return None
            case ActionId.HOME_UNDO:
                after = self._review.undo(*target(click.value), click.person.actor, event_key=click.key)
                self.told(click, after.id)
                return after.id
        self.show(click.person, seen=click.view_hash, choice=self._choice(click.person).after(click))
        return None

    def told(self, click: Click, outreach_id: int) -> None:
        """Say at the top of Home what became of a check-in, with Undo while it can be taken back."""
        view = self._review.card(outreach_id)
        status = self._roster.named(view.status_line) or "Back in the queue"
        notice = f"✅ {customer_and_order(view)}: {status}."
        self.show(click.person, notice=notice, undo=self._undoable(view), seen=click.view_hash)

    def approve_together(self, submission: Submission) -> None:
        """Approve what a recap listed; what a colleague decided meanwhile is told, never overwritten."""
        person = submission.person
        self._roster.check(person)
        result = self._queue.approve_together(targets(submission.reference), person.actor, submission.key)
        log.info("slack_bulk_approved", actor=person.actor, approved=len(result.done), refused=len(result.refused))
        undoable = " ".join(filter(None, map(self._undoable, map(self._review.card, result.done))))
        self.show(person, notice=bulk_view.bulk_outcome(result, self._roster), undo=undoable)

    def _undo_together(self, click: Click) -> None:
        self._roster.check(click.person)
        result = self._queue.undo_together(targets(click.value), click.person.actor, click.key)
        log.info("slack_bulk_undone", actor=click.person.actor, undone=len(result.done), refused=len(result.refused))
        self.show(click.person, notice=bulk_view.undo_outcome(result, self._roster), seen=click.view_hash)

    def _undoable(self, view: CardView) -> str:
        """Return what Undo must name while a decision can be taken back; else nothing."""
        until = undo_until(view.outreach, self._settings.review.undo_seconds)
        in_time = until is not None and self._clock.now() < until
        return f"{view.outreach.id}:{view.outreach.version}" if in_time else ""

    def _recap(self, click: Click) -> None:
        found = self._queue.sort(self._choice(click.person).wanted, click.person.actor)
        meant = [*found.low_risk, *(one for one, _ in found.others)]
        cards = {view.outreach.id: view for view in self._review.cards(meant)}
        undo = self._settings.review.undo_seconds
        self._api.open_modal(click.trigger_id, bulk_view.recap(found, cards, self._queue.playbooks(), undo))

    def _choice(self, person: Person) -> Choice:
        with self._database.read() as connection:
            kept = posts.home_of(connection, f"{person.team_id}:{person.user_id}")
        return Choice.restored(kept[0] if kept is not None else "")

    def _drawn(self, person: Person, choice: Choice, notice: str, undo: str) -> dict[str, object]:
        try:
            self._roster.check(person)
        except Refused as error:
            reason = "" if str(error) == NOT_AN_AGENT else self._telling.sentence(error)
            return visitor_home(self._settings.shop.name, reason)
        zone = self._roster.zone(person)
        facts = HomeFacts(
            page=self._queue.page(choice.wanted, person.actor, choice.page, PAGE_SIZE),
            wanted=choice.wanted,
            actor=person.actor,
            playbooks=self._queue.playbooks(),
            low_risk=len(self._queue.sort(choice.wanted, person.actor).low_risk),
            numbers=self._standing.of_agent(person.actor, zone),
            queue=self._standing.of_queue(),
            sending=self._standing.of_sending(),
            now=self._clock.now(),
            zone=zone,
            notice=notice,
            undo=undo,
            hosts=self._hosts,
            duties=self._duties(),
        )
        return agent_home(facts, self._roster)

    def _duties(self) -> Sequence[OpenDuty]:
        with self._database.read() as connection:
            return duties(connection)


def _number(text: str) -> int:
    return number(text, 5) or 1
