"""'You said, we did': whoever asked what an article answers since is told of it once, or it is written down why not.

Where their conversation is still open they are told there, else a check-in is proposed that an agent reviews like any other.
The policy is asked as for any contact. What stands against it for good ends the matter, what time or an event lifts is waited
for. Publishing is `bot.services.knowledge.gap_desk`'s business, sending the delivery's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.decide import policy
from bot.decide.contact import Priority, Purpose
from bot.decide.playbook import Band
from bot.decide.policy import Reason
from bot.services.conversation.dialogue import NEW_TALK
from bot.services.conversation.order_news import spoken_day
from bot.services.delivery.departure import LOOK_BACK
from bot.services.planning.contact_rules import ContactRules, Known, address_of, channels_on
from bot.services.planning.drafting import shortened
from bot.services.review.cards import first_name
from bot.services.review.wording import Wording
from bot.store import gap_drafts as store
from bot.store.consent import is_suppressed
from bot.store.controls import STOPPED, get_control
from bot.store.conversations import add_outbound, conversation
from bot.store.database import Connection, Database
from bot.store.enums import Author, ConversationState
from bot.store.gap_drafts import Asker
from bot.store.journeys import contacts_of_customers, open_issues
from bot.store.knowledge import StoredArticle, article_version
from bot.store.outreach import NewOutreach, insert_outreach
from bot.store.permission import permissions
from bot.store.planning import store_arm
from bot.store.shop import Customer, customer
from messages.answers import language_of
from messages.catalogue import Catalogue

__all__ = ["PLAYBOOK", "Telling"]

log = structlog.get_logger(__name__)
# The playbook under whose name they are told, and the template that says it.
PLAYBOOK = TEMPLATE = "you_said_we_did"
STEP = "first"
# What neither time nor an event that we would see lifts.
_FOR_GOOD = frozenset({Reason.SUPPRESSED, Reason.CONSENT_REFUSED, Reason.CONSENT_MISSING, Reason.NO_ADDRESS})
# So many questions are looked at in one go.
AT_ONCE = 500
# Nobody is held out: whoever asked is told.
_ARM = "treatment"
# How somebody is told: where they asked, or by a check-in.
_HERE, _ANEW = "conversation", "outreach"


@dataclass(frozen=True, kw_only=True)
class _Ruling:
    """What is done about somebody who asked: told in one of two ways, or written off for a reason."""

    how: str
    article: StoredArticle | None = None
    person: Customer | None = None
    channel: str = ""
    not_before: datetime | None = None


class Telling:
    """Tells those who asked.

    Parameters
    ----------
    versions : mapping of str to str
        The version of each playbook in force, by id.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        catalogue: Catalogue,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._catalogue = catalogue
        self._wording = Wording(catalogue, settings)
        self._version = (versions or {}).get(PLAYBOOK, "-")
        self._rules = ContactRules(settings)

    def tell(self) -> int:
        """Tell those who may be told now; return how many were."""
        now, told = self._clock.now(), 0
        with self._database.read() as connection:
            waiting = _by_asker(store.untold(connection, channels_on(self._settings), AT_ONCE))
            # Most wait for days: only what there is to do something about opens a writing transaction.
            due = [asked for asked in waiting if self._ruling(connection, asked, now) is not None]
        for asked in due:
            try:
                told += self._tell(asked)
            except Exception:  # the edge of one customer: the others are told all the same
                log.exception("asker_not_told", draft=asked[-1].draft_id, conversation=asked[-1].conversation_id)
        if told:
            log.info("askers_told", told=told)
        return told

    def _tell(self, asked: Sequence[Asker]) -> bool:
        now = self._clock.now()
        with self._database.write() as connection:
            # The row is locked: what an agent or the customer does there comes before or after this, not meanwhile.
            conversation(connection, asked[-1].conversation_id, lock=True)
            ruling = self._ruling(connection, asked, now)
            return ruling is not None and self._carry_out(connection, asked, ruling, now)

    def _ruling(self, connection: Connection, asked: Sequence[Asker], now: datetime) -> _Ruling | None:
        """Say what is to be done about somebody who asked; None: wait."""
        last = asked[-1]
        article = article_version(connection, last.article_version_id)
        if article is None or not article.active or now - last.published_at > self._patience:
            return _Ruling(how="too_late")
        thread = conversation(connection, last.conversation_id)
        person = customer(connection, last.customer_id) if last.customer_id is not None else None
        is_open = thread.state == ConversationState.BOT and now - last.last_at < NEW_TALK
        if person is None and thread.state != ConversationState.HUMAN and not is_open:
            return _Ruling(how="conversation_over")
        channel, facts = self._where(connection, last, person, thread.state, now, is_open)
        verdict = policy.ask(facts)
        reason = verdict.reason if isinstance(verdict, policy.Refused) else None
        if reason in _FOR_GOOD:
            return _Ruling(how=str(reason))
        if is_open and channel == last.channel:
            return None if reason is not None else _Ruling(how=_HERE, article=article, person=person)
        if person is None or reason not in (None, Reason.QUIET_HOURS):
            return None
        until = verdict.until if isinstance(verdict, policy.Refused) else None
        return _Ruling(how=_ANEW, article=article, person=person, channel=channel, not_before=until or now)

    def _carry_out(self, connection: Connection, asked: Sequence[Asker], ruling: _Ruling, now: datetime) -> bool:
        """Do it and write it down; True where somebody is told, by this very process."""
        last, proposed = asked[-1], None
        if ruling.article is not None and ruling.person is not None and ruling.how == _ANEW:
            proposed = self._propose(connection, last, ruling.article, ruling.person, ruling, now)
        ids = [one.utterance_id for one in asked]
        if not store.mark_told(connection, last.draft_id, ids, ruling.how, now, proposed):
            return False
        if ruling.article is not None and ruling.how == _HERE:
            self._say(connection, last, ruling.person, ruling.article, now)
        return ruling.article is not None

    def _where(
        self,
        connection: Connection,
        last: Asker,
        person: Customer | None,
        state: ConversationState,
        now: datetime,
        is_open: bool,
    ) -> tuple[str, policy.Facts]:
        """Return the channel, the one of the conversation first, and what the policy must know there."""
        channels = sorted(channels_on(self._settings), key=lambda name: name != last.channel)
        stopped = bool(get_control(connection, STOPPED))
        if person is None:
            # Nobody is known by this address: it is all that can be asked about.
            sender = last.sender.rpartition(":")[2] if last.channel == "slack" else last.sender
            stranger = Known(
                address=sender,
                suppressed=bool(is_suppressed(connection, last.channel, {sender})),
                with_a_human=state == ConversationState.HUMAN,
            )
            facts = self._rules.facts(None, stranger, purpose=Purpose.SERVICE, priority=Priority.NORMAL, now=now)
            return last.channel, replace(facts, stopped=stopped)
        contacts = contacts_of_customers(connection, {person.id}, now, timedelta(0)).get(person.id)
        found: list[tuple[str, policy.Facts]] = []
        for channel in channels:
            address = address_of(person, channel)
            known = permissions(connection, {person.id: address}, channel, now=now, since=now - LOOK_BACK, besides=())[
                person.id
            ]
            here = Known(
                # In their own conversation they are answered where they wrote.
                address=last.sender if address is None and is_open and channel == last.channel else address,
                said=known.said,
                contacts=known.contacts,
                suppressed=known.suppressed,
                open_issue=open_issues(known.events, now),
                with_a_human=known.with_a_human,
            )
            facts = replace(
                self._rules.facts(person, here, purpose=Purpose.SERVICE, priority=Priority.NORMAL, now=now),
                stopped=stopped,
                proposed_until=None if contacts is None else contacts.proposed_until(Priority.NORMAL),
            )
            verdict = policy.ask(facts)
            if not (isinstance(verdict, policy.Refused) and verdict.reason in _FOR_GOOD):
                return channel, facts
            found.append((channel, facts))
        return found[0]

    def _say(
        self, connection: Connection, last: Asker, person: Customer | None, article: StoredArticle, now: datetime
    ) -> None:
        text = self._wording.say(
            TEMPLATE,
            question=last.text,
            locale=(person.locale if person else None) or last.locale,
            channel=last.channel,
            values=self._values(person, article),
        )
        add_outbound(
            connection,
            last.conversation_id,
            external_id=f"told:{last.draft_id}:{last.utterance_id}",
            author=Author.BOT,
            author_id=None,
            text=text,
            now=now,
            intent="question",
            decision="answer",
            article_version_id=article.version_id,
        )

    def _propose(
        self,
        connection: Connection,
        last: Asker,
        article: StoredArticle,
        person: Customer,
        ruling: _Ruling,
        now: datetime,
    ) -> int | None:
        zone, channel, leaves = self._settings.shop.zone, ruling.channel, ruling.not_before or now
        locale = language_of(last.text, person.locale or self._settings.shop.locale)
        draft = self._catalogue.render_draft(
            TEMPLATE, locale, channel, {"shop_name": self._settings.shop.name, **self._values(person, article)}
        )
        salt = self._settings.experiments.salt
        arm = store_arm(
            connection,
            customer_id=person.id,
            playbook=PLAYBOOK,
            experiment=f"{PLAYBOOK}@{salt}",
            arm=_ARM,
            propensity=1.0,
            salt=salt,
            now=now,
        )
        reason = (
            f"They asked on {spoken_day(last.asked_at, zone, 'en')} what no article answered; “{article.title}” does."
        )
        return insert_outreach(
            connection,
            NewOutreach(
                # Not by the day: of one article somebody is told once.
                dedupe_key=f"{person.id}:{PLAYBOOK}:{STEP}:draft{last.draft_id}",
                customer_id=person.id,
                order_id=None,
                playbook=PLAYBOOK,
                playbook_version=self._version,
                step=STEP,
                channel=channel,
                local_date=local_date(now, zone).isoformat(),
                assignment_id=arm.id,
                prediction_id=None,
                article_version_id=article.version_id,
                template=TEMPLATE,
                locale=locale,
                subject=draft.subject,
                draft=draft.text,
                reasons=[{"feature": "question", "text": reason, "effect": None}],
                probability=None,
                band=Band.LOW.value,
                urgent=False,
                not_before=leaves,
                expires_at=leaves + timedelta(hours=self._settings.review.expires_hours),
            ),
            now,
        )

    def _values(self, person: Customer | None, article: StoredArticle) -> dict[str, str | None]:
        return {
            "first_name": first_name(person.name) or None if person is not None else None,
            "article_title": article.title,
            "article_answer": shortened(article.body),
            "article_url": None,
        }

    @property
    def _patience(self) -> timedelta:
        return timedelta(days=self._settings.knowledge.gaps.tell_days)


def _by_asker(waiting: Sequence[Asker]) -> list[list[Asker]]:
    """Group questions by draft and by who asked: a customer, else a conversation; the oldest first."""
    found: dict[tuple[int, str], list[Asker]] = {}
    for one in waiting:
        who = f"conversation {one.conversation_id}" if one.customer_id is None else str(one.customer_id)
        found.setdefault((one.draft_id, who), []).append(one)
    return list(found.values())
