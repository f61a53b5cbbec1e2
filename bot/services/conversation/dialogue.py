"""The dialogue policy: what follows from one judged message, given who wrote it and what was said before.

It is carried out in one transaction. Order of precedence: opt-out, a human who has the conversation, safety, a
human asked for, small talk, the customer's own order, articles, one question back, a human.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bot.config import Settings
from bot.decide.patience import has_had_enough
from bot.services.conversation.check_in_replies import answered_check_in, note_reply
from bot.services.conversation.opting_out import opt_out
from bot.services.conversation.order_news import order_news, says_not_received
from bot.services.conversation.support_hours import TeamHours
from bot.services.review.cards import customer_zone
from bot.services.review.wording import Wording
from bot.store import conversations as store
from bot.store import handoffs
from bot.store.conversations import Conversation, InboundUtterance
from bot.store.database import Connection
from bot.store.enums import Author, ConversationState
from bot.store.outreach import Outreach
from bot.store.ratings import tries_of_bot
from bot.store.shop import Customer
from messages.answers import Answer, Decision, KnownIntent
from messages.asked import Said, said
from messages.contact_wish import ContactWish, contact_wish, says_more_than_a_request
from messages.feelings import Feeling

__all__ = ["CarriedOut", "ConversationDecision", "Dialogue", "Reason"]

# In Slack, all that a customer ever writes is one conversation: whoever comes back after so long begins anew.
NEW_TALK = timedelta(days=7)
# What was tried within so long is the same trouble.
SAME_TROUBLE = timedelta(days=1)
# So many articles are offered to the agent who says which one would have answered.
CHOICES = 3
# What says yes to a question back, and to which of the two things asked about it does not say.
_YES = re.compile(r"(?i)\W*(?:yes|yeah|yep|yup|exactly|correct|ja|ja genau|genau|richtig)(?:\W+(?:please|bitte))?\W*")

# What is decided before an opt-out in the same words.
_GOING_BEFORE = (KnownIntent.SAFETY, KnownIntent.HUMAN)
# What the bot tries to answer.
_TRIED = (KnownIntent.QUESTION, KnownIntent.ORDER_STATUS)
_CALM = Feeling(sentiment=None, urgency=0.0)


class ConversationDecision(StrEnum):
    """What was done about one inbound message."""

    ANSWER = "answer"  # from an article, from the customer's own order, or fixed words
    CLARIFY = "clarify"  # one question back
    HANDOFF = "handoff"  # a human takes over
    OPT_OUT = "opt_out"  # no more check-ins; confirmed once
    SILENT = "silent"  # a human has the conversation, or nothing needs to be said


class Reason(StrEnum):
    """Why a conversation is given to a human."""

    SAFETY = "safety"  # somebody may be in danger
    ASKED = "asked_for_human"
    NO_ANSWER = "no_answer"  # no article comes near enough
    UNCLEAR = "unclear"  # still unclear after the one question back, or too long to ask one
    SAME_ANSWER = "same_answer"  # the answer would be the one just given
    ORDER_UNKNOWN = "order_unknown"  # order data asked for by somebody who is not known to own the order
    ORDER_OVERDUE = "order_overdue"  # long past its promise
    NOT_RECEIVED = "delivered_not_received"  # recorded as delivered, and the customer says that it is not there
    NO_WORDS = "no_words"  # attachments only, or nothing
    IMPATIENT = "impatient"  # upset or in haste, and another answer or question back would be one too many
    MORE = "opted_out_and_said_more"  # contact ended, and something else was said that nobody answers


@dataclass(frozen=True, kw_only=True)
class CarriedOut:
    """What was written."""

    decision: ConversationDecision
    utterance_ids: tuple[int, ...] = ()
    handoff_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Step:
    decision: ConversationDecision
    template: str | None = None  # None: the answer's own words
    values: tuple[Mapping[str, str | None], ...] = ({},)  # the template is said once for each
    reason: Reason | None = None
    urgent: bool = False
    version_id: int | None = None


class Dialogue:
    """Carries out what a message deserves."""

    def __init__(self, settings: Settings, wording: Wording) -> None:
        self._settings = settings
        self._wording = wording
        self._hours = TeamHours(settings, wording)

    @staticmethod
    def authenticated(thread: Conversation, utterance: InboundUtterance) -> int | None:
        """Return whose data may be spoken of: the sender, if the channel vouched for exactly the thread's customer."""
        return utterance.customer_id if utterance.customer_id == thread.customer_id else None

    def carry_out(
        self,
        connection: Connection,
        utterance: InboundUtterance,
        person: Customer | None,
        answer: Answer,
        version_id: int | None,
        locale: str | None,
        now: datetime,
        felt: Feeling = _CALM,
    ) -> CarriedOut | None:
        """Write the decision and its effects; None where somebody else decided about this message."""
        thread = store.conversation(connection, utterance.conversation_id, lock=True)
        answered = None if person is None else answered_check_in(connection, thread, utterance, person, now)
        told = None if answered is None else self._said(answered, utterance, answer)
        step = self._step(connection, thread, utterance, person, answer, version_id, locale, now)
        if told is not None and thread.state != ConversationState.HUMAN:
            # Who was asked and answers is thanked; what else they write comes after, as ever.
            step = _Step(decision=ConversationDecision.ANSWER, template="asked_thanks")
        elif step.decision in (ConversationDecision.ANSWER, ConversationDecision.CLARIFY) and answer.intent in _TRIED:
            tries = tries_of_bot(connection, thread.id, now - SAME_TROUBLE)
            asks_back = step.decision is ConversationDecision.CLARIFY
            if has_had_enough(felt.sentiment, felt.urgency, tries, asks_back=asks_back):
                step = _Step(decision=ConversationDecision.HANDOFF, template="handoff", reason=Reason.IMPATIENT)
        if not store.decide_inbound(
            connection,
            utterance.id,
            intent=answer.intent.value,
            decision=step.decision.value,
            confidence=answer.confidence,
            sentiment=felt.sentiment,
            urgency=felt.urgency,
            near=[hit.article_id for hit in answer.hits[:CHOICES]],
        ):
            return None
        if person is not None:
            note_reply(connection, thread, utterance, person, answered, told, now)
        human = thread.state == ConversationState.HUMAN
        says = not human and step.decision is not ConversationDecision.SILENT
        if step.decision is ConversationDecision.OPT_OUT:
            says = opt_out(connection, thread, utterance, now) and says
        elif answer.intent in _GOING_BEFORE and contact_wish(utterance.text) is ContactWish.END:
            opt_out(connection, thread, utterance, now)  # who is hurt and wants no more mails gets both
        active = handoffs.active_handoff(connection, thread.id)
        handoff_id = active.id if active is not None else None
        if human and handoff_id is not None and step.urgent:
            handoffs.mark_urgent(connection, handoff_id)
        if not human and step.reason is not None:
            handoff_id = handoffs.open_handoff(connection, thread.id, step.reason.value, step.urgent, now)
            store.change_conversation(connection, thread.id, now, state=ConversationState.HUMAN.value)
        if says and step.decision is ConversationDecision.CLARIFY:
            store.change_conversation(connection, thread.id, now, clarifications=thread.clarifications + 1)
        said = (self._say(connection, thread, utterance, answer, step, person, locale, now),) if says else ()
        return CarriedOut(decision=step.decision, utterance_ids=said, handoff_id=handoff_id)

    def _step(
        self,
        connection: Connection,
        thread: Conversation,
        utterance: InboundUtterance,
        person: Customer | None,
        answer: Answer,
        version_id: int | None,
        locale: str | None,
        now: datetime,
    ) -> _Step:
        made = ConversationDecision
        if answer.intent is KnownIntent.OPT_OUT and not answer.about_contact:
            more = says_more_than_a_request(utterance.text)
            return _Step(decision=made.OPT_OUT, reason=Reason.MORE if more else None)
        if thread.state == ConversationState.HUMAN:
            return _Step(decision=made.SILENT, urgent=answer.intent is KnownIntent.SAFETY)
        if answer.intent is KnownIntent.SAFETY:
            return _Step(decision=made.HANDOFF, reason=Reason.SAFETY, urgent=True)
        if answer.intent is KnownIntent.HUMAN:
            return _Step(decision=made.HANDOFF, reason=Reason.ASKED)
        said = store.last_of_bot(connection, thread.id)
        last = said if said is not None and now - said.occurred_at < NEW_TALK else None
        if last is not None and last.decision == made.CLARIFY and _YES.fullmatch(utterance.text):
            return _Step(decision=made.HANDOFF, template="handoff", reason=Reason.UNCLEAR)
        if answer.intent is KnownIntent.SMALLTALK:
            # Thanks for thanks for thanks: two machines would go on for ever.
            again = last is not None and last.intent == KnownIntent.SMALLTALK
            return _Step(decision=made.SILENT if again else made.ANSWER)
        if answer.intent is KnownIntent.ORDER_STATUS:
            return self._order_step(connection, thread, utterance, person, locale, now, last)
        if answer.decision is Decision.ANSWER:
            if last is not None and last.article_version_id == version_id:
                return _Step(decision=made.HANDOFF, template="handoff", reason=Reason.SAME_ANSWER)
            return _Step(decision=made.ANSWER, version_id=version_id)
        if answer.decision is Decision.CLARIFY:
            if thread.clarifications == 0 or last is None:
                return _Step(decision=made.CLARIFY)
            return _Step(decision=made.HANDOFF, template="handoff", reason=Reason.UNCLEAR)
        if answer.about_contact:
            return _Step(decision=made.HANDOFF, template="handoff", reason=Reason.UNCLEAR)
        reason = Reason.NO_ANSWER if any(c.isalnum() for c in utterance.text) else Reason.NO_WORDS
        return _Step(decision=made.HANDOFF, reason=reason)

    def _order_step(
        self,
        connection: Connection,
        thread: Conversation,
        utterance: InboundUtterance,
        person: Customer | None,
        locale: str | None,
        now: datetime,
        last: store.BotUtterance | None,
    ) -> _Step:
        made = ConversationDecision
        language = self._wording.locale(utterance.text, locale)
        zone = self._settings.shop.zone
        text = utterance.text
        news = order_news(connection, person.id, text, now=now, zone=zone, locale=language) if person else ()
        if not news:
            return _Step(decision=made.HANDOFF, template="order_unknown", reason=Reason.ORDER_UNKNOWN)
        if news[-1].overdue:
            late = (news[-1].values,)
            return _Step(decision=made.HANDOFF, template="order_overdue", values=late, reason=Reason.ORDER_OVERDUE)
        # An older one long past its promise is mostly one whose delivery nobody reported.
        news = tuple(one for one in news if not one.overdue)
        if all(one.delivered for one in news) and says_not_received(text):
            return _Step(decision=made.HANDOFF, template="handoff", reason=Reason.NOT_RECEIVED)
        told = _Step(decision=made.ANSWER, template="order_status", values=_told_together(one.values for one in news))
        if last is not None and last.text.startswith(self._words(told, thread, utterance, answer=None, locale=locale)):
            return _Step(decision=made.HANDOFF, template="handoff", reason=Reason.SAME_ANSWER)
        return told

    def _say(
        self,
        connection: Connection,
        thread: Conversation,
        utterance: InboundUtterance,
        answer: Answer,
        step: _Step,
        person: Customer | None,
        locale: str | None,
        now: datetime,
    ) -> int:
        text = self._words(step, thread, utterance, answer=answer, locale=locale)
        if step.reason is not None:
            zone = customer_zone(person.timezone if person else None, self._settings.shop.zone)
            text += self._hours.closed(utterance.text, thread.channel, step.urgent, zone, locale, now)
        if store.last_of_bot(connection, thread.id) is None:
            notice = self._wording.say("bot_disclosure", question=utterance.text, locale=locale, channel=thread.channel)
            text = f"{text}\n\n{notice}"
        return store.add_outbound(
            connection,
            thread.id,
            external_id=f"bot:{utterance.id}",
            author=Author.BOT,
            author_id=None,
            text=text,
            now=now,
            intent=answer.intent.value,
            decision=step.decision.value,
            confidence=answer.confidence,
            article_version_id=step.version_id,
        )

    def _words(
        self,
        step: _Step,
        thread: Conversation,
        utterance: InboundUtterance,
        *,
        answer: Answer | None,
        locale: str | None,
    ) -> str:
        asked, channel = utterance.text, thread.channel
        if step.template is None:
            assert answer is not None
            return self._wording.reply(answer, question=asked, locale=locale, channel=channel)
        parts = [
            self._wording.say(step.template, question=asked, locale=locale, channel=channel, values=values)
            for values in step.values
        ]
        return "\n\n".join(part.strip() for part in parts)

    def _said(self, answered: Outreach, utterance: InboundUtterance, answer: Answer) -> Said | None:
        """Return what a reply says to a check-in that asked for something; a wish for an end or a human goes before."""
        if answer.intent in (KnownIntent.OPT_OUT, *_GOING_BEFORE):
            return None
        asked = self._wording.asks(answered.template)
        return said(asked, utterance.text) if asked else None


def _told_together(values: Iterable[Mapping[str, str | None]]) -> tuple[Mapping[str, str | None], ...]:
    """Mark all but the last, so that what stands below them is said once."""
    *others, last = values
    return (*({**one, "more": "yes"} for one in others), last)
