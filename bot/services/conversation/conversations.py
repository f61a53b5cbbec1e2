"""A customer's words come in; an answer, a question back or a hand-over goes out.

One short transaction records the words; what to do is then decided without a transaction; a second one writes the
decision and all its effects, by compare-and-set, so that a crash, a repetition or a second process changes
nothing twice. Sending is the delivery's business, judging words `messages.answers`', taking messages in the
channels'.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.errors import InputError
from bot.services.conversation.dialogue import ConversationDecision, Dialogue
from bot.services.knowledge.desk import KnowledgeDesk
from bot.services.review.wording import Wording
from bot.store import audit, handoffs
from bot.store import conversations as store
from bot.store.conversations import InboundUtterance
from bot.store.database import Connection, Database
from bot.store.enums import Author, ConversationState, ExampleSource, HandoffState
from bot.store.examples import add_example, choices_in, question_answered
from bot.store.shop import customer, lines_of, orders_of
from messages.catalogue import Catalogue
from messages.feelings import feeling

__all__ = ["ConversationDecision", "Conversations", "Inbound", "Received", "record_inbound"]

log = structlog.get_logger(__name__)

MAX_TEXT = 100_000


class HandoffReason(StrEnum):
    """Why a human is asked, where it is not the customer's words that ask for one."""

    AGENT = "agent_wrote"  # an agent wrote without being asked
    NOT_DELIVERED = "not_delivered"  # an answer could not be delivered, and will not be tried again
    IN_DOUBT = "in_doubt"  # nobody can tell whether an answer arrived, and it is not sent again


@dataclass(frozen=True, kw_only=True)
class Inbound:
    """One message from a customer, as a channel took it in.

    Attributes
    ----------
    source, external_id : str
        Together unique, such as `slack` and `D1:1700000000.000100`, or `email` and a Message-ID.
    channel : str
        `slack` or `email`.
    thread : str
        The channel's own name of the conversation.
    customer_id : int or None
        The customer, if and only if the channel authenticated the sender (token or Slack identity).
    sender : str
        The channel's name of the sender; kept with the utterance, never logged.
    reference, in_reply_to : str or None
        The channel's own names of this message and of the one that it answers.
    """

    source: str
    external_id: str
    channel: str
    thread: str
    customer_id: int | None
    sender: str
    text: str
    occurred_at: datetime
    reference: str | None = None
    in_reply_to: str | None = None
    locale: str | None = None


@dataclass(frozen=True, kw_only=True)
class Received:
    """What became of an inbound message.

    Attributes
    ----------
    utterance_id : int
        The inbound utterance.
    utterance_ids : tuple of int
        The bot's utterances that are now to be sent, in order; empty for a duplicate.
    handoff_id : int or None
        The hand-over that the message belongs to, where a human looks after the conversation.
    """

    conversation_id: int
    utterance_id: int
    decision: ConversationDecision
    utterance_ids: tuple[int, ...]
    handoff_id: int | None
    duplicate: bool


def record_inbound(connection: Connection, conversation_id: int, inbound: Inbound, now: datetime) -> int | None:
    """Write a message down in its conversation; return its id, None where it stood already."""
    return store.add_inbound(
        connection,
        conversation_id,
        source=inbound.source,
        external_id=inbound.external_id,
        author_id=inbound.sender,
        text=inbound.text.replace("\0", "")[:MAX_TEXT],
        occurred_at=min(inbound.occurred_at, now),
        now=now,
        evidence={
            "customer_id": inbound.customer_id,
            "locale": inbound.locale,
            "reference": inbound.reference,
            "in_reply_to": inbound.in_reply_to,
        },
    )


class Conversations:
    """The dialogue with customers, and the agents' part in it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        knowledge: KnowledgeDesk,
        catalogue: Catalogue | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._knowledge = knowledge
        self._dialogue = Dialogue(settings, Wording(catalogue or Catalogue.load(), settings))

    def receive(self, inbound: Inbound) -> Received:
        """Record a message and decide about it; the same message a second time changes nothing."""
        now = self._clock.now()
        with self._database.write() as connection:
            thread = store.open_conversation(connection, inbound.channel, inbound.thread, inbound.customer_id, now)
            record_inbound(connection, thread.id, inbound, now)
            recorded = store.inbound_of(connection, inbound.source, inbound.external_id)
        assert recorded is not None
        return self._duplicate(recorded) if recorded.decision is not None else self._decide(recorded)

    def resume(self, older_than: timedelta = timedelta(seconds=30)) -> list[Received]:
        """Decide about messages that a crash left recorded but undecided; each exactly once.

        Parameters
        ----------
        older_than : timedelta
            Younger ones may be in work in another process.
        """
        with self._database.read() as connection:
            left = store.undecided(connection, self._clock.now() - older_than)
        decided = []
        for utterance in left:
            try:
                decided.append(self._decide(utterance))
            except Exception:  # the edge of one message: those of other customers are decided all the same
                log.exception("conversation_undecided", conversation=utterance.conversation_id, utterance=utterance.id)
        return [one for one in decided if not one.duplicate]

    def reply_as_agent(self, conversation_id: int, actor: str, text: str) -> int:
        """Write an agent's words to the customer; the bot is silent until the conversation is given back.

        Returns
        -------
        int
            The utterance to send.

        Raises
        ------
        InputError
            The words are empty.
        """
        words = text.replace("\0", "").strip()[:MAX_TEXT]
        if not words:
            raise InputError("the reply is empty; write what the customer shall read")
        now = self._clock.now()
        with self._database.write() as connection:
            thread = store.conversation(connection, conversation_id, lock=True)
            active = handoffs.active_handoff(connection, conversation_id)
            handoff_id = (
                active.id
                if active is not None
                else handoffs.open_handoff(connection, conversation_id, HandoffReason.AGENT.value, False, now)
            )
            handoffs.move_handoff(connection, handoff_id, HandoffState.TAKEN, owner=actor)
            handoffs.mark_answered(connection, handoff_id)
            # Had the bot's answer been right, nobody would have had to write.
            if (corrected := question_answered(connection, conversation_id)) is not None:
                source = ExampleSource.AGENT_REPLY
                add_example(connection, *corrected, right=False, source=source, actor=actor, now=now)
            store.change_conversation(connection, thread.id, now, state=ConversationState.HUMAN.value)
            utterance_id = store.add_outbound(
                connection,
                conversation_id,
                external_id=f"agent:{conversation_id}:{store.count_utterances(connection, conversation_id)}",
                author=Author.AGENT,
                author_id=actor,
                text=words,
                now=now,
            )
            self._audit(connection, actor, "conversation.replied", conversation_id, utterance=utterance_id)
        return utterance_id

    def take(self, handoff_id: int, actor: str) -> bool:
        """Let an agent take a hand-over; False says that another agent has it or that it is over."""
        now = self._clock.now()
        with self._database.write() as connection:
            found = handoffs.handoff(connection, handoff_id)
            store.conversation(connection, found.conversation_id, lock=True)
            found = handoffs.handoff(connection, handoff_id)
            if found.state == HandoffState.TAKEN:
                return found.owner == actor
            if not handoffs.move_handoff(connection, handoff_id, HandoffState.TAKEN, owner=actor):
                return False
            store.change_conversation(connection, found.conversation_id, now, state=ConversationState.HUMAN.value)
            self._audit(connection, actor, "conversation.taken", found.conversation_id, handoff=handoff_id)
        return True

    def name_article(self, handoff_id: int, utterance_id: int, article_id: int | None, actor: str) -> None:
        """Keep an agent's word for which article answers a question, None: none does; the last word counts.

        Raises
        ------
        InputError
            The question or the article is not one that was offered.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            found = handoffs.handoff(connection, handoff_id)
            offered = choices_in(connection, found.conversation_id)
            known = set() if offered is None else {key for key, _ in offered.articles} | {None}
            if offered is None or offered.utterance_id != utterance_id or article_id not in known:
                raise InputError("this choice is no longer offered; look at the newest message of the hand-over")
            source = ExampleSource.AGENT_CHOICE
            add_example(connection, utterance_id, article_id, right=True, source=source, actor=actor, now=now)
            self._audit(connection, actor, "conversation.article_named", found.conversation_id, utterance=utterance_id)

    def give_back(self, conversation_id: int, actor: str) -> bool:
        """Let the bot answer again; False says that no human had the conversation."""
        now = self._clock.now()
        with self._database.write() as connection:
            thread = store.conversation(connection, conversation_id, lock=True)
            if thread.state != ConversationState.HUMAN:
                return False
            active = handoffs.active_handoff(connection, conversation_id)
            if active is not None:
                handoffs.move_handoff(connection, active.id, HandoffState.GIVEN_BACK, closed_at=now)
            store.change_conversation(connection, conversation_id, now, state=ConversationState.BOT.value)
            self._audit(connection, actor, "conversation.given_back", conversation_id)
        return True

    def _decide(self, utterance: InboundUtterance) -> Received:
        now = self._clock.now()
        with self._database.read() as connection:
            thread = store.conversation(connection, utterance.conversation_id)
            person_id = self._dialogue.authenticated(thread, utterance)
            person = customer(connection, person_id) if person_id is not None else None
            products = self._products(connection, person_id, now) if person_id is not None else set()
        locale = (person.locale if person else None) or utterance.locale
        answer, version_id = self._knowledge.decide(utterance.text, locale=locale, products=products)
        felt = feeling(utterance.text)
        with self._database.write() as connection:
            done = self._dialogue.carry_out(connection, utterance, person, answer, version_id, locale, now, felt)
        if done is None:  # another process decided meanwhile
            return self._duplicate(utterance)
        log.info(
            "conversation_decided",
            conversation=utterance.conversation_id,
            utterance=utterance.id,
            intent=answer.intent.value,
            decision=done.decision.value,
            handoff=done.handoff_id,
        )
        return Received(
            conversation_id=utterance.conversation_id,
            utterance_id=utterance.id,
            decision=done.decision,
            utterance_ids=done.utterance_ids,
            handoff_id=done.handoff_id,
            duplicate=False,
        )

    def _duplicate(self, utterance: InboundUtterance) -> Received:
        with self._database.read() as connection:
            known = store.inbound_of(connection, utterance.source, utterance.external_id)
            active = handoffs.active_handoff(connection, utterance.conversation_id)
        assert known is not None
        assert known.decision is not None
        return Received(
            conversation_id=known.conversation_id,
            utterance_id=known.id,
            decision=ConversationDecision(known.decision),
            utterance_ids=(),
            handoff_id=active.id if active else None,
            duplicate=True,
        )

    @staticmethod
    def _products(connection: Connection, customer_id: int, now: datetime) -> set[str]:
        lines = [line for order in orders_of(connection, customer_id, now) for line in lines_of(connection, order.id)]
        return {name for line in lines for name in (line.product_key, line.product_name) if name}

    def _audit(self, connection: Connection, actor: str, action: str, conversation_id: int, **detail: int) -> None:
        audit.record(
            connection,
            at=self._clock.now(),
            actor=actor,
            action=action,
            entity="conversation",
            entity_id=conversation_id,
            detail=detail,
        )
